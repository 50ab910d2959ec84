"""`PictureFiles`: pictures that stay in their files until a batch of them is needed."""

import concurrent.futures
import functools
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from difflr.data.picture import decode, too_large_is_an_error

MOST_HELD = 400_000_000  # bytes of decoded pictures: 2,600 at 224 x 224
Scanned = tuple[np.ndarray | None, int, str | None]  # the picture, its file's checksum, and what should be known


class PictureFiles:
    """Pictures in files, indexed like an array `(num_pictures, height, width, channels)` of bytes.

    What is asked for is read then, by several threads, and compared with the checksum of its file; what was small enough
    is held in memory. So 50,000 pictures take no more memory than a few batches.

    Args:
        files: The files.
        checksums: Of each file, as `scan` has it.
        size: Height and width in pixels.
        channels: Integer: 1 for grey, 3 for RGB, 4 for RGB and opacity.
        held: The pictures, if they are held in memory, uint8.
        rows: Where in `held` each is; by default in order.

    Example: see `difflr.data.open_folder`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        checksums: Sequence[int],
        size: tuple[int, int],
        channels: int = 3,
        held: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ):
        self.files, self.checksums = tuple(files), tuple(checksums)
        self._size, self._channels, self._held = size, channels, held
        self._rows = np.arange(len(self.files)) if rows is None else rows

    dtype, ndim = np.dtype("uint8"), 4

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (len(self.files), *self._size, self._channels)

    @property
    def is_held(self) -> bool:
        """Whether the pictures are in memory."""
        return self._held is not None

    def __len__(self) -> int:
        return len(self.files)

    def take(self, positions: np.ndarray) -> "PictureFiles":
        """Those at `positions`, not read."""
        files, checksums = ([values[one] for one in positions] for values in (self.files, self.checksums))
        return PictureFiles(files, checksums, self._size, self._channels, self._held, self._rows[positions])

    def __getitem__(self, positions: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if self._held is not None:
            return self._held[self._rows[positions]]
        chosen = np.arange(len(self))[positions]
        if chosen.ndim == 0:
            return self._read(int(chosen))
        return (
            np.stack(list(_pool().map(self._read, chosen))) if len(chosen) else np.empty((0, *self.shape[1:]), "uint8")
        )

    def _read(self, position: int) -> np.ndarray:
        """One picture.

        Raises:
            ValueError: If its file is not there any more, or another.
        """
        file = self.files[position]
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ValueError(
                f"{file} was there when training began, and cannot be read now: {error.strerror}."
            ) from None
        if zlib.crc32(content) != self.checksums[position]:
            raise ValueError(f"{file} has changed since training began.")
        return decode(file, self._size, self._channels, content)[0]

    def manifest(self) -> dict[str, int]:
        """File -> checksum: whether the pictures are the same, and if not, which differ."""
        return {str(file): number for file, number in zip(self.files, self.checksums, strict=True)}


def scan(
    files: Sequence[Path],
    size: tuple[int, int],
    channels: int = 3,
    on_picture: Callable[[int, int], None] | None = None,
    most_held: int = MOST_HELD,
) -> tuple[PictureFiles, np.ndarray, dict[int, str], list[str]]:
    """Reads every file once, to know which can be read.

    Args:
        files: The files.
        size: Height and width in pixels.
        channels: Integer: 1, 3 or 4.
        on_picture: Called after each picture with how many are read and how many there are.
        most_held: Bytes. If all pictures take no more, they are held in memory.

    Returns:
        The pictures that can be read, their positions in `files`, position -> reason of the others, and what was done
        to some that should be known.
    """
    number = len(files)
    hold = number * size[0] * size[1] * channels <= most_held
    held = np.empty((number if hold else 0, *size, channels), "uint8")
    kept: list[int] = []
    checksums: list[int] = []
    skipped: dict[int, str] = {}
    remarks: list[str] = []
    for position, (picture, checksum, remark) in enumerate(_scanned(files, size, channels)):
        if picture is None:
            skipped[position] = str(remark)
        else:
            if hold:
                held[len(kept)] = picture
            kept.append(position)
            checksums.append(checksum)
            remarks += [remark] if remark else []
        if on_picture is not None:
            on_picture(position + 1, number)
    pictures = PictureFiles(
        [files[one] for one in kept], checksums, size, channels, held[: len(kept)] if hold else None
    )
    return pictures, np.array(kept, "int64"), skipped, remarks


def _scanned(files: Sequence[Path], size: tuple[int, int], channels: int) -> Iterator[Scanned]:
    """The pictures in their order, or `None` and the reason. Pillow decodes without Python's lock: threads are enough."""
    pool = concurrent.futures.ThreadPoolExecutor(_threads())
    try:
        with too_large_is_an_error():
            yield from pool.map(functools.partial(_or_reason, size=size, channels=channels), files)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C


def _or_reason(file: Path, size: tuple[int, int], channels: int) -> Scanned:
    try:
        content = file.read_bytes()
    except OSError as error:
        return None, 0, str(error.strerror)
    try:
        picture, remark = decode(file, size, channels, content)
    except ValueError as error:
        return None, 0, str(error)
    return picture, zlib.crc32(content), remark


def _threads() -> int:
    return min(8, os.cpu_count() or 1)


@functools.cache
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_threads(), "difflr-decode")
