"""Lessons as pages: each is executed once for each state of what its result depends on, and read from the cache then.

A reader gets the solved edition, since its pictures and replies are those of a course that was worked through. An exercise
stands there as a learner meets it; its solution, with what the check says to it, is folded away below.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.experiments.lessons import edition_dir, lesson_paths
from fedkit.experiments.notebooks import RunResult, run

__all__ = ["executed", "key_of", "lesson_page", "package_digest"]

KEPT = 2  # executed copies of one lesson: today's, and one to go back to
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "opacus",
    "matplotlib",
    "ipykernel",
)
PREDICT = re.compile(r"^> \*\*Predict\.\*\*(?P<text>.*(?:\n>.*)*)", re.MULTILINE)
OTHER_EDITION = re.compile(r" · \[[^\]]+ edition\]\([^)]*\)")
STUB_NOTE = {
    "mystnb": {"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
}


# ---------------------------------------------------------------------------------------- executed
def package_digest(root: Path) -> str:
    """SHA-256 over what a lesson may have used: the package but for its top floor, `cli/`, and the data sets in `data/`.

    The rest counts whole, since a lesson starts processes and loads modules by name. Of a module, what Python makes of it
    counts: other comments and line breaks give the same results.
    """
    package = root / "fedkit"
    digest = hashlib.sha256()
    files = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    files = [p for p in files if p.relative_to(package).parts[0] != "cli"]
    for path in sorted([*files, *(root / "data").glob("*.npz")]):
        data = path.read_bytes()
        if path.suffix == ".py":
            data = ast.dump(ast.parse(data)).encode()
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def key_of(notebook: Path, package: str) -> str:
    """What an executed copy is good for: the lesson with its seeds and parameters, the package, the libraries."""
    parts = [hashlib.sha256(notebook.read_bytes()).hexdigest(), package, sys.version]
    for name in LIBRARIES:
        try:
            parts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            parts.append(f"{name} none")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def executed(
    course: Path,
    cache: Path,
    *,
    wanted: Sequence[str] = (),
    jobs: int = 2,
    say: Callable[[str], object] = lambda text: None,
) -> dict[str, Path]:
    """Executed copies of the solved edition: name -> notebook in `cache`; those that are not there are executed.

    course : the folder `notebooks`. Raises FedkitError where a lesson fails; those that succeeded stay in the cache.
    """
    package = package_digest(course.parent)
    notebooks = lesson_paths(edition_dir(course, "solutions"), wanted)
    kept = {path.stem: cache / f"{path.stem}-{key_of(path, package)}.ipynb" for path in notebooks}
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "executing.lock"):
        todo = [path for path in notebooks if not kept[path.stem].is_file()]
        say(f"{len(notebooks) - len(todo)} executed lessons in the cache, {len(todo)} to execute")
        work = cache / "work"
        failed: list[RunResult] = []

        def keep(result: RunResult) -> None:
            say(f"{result.name}: {result.status} after {result.seconds:.0f} s")
            if result.status == "done" and result.output is not None:
                _keep(result.output, kept[result.name], work)
            else:
                failed.append(result)
            shutil.rmtree(work / f"{result.name}_files", ignore_errors=True)

        if todo:
            run(todo, work, jobs=jobs, on_done=keep)
            shutil.rmtree(work, ignore_errors=True)
        if failed:
            first = failed[0]
            raise FedkitError(
                f"{first.name} {first.status}",
                file=edition_dir(course, "solutions") / f"{first.name}.ipynb",
                field=f"cell {first.cell}" if first.cell else None,
                why=first.error,
                remedy=f"run it alone: fedkit course run {first.name[:2]} --edition solutions",
            )
        _prune(cache, kept.values())
    return kept


def _keep(output: Path, target: Path, work: Path) -> None:
    """Put an executed copy into the cache; where this machine kept its files is nobody's business."""
    text = output.read_text(encoding="utf-8")
    for place in (work / f"{output.stem}_files", work):
        for form in {str(place.resolve()), place.resolve().as_posix(), str(place)}:
            text = text.replace(json.dumps(form)[1:-1], "runs")
    write_bytes(target, text.encode("utf-8"))


