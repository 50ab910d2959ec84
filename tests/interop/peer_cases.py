"""The settings that are compared with the peers' own code, and the names of the model they are for."""

# Name in PyTorch -> number of dimensions. `peer_tables.py` makes a torch module of these, the test a Keras model.
NAMES = [
    "backbone.patch",
    *(f"backbone.blocks.{n}.{part}" for n in (0, 1) for part in ("norm", "dw", "fc")),
    "backbone.bn",
    "head",
]


def depth(name):
    """0 for the patches, then the blocks, then the norm behind them; `None` for the head."""
    name = name.replace("/", ".")
    if name.startswith("head"):
        return None
    return 0 if ".patch" in name else 3 if ".bn" in name else 1 + int(name.split(".blocks.")[1][0])


def layer_number(name):
    number = depth(name)
    return 4 if number is None else number


def lr_factor(name):
    return 0.7 if ".blocks." in name else 1.0


BASE, DECAY = 0.01, 0.5
TIMM = {
    "decay": {"layer_decay": 0.5, "no_weight_decay_list": ["head.weight", "*.dw.*"]},
    "floor": {"layer_decay": 0.5, "min_scale": 0.2},
    "cut-off": {"layer_decay": 0.5, "no_opt_scale": 0.2},
    "vectors decay": {"layer_decay": 0.9, "weight_decay_exclude_1d": False, "no_weight_decay_list": ["*.norm.bias"]},
}
MMENGINE = {
    "kinds": {"bias_lr_mult": 2.0, "bias_decay_mult": 0.0, "norm_decay_mult": 0.1, "dwconv_decay_mult": 0.3},
    "no rule for norms": {"bias_lr_mult": 2.0, "bias_decay_mult": 0.2, "flat_decay_mult": 0.4},
    "custom keys hide kinds": {
        "custom_keys": {"norm": {"decay_mult": 0.0}, "backbone": {"lr_mult": 0.1}, ".blocks.0": {"lr_mult": 0.3}},
        "bias_lr_mult": 2.0,
        "norm_decay_mult": 0.5,
    },
    "equally long keys": {
        "custom_keys": {"patch": {"lr_mult": 0.1}, "bone.": {"lr_mult": 0.2}, "block": {"lr_mult": 0.3}}
    },
}
MMPRETRAIN = {
    "by depth": {
        "layer_decay_rate": 0.75,
        "norm_decay_mult": 0.0,
        "flat_decay_mult": 0.2,
        "custom_keys": {".dw": {"decay_mult": 0.3}},
    },
}
DETECTRON2 = {
    "norms and biases": {"weight_decay_norm": 0.1, "bias_lr_factor": 2.0, "weight_decay_bias": 0.0},
    "a factor, and an override in its place": {"lr_factor_func": lr_factor, "overrides": {"bias": {"lr": 0.03}}},
    "an override of both": {"weight_decay_norm": 0.0, "overrides": {"weight": {"lr": 0.02, "weight_decay": 0.25}}},
}
BIG_VISION = {
    "defaults": {"schedule": {}},
    "three axes": {
        "lr_mults": [("head/.*", 10.0), (".*blocks/0.*", 0.1), (".*/kernel", 0.5)],
        "wd_mults": [(".*dw/kernel", 0.5), (".*/kernel", 1.0), (".*scale", 0.1)],
        "schedule": [("backbone/patch/.*", None), (".*", {"warmup_steps": 10})],
    },
}
