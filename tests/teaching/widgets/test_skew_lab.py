"""The skew lab: what was trained once is in the picture again when its settings are, and the sliders say what it shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import fedkit as fk
from fedkit.teaching.widgets.skew_lab import SkewLab

PEOPLE = fk.numbered_participants(3)
CONFIG = fk.FLConfig(
    project_name="LAB",
    aggregator="ana@example.org",
    participants=PEOPLE,
    rounds=1,
    epoch=3,
    learning_rate=0.1,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
)
DIGITS = (
    torch.rand(60, 1, 28, 28, generator=torch.Generator().manual_seed(0)),
    torch.arange(60) % 10,
)


def deal(alpha: float) -> list[fk.Shard]:
    parts = fk.split_dirichlet(DIGITS[1], 3, alpha, generator=fk.generator(0, "deal"))
    return fk.take(DIGITS[0], DIGITS[1], parts)


@pytest.fixture
def lab() -> Iterator[SkewLab]:
    made = SkewLab(deal, DIGITS, CONFIG)
    yield made
    made.close()


def test_the_sliders_stand_where_the_picture_is(lab: SkewLab) -> None:
    assert (lab.alpha.value, lab.epochs.value) == (1.0, 3), "the config's epochs"
    lab.run(100.0, 1)
    lab.run(0.3, 2)
    assert (lab.alpha.value, lab.epochs.value) == (0.3, 2)
    assert list(lab.alpha.options) == sorted(lab.alpha.options)
    assert "alpha 0.3, local epochs 2" in lab.status.value
    assert "Who holds what at alpha 0.3" in lab.body.value
    lab.go.click()
    assert list(lab.runs) == [(100.0, 1), (0.3, 2)], "Run makes the run that is shown"


def test_a_run_made_before_is_shown_again_when_its_sliders_are(
    lab: SkewLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lab.run(1.0, 1)
    lab.run(100.0, 1)
    monkeypatch.setattr("fedkit.teaching.widgets.skew_lab.simulate", pytest.fail)  # no training
    before = lab.body.value
    lab.alpha.value = 10.0
    assert "alpha 10, local epochs 1: no run yet, press Run" in lab.status.value
    assert lab.body.value == before
    lab.alpha.value = 1.0
    assert f"accuracy {first.accuracies[-1]:.1%}" in lab.status.value
    assert "Who holds what at alpha 1" in lab.body.value
    assert "alpha 1, 1 epoch" in lab.body.value


def test_a_run_made_before_is_in_the_picture_after_many_others(lab: SkewLab) -> None:
    alphas = (0.1, 0.2, 0.5, 1.0, 2.0, 10.0, 100.0)
    for alpha in alphas:
        lab.run(alpha, 1)
    assert "alpha 0.1, 1 epoch" not in lab.body.value, "six curves at most"
    lab.run(0.1, 1)
    assert "alpha 0.1, 1 epoch" in lab.body.value
    assert "alpha 0.2, 1 epoch" not in lab.body.value
    assert len(lab.runs) == len(alphas)
    lab.clear.click()
    assert "No run yet" in lab.status.value
    assert lab.body.value == ""


def test_the_static_twin_shows_what_was_run_last() -> None:
    batch = SkewLab(deal, DIGITS, CONFIG, interactive=False)
    for alpha in (1.0, 100.0, 1.0):
        batch.run(alpha, 1)
    assert "Who holds what at alpha 1" in batch.html()
    assert "alpha 1, local epochs 1" in batch.html()
