"""Whether smaller or larger values of a metric are better, derived from its name."""

SMALLER = ("loss", "error", "divergence", "perplexity", "crossentropy", "entropy", "hinge", "poisson", "distance")
SMALLER_ABBREVIATED = ("mae", "mse", "rmse", "mape", "msle", "kld", "wer", "cer", "fid")
LARGER = (
    "accuracy",
    "precision",
    "recall",
    "score",
    "similarity",
    "fbeta",
    "kappa",
    "correlation",
    "bleu",
    "rouge",
    "dice",
)
LARGER_ABBREVIATED = ("acc", "auc", "iou", "f1", "map", "ap", "mcc", "r2", "psnr", "ssim")


def direction(name: str) -> int:
    """1 if larger values of a metric are better, -1 if smaller ones are, 0 if its name does not tell.

    Args:
        name: The name of the metric, such as `"val_mae"`.
    """
    lowered = name.lower()
    parts = lowered.replace("-", "_").split("_")
    smaller = any(word in lowered for word in SMALLER) or any(part in SMALLER_ABBREVIATED for part in parts)
    larger = any(word in lowered for word in LARGER) or any(part in LARGER_ABBREVIATED for part in parts)
    return int(larger) - int(smaller)
