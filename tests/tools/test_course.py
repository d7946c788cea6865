"""The machinery of the course, on tiny lessons: two editions from one source, every rule broken once, real kernels."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.console import Console
from typer.testing import CliRunner

from fedkit.base.errors import FedkitError
from fedkit.cli.course import app
from fedkit.experiments.notebooks import RunResult, lesson_paths, recorded, run
from fedkit.experiments.parameters import fit
from fedkit.experiments.summary import accuracy_by_round, table, write_summary
from fedkit.teaching.check.base import REGISTRY, Check
from fedkit.teaching.notebook import figure_html, record, show, workspace
from tools.course.build import build, drift
from tools.course.defines import difference
from tools.course.lesson import read_lesson
from tools.course.lint import lint
from tools.course.stub import solved, strange_lines, stub

WORDS = " ".join(["word"] * 50)
HEADER = """\
# ---
# jupyter:
#   fedkit:
#     minutes: 20
#     budget_s: 60
#     needs: notebook 00
#     learn:
#       - the first point
#       - the second point
# ---
"""
SECTIONS = "".join(
    f"""
# %% [markdown]
# ## What is question {number}?
#
# {WORDS}
#
# **Alice, participant** adjusts, and `just` is code.

# %%
value = {number}
"""
    for number in range(1, 5)
)
LESSON = f"""{HEADER}
# %% [markdown]
# # A title
#
# You will be able to add two numbers of `fl_config.json` and say why,
# in one sentence.

# %%
import torch

import fedkit as fk

# %% tags=["parameters"]
rounds: int = 3  # communication rounds
rate: float = 0.1  # step size, at most 1
name: str = "alice"  # who
flags: list[int] = [1, 2]  # two of them
{SECTIONS}
# %% [markdown]
# > **Predict.** How much is it?
# >
# > * a) two
# > * b) three

# %%
1 + rounds

# %% [markdown]
# > **Predict**: and now?
# >
# > - two
# > - three

# %% tags=["exercise"]
fk.check._one(
    2  # solution
)

# %% tags=["exercise"]
def double(x):
    # twice as much
    # solution begin
    y = x + x
    return y
    # solution end


# %%
fk.check._two(double)

# %%
chart = fk.plots.accuracy(value)
# cat is no command here
fk.show(chart, "It rises")
fk.show(fk.plots.accuracy(value), alt=f"It rises to {{value}}")

# %% tags=["defines:fedkit.teaching.notebook._is_ours"]
def _is_ours(folder):
    "Ours."
    return folder.is_dir() and ((folder / MARKER).is_file() or not any(folder.iterdir()))

# %% [markdown]
# ## What the aggregator saw
#
# See [the next](02_next.ipynb) and [a page](https://example.org/x). ![a tree](https://example.org/t.png)

# %% [markdown]
# ## Recap
#
# * the first
# * the second

# %% [markdown]
# ## Quiz
#
# 1. one?
# 2. two?
# 3. three?
# 4. four?
# 5. five?

# %% [markdown]
# ## Readings
#
# * McMahan et al.

