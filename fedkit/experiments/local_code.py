"""Which files of one's own a model.py or a notebook imports: what they hold decides the result as its own text does.

Found by a look at its import statements, without running anything; what an import is computed from at run time is not seen.
Packages that are installed do not count here: a run keeps the versions that matter, torch's and fedkit's own.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, sha256_bytes

__all__ = ["code_version", "imported_digests", "notebook_code"]


MOST_FILES = 500
"""So many files of one's own may be imported, all in all."""


def imported_digests(code: Iterable[str], places: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each local file that the code imports, and of those that these import: by the module's name.

    code : sources; one that can't be parsed is left out, as what is wrong with it is said where it runs. places : where
    imports are looked for before PYTHONPATH, as the run will. Raises FedkitError if they are more than `MOST_FILES`.
    """
    path = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    roots = list(dict.fromkeys(place.resolve() for place in [*places, *map(Path, path)]))
    found: dict[str, str] = {}
    todo = [name for source in code for name in _imports(source, "")]
    seen = set(todo)
    while todo:
        name = todo.pop()
        there = _file_of(name, roots)
        if there is None:
            continue
        source = read_bytes(there, max_bytes=2**24)
        found[name] = sha256_bytes(source)
        if len(found) > MOST_FILES:
            raise FedkitError(
                f"imports more than {MOST_FILES} files of your own",
                file=there,
                remedy="install what you import as a package, or import less",
            )
        package = name if there.name == "__init__.py" else name.rpartition(".")[0]
        more = set(_imports(source.decode("utf-8", errors="replace"), package)) - seen
        seen |= more
        todo += sorted(more)
    return found


def notebook_code(data: bytes) -> list[str]:
    """The sources of a notebook's code cells, without the lines that only IPython knows."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        cells = json.loads(data)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        return [
            "\n".join(line for line in source.splitlines() if line.lstrip()[:1] not in ("%", "!"))
            for source in sources
        ]
    return []


def _imports(source: str, package: str) -> Iterator[str]:
    """Dotted names that it may import, those of packages on the way among them. package : where it stands."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*(above if node.level else []), *([node.module] if node.module else [])]
            base = ".".join(part for part in parts if part)
            names = [f"{base}.{alias.name}".strip(".") for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] != "fedkit":  # its sources are a part of every run's name
                yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _file_of(name: str, roots: Sequence[Path]) -> Path | None:
    """The file of a module below one of these folders, as Python would find it; None where it is none of one's own."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    for root in roots:
        base = root.joinpath(*name.split("."))
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file() and not {"site-packages", "dist-packages"} & set(path.parts):
                return path
    return None


PACKAGE = Path(__file__).resolve().parents[1]


def code_version(package: Path = PACKAGE) -> str:
    """SHA-256, in hex, over the names and contents of all Python sources of a package, as they lie on the disk now.

    That is what workers and kernels will run, whatever the calling process has loaded.
    """
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = read_bytes(path).replace(b"\r\n", b"\n")
        total.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()
