"""The rules of a lesson: a good one has no problem, and every rule broken once is named, with line and cell."""

from __future__ import annotations

import nbformat
import pytest

from tests.support.lessons import HEADER, LESSON, WORDS, write_lesson
from tools.course.build import build
from tools.course.lint import lint

pytestmark = pytest.mark.usefixtures("two_checks")
FIRST = LESSON.replace(
    LESSON[LESSON.index('# %% tags=["exercise"]') : LESSON.index("# %% [markdown]\n# So it is")],
    "# %%\n1\n\n",
)


def test_a_good_lesson_has_no_problem(tmp_path):
    assert [str(problem) for problem in lint(write_lesson(tmp_path))] == []


LONG = "\n".join(f"a{n} = {n}" for n in range(16))
BROKEN = {
    # rule: (what a good lesson says, what the bad one says instead, a word of the complaint)
    "no card": (HEADER, "", "card"),
    "minutes by hand": ("#     budget_s", "#     minutes: 20\n#     budget_s", "minutes"),
    "a card with five points": (
        "#       - the second point",
        "#       - x" + "\n#       - x" * 3,
        "learn",
    ),
    "a header that is no YAML": ("budget_s: 60", "budget_s: [60", "header"),
    "no title": ("# # A title", "# A title", "titles (H1)"),
    "two titles": ("# ## Next", "# # Another\n\n# %% [markdown]\n# ## Next", "titles (H1)"),
    "no promise": ("You will be able to add", "You add", "promise"),
    "a promise of two sentences": ("in one sentence.", "fast. Soon.", "promise"),
    "three sections": ("## What is question 4?", "### What is question 4?", "3 sections"),
    "a heading that asks nothing": ("is question 4?", "is question 4", "no question"),
    "a heading inside a cell": (
        "## What is question 4?",
        "Well.\n#\n# ## What is question 4?",
        "first line",
    ),
    "no recap": ("# ## Recap", "# Recap", "`Recap` is missing"),
    "no aggregator": (
        "# ## What the aggregator saw",
        "# nothing",
        "`What the aggregator saw` is missing",
    ),
    "the wrong order": ("## Readings", "## Recap", "in this order"),
    "a section of few words": (WORDS, "word " * 30, "40 to 120"),
    "a section of many words": (WORDS, "word " * 130, "40 to 120"),
    "one Predict box": ("> **Predict**: and now?", "> and now?", "1 Predict"),
    "a Predict box without a choice": ("# > - three\n", "", "no choice"),
    "a Predict box before prose": (
        "# > - three\n",
        "# > - three\n\n# %% [markdown]\n# x\n",
        "answers",
    ),
    "a recap of another length": ("# * the second\n", "", "`Recap` has 1"),
    "a title before its answer": (
        "# %%\n1 + rounds",
        '# %%\nfk.show(fk.plots.accuracy(rounds), "It rises")',
        "before the answer",
    ),
    "another lesson's quiz": ('fk.quiz("01")', 'fk.quiz("03")', "does not show the quiz"),
    "no quiz": ('fk.quiz("01")', "1 + 1", "does not show the quiz"),
    "five readings": ("# * McMahan et al.", "# * x" + "\n# * x" * 4, "`Readings` has 5"),
    "no roles": ("**Alice, participant**", "Alice", "nobody acts"),
    "a role as a heading": (
        "# **Alice, participant**",
        "# ### Alice, participant",
        "role is a heading",
    ),
    "a section by number": ("On we go.", "See section 2.", "`section 2`"),
    "lessons counted": ("On we go.", "The other fourteen lessons wait.", "`fourteen lessons`"),
    "lessons counted in code": ("1 + rounds", "print('15 notebooks')", "`15 notebooks`"),
    "the last lesson": ("On we go.", "This is the last lesson.", "`last lesson`"),
    "a cell by number": ("On we go.", "Look at the third cell.", "`third cell`"),
    "a forbidden word": ("On we go.", "Simply go on.", "`Simply`"),
    "a forbidden word in a comment": ("# twice as much", "# just twice", "`just`"),
    "an image without alt": ("![a tree]", "![ ]", "alt text"),
    "an img without alt": ("![a tree](https://example.org/t.png)", '<img src="x.png">', "alt text"),
    "a dead link": ("02_next.ipynb", "03_none.ipynb", "leads nowhere"),
    "a link out of the course": ("02_next.ipynb", "../README.md", "leads nowhere"),
    "a shell command": ("1 + rounds", "!ls", "`!`"),
    "a magic": ("1 + rounds", "%pip install x", "`!`, `%`"),
    "a call of IPython": ("1 + rounds", "get_ipython().system('ls')", "IPython"),
    "not Python": ("1 + rounds", "1 +", "not valid Python"),
    "input": ("1 + rounds", "input('?')", "input()"),
    "a first cell that does more": (
        "import torch\n",
        "import torch\ntorch.manual_seed(1)\n",
        "no import",
    ),
    "a first cell with others' packages": ("import torch\n", "import sklearn\n", "sklearn"),
    "no fk": ("import fedkit as fk", "import fedkit", "import fedkit as fk"),
    "no parameters": ('tags=["parameters"]', "", "`parameters`"),
    "two parameters cells": (
        "# %%\n1 + rounds",
        '# %% tags=["parameters"]\nx: int = 1  # x',
        "2 cells",
    ),
    "late parameters": (
        '# %% tags=["parameters"]',
        '# %%\n1\n\n# %% tags=["parameters"]',
        "second code cell",
    ),
    "an untyped parameter": ("rounds: int = 3", "rounds = 3", "no typed"),
    "a parameter of another type": ("rate: float = 0.1", "rate: float = 1", "another type"),
    "a computed parameter": ("rounds: int = 3 ", "rounds: int = max(1, 2) ", "no literal"),
    "a parameter without a comment": ("  # communication rounds", "", "no comment"),
    "a comment that papermill can't read": ("# communication rounds", "# rounds = 3", "papermill"),
    "a long cell": ("1 + rounds", LONG, "16 lines"),
    "long cells": ("1 + rounds", "\n\n# %%\n".join(["a = 1\n" * 7] * 14), "the median is"),
    "pyplot": ("value = 1\n", "import matplotlib.pyplot as plt\n", "pyplot"),
    "pyplot from": ("value = 1\n", "from matplotlib import pyplot\n", "pyplot"),
    "a bare figure": ('fk.show(chart, "It rises")', "chart", "without an alt text"),
    "a bare plot": (
        'fk.show(chart, "It rises")',
        "fk.plots.accuracy(value)",
        "without an alt text",
    ),
    "show without alt": ('fk.show(chart, "It rises")', "fk.show(chart)", "no alt text"),
    "show with an empty alt": ('"It rises")', '" ")', "not one line"),
    "show with two lines": ('"It rises")', '"It\\nrises")', "not one line"),
    "a pandas plot": ('fk.show(chart, "It rises")', "frame.plot()", "past fk.show"),
    "one exercise": ('# %% tags=["exercise"]\ndef double', "# %%\ndef double", "fewer than 2"),
    "an exercise without a check": ("fk.check._two(double)", "double(2)", "without a check"),
    "an unknown check": ("fk.check._two", "fk.check._three", "no check named _three"),
    "a marker outside": ("1 + rounds", "1 + rounds  # solution", "isn't an exercise"),
    "nothing to write": ("    2  # solution", "    2", "nothing to write"),
    "an open region": ("    # solution end\n", "", "no end"),
    "an end without begin": ("    # solution begin\n", "", "closes nothing"),
    "a stub that doesn't parse": (
        "fk.check._one(\n",
        "fk.check._one(  # solution\n",
        "stub is not valid",
    ),
    "another function": ("else torch.empty(0)", "else torch.zeros(0)", "differs from"),
    "a function that isn't there": ("fk.flatten", "fk.flatter", "can't be found"),
    "a name inside the package": ("fk.flatten", "fedkit.learning.models.flatten", "may import"),
    "a cell without the function": ("def flatten(state):", "def flat(state):", "defines no"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named(rule, tmp_path):
    good, bad, says = BROKEN[rule]
    assert good in LESSON
    problems = [str(problem) for problem in lint(write_lesson(tmp_path, LESSON.replace(good, bad)))]
    named = [problem for problem in problems if says in problem]
    assert named, problems
    assert all("01_one.py" in problem and " -> " in problem for problem in problems)


def test_a_problem_names_the_line_and_the_cell(tmp_path):
    text = LESSON.replace("1 + rounds", "!ls")
    (problem,) = [p for p in lint(write_lesson(tmp_path, text)) if "`!`" in p.what]
    lines = text.splitlines()
    assert lines[problem.cell.line - 1 : problem.cell.line + 1] == ["# %%", "!ls"]
    build(tmp_path, tmp_path / "out")
    built = nbformat.read(tmp_path / "out" / "01_one.ipynb", as_version=4)
    assert built.cells[problem.cell.number - 1].source == "!ls"


@pytest.mark.parametrize(
    "gone", ["## What is question 4?", "# ## Quiz", "# ## What the aggregator saw"]
)
def test_the_first_notebook_is_freer(gone, tmp_path):
    text = FIRST.replace(gone, "nothing")
    path = write_lesson(tmp_path, text, "00_start")
    assert [str(problem) for problem in lint(path)] == []
    assert lint(write_lesson(tmp_path, text)) != []
