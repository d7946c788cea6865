"""What a page needs at view time and PyPI does not have: packages of npm, of one version, with one hash."""

from __future__ import annotations

import base64
import hashlib
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.teaching.slides.packages import by_npm

__all__ = ["AXE", "MATHJAX", "Package", "fetched", "unpacked"]


@dataclass(frozen=True)
class Package:
    """A package of npm: its name, its one version, and the SHA-512 of its archive as npm writes it."""

    name: str
    version: str
    integrity: str


# 3, not 4: it has its fonts in the same package, and asks for nothing while a page is read
MATHJAX = Package(
    "mathjax",
    "3.2.2",
    "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
)
AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)


def fetched(package: Package, cache: Path) -> Path:
    """The archive of a package, from `cache` where it lies there already.

    Raises FedkitError where npm is missing or fails, or the bytes are not the expected ones.
    """
    path = cache / f"{package.name}-{package.version}.tgz"
    if not path.is_file():
        write_bytes(path, _packed(package))
    data = path.read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != package.integrity:
        path.unlink()
        raise FedkitError(
            f"{package.name} {package.version} is not what it was",
            file=path,
            why=f"its hash is {found}, and should be {package.integrity}",
            remedy="the file is removed; fetch it again, from a registry that you trust",
        )
    return path


def _packed(package: Package) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return by_npm(f"{package.name}@{package.version}", Path(folder)).read_bytes()


def unpacked(archive: Path, prefix: str, target: Path, keep: tuple[str, ...]) -> None:
    """Write those files of an archive whose path below `prefix` starts with one of `keep` into `target`."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = member.name.removeprefix(prefix)
            if not member.isfile() or not member.name.startswith(prefix):
                continue
            if name.startswith(keep) and ".." not in Path(name).parts:
                stream = tar.extractfile(member)
                if stream is not None:
                    write_bytes(target / name, stream.read())
