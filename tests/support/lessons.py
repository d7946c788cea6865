"""Tiny lessons and notebooks, right in all that the rules ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

from fedkit.experiments.notebooks import QUIZ_MIME

WORDS = " ".join(["word"] * 50)
HEADER = """\
# ---
# jupyter:
#   fedkit:
#     budget_s: 60
#     needs: an installed fedkit
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

# %% [markdown]
# So it is.

# %%
chart = fk.plots.accuracy(value)
# cat is no command here
fk.show(chart, "It rises")
fk.show(fk.plots.accuracy(value), alt=f"It rises to {{value}}")

# %% tags=["defines:fk.flatten"]
def flatten(state):
    "One vector."
    parts = [value.flatten().float() for value in state.values() if value.is_floating_point()]
    return torch.cat(parts) if parts else torch.empty(0)

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
# Choose, and read why.

# %%
fk.quiz("01")

# %% [markdown]
# ## Readings
#
# * McMahan et al.

# %% [markdown]
# ## Next
#
# On we go.
"""


def write_lesson(folder: Path, text: str = LESSON, name: str = "01_one") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "02_next.py").write_text(
        LESSON.replace("A title", "The next").replace('quiz("01")', 'quiz("02")'), encoding="utf-8"
    )
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


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


def quiz_records(path: Path) -> dict[str, dict[str, Any]]:
    """What was chosen in every quiz of a saved notebook: its name -> `states` and `tries` by question."""
    cells = nbformat.read(path, as_version=4).cells
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return {kept[QUIZ_MIME]["name"]: kept[QUIZ_MIME] for kept in data if QUIZ_MIME in kept}
