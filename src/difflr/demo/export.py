"""Export the demo's network and digits as files for `difflr fine-tune`."""

from pathlib import Path

from difflr.demo import digits, squeezenet
from difflr.files import whole_file


def export(folder: str | Path, per_class: int = 50, size: tuple[int, int] = (64, 64)) -> None:
    """Write `squeezenet.keras`, pretrained without a head, and `digits/` with a folder of images per digit.

    Args:
        folder: The output folder; created if needed.
        per_class: Integer. The number of images per digit, from the start of the data.
        size: Height and width of the network's images.

    Raises:
        PackageError: If the weights or images cannot be downloaded.
    """
    from PIL import Image

    folder = Path(folder)
    weights, (images, labels) = squeezenet.read_weights(), digits.load()
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "squeezenet.keras") as unfinished:
        squeezenet.build(size, weights).save(unfinished)
    for label in range(10):
        below = folder / "digits" / str(label)
        below.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images[labels == label][:per_class]):
            Image.fromarray(image[..., 0]).save(below / f"{number:03}.png")