# %% [markdown]
# ## Next
#
# On we go.
"""
FIRST = LESSON.replace(
    LESSON[LESSON.index('# %% tags=["exercise"]') : LESSON.index("# %%\nchart")], "# %%\n1\n\n"
)


@pytest.fixture(autouse=True)
def two_checks(monkeypatch):
    for name in ("_one", "_two"):
        monkeypatch.setitem(REGISTRY, name, Check(name, name, "hint", lambda answer: "yes", True))


def write_lesson(folder: Path, text: str = LESSON, name: str = "01_one") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "02_next.py").write_text(LESSON.replace("A title", "The next"), encoding="utf-8")
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------- rules
def test_a_good_lesson_has_no_problem(tmp_path):
    assert [str(problem) for problem in lint(write_lesson(tmp_path))] == []


LONG = "\n".join(f"a{n} = {n}" for n in range(16))
BROKEN = {
    # rule: (what a good lesson says, what the bad one says instead, a word of the complaint)
    "no card": (HEADER, "", "card"),
    "a card without minutes": ("#     minutes: 20\n", "", "minutes"),
    "a card with five points": (
        "#       - the second point",
        "#       - x" + "\n#       - x" * 3,
        "learn",
    ),
    "a header that is no YAML": ("minutes: 20", "minutes: [20", "header"),
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
    "four quiz questions": ("# 5. five?\n", "", "`Quiz` has 4"),
    "five readings": ("# * McMahan et al.", "# * x" + "\n# * x" * 4, "`Readings` has 5"),
    "no roles": ("**Alice, participant**", "Alice", "nobody acts"),
    "a role as a heading": (
        "# **Alice, participant**",
        "# ### Alice, participant",
        "role is a heading",
    ),
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
    "another function": ("or not any(", "or any(", "differs from"),
    "a function that isn't there": ("workspace._is_ours", "workspace._is_mine", "can't be found"),
    "a cell without the function": ("def _is_ours(folder):", "def ours(folder):", "defines no"),
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


# ----------------------------------------------------------------------------------------- editions
line = st.sampled_from(["x = 1", "y = x", "", "    return y", "x[..., 0]", "# a comment", "f(x)"])
marked = st.one_of(
    line.map(lambda text: ([text], [])),
    line.filter(str.strip).map(lambda text: ([f"{text}  # solution"], [text])),
    st.lists(line, min_size=1, max_size=4)
    .filter(lambda lines: any(map(str.strip, lines)))
    .map(lambda lines: (["    # solution begin", *lines, "    # solution end"], lines)),
)


@given(st.lists(marked, max_size=8))
@settings(max_examples=150, deadline=None)
def test_each_line_of_a_stub_is_one_of_the_solution_or_dots(parts):
    source = "\n".join(text for lines, _ in parts for text in lines)
    hidden = [solution for _, solution in parts if solution]
    short, full = stub(source).split("\n"), solved(source).split("\n")
    assert strange_lines("\n".join(short), "\n".join(full)) == []
    assert all("# solution" not in text for text in short + full)
    assert sum(text.strip() == "..." for text in short) == len(hidden)
    shown = [text for text in short if text.strip() not in ("", "...")]
    visible = [text for lines, solution in parts if not solution for text in lines]
    assert shown == [text for text in visible if text.strip()]


def test_a_stub_with_another_line_is_strange():
    assert strange_lines("def f():\n    ...\n    return 2", "def f():\n    return 1") == [
        "    return 2"
    ]


def cells_of(path: Path) -> list:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def test_two_editions_from_one_source(tmp_path):
    write_lesson(tmp_path / "src")
    build(tmp_path / "src", tmp_path)
    learner, solution = (
        cells_of(tmp_path / "01_one.ipynb"),
        cells_of(tmp_path / "solutions/01_one.ipynb"),
    )
    stubs = [cell.source for cell in learner if "exercise" in cell.metadata.get("tags", [])]
    assert stubs == ["fk.check._one(\n    ...\n)", "def double(x):\n    # twice as much\n    ..."]
    full = [cell.source for cell in solution if "exercise" in cell.metadata.get("tags", [])]
    assert full[1] == "def double(x):\n    # twice as much\n    y = x + x\n    return y"
    for ours, theirs in zip(learner, solution, strict=True):
        assert ours.id == theirs.id
        if "exercise" not in ours.metadata.get("tags", []) and ours is not learner[0]:
            assert ours == theirs
        if ours.cell_type == "code":
            ast.parse(ours.source)
    assert len({cell.id for cell in learner}) == len(learner)
    first = learner[0].source
    assert "20 minutes" in first
    assert "* the second point" in first
    assert "Next: [02 The next](02_next.ipynb)" in first
    assert "Previous: [01 A title](01_one.ipynb)" in cells_of(tmp_path / "02_next.ipynb")[0].source


def test_building_twice_gives_the_same_bytes(tmp_path):
    write_lesson(tmp_path / "a/src")
    write_lesson(tmp_path / "b/src", LESSON.replace("\n", "\r\n"))
    assert len(build(tmp_path / "a/src", tmp_path / "a")) == 4
    build(tmp_path / "b/src", tmp_path / "b")
    names = ["01_one.ipynb", "02_next.ipynb", "solutions/01_one.ipynb", "solutions/02_next.ipynb"]
    assert [(tmp_path / "a" / n).read_bytes() for n in names] == [
        (tmp_path / "b" / n).read_bytes() for n in names
    ]
    assert build(tmp_path / "a/src", tmp_path / "a") == []


def test_a_change_in_one_cell_changes_one_id(tmp_path):
    write_lesson(tmp_path / "src")
    build(tmp_path / "src", tmp_path)
    before = [cell.id for cell in cells_of(tmp_path / "01_one.ipynb")]
    write_lesson(tmp_path / "src", LESSON.replace("1 + rounds", "2 + rounds"))
    build(tmp_path / "src", tmp_path)
    after = [cell.id for cell in cells_of(tmp_path / "01_one.ipynb")]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_drift_is_found(tmp_path):
    source = write_lesson(tmp_path / "src")
    assert len(drift(tmp_path / "src", tmp_path)) == 4
    build(tmp_path / "src", tmp_path)
    assert drift(tmp_path / "src", tmp_path) == []
    built = tmp_path / "01_one.ipynb"
    good = built.read_text(encoding="utf-8")

    built.write_text(good.replace('"    ..."', '"    return x * 3"'), encoding="utf-8")
    said = [str(problem) for problem in drift(tmp_path / "src", tmp_path)]
    assert any("`return x * 3` is neither a line of the solution" in text for text in said)
    built.write_text(good, encoding="utf-8")

    (tmp_path / "solutions/09_old.ipynb").write_text(good, encoding="utf-8")
    (problem,) = drift(tmp_path / "src", tmp_path)
    assert "no source" in problem.what
    (tmp_path / "solutions/09_old.ipynb").unlink()

    source.write_text(LESSON.replace("On we go.", "On we went."), encoding="utf-8")
    assert {p.path.name for p in drift(tmp_path / "src", tmp_path)} == {"01_one.ipynb"}
    source.write_text(LESSON.replace("    # solution end\n", ""), encoding="utf-8")
    (problem,) = drift(tmp_path / "src", tmp_path)
    assert "can't be built" in problem.what


def test_lessons_are_chosen_by_number_or_name(tmp_path):
    write_lesson(tmp_path)
    (tmp_path / "helper.py").touch()
    assert [p.stem for p in lesson_paths(tmp_path)] == ["01_one", "02_next"]
    assert [p.stem for p in lesson_paths(tmp_path, ["2"])] == ["02_next"]
    assert [p.stem for p in lesson_paths(tmp_path, ["02_next", "01"])] == ["01_one", "02_next"]
    with pytest.raises(FedkitError, match="no lesson 7"):
        lesson_paths(tmp_path, ["7"])
    assert read_lesson(tmp_path / "02_next.py").title == "The next"


# ------------------------------------------------------------------------------- one syntax tree
@pytest.mark.parametrize(
    ("source", "differs"),
    [
        ("def workspace(name):\n    return 1", True),
        ("from x import workspace", True),
        ("def shows(fig: int, alt) -> int:\n    pass", True),
        (
            "def show(fig, alt: str) -> 'anything':\n    # a comment\n"
            '    fk.show.publish({"text/html": fk.figure_html(fig, alt), "text/plain": alt.strip()})',
            False,
        ),
        (
            'def show(fig, alt):\n    "Doc."\n    publish({"text/html": figure_html(fig, alt), "text/plain": alt})',
            True,
        ),
    ],
)
def test_syntax_trees_are_compared_without_docstrings_and_annotations(source, differs):
    assert (difference(source, "fedkit.teaching.notebook.show") is not None) is differs


# ------------------------------------------------------------------------ what a notebook itself uses
def test_a_figure_carries_its_alt_text_and_equal_figures_give_equal_bytes(capsys):
    def draw() -> Figure:
        figure = Figure(figsize=(3, 2))
        figure.subplots().plot([0, 1], [0, 1])
        return figure

    html = figure_html(draw(), '  a "line" <rises> ')
    assert html.startswith('<img alt="a &quot;line&quot; &lt;rises&gt;" width="')
    assert "data:image/png;base64," in html
    assert html == figure_html(draw(), 'a "line" <rises>')
    show(draw(), "a line")  # outside a notebook: nothing to see, nothing printed
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("fig", "alt"),
    [(Figure(), ""), (Figure(), " \n"), (Figure(), "a\nb"), (Figure(), None), ("x", "y")],
)
def test_a_figure_needs_an_alt_text(fig, alt):
    with pytest.raises(FedkitError) as caught:
        show(fig, alt)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), None, {"a": 1}, object(), b"x", [1, {2}], [float("nan")]]
)
def test_what_json_cannot_carry_is_not_recorded(value):
    with pytest.raises(FedkitError) as caught:
        record(good=1, bad=value)
    assert caught.value.field == "bad"
    with pytest.raises(FedkitError):
        record()


def test_a_numpy_number_is_refused_with_a_remedy():
    numpy = pytest.importorskip("numpy")
    with pytest.raises(FedkitError, match="float"):
        record(x=numpy.float64(1))


def test_recorded_says_what_is_no_notebook(tmp_path):
    for text in ["", "[]", "{}", '{"cells": 3}']:
        (tmp_path / "x.ipynb").write_text(text)
        with pytest.raises(FedkitError, match=r"x\.ipynb"):
            recorded(tmp_path / "x.ipynb")
    with pytest.raises(FedkitError):
        recorded(tmp_path / "none.ipynb")


def test_a_workspace_is_empty_each_time_and_never_anybody_elses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDKIT_WORKSPACE", raising=False)
    folder = workspace("04")
    assert folder == Path("runs/04")
    (folder / "alice").mkdir()
    (folder / "alice" / "x.pt").touch()
    assert not (workspace("04") / "alice").exists()
    (tmp_path / "runs" / "mine").mkdir()
    (tmp_path / "runs" / "mine" / "thesis.txt").touch()
    for name in ["mine", "..", "a/b", "", "x" * 99]:
        with pytest.raises(FedkitError):
            workspace(name)
    assert (tmp_path / "runs" / "mine" / "thesis.txt").exists()


# ---------------------------------------------------------------------------------------- execution
def notebook(
    folder: Path, name: str, *cells: str, tags: str = "parameters", edition: str = "learner"
) -> Path:
    first = nbformat.v4.new_code_cell(
        'rounds: int = 3  # n\nrate: float = 0.1  # r\nwho: str = "a"  # w\non: bool = False  # o',
        metadata={"tags": [tags]},
    )
    made = nbformat.v4.new_notebook(
        cells=[first, *map(nbformat.v4.new_code_cell, cells)],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "fedkit": {"budget_s": 0.01, "edition": edition},
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


ONE_CHECK = """\
from fedkit.check.base import check, near
@check(hint="h")
def one(answer):
    near(answer, 1, within=0, wrong="It is not one.")
    return "yes"
