"""Pinned packages: only the pinned file is read, and errors say what to do."""

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from difflr.demo import packages
from difflr.demo.packages import Package, PackageError

pytestmark = pytest.mark.same_everywhere


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFLR_CACHE", str(tmp_path))
    return tmp_path


def wheel(cache, content=b"weights"):
    """A wheel in the cache that holds one file, and the package that pins it."""
    archive = cache / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("thing/data.bin", content)
    return Package("thing", "1.0", archive.name, hashlib.sha256(archive.read_bytes()).hexdigest(), "MIT")


def test_reads_out_of_a_wheel(cache):
    assert packages.read(wheel(cache), "thing/data.bin") == b"weights"


def test_reads_out_of_a_source_archive(cache):
    archive = cache / "thing-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        info = tarfile.TarInfo("thing-1.0/thing/data.bin")
        info.size = 7
        file.addfile(info, io.BytesIO(b"weights"))
    package = Package("thing", "1.0", archive.name, hashlib.sha256(archive.read_bytes()).hexdigest(), "MIT")
    assert packages.read(package, "thing/data.bin") == b"weights"


def test_another_file_than_the_pinned_one_is_refused(cache):
    package = wheel(cache)
    (cache / package.file).write_bytes(b"forged")
    with pytest.raises(PackageError, match=rf"expected\s+{package.sha256}.*Delete the file"):
        packages.read(package, "thing/data.bin")


def test_a_failed_download_says_what_to_run(cache, monkeypatch):
    def refuse(command, **kwargs):
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: No matching distribution found\n")

    monkeypatch.setattr(packages.subprocess, "run", refuse)
    package = Package("thing", "1.0", "thing-1.0.tar.gz", "0" * 64, "MIT")
    with pytest.raises(PackageError, match=r"(?s)No matching distribution.*pip download --no-deps .*thing==1\.0"):
        packages.fetch(package)
    assert list(cache.iterdir()) == []


def test_the_download_is_pinned_by_hash(cache, monkeypatch):
    seen = {}

    def download(command, **kwargs):
        seen["requirements"] = Path(command[-1]).read_text()
        Path(command[command.index("--dest") + 1], "thing-1.0.tar.gz").write_bytes(b"archive")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", download)
    digest = hashlib.sha256(b"archive").hexdigest()
    package = Package("thing", "1.0", "thing-1.0.tar.gz", digest, "MIT")
    assert packages.fetch(package).read_bytes() == b"archive"
    assert seen["requirements"] == f"thing==1.0 --hash=sha256:{digest}\n"


def test_the_cache_is_in_the_home_folder_unless_told(monkeypatch, tmp_path):
    monkeypatch.delenv("DIFFLR_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert packages.cache_folder() == tmp_path / ".cache" / "difflr"
