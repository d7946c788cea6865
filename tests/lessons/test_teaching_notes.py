"""The teacher's notes: each lesson has all parts, and what they name is there: sections, options, replies, commands."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import fedkit as fk
from fedkit.cli.main import app
from fedkit.teaching.quiz import read_quiz
from tests.support.helpers import ROOT
from tools.course.effort import minutes
from tools.course.lesson import Lesson, read_lesson, source_paths
from tools.course.lint import FORBIDDEN
from tools.course.timetable import ROW, notes_path, section_minutes

SOURCES = source_paths(ROOT / "notebooks")
TEACHING = ROOT / "notebooks" / "teaching"
IN_THE_BOOK = {"GLOSSARY", "README", *(path.stem[:2] for path in SOURCES)}
"""Pages that a link may lead to: the book has these pages, and a link that leads out of it is an error there."""
PARTS = {
    "Time": "section",
    "On the board": "```text",
    "What they should see": "where",
    "What a wrong choice reveals": "choice",
    "What a wrong answer reveals": "exercise",
    "In a room of thirty": "* **",
    "To discuss": "1. *",
}

lesson_of = functools.cache(read_lesson)
each_lesson = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem[:2])


def notes_of(lesson: Lesson) -> str:
    return notes_path(lesson).read_text(encoding="utf-8")


def part(notes: str, title: str) -> str:
    """What stands under a heading of the notes."""
    match = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", notes, re.M | re.DOTALL)
    assert match, title
    return match[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def options(lesson: Lesson) -> dict[str, str]:
    """What may be chosen in Predict boxes and quiz: its code, such as "P1 a", and what it says."""
    boxes = [c.source for c in lesson.of_kind("markdown") if "> **Predict.**" in c.source]
    said = {
        f"P{number} {letter}": text
        for number, box in enumerate(boxes, 1)
        for letter, text in re.findall(r"^> \* ([a-h])\) (.+)$", box, re.MULTILINE)
    }
    quiz = () if lesson.number == 0 else read_quiz(f"{lesson.number:02d}")
    for number, question in enumerate(quiz, 1):
        said |= {f"Q{number} {letter}": option.says for letter, option in question.lettered()}
    return said


def answers(lesson: Lesson) -> set[str]:
    """The codes of the quiz's right options."""
    quiz = () if lesson.number == 0 else read_quiz(f"{lesson.number:02d}")
    return {f"Q{number} {question.answer}" for number, question in enumerate(quiz, 1)}


def exercises(lesson: Lesson) -> set[str]:
    source = "\n".join(cell.source for cell in lesson.of_kind("code"))
    return set(re.findall(r"\bfk\.check\.(\w+)\(", source))


# ------------------------------------------------------------------------------------ one lesson
@each_lesson
def test_every_part_is_there(path: Path) -> None:
    lesson = lesson_of(path)
    notes = notes_of(lesson)
    assert notes.startswith(f"# {lesson.number:02d} {lesson.title}: for the teacher\n")
    wanted = [p for p in PARTS if lesson.number or p != "What a wrong answer reveals"]
    found = re.findall(r"^## (.+)$", notes, re.MULTILINE)
    assert [title for title in found if title in PARTS] == wanted
    for title in wanted:
        assert PARTS[title] in part(notes, title), title
    assert len(re.findall(r"^\* \*\*", part(notes, "In a room of thirty"), re.MULTILINE)) >= 3
    assert not FORBIDDEN.search(notes)
    assert max(map(len, notes.splitlines())) <= 420


@each_lesson
def test_time_has_a_row_for_each_section_and_adds_up(path: Path) -> None:
    lesson = lesson_of(path)
    table = part(notes_of(lesson), "Time")
    found = [(row["section"], int(row["minutes"])) for row in ROW.finditer(table)]
    assert [section for section, _ in found] == list(section_minutes(lesson))
    assert sum(each for _, each in found) == pytest.approx(minutes(lesson), rel=0.1)
    assert "**stop here**" in table


@each_lesson
def test_the_board_can_be_drawn(path: Path) -> None:
    boards = re.findall(
        r"^```text\n(.*?)^```$", part(notes_of(lesson_of(path)), "On the board"), re.M | re.DOTALL
    )
    assert len(boards) == 1
    lines = boards[0].splitlines()
    assert 5 <= len(lines) <= 24
    assert all(line.isascii() and len(line) <= 72 and line == line.rstrip() for line in lines)


@each_lesson
def test_each_wrong_option_is_told_of_and_the_right_ones_are_named(path: Path) -> None:
    lesson = lesson_of(path)
    told = part(notes_of(lesson), "What a wrong choice reveals")
    there, wrong = options(lesson), rows(told)
    assert all(len(row) == 4 and all(row) for row in wrong), wrong
    assert {row[0]: row[1] for row in wrong}.items() <= there.items()  # in their own words
    named = re.search(r"^Right: ((?:[PQ]\d [a-h](?:, )?)+)\.$", told, re.MULTILINE)
    assert named
    right = named[1].split(", ")
    assert sorted([*right, *(row[0] for row in wrong)]) == sorted(there)  # each once
    assert {code for code in right if code.startswith("Q")} == answers(lesson)
    boxes = {code[:2] for code in there if code.startswith("P")}
    assert sorted(code[:2] for code in right if code.startswith("P")) == sorted(boxes)