"""
GOOD = [
    "import os, sys\nfrom pathlib import Path\nfrom fedkit import record, workspace",
    "record(python=sys.executable, threads=os.environ['OMP_NUM_THREADS'], rounds=rounds, rate=rate, who=who)",
    "record(folder=str(workspace('01')), here=str(Path.cwd()), home=os.environ['IPYTHONDIR'])\nrecord(rounds=[rounds])",
    "from matplotlib.figure import Figure\nfrom fedkit.teaching.notebook import show\nshow(Figure(), 'an empty page')",
    ONE_CHECK,
    "one(...)",
    "first = one(1)\nfirst",
    "first",
]


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Four notebooks in one go, on a machine whose user has another `python3` kernel, that doesn't work."""
    folder = tmp_path_factory.mktemp("batch")
    shadow = folder / "jupyter" / "kernels" / "python3"
    shadow.mkdir(parents=True)
    spec = {
        "argv": ["no-such-python", "{connection_file}"],
        "display_name": "old",
        "language": "python",
    }
    (shadow / "kernel.json").write_text(json.dumps(spec))
    paths = [
        notebook(folder, "01_good", *GOOD),
        notebook(
            folder,
            "02_fails",
            "from fedkit import record\nrecord(before=1)",
            "1 / 0",
            "record(after=1)",
        ),
        notebook(folder, "03_unsolved", ONE_CHECK, "one(2)", edition="solutions"),
        notebook(folder, "04_untagged", "1", tags="other"),
    ]
    done, cells = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        results = run(
            paths,
            folder / "out",
            parameters={"rounds": 5, "rate": "2", "who": "7"},
            on_cell=lambda name, cell, total: cells.append((name, cell, total)),
            on_done=lambda result: done.append(result.name),
        )
    return {"folder": folder, "done": done, "cells": cells, **{r.name[:2]: r for r in results}}


