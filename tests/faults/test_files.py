"""Files are written whole or not at all: on a full disk, by a writer that fails, by a process that is killed."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from difflr import files
from difflr.files import whole_file, write_whole

pytestmark = pytest.mark.same_everywhere


def in_process(code, folder):
    """What becomes of a process of its own (without Keras, so it is quick) that runs `code`."""
    load = f"import os, resource, runpy, signal; files = runpy.run_path({files.__file__!r})\n"
    return subprocess.run([sys.executable, "-c", load + code], cwd=folder, stderr=subprocess.PIPE, text=True)


def test_text_and_bytes(tmp_path):
    write_whole(tmp_path / "text", "grün")
    write_whole(str(tmp_path / "bytes"), b"\x00\xff")
    assert (tmp_path / "text").read_text(encoding="utf-8") == "grün"
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    assert len(os.listdir(tmp_path)) == 2
    with pytest.raises(TypeError, match="Received: 3 "):
        write_whole(tmp_path / "text", 3)


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "plan.json"
    write_whole(path, "old")

    done = in_process(
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "files['write_whole']('plan.json', 'new' * 10_000)",
        tmp_path,
    )
    assert "File too large" in done.stderr
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.json"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),  # by a write, which names no file
        OSError("Can't write data (file write failed: time = now, errno = 28, error message = 'No space')"),  # by HDF5
    ],
)
def test_a_full_disk_names_the_file(error, tmp_path):
    def write(error):
        with whole_file(tmp_path / "plan.json"):
            raise error

    with pytest.raises(OSError, match=re.escape(str(tmp_path / "plan.json"))) as raised:
        write(error)
    assert raised.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="other"):
        write(FileNotFoundError(errno.ENOENT, "No such file or directory", "other"))


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "plan.json"
    write_whole(path, "old")

    def write_half():
        with whole_file(path) as unfinished:
            unfinished.write_text("hal")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.json"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "plan.json"
    write_whole(path, "old")

    done = in_process(
        "with files['whole_file']('plan.json') as unfinished:\n"
        "    unfinished.write_text('hal')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    )
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"


def test_permissions_links_and_endings_are_kept(tmp_path):
    path, link = tmp_path / "a.weights.h5", tmp_path / "link"
    write_whole(path, "old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    path.chmod(0o640)
    link.symlink_to(path)
    with whole_file(link) as unfinished:
        assert unfinished.name.endswith(".weights.h5")
        unfinished.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_devices_are_written_to_and_stay():
    with pytest.raises(OSError, match="No space left"):
        write_whole("/dev/full", "text")
    assert Path("/dev/full").is_char_device()


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder.*missing"):
        write_whole(tmp_path / "missing" / "plan.json", "text")
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, "text")
