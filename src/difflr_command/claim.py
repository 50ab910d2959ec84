"""`claim`: an output can be written, before anything costly is done, and no other command writes there meanwhile."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# Let go of when the command ends; by the system, when it is killed.
claimed = contextlib.ExitStack()


def claim(path: os.PathLike[str] | str, what: str, reads: Iterable[os.PathLike[str] | str | None] = ()) -> None:
    """Claims a file.

    Args:
        path: The file.
        what: What it will be.
        reads: The files that the command reads, which it must not replace.

    Raises:
        ValueError: If it cannot be written, is read, or another command is about to write it.
    """
    if any(
        one is not None and os.path.exists(one) and os.path.realpath(one) == os.path.realpath(path) for one in reads
    ):
        raise ValueError(f"The {what} {path} would replace what is read. Name another place.")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"The {what} {path} cannot be written: there is no folder {folder}. Make it first.")
    if os.path.isdir(path):
        raise ValueError(f"The {what} {path} cannot be written: it is a folder. Name a file.")
    if not os.access(folder, os.W_OK) or (os.path.exists(path) and not os.access(path, os.W_OK)):
        raise ValueError(f"The {what} {path} cannot be written: no permission. Name another place.")
    if os.path.isfile(path) or not os.path.exists(path):  # not a device such as /dev/stdout
        claimed.enter_context(_only_run(path))


def claim_folder(path: os.PathLike[str] | str, new: bool = False) -> None:
    """Claims a folder for files, which is made if it is not there.

    Args:
        path: The folder.
        new: Whether it must not be there.

    Raises:
        ValueError: If nothing can be written there, or another command is about to.
    """
    if new and os.path.lexists(path):
        raise ValueError(f"{path} is there already. Remove it, or name another place.")
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError(f"{path} is a file. Name a folder.")
    above = path if os.path.isdir(path) else os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(above):
        raise ValueError(f"The folder {path} cannot be made: there is no folder {above}. Make it first.")
    if not os.access(above, os.W_OK):
        raise ValueError(f"Nothing can be written into {above}: no permission. Name another place.")
    claimed.enter_context(_only_run(path))


@contextlib.contextmanager
def _only_run(output: os.PathLike[str] | str) -> Iterator[None]:
    """Keeps other commands from `output` while the block runs, and removes what killed ones left of it."""
    target = Path(os.path.realpath(output))
    file = target.with_name(f"{target.name}.lock")
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        if not _is_ours(descriptor):
            raise ValueError(f"Another run writes to {output}. Wait for it, or name another place.")
        for unfinished in target.parent.glob(".unfinished-*"):
            if unfinished.name[len(".unfinished-12345678-") :] == target.name and unfinished.is_file():
                unfinished.unlink()
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