def test_results_travel_in_the_executed_copy(batch):
    good = batch["01"]
    assert (good.status, good.error, good.over_budget) == ("done", None, True)
    assert recorded(good.output) == good.recorded
    assert good.recorded["rounds"] == [5]
    assert (good.recorded["rate"], good.recorded["who"]) == (2.0, "7")
    assert good.output == batch["folder"] / "out" / "01_good.ipynb"


def test_the_kernel_is_this_python_with_one_thread_and_places_of_its_own(batch):
    kept = batch["01"].recorded
    assert (kept["python"], kept["threads"]) == (sys.executable, "1")
    assert Path(kept["here"]) == batch["folder"]
    assert Path(kept["folder"]) == batch["folder"] / "out" / "01_good_files" / "01"
    assert not Path(kept["home"]).exists()


def test_outputs_are_shown_once_with_words_beside_them(batch):
    cells = nbformat.read(batch["01"].output, as_version=4).cells
    shown = {cell.source: cell.outputs for cell in cells if cell.cell_type == "code"}
    (picture,) = shown[GOOD[3]]
    assert 'alt="an empty page"' in picture.data["text/html"]
    assert picture.data["text/plain"] == "an empty page"
    for source, state in [("one(...)", "Not yet"), (GOOD[6], "Right"), ("first", "Right")]:
        (box,) = shown[source]
        assert state in box.data["text/html"]
        assert state in box.data["text/plain"]
    assert batch["01"].checks == {"one": "right"}


