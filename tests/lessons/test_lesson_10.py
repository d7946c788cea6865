"""Lesson 10: its checks know right from wrong, and what its prose says is so, for more than one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.federation.ledger import KEYS, MASKED, kind_of
from fedkit.privacy import Mechanism, epsilon_of, noise_for
from fedkit.privacy.dp.mechanism import colluders, shares_of_noise
from fedkit.privacy.secagg import masks
from fedkit.teaching import plots
from fedkit.teaching.check.lesson_10 import pairwise_masks, remove_masks
from tests.support.helpers import ALICE, BOB, CAROL, small
from tests.support.privacy import PARTICIPANT
from tests.support.run_lesson import Run, run

LESSON = "10_secure_aggregation.py"


@pytest.fixture(scope="module", params=[0, pytest.param(1, marks=pytest.mark.slow)])
def lesson(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The solved edition with its own parameters and some seed."""
    return run(LESSON, tmp_path_factory.mktemp("lesson"), seed=request.param)


def test_both_editions_say_the_same(lesson: Run, tmp_path: Path) -> None:
    assert lesson.checks == {"pairwise_masks": "right", "remove_masks": "right"}
    if lesson.names["seed"] == 0:
        learner = run(LESSON, tmp_path, "learner")
        assert learner.checks == {"pairwise_masks": "not yet", "remove_masks": "not yet"}
        assert learner.text == lesson.text


def test_masks_vanish_and_keys_decide_nothing(lesson: Run) -> None:
    for line in (
        "Numbers that agree: 101771 of 101771",
        "Alice and Bob have the same key: True",
        "The sum speaks of 100 images",
        "The sum of Alice and Bob, exactly: True",
        "Alice's and Bob's shares: True",
        "Alice's share is her secret: False",
        "What is left is the update of carol@example.org: True",
        "done: True | absent in round 1: carol@example.org",
        "The same bits: True",
    ):
        assert line in lesson.text
    assert lesson.text.count("secagg_1_") == 5
    record = lesson.names["history"].rounds[0]
    assert record.diagnostics["sum_of_weights"] == 60
    crossed = {(kind_of(e.path), e.sender) for e in lesson.names["network"].ledger()}
    assert {(MASKED, ALICE), (MASKED, BOB), (KEYS, CAROL)} <= crossed
    assert (MASKED, CAROL) not in crossed
    assert not [kind for kind, _ in crossed if kind == "model updates"]


def test_lies_work_on_who_believes_them_and_are_refused_by_name(lesson: Run) -> None:
    """Against clients that mask and no more: Alice's change and Carol's update. fedkit's own mask nothing."""
    names = lesson.names
    for who in (ALICE, BOB, CAROL):
        assert f"The change of {who}, to a thousandth: {who == ALICE}" in lesson.text
    assert "The difference is Carol's update: True" in lesson.text
    two, again = (names["refusals"](names[h]) for h in ("history_two", "history_again"))
    assert len(two) == 3
    assert any(f"{BOB} has trained from another global model than {ALICE}" in said for said in two)
    assert len(again) == 2
    assert all("from a model that round 1 of SECURE did already" in said for said in again)
    for project in ("TWO_MODELS", "AGAIN"):
        folder = names["network"]["aggregator@example.org"].aggregator().project(project).path
        assert not list(folder.rglob("secagg_1_masked.msg"))


def test_a_hundredth_on_each_number_is_longer_than_the_change(lesson: Run) -> None:
    clean, noisy = lesson.names["with_noise"](0), lesson.names["with_noise"](0.01)
    noise = sum(float((3 * (noisy[n] - clean[n])).square().sum()) for n in clean) ** 0.5
    assert 3.0 < noise / lesson.names["clip"] < 3.4


def test_what_the_sum_tells(lesson: Run) -> None:
    assert lesson.names["recognised"] == {ALICE: 1.0, BOB: 1.0, CAROL: 0.0, "strangers": 0.0}
    found, truth = lesson.names["found"], lesson.names["truth"]
    assert len(found) == 3
    for image in truth:
        assert min(float((image - other).abs().max()) for other in found) < 1e-4
    crowd = lesson.names["crowd"]
    assert list(crowd) == [100, 300, 600, 1200]
    assert crowd[100] > 0.999
    assert 0.8 < crowd[300] < 0.97
    assert 0.6 < crowd[600] < 0.8
    assert 0.52 < crowd[1200] < 0.65


def test_what_noise_in_shares_does(lesson: Run) -> None:
    noisy = lesson.names["noisy"]
    assert noisy[0][0] > 0.999
    assert 0.7 < noisy[0.001][0] < 0.9
    assert noisy[0.01][0] < 0.68
    assert noisy[0.01][1] > noisy[0][1] - 0.05
    assert noisy[1][1] < 0.25
    assert noisy[0][1] > 0.4


