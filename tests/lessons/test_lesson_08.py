"""Lesson 08: its checks know right from wrong, both editions run, its pictures say what they should.

The numbers of its text are asserted over seeds in tests/privacy/attacks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import fedkit as fk
from fedkit import privacy
from fedkit.teaching import plots
from fedkit.teaching.check.lesson_08 import count_labels, invert_linear
from tests.support.attacks import draw
from tests.support.run_lesson import SOURCES, run, seeds
from tools.course.lesson import read_lesson

LESSON = "08_what_an_update_reveals.py"
TINY = {"many_epochs": 2, "shadows": 2, "starts": 100}


# ---------------------------------------------------------------------------------------- as a whole
def test_both_editions_run_and_say_the_same(tmp_path: Path) -> None:
    """Solutions are right; with every exercise open, the same lines are printed."""
    whole = run(LESSON, tmp_path, **TINY)
    assert whole.checks == {"invert_linear": "right", "count_labels": "right"}
    assert whole.text.count("is in the ledger: True") == 3
    for line in (
        "SHORT, model 0: the seed gives it: True, units alike: 0%, suspicious: False",
        "SHORT, model 1: the seed gives it: False, units alike: 0%, suspicious: False",
        "CRAFTED, model 0: the seed gives it: True, units alike: 0%, suspicious: False",
        "CRAFTED, model 1: the seed gives it: False, units alike: 100%, suspicious: True",
    ):
        assert line in whole.text
    assert all(value >= 60 for value in whole.names["decibels"]["by zeros"])
    learner = run(LESSON, tmp_path, "learner", **TINY)
    assert learner.checks == {"invert_linear": "not yet", "count_labels": "not yet"}
    assert learner.text == whole.text


@pytest.fixture(scope="module")
def searched() -> Any:
    """The lesson's own search through convolutions, with some seed."""

    def search(seed: int, count: int) -> tuple[Tensor, Tensor]:
        names: dict[str, Any] = {"fk": fk, "torch": torch, "seed": seed, "learning_rate": 0.1}
        for cell in read_lesson(SOURCES / LESSON).of_kind("code"):
            if 'CNN = """' in cell.source or "def searched" in cell.source:
                exec(cell.source, names)
        images, labels = draw(count, seed)
        return names["searched"](images, labels), images

    return search


@pytest.mark.parametrize("seed", seeds(0))
def test_one_image_comes_through_convolutions(seed: int, searched: Any) -> None:
    assert float(privacy.psnr(*searched(seed, 1))) >= 25


def test_of_four_in_one_batch_anything_may_come(searched: Any) -> None:
    """No answer, shapes, or all four: the fit of the gradient does not say which."""
    outcomes = set()
    for seed in (0, 2, 4, 6):
        found, images = searched(seed, 4)
        quality = privacy.score(found, images).psnr if len(found) else torch.zeros(1)
        outcomes.add("clear" if quality.min() > 28 else "none or shapes")
    assert outcomes == {"clear", "none or shapes"}


# ------------------------------------------------------------------------------------------- checks
def top(weight: Tensor, bias: Tensor) -> int:
    return int(bias.abs().argmax())