def test_a_notebook_that_fails_shows_the_cell_and_stops_no_other(batch):
    failed = batch["02"]
    assert (failed.status, failed.source) == ("failed", "1 / 0")
    assert "ZeroDivisionError" in failed.error
    assert failed.recorded == {"before": 1}
    assert (failed.name, failed.cell, 5) in batch["cells"]
    assert sorted(batch["done"]) == ["01_good", "02_fails", "03_unsolved", "04_untagged"]


def test_a_solution_that_its_check_rejects_is_a_failure(batch):
    assert batch["03"].status == "failed"
    assert "one: try again" in batch["03"].error


def test_a_notebook_without_parameters_is_refused(batch):
    assert (batch["04"].status, batch["04"].output) == ("refused", None)
    assert "parameters" in batch["04"].error


def test_accuracies_that_were_recorded_become_a_table_of_rounds():
    def result(name: str, **recorded: object) -> RunResult:
        return RunResult(name, "learner", "done", 1.0, None, None, recorded=recorded)

    both = [result("04_aggregate", accuracies=[0.5, 0.75]), result("00_start", accuracy=[0.25])]
    shown = io.StringIO()
    Console(file=shown, width=100).print(accuracy_by_round([*both, result("01", accuracy=0.9)]))
    text = shown.getvalue()
    assert "round 2" in text
    assert "50.0%" in text
    assert "75.0%" in text
    assert "01" not in text
    assert accuracy_by_round([result("02", bytes=3)]) is None
    assert accuracy_by_round([result("02", accuracies=["high", None])]) is None


def test_of_many_rounds_as_many_are_shown_as_there_is_room_for(tmp_path):
    def result(name, accuracies):
        return RunResult(
            name, "learner", "done", 1.0, None, None, recorded={"accuracies": accuracies}
        )

    both = [result("11", [n / 100 for n in range(18)]), result("06", [0.5, 0.75])]
    shown = io.StringIO()
    Console(file=shown, width=100).print(accuracy_by_round(both))
    assert re.findall(r"round (\d+)", shown.getvalue()) == ["1", "5", "9", "13", "18"]
    assert "17.0%" in shown.getvalue()
    Console(file=shown, width=100).print(table(both))
    assert "[0, ..., 0.17]" in shown.getvalue()
    assert "[0.5, 0.75]" in shown.getvalue()


