"""`only_run`: two runs never write to one output."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def only_run(output: Path) -> Iterator[None]:
    """Keeps other runs from `output` while the block runs. The system lets go of it when the process is killed.

    Raises:
        ValueError: If another run writes there.
    """
    file = output.with_name(output.name + ".lock")
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        if not _is_ours(descriptor):
            raise ValueError(f"Another run writes to {output}. Wait for it, or name another place: --output.")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the folder is gone, or it is open, on Windows
                file.unlink()
    finally:
        os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    """Locks the file, unless another process has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
