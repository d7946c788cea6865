"""The course as a whole: its hours, which lesson needs which, and the short path, written into the pages that list it.

Nobody types a lesson's minutes: `build` puts them into the rows of README.md's table, and fills the blocks of
`notebooks/README.md` that stand between `<!-- built: NAME -->` and `<!-- end -->`. Cards say the rest: `needs` names the
lessons that come before, and `short_path` makes a lesson part of the afternoon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import hours
from fedkit.teaching.plots.course_map import stretches
from tools.course.effort import minutes
from tools.course.lesson import Lesson, Problem

__all__ = ["hours", "pages", "passed_over", "problems", "short_path"]


ROW = re.compile(r"^\| (\d\d) \| \[[^\]]*\]\((\S+?)\) \| \d* \| (.*)$", re.MULTILINE)
BLOCK = re.compile(r"(<!-- built: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages(course: Sequence[Lesson], out_dir: Path) -> dict[Path, bytes]:
    """The pages that list the course, as they should be: those of them that there are."""
    found = {}
    for path in (out_dir.parent / "README.md", out_dir / "README.md"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            found[path] = _blocks(_rows(text, course), course, path).encode()
    return found


def problems(course: Sequence[Lesson]) -> list[Problem]:
    """What is wrong between lessons: one that needs a lesson that comes later or is not there, or a jump left unsaid."""
    found = []
    known = {lesson.number for lesson in course}
    for lesson in course:
        before, part = lesson.needed
        wrong = [n for n in before if n >= lesson.number] + [n for n in part if n not in known]
        wrong += [n for n in before if n not in known]
        for n in dict.fromkeys(wrong):
            what = f"needs lesson {n:02d}, which is not there or comes later"
            remedy = "name lessons that come before; those of use for a part stand behind a `;`"
            found.append(Problem(lesson.path, None, what, remedy))
        jump, said = passed_over(lesson, course), lesson.card.short_path or []
        if bool(jump) != bool(said):
            what = "is on the short path and " + (
                f"doesn't say what {_list(jump)} would have told" if jump else "nothing is jumped"
            )
            remedy = "`short_path` in the header is a list of what is passed over, in two lines"
            found.append(Problem(lesson.path, None, what, remedy))
    return found


def short_path(course: Sequence[Lesson]) -> list[Lesson]:
    """The lessons for one afternoon, in order."""
    return [lesson for lesson in course if lesson.card.short_path is not None]


def passed_over(lesson: Lesson, course: Sequence[Lesson]) -> list[Lesson]:
    """The lessons between this one and the one before it on the short path; none where it is not on it."""
    path = short_path(course)
    if lesson not in path or lesson is path[0]:
        return []
    before = path[path.index(lesson) - 1]
    return [other for other in course if before.number < other.number < lesson.number]


def _rows(text: str, course: Sequence[Lesson]) -> str:
    lessons = {f"{lesson.number:02d}": lesson for lesson in course}

    def row(match: re.Match[str]) -> str:
        lesson = lessons.get(match[1])
        if lesson is None:
            return match[0]
        return f"| {match[1]} | [{lesson.title}]({match[2]}) | {minutes(lesson)} | {match[3]}"

    return ROW.sub(row, text)


def _blocks(text: str, course: Sequence[Lesson], path: Path) -> str:
    def block(match: re.Match[str]) -> str:
        if match[2] not in BLOCKS:
            raise FedkitError(
                f"has a block {match[2]!r} that nobody builds",
                file=path,
                remedy=f"name one of {', '.join(BLOCKS)}",
            )
        return f"{match[1]}{BLOCKS[match[2]](course)}\n{match[3]}"

    return BLOCK.sub(block, text)


def _parts(course: Sequence[Lesson]) -> str:
    numbers = {lesson.number: lesson for lesson in course}
    lines = ["| part | lessons | time |", "|---|---|---|"]
    for name, there in stretches(numbers).items():
        total = sum(minutes(numbers[n]) for n in there)
        span = f"{there[0]:02d} to {there[-1]:02d}" if len(there) > 1 else f"{there[0]:02d}"
        lines.append(f"| {name} | {span} | {hours(total)} |")
    every = sum(map(minutes, course))
    lines.append(f"| **all** | {len(course)} lessons | {hours(every)} |")
    return "\n".join(lines)


def _lessons(course: Sequence[Lesson]) -> str:
    lines = ["| | lesson | minutes | needs | of use for a part |", "|---|---|---|---|---|"]
    for lesson in course:
        before, part = (", ".join(f"{n:02d}" for n in kind) for kind in lesson.needed)
        link = f"[{lesson.title}]({lesson.name}.ipynb)"
        lines.append(f"| {lesson.number:02d} | {link} | {minutes(lesson)} | {before} | {part} |")
    return "\n".join(lines)


def _short(course: Sequence[Lesson]) -> str:
    path = short_path(course)
    lines = [f"{hours(sum(map(minutes, path)))} in all:", ""]
    for lesson in path:
        link = f"[{lesson.number:02d} {lesson.title}]({lesson.name}.ipynb)"
        lines.append(f"* {link}, {minutes(lesson)} minutes")
        lines += [f"  * passed over {line}" for line in lesson.card.short_path or ()]
    return "\n".join(lines)


def _badges(course: Sequence[Lesson]) -> str:
    from tools.course.card import badges  # which asks this module for the short path

    return badges(course[0].name)


BLOCKS: dict[str, Callable[[Sequence[Lesson]], str]] = {
    "badges": _badges,
    "parts": _parts,
    "lessons": _lessons,
    "short path": _short,
}


def _list(lessons: Sequence[Lesson]) -> str:
    return " and ".join(f"{lesson.number:02d}" for lesson in lessons)