@each_lesson
def test_the_right_option_of_a_predict_box_is_the_one_that_the_lesson_names(path: Path) -> None:
    """Where the text after a box says which it is: "c. ..." or "It is c) ..."."""
    lesson = lesson_of(path)
    right = re.search(r"^Right: (.+)\.$", notes_of(lesson), re.MULTILINE)
    assert right
    number, open_ = 0, False
    for cell in lesson.of_kind("markdown"):
        if "> **Predict.**" in cell.source:
            number, open_ = number + 1, True
        elif open_:
            said = re.match(r"(?:It is )?([a-d])(?:[.,]|\)[.,]?)\s", cell.source)
            if said:
                assert f"P{number} {said[1]}" in right[1].split(", ")
                open_ = False


@functools.cache
def replies() -> str:
    """All that checks may say, with a blank where they put a value in."""
    texts: list[str] = []
    for path in (ROOT / "fedkit" / "teaching" / "check").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else " " for p in node.values]
                texts.append("".join(str(p) for p in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


@pytest.mark.parametrize("path", SOURCES[1:], ids=lambda path: path.stem[:2])
def test_each_exercise_has_its_usual_mistakes_by_the_words_of_its_check(path: Path) -> None:
    lesson = lesson_of(path)
    told = rows(part(notes_of(lesson), "What a wrong answer reveals"))
    assert all(len(row) == 4 and all(row) for row in told), told
    assert {row[0].strip("`") for row in told} == exercises(lesson)
    assert len(told) >= 2 * min(len(exercises(lesson)), 4)
    for _, says, *_ in told:
        quoted = re.match(r'"([^"]+)"', says)
        assert quoted, says
        assert quoted[1] in replies() or quoted[1] in known_answers(), says


@functools.cache
def known_answers() -> str:
    """Words of replies that are put together at run time, as the table of answers expects them."""
    return (ROOT / "tests" / "support" / "answers.py").read_text(encoding="utf-8")


@each_lesson
def test_questions_to_discuss_are_answered(path: Path) -> None:
    asked = re.findall(
        r"^\d\. \*(.+?\?.*?)\* (.+?)(?=^\d\. |\Z)",
        part(notes_of(lesson_of(path)), "To discuss"),
        re.M | re.DOTALL,
    )
    assert 3 <= len(asked) <= 5
    assert all(len(answer.split()) >= 15 for _, answer in asked), asked


# --------------------------------------------------------------------------- what all of them name
def pages() -> Iterator[tuple[str, str]]:
    for path in sorted(TEACHING.glob("*.md")):
        yield path.name, path.read_text(encoding="utf-8")


def quoted(text: str) -> list[str]:
    """What stands between backticks, outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.DOTALL))


def options_of(words: list[str]) -> tuple[set[str], list[str]]:
    """The options of the command that is meant, and the words that are left for it; it fails on an unknown command."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(command.context_class(command), words)
    return {name for p in command.params for name in [*p.opts, *p.secondary_opts]}, words


def test_every_command_exists_with_its_options() -> None:
    seen = set()
    for page, text in pages():
        for words in map(shlex.split, (q for q in quoted(text) if q.startswith("fedkit "))):
            seen.add(words[1])
            options, rest = options_of(words[1:])
            assert {word for word in rest if word.startswith("-")} <= options, (page, words)
    assert {"doctor", "course", "class", "keys"} <= seen


def test_every_name_of_the_package_exists() -> None:
    found = 0
    for page, text in pages():
        for name in re.findall(r"\bfk((?:\.\w+)+)", "\n".join(quoted(text))):
            there: object = fk
            for word in name[1:].split("."):
                there = getattr(there, word, None)
                assert there is not None, (page, name)
            found += 1
    assert found


def test_targets_links_files_and_modules_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page, text in pages():
        for picture, link in re.findall(r"(!?)\[[^\]]*\]\(([^)#]+)[^)]*\)", text):
            assert (TEACHING / link).is_file(), (page, link)
            inside = (TEACHING / link).resolve().relative_to(ROOT / "notebooks")
            assert picture or inside.stem in IN_THE_BOOK
        for said in quoted(text):
            if said.startswith("make "):
                assert re.search(rf"^{said[5:]}:", makefile, re.MULTILINE), (page, said)
            elif re.fullmatch(r"(notebooks|benchmarks|fedkit)/[\w/.]+", said):
                assert (ROOT / said).exists(), (page, said)
            elif re.fullmatch(r"fedkit(\.\w+)+", said):
                assert (ROOT / f"{said.replace('.', '/')}.py").is_file(), (page, said)


def test_each_lesson_has_its_page_and_the_readme_points_there() -> None:
    there = {path.name for path in TEACHING.glob("*.md")}
    assert there == {"README.md", *(f"{path.stem[:2]}.md" for path in SOURCES)}
    assert "(notebooks/teaching/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