def test_the_summary_has_a_row_for_each_and_a_column_for_each_record(batch, tmp_path):
    write_summary([batch["01"], batch["02"]], tmp_path)
    rows = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert [(row["notebook"], row["status"]) for row in rows] == [
        ("01_good", "done"),
        ("02_fails", "failed"),
    ]
    assert rows[0]["recorded"] == batch["01"].recorded
    head, first, second = (tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()
    assert head.startswith(
        "notebook,edition,status,minutes,budget_minutes,cell,error,recorded.before"
    )
    assert first.startswith("01_good,learner,done")
    assert "ZeroDivisionError" in second


def test_the_limit_holds_for_the_whole_notebook(tmp_path):
    # each cell alone is well within the limit, and would never meet a limit for one cell
    path = notebook(
        tmp_path, "01_slow", *["import time; time.sleep(2)"] * 60, "open('end.txt', 'w')"
    )
    (result,) = run([path], tmp_path / "out", limit_s=6)
    assert result.status == "timed out"
    assert result.cell < 61
    assert "6 s" in result.error
    assert not (tmp_path / "end.txt").exists()
    assert result.output.is_file()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("round", "3", "did you mean rounds?"),
        ("xyz", "3", "it has rounds, rate, who, on"),
        ("rounds", "many", "no int"),
        ("rounds", "2.5", "no int"),
        ("rounds", True, "no int"),
        ("rate", "fast", "no float"),
        ("on", "1", "no bool"),
        ("who", 3, "no str"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_before_anything_runs(name, value, says, tmp_path):
    path = notebook(tmp_path, "01_x", "1")
    with pytest.raises(FedkitError) as caught:
        fit(path, {name: value})
    assert caught.value.field == name
    assert says in str(caught.value)
    (result,) = run([path], tmp_path / "out", parameters={name: value})
    assert (result.status, result.output) == ("refused", None)


def test_text_is_read_as_the_declared_type(tmp_path):
    path = notebook(tmp_path, "01_x")
    given = {"rounds": "7", "rate": "1", "who": "3", "on": "true"}
    assert fit(path, given) == {"rounds": 7, "rate": 1.0, "who": "3", "on": True}


# ----------------------------------------------------------------------------------- the command line
def course(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_check_build_and_list_on_the_command_line(tmp_path):
    write_lesson(tmp_path / "src")
    where = ("--notebooks", str(tmp_path))
    code, said = course("check", *where)
    assert code == 1
    assert "has not been built -> " in said
    assert course("build", *where)[0] == 0
    code, said = course("check", *where)
    assert (code, said) == (0, "2 lessons, 0 problems")
    (tmp_path / "01_one.ipynb").unlink()
    assert course("check", "2", *where)[0] == 0
    assert course("check", "1", *where)[0] == 1
    code, said = course("list", *where)
    assert code == 0
    assert "add two numbers" in said
    assert "40 minutes" in said


def test_run_on_the_command_line(tmp_path):
    (tmp_path / "src").mkdir()
    notebook(tmp_path, "01_fails", "'[bold]'", "print(open('no [such] file'))")
    where = ("--notebooks", str(tmp_path), "--out", str(tmp_path / "runs"))
    code, said = course("run", "-p", "rounds", "-1", "01", "-p", "who=x", *where)
    assert code == 1
    assert "01_fails, cell 4: failed" in said
    assert "no [such] file" in said
    rows = json.loads((tmp_path / "runs" / "summary.json").read_text(encoding="utf-8"))
    assert rows[0]["cell"] == 4
    assert "rounds = -1" in (tmp_path / "runs" / "learner" / "01_fails.ipynb").read_text(
        encoding="utf-8"
    )

    code, said = course("run", "-p", "round", "3", *where)
    assert code == 1
    assert "did you mean rounds?" in said
    assert course("run", "7", *where)[0] == 1
    assert course("run", "--edition", "teacher", *where)[0] == 2
    assert course("run", "-p", *where)[0] != 0


def test_a_course_without_sources_says_what_to_do(tmp_path):
    code, said = course("build", "--notebooks", tempfile.mkdtemp(dir=tmp_path))
    assert code == 1
    assert "src/" in said
