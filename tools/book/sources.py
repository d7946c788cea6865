"""The book's sources in one folder, laid out as the repository is, so that links between its files hold in both.

What people wrote for the book lies in `tools/book/pages/`; `{{name}}` there is replaced by what is generated.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedkit.base.distribution import BRANCH, REPOSITORY, VERSION, WHEEL
from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.experiments.lessons import about, lesson_paths
from tools.book.lessons import lesson_page
from tools.book.npm import MATHJAX, fetched, unpacked
from tools.book.reference import api_pages, commands_page, keys_page

__all__ = ["contents", "glossary", "write_sources", "written"]

HERE = Path(__file__).resolve().parent
ROW = re.compile(
    r"^\| (?P<term>[^|]+) \| (?P<meaning>[^|]+) \| \[(?P<lesson>\d\d)\]\((?P<file>\S+)\) \|$"
)
GENERATED = re.compile(r"\{\{(\w+)\}\}")
LINK = re.compile(r"\[([^\]\n]+)\]\((?!\w+:)([^)#\s]+)[^)\s]*\)")


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


def contents(course: Path) -> dict[str, list[str]]:
    """What the book holds beside its first page: heading of a part -> pages, as paths without suffix."""
    lessons = [f"notebooks/{path.stem}" for path in lesson_paths(course)]
    teaching = (course / "teaching" / "README.md").is_file()
    return {
        "Lessons": ["notebooks/README", *lessons],
        "Work with it": ["prompt", "tutorial", "own_data", "roads", "privacy", "trouble"],
        "Look it up": [
            *("notebooks/GLOSSARY", "reference/commands", "reference/fl_config", "api/index"),
            *("protocol", "stable"),
        ],
        "Teach": ["notebooks/teaching/README"] if teaching else [],
    }


def written(course: Path) -> dict[str, str]:
    """Every page but the lessons themselves: path in the folder of sources -> text."""
    pages = {
        "notebooks/GLOSSARY.md": _glossary_page(glossary(course)),
        "reference/commands.md": commands_page(),
        "reference/fl_config.md": keys_page(),
        **{f"api/{name}": text for name, text in api_pages().items()},
    }
    for path in [course / "README.md", *sorted((course / "teaching").glob("*.md"))]:
        pages[f"notebooks/{path.relative_to(course).as_posix()}"] = _of_the_repository(path, course)
    generated = {
        "lessons": _lessons_table(course),
        "contents": _toctrees(course),
        "wheel": WHEEL,
    }
    for path in sorted((HERE / "pages").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        pages[path.name] = GENERATED.sub(lambda match: generated[match[1]], text)
    return pages


def write_sources(course: Path, executed: Mapping[str, Path], out: Path, cache: Path) -> None:
    """Write all sources into `out`, whatever lay there; `executed` as `lessons.executed` gives it."""
    shutil.rmtree(out, ignore_errors=True)
    settings = shutil.ignore_patterns("__pycache__")
    shutil.copytree(HERE / "sphinx", out, ignore=settings)
    for name, copy in executed.items():
        learner = course / f"{name}.ipynb"
        page = json.dumps(lesson_page(copy, learner), indent=1)
        _write(out / "notebooks" / f"{name}.ipynb", page)
        write_bytes(out / "files" / f"{name}.ipynb", learner.read_bytes())
    for picture in (course / "pictures").glob("*.png"):
        write_bytes(out / "notebooks" / "pictures" / picture.name, picture.read_bytes())
    for name, text in written(course).items():
        _write(out / name, text)
    unpacked(
        fetched(MATHJAX, cache),
        "package/",
        out / "mathjax",
        ("LICENSE", "es5/tex-chtml.js", "es5/output/chtml/fonts/woff-v2/"),
    )
    facts: dict[str, Any] = {
        "version": VERSION,
        "repository": REPOSITORY,
        "branch": BRANCH,
        "terms": glossary(course),
    }
    _write(out / "book.json", json.dumps(facts))


def _write(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def _of_the_repository(path: Path, course: Path) -> str:
    """A page that lies in the course's folder. A link out of that folder leads to no page of the book: its words stay.

    A link that says no more than a file's name gets the title of its page.
    """

    def kept(link: re.Match[str]) -> str:
        to = (path.parent / link[2]).resolve()
        if not to.is_relative_to(course.resolve()):
            return link[1]
        if link[1] != to.name:
            return link[0]
        title = to.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        return link[0].replace(f"[{link[1]}]", f"[{title}]")

    text = LINK.sub(kept, path.read_text(encoding="utf-8"))
    if path.parent == course or path.stem != "README":
        return text
    notes = sorted(note.stem for note in path.parent.glob("[0-9][0-9].md"))
    return "\n".join(
        [text, "## The notes", "", "```{toctree}", ":maxdepth: 1", "", *notes, "```", ""]
    )


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


def _lessons_table(course: Path) -> str:
    lines = ["| | lesson | minutes | you will be able to |", "|---|---|---|---|"]
    for path in lesson_paths(course):
        said = about(path)
        link = f"[{said.title}](notebooks/{path.name})"
        promise = said.promise.removeprefix("You will be able to ").removesuffix(".")
        lines.append(f"| {path.stem[:2]} | {link} | {said.minutes} | {promise} |")
    return "\n".join(lines)


def _toctrees(course: Path) -> str:
    numbered = {
        f"notebooks/{path.stem}": f"{path.stem[:2]} {about(path).title}"
        for path in lesson_paths(course)
    }
    lines: list[str] = []
    for caption, pages in contents(course).items():
        if pages:
            entries = [f"{numbered[p]} <{p}>" if p in numbered else p for p in pages]
            lines += ["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""]
    return "\n".join(lines)
