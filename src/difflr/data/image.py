"""`read_image`: one image from a file, as the bytes that a network is trained on."""

import contextlib
import io
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# What cameras, phones and scanners write. Whether Pillow can read it depends on how it was built.
COMMON = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff")
SUFFIXES = frozenset([*COMMON, ".avif", ".dng", ".heic", ".heif", ".jp2", ".jxl", ".webp"])
EIGHT_BITS = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")  # modes of Pillow
END_OF_JPEG = b"\xff\xd9"
SIXTEEN_BITS = "16 bits a value: 0..65535 became 0..255"
SEVERAL = "several images in the file: the first was read"


def read_image(file: str | Path, size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """Reads one image exactly as `difflr.data.read_folder` does.

    The image is rotated by its EXIF data, converted to `channels`, and resized to `size` (bilinear, with antialiasing).
    JPEGs much larger than `size` are decoded at 1/2, 1/4 or 1/8 of their size, but at least at twice `size`.

    Args:
        file: The image file. 16-bit values are scaled to 8 bits.
        size: Pair of integers, the height and width in pixels.
        channels: Integer: 1 for grayscale, 3 for RGB, 4 for RGBA.

    Returns:
        Array `(height, width, channels)`, uint8.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: If the file is not a readable image, or its values have no known range, such as floats.

    Example:

    ```python
    from PIL import Image

    Image.new("RGB", (40, 30), "blue").save("sea.png")
    image = difflr.data.read_image("sea.png", (32, 32))
    print(image.shape)  # (32, 32, 3)
    ```
    """
    with too_large_is_an_error():
        return decode(Path(file), size, channels)[0]


def decode(
    file: Path, size: tuple[int, int], channels: int, content: bytes | None = None
) -> tuple[np.ndarray, str | None]:
    """The image, and what was done to it that should be known.

    Args:
        file: The file.
        size: Pair of integers, the height and width in pixels.
        channels: Integer: 1, 3 or 4.
        content: What is in the file, if it was read already.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: If it cannot be read; the message is the reason alone.
    """
    if channels not in MODES:
        raise ValueError(f"`channels` must be 1, 3 or 4. Received: {channels!r}.")
    with _opened(file, content) as opened:
        from PIL import Image, ImageOps

        remark = _several(opened)
        opened.draft(MODES[channels], (2 * max(size), 2 * max(size)))  # JPEG alone: 10 times faster
        turned = ImageOps.exif_transpose(opened)
        if turned.mode.startswith("I;16") or (turned.mode == "I" and opened.format in ("PNG", "PPM")):
            turned, remark = _bytes_of_16_bits(turned), SIXTEEN_BITS
        elif turned.mode in ("I", "F"):
            raise ValueError("values of 32 bits, whose range is unknown: save it with 8 or 16 bits a value")
        resized = turned.convert(MODES[channels]).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized, "uint8").reshape(*size, channels), remark


def is_complete(file: Path, content: bytes) -> tuple[bool, str | None]:
    """Whether an image can surely be decoded, without that being done; and what should be known of it.

    So a JPEG of 12 megapixels costs 2 ms and not 50.

    Args:
        file: The file.
        content: What is in it.

    Raises:
        ValueError: If it cannot be read; the message is the reason alone.
    """
    with _opened(file, content) as opened:
        remark = _several(opened)
        if opened.mode not in EIGHT_BITS or opened.format not in ("JPEG", "MPO", "PNG"):
            return False, remark
        if opened.format == "PNG":
            opened.verify()  # the checksums of all its parts
            return True, remark
        return content.rstrip(b"\0").endswith(END_OF_JPEG), remark


def _several(opened: "Image.Image") -> str | None:
    return SEVERAL if getattr(opened, "n_frames", 1) > 1 else None


@contextlib.contextmanager
def _opened(file: Path, content: bytes | None) -> "Iterator[Image.Image]":
    """The image, its header read; why it or the rest cannot be is a ValueError that has the reason alone."""
    Image = _pillow()
    try:
        with Image.open(file if content is None else io.BytesIO(content)) as opened:
            yield opened
    except Image.UnidentifiedImageError:
        raise ValueError(_why_not(file, set(Image.registered_extensions()))) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError("too large") from None
    except (OSError, SyntaxError) as error:  # what Pillow raises for damaged files
        raise ValueError(" ".join(str(error).split())[:100]) from None


def _bytes_of_16_bits(image: "Image.Image") -> "Image.Image":
    """The upper byte of each value; Pillow's own conversion makes all above 255 white."""
    from PIL import Image

    values = np.asarray(image)
    if values.max() < 4096:
        raise ValueError(
            f"16 bits a value of which {int(values.max()).bit_length()} are used: stretch them to 0..65535"
        )
    return Image.fromarray((values // 257).astype("uint8"))


def _why_not(file: Path, known: set[str]) -> str:
    suffix = file.suffix.lower()
    if suffix in known or suffix not in SUFFIXES:
        return "no image, or damaged"
    return f"Pillow cannot read {suffix} here: save it as .jpg or .png"


@contextlib.contextmanager
def too_large_is_an_error() -> Iterator[None]:
    """Images of more pixels than Pillow thinks safe are refused, not only warned of. Not for threads: outside of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", _pillow().DecompressionBombWarning)
        yield


def _pillow() -> types.ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('Images need Pillow: pip install "difflr[cli]"') from None
    return Image
