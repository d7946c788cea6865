"""reveal.js, the script that moves slides: one version, each file known by its SHA-256, kept in this user's cache.

It is fetched once, by whichever package manager is there: npm, or pip, since the Python package sphinx-revealjs carries the
same files. Where neither reaches its registry, `--reveal` names what was fetched elsewhere. Another hash is not used.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, sha256_bytes, write_bytes
from fedkit.teaching.slides.packages import by_npm, by_pip

__all__ = ["FILES", "VERSION", "cache_dir", "reveal"]


VERSION = "5.2.1"
FILES = {
    "dist/reveal.js": "46538b52db48724192f59bf46f5e851a18e302777c46f4a34c32709d010d6a29",
    "dist/reveal.css": "68f915a11ebf7203c0446576b7e952ff61c5dd02134a8a226ffaf62ed42136d2",
    "plugin/notes/notes.js": "df1201d19d03241a2897d39c3d38768177df1cbd4bde06327b321cb83461ae89",
}
"""Path in the package -> SHA-256."""
IN_PIP = "sphinx-revealjs==3.2.1"
MOST = 2**20  # bytes of one of these files

_REMEDY = (
    f"where the internet is open, run `npm pack reveal.js@{VERSION}` or `pip download --no-deps {IN_PIP}`, and give "
    "what that fetched: fedkit course slides NN --reveal FILE"
)


def reveal(given: Path | None = None) -> dict[str, str]:
    """The text of each of `FILES`: from `given`, else from the cache, else fetched into it.

    given : a folder with the unpacked package, or the package itself, npm's (.tgz) or pip's (.whl). Raises FedkitError
    where a file is missing or another than this version's, and where nothing can be fetched.
    """
    if given is not None:
        return _texts(_from(given), given)
    cache = cache_dir() / f"reveal.js-{VERSION}"
    kept = _from(cache) if cache.is_dir() else {}
    if any(sha256_bytes(kept.get(name, b"")) != digest for name, digest in FILES.items()):
        kept = _fetched()
        for name, data in kept.items():
            write_bytes(cache / name, data)
    return _texts(kept, cache)


def cache_dir() -> Path:
    """Where this user's programs keep what they can fetch again; in it, a folder of fedkit's."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fedkit"


def _texts(found: dict[str, bytes], where: Path) -> dict[str, str]:
    for name, digest in FILES.items():
        if name not in found:
            raise FedkitError(f"has no {name} in it", file=where, remedy=_REMEDY)
        if sha256_bytes(found[name]) != digest:
            raise FedkitError(
                f"has another {name} than reveal.js {VERSION}", file=where, remedy=_REMEDY
            )
    return {name: data.decode() for name, data in found.items()}


def _from(path: Path) -> dict[str, bytes]:
    """Those of `FILES` that are there, whatever folders stand before their names."""
    try:
        if path.is_dir():
            there = [(name, path / name) for name in FILES if (path / name).is_file()]
            return {name: read_bytes(file, max_bytes=MOST) for name, file in there}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as package:
                return {
                    wanted: package.read(info)
                    for info in package.infolist()
                    for wanted in _named(info.filename, info.file_size)
                }
        with tarfile.open(path) as archive:
            return {
                wanted: file.read(MOST)
                for member in archive
                for wanted in _named(member.name, member.size)
                if (file := archive.extractfile(member)) is not None
            }
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise FedkitError(
            "can't be read as reveal.js", file=path, why=str(error), remedy=_REMEDY
        ) from error


def _named(name: str, size: int) -> Iterator[str]:
    yield from (wanted for wanted in FILES if size <= MOST and f"/{name}".endswith(f"/{wanted}"))


def _fetched() -> dict[str, bytes]:
    """Whatever the first package manager that answers brings; neither runs a line of it."""
    whys = []
    for fetch, what in ((by_npm, f"reveal.js@{VERSION}"), (by_pip, IN_PIP)):
        with tempfile.TemporaryDirectory(prefix="fedkit-reveal-") as folder:
            try:
                found = _from(fetch(what, Path(folder)))
            except FedkitError as error:
                whys.append(error.why or error.what)
                continue
            if all(sha256_bytes(found.get(n, b"")) == digest for n, digest in FILES.items()):
                return found
            whys.append(f"what came is another reveal.js than {VERSION}")
    raise FedkitError(
        f"reveal.js {VERSION} is not on this machine, and could not be fetched",
        why="; ".join(whys),
        remedy=_REMEDY,
    )
