"""`ImageFiles`: images that stay in their files until a batch of them is needed."""

import concurrent.futures
import functools
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from difflr.data.image import MODES, decode, is_complete, too_large_is_an_error

MOST_HELD = 400_000_000  # bytes of decoded images: 2,600 at 224 x 224
# The image, if it had to be decoded; its file's checksum; what should be known; and why it is skipped.
Scanned = tuple[np.ndarray | None, int, str | None, str | None]


class ImageFiles:
    """Images in files, indexed like a uint8 array `(num_images, height, width, channels)`.

    Several threads read the images when they are needed, and compare each file with its checksum. With `held`, images
    stay in memory; without, 50,000 images need no more memory than a few batches.

    Args:
        files: The files.
        checksums: The checksum of each file.
        size: Pair of integers, the height and width in pixels.
        channels: Integer: 1 for grayscale, 3 for RGB, 4 for RGBA.
        held: A uint8 array for images that stay in memory; `None` to keep none.
        filled: Boolean array, which rows of `held` are filled.
        rows: The row in `held` of each file; by default in order.

    Example: see `difflr.data.open_folder`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        checksums: Sequence[int],
        size: tuple[int, int],
        channels: int = 3,
        held: np.ndarray | None = None,
        filled: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ):
        self.files, self.checksums = tuple(files), tuple(checksums)
        self._size, self._channels, self._held = size, channels, held
        self._filled = np.zeros(len(self.files) if held is None else len(held), "bool") if filled is None else filled
        self._rows = np.arange(len(self.files)) if rows is None else rows

    dtype, ndim = np.dtype("uint8"), 4

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return (len(self.files), *self._size, self._channels)

    def __len__(self) -> int:
        return len(self.files)

    def take(self, positions: np.ndarray) -> "ImageFiles":
        """The images at `positions`, without reading them."""
        files, checksums = ([values[one] for one in positions] for values in (self.files, self.checksums))
        rows = self._rows[positions]
        return ImageFiles(files, checksums, self._size, self._channels, self._held, self._filled, rows)

    def __getitem__(self, positions: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        chosen = np.arange(len(self))[positions]
        if chosen.ndim == 0:
            return self._one(int(chosen))
        if self._held is not None and self._filled[self._rows[chosen]].all():
            return self._held[self._rows[chosen]]
        return (
            np.stack(list(_pool().map(self._one, chosen))) if len(chosen) else np.empty((0, *self.shape[1:]), "uint8")
        )

    def _one(self, position: int) -> np.ndarray:
        """One image, out of memory or its file."""
        row = self._rows[position]
        if self._held is None:
            return self._read(position)
        if not self._filled[row]:
            self._held[row] = self._read(position)
            self._filled[row] = True
        return self._held[row].copy()

    def _read(self, position: int) -> np.ndarray:
        """One image.

        Raises:
            ValueError: If its file is not there any more, or another, or damaged inside.
        """
        file = self.files[position]
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ValueError(f"{file} was there at the start, and cannot be read now: {error.strerror}.") from None
        if zlib.crc32(content) != self.checksums[position]:
            raise ValueError(f"{file} has changed since the start.")
        try:
            return decode(file, self._size, self._channels, content)[0]
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}. Remove or replace it, and start over.") from None

    def manifest(self) -> dict[str, int]:
        """File -> checksum, to find out which images have changed."""
        return {str(file): number for file, number in zip(self.files, self.checksums, strict=True)}


def scan(
    files: Sequence[Path],
    size: tuple[int, int],
    channels: int = 3,
    on_image: Callable[[int, int], None] | None = None,
    most_held: int | None = MOST_HELD,
) -> tuple[ImageFiles, np.ndarray, dict[int, str], list[str]]:
    """Looks at every file once, to know which can be read; most need not be decoded for that.

    Args:
        files: The files.
        size: Pair of integers, the height and width in pixels.
        channels: Integer: 1, 3 or 4.
        on_image: Called after each image with how many are looked at and how many there are.
        most_held: Bytes. If all images take no more, they are held in memory from when they are first asked for.
            `None`: from now on, so all are decoded.

    Returns:
        The images that can be read, their positions in `files`, position -> reason of the others, and what was done
        to some that should be known.
    """
    if channels not in MODES:
        raise ValueError(f"`channels` must be 1, 3 or 4. Received: {channels!r}.")
    number = len(files)
    hold = most_held is None or number * size[0] * size[1] * channels <= most_held
    held = np.empty((number if hold else 0, *size, channels), "uint8")
    filled = np.zeros(len(held), "bool")
    kept: list[int] = []
    checksums: list[int] = []
    skipped: dict[int, str] = {}
    remarks: list[str] = []
    for position, (image, checksum, remark, reason) in enumerate(_scanned(files, size, channels, most_held is None)):
        if reason is not None:
            skipped[position] = reason
        else:
            if hold and image is not None:
                held[len(kept)], filled[len(kept)] = image, True
            kept.append(position)
            checksums.append(checksum)
            remarks += [remark] if remark else []
        if on_image is not None:
            on_image(position + 1, number)
    images = ImageFiles(
        [files[one] for one in kept], checksums, size, channels, held if hold else None, filled if hold else None
    )
    return images, np.array(kept, "int64"), skipped, remarks


def _scanned(files: Sequence[Path], size: tuple[int, int], channels: int, whole: bool) -> Iterator[Scanned]:
    """The scanned images, in order. Pillow decodes without Python's lock: threads are enough."""
    pool = concurrent.futures.ThreadPoolExecutor(_threads())
    try:
        with too_large_is_an_error():
            yield from pool.map(functools.partial(_looked_at, size=size, channels=channels, whole=whole), files)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C


def _looked_at(file: Path, size: tuple[int, int], channels: int, whole: bool) -> Scanned:
    try:
        content = file.read_bytes()
    except OSError as error:
        return None, 0, None, str(error.strerror)
    image = None
    try:
        complete, remark = is_complete(file, content)
        if whole or not complete:
            image, remark = decode(file, size, channels, content)
    except ValueError as error:
        return None, 0, None, str(error)
    return image, zlib.crc32(content), remark, None


def _threads() -> int:
    return min(8, os.cpu_count() or 1)


@functools.cache
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_threads(), "difflr-decode")