def is_open(weight: Tensor, bias: Tensor) -> Any: ...


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (privacy.invert_linear, "right", "protects the image"),
        (lambda w, b: (w * b[:, None]).sum(0) / b.square().sum(), "right", "protects"),
        (lambda w, b: w.numpy()[top(w, b)] / b.numpy()[top(w, b)], "right", "protects"),
        (lambda w, b: w[0] / b[0], "try again", "another order"),
        (lambda w, b: w[3] / b[3], "try again", "another order"),
        (lambda w, b: w[-1] / b[-1], "try again", "another order"),
        (lambda w, b: w[2] / b[2], "try again", "another order"),
        (lambda w, b: w[b != 0][0] / b[b != 0][0], "try again", "rounding"),
        (lambda w, b: (w[b != 0] / b[b != 0, None]).mean(0), "try again", "rounding"),
        (lambda w, b: (w / b[:, None]).nanmean(0), "try again", "rounding"),
        (lambda w, b: w[b.abs().argmin()] / b[b.abs().argmin()], "try again", "divided by 0"),
        (lambda w, b: w.sum(0) / b.sum(), "try again", "cancel"),
        (lambda w, b: w.mean(0) / b.mean(), "try again", "cancel"),
        (lambda w, b: w.abs().sum(0) / b.abs().sum(), "right", "protects"),
        (lambda w, b: w.norm(dim=0) / b.norm(), "right", "protects"),
        (lambda w, b: w.mean(0), "try again", "something else"),
        (lambda w, b: w[b.argmin()] / b.min(), "try again", "moved down"),
        (lambda w, b: w[w.abs().sum(1).argmax()] / b.abs().max(), "try again", "wrong sign"),
        (lambda w, b: w[top(w, b)] / w[top(w, b)].sum(), "try again", "something else"),
        (lambda w, b: w[top(w, b)].abs() / w[top(w, b)].abs().max(), "try again", "something else"),
        (lambda w, b: w[b.argmax()] / b.max(), "try again", "change of one step"),
        (lambda w, b: w / b[:, None], "try again", "which?"),
        (lambda w, b: w[1] / b[1], "try again", "divided by 0"),
        (lambda w, b: w[top(w, b)] / b.abs().max(), "try again", "wrong sign"),
        (lambda w, b: w[top(w, b)], "try again", "as it was sent"),
        (lambda w, b: w.sum(0), "try again", "something else"),
        (lambda w, b: w[top(w, b)] / -0.5, "try again", "moved down"),
        (lambda w, b: 3, "try again", "tensor"),
        (is_open, "not yet", "far from 0"),
    ],
)
def test_invert_linear_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = invert_linear(answer)
    assert result.state == state, result.message
    assert says in result.message


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (privacy.count_labels, "right", "one part in b"),
        (lambda g, p, n: n * (p - g), "right", "one part in b"),
        (lambda g, p, n: n * (p.numpy() - g.numpy()), "right", "one part in b"),
        (lambda g, p, n: (n * (p - g)).tolist(), "right", "one part in b"),
        (lambda g, p, n: 8 * (p - g), "try again", "for 4 it is not"),
        (lambda g, p, n: p - g, "try again", "shares"),
        (lambda g, p, n: n * (g - p), "try again", "below 0"),
        (lambda g, p, n: n * (p + g), "try again", "4 have label 0"),
        (lambda g, p, n: 4, "try again", "one count"),
        (lambda g, p, n: ..., "not yet", "Solve"),
    ],
)
def test_count_labels_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = count_labels(answer)
    assert result.state == state, result.message
    assert says in result.message


# ----------------------------------------------------------------------------------------- pictures
def test_rebuilt_digits_shows_every_picture_in_its_place() -> None:
    images = torch.zeros(3, 1, 28, 28)
    images[1] = 1.5  # more than ink
    figure = plots.rebuilt_digits({"true": images, "found": images[:2]}, {"found": [20.4, 131.0]})
    (drawn,) = figure.axes[0].images
    sheet = torch.as_tensor(drawn.get_array())
    assert sheet.max() == 1
    inked = [
        (y, x)
        for y in range(2)
        for x in range(3)
        if sheet[y * 32 : y * 32 + 28, x * 32 : x * 32 + 28].min() == 1
    ]
    assert inked == [(0, 1), (1, 1)]
    assert [text.get_text() for text in figure.axes[0].texts] == ["20 dB", "131 dB"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["true", "found"]
    with pytest.raises(fk.FedkitError, match="has 3 pictures, the first row 2"):
        plots.rebuilt_digits({"true": images[:2], "found": images})


def test_share_table_says_its_shares() -> None:
    figure = plots.share_table([[1.0, 0.5], [0.0, 0.25]], ["a", "b"], ["one", "two"])
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said == ["100%", "50%", "0%", "25%"]
    with pytest.raises(fk.FedkitError, match="rows for 1 names"):
        plots.share_table([[1.0], [0.0]], ["a"], ["one"])


def test_roc_curves_have_log_axes_and_their_areas() -> None:
    curve = privacy.roc(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([2.0, 0.0]))
    figure = plots.roc_curves({"some test": curve})
    ax = figure.axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [line.get_label() for line in ax.lines] == ["guessing: 0.50", "some test: 0.75"]
    assert list(ax.lines[1].get_ydata())[-1] == 1
    assert figure.get_suptitle().startswith("some test tells members best")


def test_residual_dots_draws_every_image() -> None:
    figure = plots.residual_dots({"members": torch.zeros(5), "others": torch.ones(9)})
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [5, 9]
    assert set(figure.axes[0].lines[0].get_xdata()) == {float(torch.tensor(1e-7))}
