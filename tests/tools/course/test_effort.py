"""A learner's minutes: the formula that authors are told is the one that is counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.lessons import LESSON, write_lesson
from tools.course.effort import RATES, Effort, by_section, effort, minutes, rounded
from tools.course.lesson import read_lesson, source_paths

pytestmark = pytest.mark.usefixtures("two_checks")

TINY = """# ---
# jupyter:
#   fedkit:
#     budget_s: 1
#     needs: nothing
#     learn:
#       - x
# ---

# %% [markdown]
# # A title
#
# Two [words](https://example.org/and/none/of/these).

# %%
a = 1

b = 2

# %% [markdown]
# ## Why?
#
# > **Predict.** One or two?

# %% tags=["exercise"]
c = (
    3  # solution
)

# %% tags=["exercise", "design"]
# solution begin
d = 4
# solution end

# %%
fk.quiz("01")
"""


def test_everything_is_counted_once(tmp_path):
    lesson = read_lesson(write_lesson(tmp_path, TINY))
    # A, title, Two, words; Why, Predict, One, or, two
    assert effort(lesson) == Effort(9, 4, 2 + 3 + 1 + 1, 1, 1, 1, 5)
    exact = 9 / 238 + 4 / 4 + 7 / 15 + 1 + 3 + 8 + 5
    assert effort(lesson).minutes == pytest.approx(exact)
    assert minutes(lesson) == 20
    sections = by_section(lesson)
    assert list(sections) == ["A title", "Why?"]
    assert sections["A title"] == pytest.approx(4 / 238 + 1 / 4 + 2 / 15)
    assert sum(sections.values()) == pytest.approx(exact)


def test_minutes_are_rounded_to_five():
    assert [rounded(x) for x in (0.0, 2.0, 7.4, 7.6, 43.4)] == [5, 5, 5, 10, 45]


def test_a_longer_lesson_takes_longer(tmp_path):
    short = minutes(read_lesson(write_lesson(tmp_path / "a")))
    text = LESSON.replace("On we go.", "word " * 238 * 5)
    assert minutes(read_lesson(write_lesson(tmp_path / "b", text))) == short + 5


def test_authors_are_told_these_rates():
    said = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (section,) = re.findall(r"^### Minutes\n(.*?)^### ", said, re.MULTILINE | re.DOTALL)
    formula = (
        "words / 238 + cells / 4 + lines / 15 + predictions + 3 exercises + 8 designs + questions"
    )
    assert formula in section
    assert "Brysbaert" in section
    assert Effort(1 / 238, 1 / 4, 1 / 15, 1, 3, 8, 1) == RATES


def test_no_source_has_minutes_typed_by_hand():
    for path in source_paths(ROOT / "notebooks"):
        header = path.read_text("utf-8").partition("# %%")[0]
        assert "minutes" not in header, path.name


def test_a_part_for_the_teacher_counts_nothing(tmp_path: Path) -> None:
    part = "\n# %% [markdown]\n# ### For the teacher\n#\n# Some words.\n\n# %%\nroom = 1\n"
    plain, more = tmp_path / "00_a.py", tmp_path / "01_b.py"
    plain.write_text(TINY, encoding="utf-8")
    more.write_text(TINY + part, encoding="utf-8")
    both = [read_lesson(path) for path in (plain, more)]
    assert effort(both[0]) == effort(both[1])
    assert by_section(both[0]) == by_section(both[1])
    after = "\n# %% [markdown]\n# ## Next?\n#\n# A word.\n"
    more.write_text(TINY + part + after, encoding="utf-8")
    assert effort(read_lesson(more)).words > effort(both[0]).words