def test_shares_of_noise_add_up_to_the_noise_that_was_asked_for(lesson: Run) -> None:
    """Standard deviation z C / 3 in the mean, from three shares of z C / sqrt(3)."""
    with_noise, clip = lesson.names["with_noise"], lesson.names["clip"]
    clean, noisy = with_noise(0), with_noise(0.1)
    noise = torch.cat([(noisy[name] - clean[name]).flatten() for name in clean])
    assert float(noise.std()) == pytest.approx(0.1 * clip / 3, rel=0.02)


def test_who_knows_one_of_three_shares_has_less_noise_against_it() -> None:
    """Epsilon 4 is about 5 where a third of the variance is known, for any number of steps; one colluder is the default."""
    for steps in (1, 8, 100):
        noise = noise_for(4.0, 1e-4, steps=steps)
        known = epsilon_of(Mechanism(1.0, noise * (2 / 3) ** 0.5, steps), 1e-4)
        assert known == pytest.approx(5.1, abs=0.1)
    masks = {"secure_aggregation": {"threshold": 2}, "weighting": "equal"}
    dp = PARTICIPANT | {"noise_at": "participants"}
    config = small(participants=[ALICE, BOB, CAROL], dp=dp, **masks)
    assert (colluders(config), shares_of_noise(config)) == (1, 2)


# ------------------------------------------------------------------------------------- its checks
def both_add(me: int, keys: Any, count: int) -> Any:
    return sum((masks.mask_stream(k, count) for k in keys.values()), np.zeros(count, np.uint64))


def first_only(me: int, keys: Any, count: int) -> Any:
    other = min(keys)
    return masks.pairwise_masks(me, {other: keys[other]}, count)


def other_way(me: int, keys: Any, count: int) -> Any:
    return np.zeros(count, np.uint64) - masks.pairwise_masks(me, keys, count)


def is_open(me: int, keys: Any, count: int) -> Any:
    ...  # noqa: PIE790
    return total  # noqa: F821


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (masks.pairwise_masks, "right", "plus and once with minus"),
        (lambda me, keys, count: np.zeros(count, np.uint64), "try again", "all zero"),
        (both_add, "try again", "doubles"),
        (first_only, "try again", "every other participant"),
        (other_way, "try again", "the other way round"),
        (lambda me, keys, count: masks.pairwise_masks(me, keys, count)[1:], "try again", "array"),
        (
            lambda me, keys, count: masks.pairwise_masks(me, keys, count) * 1.0,
            "try again",
            "uint64",
        ),
        (lambda me, keys, count: 3 * masks.pairwise_masks(me, keys, count), "try again", "aren't"),
        (is_open, "not yet", "smaller number"),
    ],
)
def test_the_check_of_pairwise_masks(answer: Any, state: str, says: str) -> None:
    result = pairwise_masks(answer)
    assert (result.state, says in result.message) == (state, True), result.message


def in_place(total: Any, dropped: int, keys: Any) -> Any:
    total += masks.pairwise_masks(dropped, keys, len(total))
    return total


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (masks.remove_masks, "right", "what was missing"),
        (lambda total, dropped, keys: total, "try again", "Nothing has changed"),
        (
            lambda total, dropped, keys: total - masks.pairwise_masks(dropped, keys, len(total)),
            "try again",
            "wrong sign",
        ),
        (in_place, "try again", "stay as it is"),
        (lambda total, dropped, keys: total * np.uint64(0), "try again", "not what comes out"),
        (lambda total, dropped, keys: float(total[0]), "try again", "array"),
        (lambda total, dropped, keys: ..., "not yet", "missing"),
    ],
)
def test_the_check_of_remove_masks(answer: Any, state: str, says: str) -> None:
    result = remove_masks(answer)
    assert (result.state, says in result.message) == (state, True), result.message


# ------------------------------------------------------------------------------------ its picture
def test_each_row_of_the_picture_has_its_own_scale() -> None:
    small, huge = torch.full((2, 784), 1e-6), torch.full((2, 784), -1e18)
    small[0, :5] = 1.0  # a few large ones do not leave the rest pale
    figure = plots.masked_rows({"small": small, "huge": huge})
    (axes,) = figure.axes
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn[:28, 31:59].min() == pytest.approx(1.0)
    assert drawn[31:, :28].max() == pytest.approx(-1.0)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["small", "huge"]
    for wrong in (
        {},
        {"a": torch.zeros(2, 784), "b": torch.zeros(3, 784)},
        {"a": torch.zeros(0, 784)},
    ):
        with pytest.raises(FedkitError):
            plots.masked_rows(wrong)
    assert fk.plots.masked_rows is plots.masked_rows
