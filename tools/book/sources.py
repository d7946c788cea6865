"""The book's sources in one folder, laid out as the repository is, so that links between its files hold in both.

What people wrote for the book lies in `tools/book/pages/`; a line `{{name}}` there is replaced by what is generated.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedkit import __version__
from fedkit.base.distribution import BRANCH, REPOSITORY
from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.experiments.lessons import about
from tools.book.lessons import lesson_page
from tools.book.npm import MATHJAX, fetched, unpacked
from tools.book.reference import api_pages, commands_page, keys_page

__all__ = ["glossary", "pages", "write_sources"]

HERE = Path(__file__).resolve().parent
ROW = re.compile(
    r"^\| (?P<term>[^|]+) \| (?P<meaning>[^|]+) \| \[(?P<lesson>\d\d)\]\((?P<file>\S+)\) \|$"
)
GENERATED = re.compile(r"^\{\{(\w+)\}\}$", re.MULTILINE)
FIRST_PAGES = ("tutorial", "own_data", "roads", "privacy", "trouble", "protocol")


def glossary(course: Path) -> list[dict[str, str]]:
    """The rows of GLOSSARY.md: term, meaning, lesson ("06") and its file. Raises FedkitError for a row that is none."""
    path = course / "GLOSSARY.md"
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    found = []
    for line in rows[1:]:
        match = ROW.match(line)
        if match is None:
            raise FedkitError(
                f"has a row that is no term: {line[:60]}",
                file=path,
                remedy="write | term | what it means | [NN](NN_name.ipynb) |",
            )
        found.append(match.groupdict())
    return found


def pages(course: Path) -> list[str]:
    """Every page of the book but the reference's own, as paths without suffix from the folder of sources."""
    lessons = [f"notebooks/{path.stem}" for path in sorted(course.glob("[0-9][0-9]_*.ipynb"))]
    teaching = [f"notebooks/teaching/{path.stem}" for path in _teaching(course)]
    looked_up = ["notebooks/GLOSSARY", "reference/commands", "reference/fl_config", "api/index"]
    return [
        "index",
        *lessons,
        *looked_up,
        *FIRST_PAGES,
        *(["notebooks/teaching/index"] if teaching else []),
        *teaching,
    ]


def write_sources(course: Path, executed: Mapping[str, Path], out: Path, cache: Path) -> None:
    """Write all sources into `out`, whatever lay there; `executed` as `lessons.executed` gives it."""
    shutil.rmtree(out, ignore_errors=True)
    for name, copy in executed.items():
        learner = course / f"{name}.ipynb"
        _write(
            out / "notebooks" / f"{name}.ipynb", json.dumps(lesson_page(copy, learner), indent=1)
        )
        write_bytes(out / "files" / f"{name}.ipynb", learner.read_bytes())
    for picture in (course / "pictures").glob("*.png"):
        write_bytes(out / "notebooks" / "pictures" / picture.name, picture.read_bytes())
    terms = glossary(course)
    _write(out / "notebooks" / "GLOSSARY.md", _glossary_page(terms))
    _write(out / "reference" / "commands.md", commands_page())
    _write(out / "reference" / "fl_config.md", keys_page())
    for name, text in api_pages().items():
        _write(out / "api" / name, text)
    teaching = _teaching(course)
    for path in teaching:
        _write(out / "notebooks" / "teaching" / path.name, path.read_text(encoding="utf-8"))
    if teaching:
        _write(out / "notebooks" / "teaching" / "index.md", _teaching_index(teaching))
    titles = {name: about(course / f"{name}.ipynb").title for name in executed}
    generated = {
        "lessons": _lessons_table(course, executed),
        "contents": _contents(titles, bool(teaching)),
    }
    for path in sorted((HERE / "pages").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        _write(out / path.name, GENERATED.sub(lambda match: generated[match[1]], text))
    unpacked(
        fetched(MATHJAX, cache),
        "package/",
        out / "mathjax",
        ("LICENSE", "es5/tex-chtml.js", "es5/output/chtml/fonts/woff-v2/"),
    )
    shutil.copytree(
        HERE / "sphinx", out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    facts: dict[str, Any] = {
        "version": __version__,
        "repository": REPOSITORY,
        "branch": BRANCH,
        "terms": terms,
    }
    _write(out / "book.json", json.dumps(facts))


def _write(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def _teaching(course: Path) -> list[Path]:
    return sorted((course / "teaching").glob("*.md"))


def _glossary_page(terms: list[dict[str, str]]) -> str:
    lines = [
        "# Glossary",
        "",
        "Each term is defined once, in the lesson named beside it, and means the same everywhere. On other pages, its "
        "first use is underlined with dots: point at it, or reach it with the Tab key, and its meaning appears.",
        "",
        "```{glossary}",
    ]
    for row in terms:
        lines += [row["term"], f"  {row['meaning']} ([lesson {row['lesson']}]({row['file']}))", ""]
    return "\n".join([*lines, "```", ""])


def _lessons_table(course: Path, names: Mapping[str, Path]) -> str:
    lines = ["| | lesson | minutes | |", "|---|---|---|---|"]
    for name in names:
        said = about(course / f"{name}.ipynb")
        lines.append(
            f"| {name[:2]} | [{said.title}](notebooks/{name}.ipynb) | {said.minutes} | {said.promise} |"
        )
    return "\n".join(lines)


def _teaching_index(paths: list[Path]) -> str:
    lines = [
        "# For the teacher",
        "",
        "Notes on each lesson: time by section, where to stop, what wrong answers reveal, questions for a class. "
        "What learners hand in is read by "
        "[`fedkit course grade`](../../reference/commands.md#fedkit-course-grade).",
        "",
        "```{toctree}",
        ":maxdepth: 1",
        "",
        *[path.stem for path in paths],
        "```",
        "",
    ]
    return "\n".join(lines)


def _contents(titles: Mapping[str, str], teaching: bool) -> str:
    parts = {
        "Lessons": [f"{name[:2]} {titles[name]} <notebooks/{name}>" for name in titles],
        "Work with it": ["tutorial", "own_data", "roads", "privacy", "trouble"],
        "Look it up": [
            "notebooks/GLOSSARY",
            "reference/commands",
            "reference/fl_config",
            "api/index",
            "protocol",
        ],
        "Teach": ["notebooks/teaching/index"] if teaching else [],
    }
    lines: list[str] = []
    for caption, entries in parts.items():
        if entries:
            lines += ["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""]
    return "\n".join(lines)
