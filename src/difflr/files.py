"""Atomic file writes: everything that writes a file uses `write_whole` or `whole_file`."""

import contextlib
import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file whole or not at all.

    If the disk is full, or the process is killed while it writes, the file that was there before is still there, whole.
    A killed process leaves `.unfinished-...` beside it, which can be removed.

    Args:
        path: Where to. A file that is there is replaced and keeps its permissions; a link is followed. The folder
            has to exist.
        content: Text, written as UTF-8, or bytes.

    Raises:
        TypeError: If `content` is neither text nor bytes.
        OSError: If it cannot be written.

    Example:

    ```python
    from difflr.files import write_whole

    write_whole("report.html", "<p>All is well.</p>")
    ```
    """
    if not isinstance(content, (str, bytes)):
        raise TypeError(
            f"A file is written from text or bytes. Received: {content!r} (of type {type(content).__name__})."
        )
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """For writers that want a path themselves, such as `figure.savefig` and `model.save_weights`: whole or not at all.

    Args:
        path: Where to, as in `write_whole`.

    Yields:
        The path to write to instead: in the same folder, with a name that ends alike. When the block
        ends, the file there replaces `path`; if the block raises, it is removed.

    Raises:
        OSError: If it cannot be written.

    Example:

    ```python
    from difflr.files import whole_file

    with whole_file("numbers.csv") as unfinished:
        unfinished.write_text("1,2,3")
    ```
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # a device such as /dev/stdout; of a folder the writer complains
        yield target
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"There is no folder '{target.parent}' to write to", str(path))
    unfinished = target.with_name(f".unfinished-{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        yield unfinished
        if target.exists():
            unfinished.chmod(stat.S_IMODE(target.stat().st_mode))
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())  # the content is on the disk before the name is: whole after a power failure, too
        unfinished.replace(target)
    except OSError as error:
        raise _named(error, path, unfinished) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _named(error: OSError, path: str | os.PathLike[str], unfinished: Path) -> OSError:
    """The error with the file that was to be written: what a full disk raises names none, and HDF5 says it in a sentence."""
    found = re.search(r"errno = (\d+)", str(error))
    number = error.errno or (int(found[1]) if found else None)
    if number is None or error.filename not in (None, str(unfinished)):
        return error
    return OSError(number, os.strerror(number), str(path))
