"""A teacher's table of minutes is dealt out from the lesson's own, and nothing else in the notes is touched."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT
from tests.support.lessons import LESSON, write_lesson
from tools.course.build import build, drift
from tools.course.effort import by_section, minutes
from tools.course.lesson import read_lesson, source_paths
from tools.course.timetable import AT_HOME, section_minutes

pytestmark = pytest.mark.usefixtures("two_checks")


def test_minutes_add_up_to_the_card_and_follow_the_effort():
    for path in source_paths(ROOT / "notebooks"):
        lesson = read_lesson(path)
        dealt, counted = section_minutes(lesson), by_section(lesson)
        assert sum(dealt.values()) == minutes(lesson)
        assert min(dealt.values()) >= 1
        assert [*dealt] == [n for n in counted if n not in (lesson.title, *AT_HOME)]
        longest = max(list(dealt)[1:], key=lambda name: counted[name])
        assert dealt[longest] == max(list(dealt.values())[1:])


def test_a_lesson_with_more_sections_than_minutes_has_one_for_each(tmp_path):
    many = "".join(f"\n# %% [markdown]\n# ## Is it {n}?\n" for n in range(60))
    head, recap, rest = LESSON.partition("\n# %% [markdown]\n# ## Recap")
    lesson = read_lesson(write_lesson(tmp_path, head + many + recap + rest))
    dealt = section_minutes(lesson)
    assert len(dealt) > minutes(lesson)
    assert set(dealt.values()) == {1}


def test_build_writes_them_and_the_check_holds_them(tmp_path):
    src, notebooks = tmp_path / "notebooks" / "src", tmp_path / "notebooks"
    lesson = read_lesson(write_lesson(src))
    notes = notebooks / "teaching" / "01.md"
    notes.parent.mkdir()
    kept = "| Gone? | 7 | stays |\n\n## On the board\n\n| Quiz | 99 | is no row of the table |\n"
    notes.write_text(f"# Notes\n\n## Time\n\n| Quiz | 99 | by hands |\n{kept}", encoding="utf-8")
    build(src, notebooks)
    each = section_minutes(lesson)["Quiz"]
    assert each != 99
    told = f"# Notes\n\n## Time\n\n| Quiz | {each} | by hands |\n{kept}"
    assert notes.read_text("utf-8") == told
    assert drift(src, notebooks) == []
    notes.write_text(told.replace(f"| {each} |", "| 98 |"), encoding="utf-8")
    (problem,) = drift(src, notebooks)
    assert re.search(r"01\.md.*build", str(problem))