def _prune(cache: Path, used: Iterable[Path]) -> None:
    for path in used:
        name = path.stem.rpartition("-")[0]
        others = [p for p in cache.glob(f"{name}-*.ipynb") if p != path]
        others.sort(key=lambda p: p.stat().st_mtime, reverse=True)
        for old in others[KEPT - 1 :]:
            old.unlink()


# -------------------------------------------------------------------------------------------- pages
def lesson_page(executed_copy: Path, learner: Path) -> dict[str, Any]:
    """The notebook that becomes a page, from an executed copy and the learner's edition of the same lesson.

    Raises FedkitError where the two are not editions of one lesson, or an output is a widget that no page can show.
    """
    notebook = json.loads(executed_copy.read_text(encoding="utf-8"))
    stubs = {cell["id"]: cell for cell in json.loads(learner.read_bytes())["cells"]}
    cells: list[dict[str, Any]] = []
    for position, cell in enumerate(notebook["cells"]):
        tags = cell["metadata"].get("tags", [])
        if "injected-parameters" in tags:
            continue
        cell = {**cell, "source": "".join(cell["source"])}
        cell["metadata"] = {"tags": list(tags)}
        if cell["cell_type"] == "markdown":
            cell["source"] = _prose(cell["source"], learner.name, first=position == 0)
        elif "exercise" in tags:
            if cell["id"] not in stubs:
                raise FedkitError(
                    "the two editions do not belong together",
                    file=learner,
                    remedy="run: python -m tools.course build",
                )
            cells.append(_stub(stubs[cell["id"]]))
            cell["metadata"] |= deepcopy(STUB_NOTE)
            cell["metadata"]["tags"].append("hide-cell")
        if cell["cell_type"] == "code":
            cell["outputs"] = [_output(each, learner) for each in _joined(cell["outputs"])]
        cells.append(cell)
    return {
        "cells": cells,
        "metadata": {"kernelspec": notebook["metadata"]["kernelspec"]},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _stub(cell: dict[str, Any]) -> dict[str, Any]:
    source = "".join(cell["source"])
    return {
        "cell_type": "code",
        "id": f"{cell['id']}-open",
        "metadata": {"tags": ["fk-exercise"]},
        "source": source,
        "execution_count": None,
        "outputs": [],
    }


def _prose(source: str, file: str, *, first: bool) -> str:
    source = PREDICT.sub(_admonition, source)
    if first:
        source = OTHER_EDITION.sub("", source)
        source += f"\n>\n> To run it yourself: [the learner's notebook](path:../files/{file})"
    return source.replace("](GLOSSARY.md)", "](../glossary.md)")


def _admonition(match: re.Match[str]) -> str:
    lines = [line.removeprefix(">").removeprefix(" ") for line in match["text"].splitlines()]
    body = "\n".join([lines[0].strip(), *lines[1:]])
    return f":::{{admonition}} Predict\n:class: fk-predict\n\n{body.strip()}\n:::"


def _joined(outputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs with each stream in one piece: a kernel cuts it wherever time has passed, even within a line."""
    found: list[dict[str, Any]] = []
    for output in outputs:
        if output["output_type"] != "stream":
            found.append(output)
            continue
        text = "".join(output["text"])
        same = [o for o in found if o.get("name") == output["name"]]
        if same:
            same[-1]["text"] += text
        else:
            found.append({**output, "text": text})
    return found


def _output(output: dict[str, Any], lesson: Path) -> dict[str, Any]:
    data = output.get("data", {})
    shown = {kind: value for kind, value in data.items() if not kind.startswith("application/vnd.")}
    if data and not shown.keys() & {"text/html", "text/plain", "image/png", "image/svg+xml"}:
        raise FedkitError(
            f"a page can't show {', '.join(sorted(data))}",
            file=lesson,
            remedy="show a static twin beside the widget, as fedkit's panels do",
        )
    return {**output, "data": shown} if data else output
