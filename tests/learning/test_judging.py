"""Losses and metrics against torch's own and by hand."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from fedkit.config.task import DIGITS, Task
from fedkit.learning.judging import blank_samples, criterion_of, fits_answer, metrics_of


def task(**values: Any) -> Task:
    return Task.model_validate({"samples": "vectors", "shape": [4], **values})


ANSWERS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0], [-1.0, 0.0, 3.0], [1.0, 0.5, 0.0]])
CLASSES = torch.tensor([0, 1, 2, 1])
ONE = torch.tensor([1.5, -0.5, 2.0, -3.0])
YES = torch.tensor([1.0, 0.0, 0.0, 1.0])
NUMBERS = torch.tensor([1.0, 0.0, 2.5, -1.0])


def test_the_digits_loss_is_torchs_own_function() -> None:
    assert criterion_of(DIGITS) is F.cross_entropy


@pytest.mark.parametrize(
    ("of", "answers", "labels", "wanted"),
    [
        (task(outputs=3), ANSWERS, CLASSES, F.cross_entropy(ANSWERS, CLASSES)),
        (
            task(outputs=3, class_weights=[1, 2, 4]),
            ANSWERS,
            CLASSES,
            F.cross_entropy(ANSWERS, CLASSES, torch.tensor([1.0, 2.0, 4.0])),
        ),
        (
            task(loss="bce_with_logits"),
            ONE[:, None],
            YES,
            F.binary_cross_entropy_with_logits(ONE, YES),
        ),
        (task(loss="mse"), ONE, NUMBERS, F.mse_loss(ONE, NUMBERS)),
        (task(loss="mse"), ONE[:, None], NUMBERS, F.mse_loss(ONE, NUMBERS)),
        (task(loss="l1"), ONE, NUMBERS[:, None], F.l1_loss(ONE, NUMBERS)),
        (task(loss="huber"), ONE[:, None], NUMBERS[:, None], F.huber_loss(ONE, NUMBERS)),
        (task(loss="mse", outputs=3), ANSWERS, ANSWERS + 1, torch.tensor(1.0)),
    ],
)
def test_losses_are_torchs(of: Task, answers: Any, labels: Any, wanted: Any) -> None:
    loss_of = criterion_of(of)
    assert torch.allclose(loss_of(answers, labels), wanted)
    each = loss_of(answers, labels, reduction="none")
    assert each.shape == (4,)
    assert torch.allclose(loss_of(answers, labels, reduction="sum"), each.sum())


def test_metrics_of_classes_by_hand() -> None:
    of = task(
        outputs=3,
        metrics=["accuracy", "balanced_accuracy", "recall", "auc"],
        class_names=list("abc"),
    )
    found = metrics_of(of, ANSWERS, CLASSES)  # said: 0, 1, 2, 0
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert (found["recall a"], found["recall b"], found["recall c"]) == (1.0, 0.5, 1.0)
    assert 0.5 < found["auc"] <= 1


def test_metrics_of_yes_and_no_by_hand() -> None:
    of = task(loss="bce_with_logits", metrics=["accuracy", "balanced_accuracy", "recall", "auc"])
    found = metrics_of(of, ONE[:, None], YES)  # said: 1 0 1 0
    assert found["accuracy"] == found["balanced_accuracy"] == 0.5
    assert (found["recall 0"], found["recall 1"]) == (0.5, 0.5)
    assert found["auc"] == pytest.approx(0.25)  # of four pairs, one is in order


def test_metrics_of_numbers_by_hand() -> None:
    found = metrics_of(task(loss="mse", metrics=["mae", "rmse", "r2"]), ONE, NUMBERS)
    off = ONE - NUMBERS
    assert found["mae"] == pytest.approx(float(off.abs().mean()))
    assert found["rmse"] == pytest.approx(float(off.square().mean().sqrt()))
    spread = (NUMBERS - NUMBERS.mean()).square().sum()
    assert found["r2"] == pytest.approx(float(1 - off.square().sum() / spread))


def test_what_is_undefined_is_left_out() -> None:
    of = task(loss="bce_with_logits", metrics=["auc", "recall", "accuracy"])
    assert metrics_of(of, ONE[:1], YES[:1]) == {"recall 1": 1.0, "accuracy": 1.0}
    assert metrics_of(task(loss="mse", metrics=["r2"]), ONE[:1], NUMBERS[:1]) == {}


def test_a_blank_sample_and_a_fitting_answer() -> None:
    assert blank_samples(DIGITS).shape == (2, 1, 28, 28)
    tokens = task(samples="tokens", shape=[7], vocabulary=9, outputs=3)
    assert blank_samples(tokens, 3).dtype == torch.int64
    assert fits_answer(tokens, torch.zeros(2, 3))
    assert not fits_answer(tokens, torch.zeros(2))
    assert not fits_answer(tokens, [0.0])
    assert fits_answer(task(loss="mse"), torch.zeros(2))
    assert fits_answer(task(loss="mse"), torch.zeros(2, 1))
    assert not fits_answer(task(loss="mse"), torch.zeros(1, 2))
