"""Lesson 14: its checks know right from wrong, and what its prose says is so, for more than one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import fedkit as fk
from fedkit.config.task import Task
from fedkit.data.folder import digest_of
from fedkit.data.standardise import combine
from fedkit.teaching.check.lesson_14 import mean_and_std, table_task
from tests.support.cli import fedkit
from tests.support.run_lesson import Run, run_into, seeds

LESSON = "14_your_own_data.py"


def run(folder: Path, seed: int) -> dict[str, Any]:
    """The solved lesson's names, without pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fk, "show", lambda figure, alt: None)
        done = run_into(Run(), LESSON, folder, parameters={"seed": seed}, values=True)
    return {**done.names, "checks": done.checks, "printed": done.text}


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The lesson with its own seed; in `make test-all` with ten."""
    return [run(tmp_path_factory.mktemp("lesson"), seed) for seed in seeds(0)]


def test_the_solutions_are_right(lessons: list[dict[str, Any]]) -> None:
    assert lessons[0]["checks"] == {"table_task": "right", "mean_and_std": "right"}


def test_four_hospitals_no_two_alike(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        sick = (
            lesson["table"].groupby("hospital")["diagnosis"].agg(lambda d: (d == "malignant").sum())
        )
        sizes = lesson["table"].groupby("hospital").size()
        for name, (patients, ill) in lesson["HOSPITALS"].items():
            assert (sizes[f"{name}@example.org"], sick[f"{name}@example.org"]) == (patients, ill)
        assert round(1 - 25 / 310, 2) == 0.92
        held = {email: len(labels) for email, labels in lesson["held"].items()}
        assert 18 <= held["west@example.org"] <= 32, "about 25"
        assert 90 <= held["east@example.org"] <= 120, "about 100"
        assert 200 <= held["north@example.org"] <= 235, "about 220"
        assert all(0 < float(labels.mean()) < 1 for labels in lesson["held"].values())
        assert len(lesson["test"][1]) == 171


def test_the_command_makes_the_same_folder(lessons: list[dict[str, Any]], tmp_path: Path) -> None:
    lesson, out = lessons[0], tmp_path / "hospitals"
    given = ["--target", "diagnosis", "--participant", "hospital", "--test", "0.3", "--out"]
    said = fedkit("data", "import", lesson["csv"], *given, out)
    assert "test set: 171 samples" in said
    task = fk.read_json(out / "task.json") | {"standardise": "federated"}
    fk.write_json(out / "task.json", task)  # as the lesson does
    assert digest_of(out) == digest_of(lesson["folder"])


def test_federated_statistics_are_the_right_ruler(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        last = lesson["last"].groupby("statistics")["balanced_accuracy"].agg(["mean", "min", "max"])
        assert last["mean"]["federated"] > 0.94
        assert last["mean"]["federated"] - last["mean"]["own"] > 0.05
        assert last["mean"]["federated"] - last["mean"]["none"] > 0.05
        width = last["max"] - last["min"]
        assert width["none"] > 1.3 * width["federated"], "spreads widely"
        early = lesson["curves"].query("round <= 3").groupby("statistics")["balanced_accuracy"]
        assert early.mean()["federated"] > 0.9, "rises fast"
        area = lesson["table"]["mean area"]
        assert area.mean() == pytest.approx(650, abs=10)
        assert lesson["table"]["mean smoothness"].mean() == pytest.approx(0.1, abs=0.01)


def test_the_lopsided_hospital_is_worst_alone(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        mean = lesson["mean"]["balanced_accuracy"]
        alone = mean[[name for name in mean.index if "alone" in name]]
        assert alone.idxmin() == "east alone"
        assert alone.drop("east alone").min() - alone["east alone"] > 0.06, "clearly worst"
        assert abs(mean["federated"] - mean["pooled"]) < 0.03, "nearly as good as pooled"
        assert mean["federated"] > alone.max() - 0.02
        assert mean["federated"] > alone.mean() + 0.03
        ranks = lesson["mean"]["auc"]
        assert ranks["federated"] - ranks["east alone"] < 0.05, "ranks nearly as well as anybody"
        spread = lesson["spread"]
        assert spread["max"]["south alone"] > spread["min"]["federated"], "ranges overlap"


def test_the_small_hospital_needs_the_most_noise(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        cost = lesson["cost"]
        lowest = cost[cost["epsilon"] == 0.25].groupby("model")["balanced_accuracy"]
        together = cost[cost["model"] == "all together"].groupby("epsilon")["balanced_accuracy"]
        assert together.mean().min() > 0.86, "together it costs little"
        mean, width = lowest.mean(), lowest.max() - lowest.min()
        assert mean["west alone"] < mean["north alone"] - 0.03, "most for West alone"
        assert mean["north alone"] < mean["all together"] - 0.005, "least for all together"
        assert width["west alone"] > 2 * width["all together"], "up to luck"
        assert cost[cost["epsilon"] == 4.0].groupby("model")["balanced_accuracy"].mean().min() > 0.8
        noise = {}
        for email, (_, labels) in lesson["shards"].items():
            does = fk.privacy.example_mechanism(lesson["promised"], len(labels))
            noise[email] = (
                does.noise_multiplier,
                does.noise_multiplier / (does.sampling_rate * len(labels)),
            )
        for n in (0, 1):
            assert max(noise, key=lambda email: noise[email][n]) == "west@example.org"
            assert min(noise, key=lambda email: noise[email][n]) == "north@example.org"


def test_each_optimizer_has_a_rate_of_its_own(lessons: list[dict[str, Any]]) -> None:
    for lesson in (lesson for lesson in lessons if "frame" in lesson):
        assert (lesson["frame"]["status"] == "done").all()
        assert len(lesson["frame"]) == 27
        rates = dict(lesson["best"].index.tolist())
        assert rates == {"sgd": 1.0, "sgd(momentum=0.9)": 0.1, "adam": 0.01}
        good = lesson["best"]["balanced_accuracy"]
        assert good.max() - good.min() < 0.035, "a few patients"
        loss = lesson["each"]["loss"]
        assert loss.idxmax() == ("adam", 1.0)


def test_what_the_aggregator_saw(lessons: list[dict[str, Any]]) -> None:
    published = lessons[0]["table"].groupby("diagnosis")["worst radius"].mean()
    assert published["benign"] == pytest.approx(13.4, abs=0.05)
    assert published["malignant"] == pytest.approx(21.1, abs=0.05)
    for lesson in lessons:
        for email, guess in lesson["guesses"].items():
            truth = float(lesson["shards"][email][1].mean())
            assert abs(guess - truth) < 0.25, (email, guess, truth)
        order = sorted(lesson["guesses"], key=lesson["guesses"].__getitem__)
        assert order[-2:] == ["south@example.org", "east@example.org"]
    whole = lessons[0]
    assert "the same bits as in memory: True" in whole["printed"]
    updates = [
        e for e in whole["network"].ledger() if "trained_model" in e.path and ".pt" in e.path
    ]
    assert len(updates) >= 5 * 4
    assert not [
        e for e in whole["network"].ledger() if e.sender != e.receiver and "/private/" in e.path
    ]
    assert sum(v.numel() for v in fk.seed_weights(whole["MODEL"], 0).values()) == 31


def test_quiz(lessons: list[dict[str, Any]]) -> None:
    lesson = lessons[0]
    assert round(160 / 171, 2) == 0.94
    changed = {"dp": lesson["promise"] | {"delta": 0.01}, "standardise": lesson["public"]}
    config = lesson["config"].replace(
        dp=changed["dp"], task=lesson["task"] | {"standardise": changed["standardise"]}
    )
    with pytest.raises(fk.FedkitError, match="is not below 1 / "):
        fk.simulate(config, lesson["shards"], lesson["test"], model=lesson["MODEL"])


# ------------------------------------------------------------------------------------- the checks
RIGHT = {
    "samples": "vectors",
    "shape": [30],
    "loss": "bce_with_logits",
    "metrics": ["balanced_accuracy", "auc"],
}


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({}, "right", "every participant"),
        ({"metrics": ("auc", "balanced_accuracy", "accuracy"), "shape": (30,)}, "right", ""),
        ({"samples": "images"}, "try again", "not an image"),
        ({"shape": [569, 30]}, "try again", "shape"),
        ({"shape": [32]}, "try again", "32 numbers in a sample"),
        ({"shape": 30}, "try again", "list"),
        ({"loss": "bce"}, "try again", "bce_with_logits"),
        ({"loss": "cross_entropy", "outputs": 2}, "try again", "yes or a no"),
        ({"loss": "mse", "metrics": ["mae"]}, "try again", "yes or a no"),
        ({"metrics": ["auc"]}, "try again", "Both metrics"),
        ({"metrics": "auc"}, "try again", "list"),
        ({"metrics": ["balanced accuracy", "auc"]}, "try again", "balanced_accuracy"),
        ({"metric": ["auc"]}, "try again", "metric"),
    ],
)
def test_a_wrong_task_is_told_why(changes: dict[str, Any], state: str, says: str) -> None:
    result = table_task(RIGHT | changes)
    assert result.state == state, result.message
    assert says in result.message


def test_what_is_no_task_yet_or_lacks_a_key() -> None:
    assert table_task({...}).state == "not yet"
    assert table_task(Task.model_validate(RIGHT)).state == "right"
    assert table_task([30]).state == "try again"
    for key in RIGHT:
        result = table_task({name: value for name, value in RIGHT.items() if name != key})
        assert (result.state, repr(key) in result.message) == ("try again", True)


def columns(parts: Any) -> tuple[int, Any, Any]:
    sums, squares = (np.array([getattr(p, name) for p in parts]) for name in ("sums", "squares"))
    return sum(part.n for part in parts), sums, squares


def by_numpy(parts: Any) -> Any:
    n, sums, squares = columns(parts)
    mean = sums.sum(0) / n
    return mean, np.sqrt(squares.sum(0) / n - mean**2)


def stacked(parts: Any) -> Any:
    return torch.stack([torch.tensor(row) for row in by_numpy(parts)])


def by_hand(parts: Any) -> Any:
    n = sum(part.n for part in parts)
    means = [sum(column) / n for column in zip(*(part.sums for part in parts), strict=True)]
    squares = [sum(column) / n for column in zip(*(part.squares for part in parts), strict=True)]
    return means, [(q - m * m) ** 0.5 for q, m in zip(squares, means, strict=True)]


def mean_of_means(parts: Any) -> Any:
    _, std = by_numpy(parts)
    return np.mean([np.array(part.sums) / part.n for part in parts], axis=0), std


def by_hospitals(parts: Any) -> Any:
    _, sums, squares = columns(parts)
    return sums.mean(0), np.sqrt(squares.mean(0))


def mean_of_stds(parts: Any) -> Any:
    each = [by_numpy([part])[1] for part in parts]
    return by_numpy(parts)[0], np.mean(each, axis=0)


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (by_numpy, "right", "in one place"),
        (stacked, "right", "in one place"),
        (by_hand, "right", "in one place"),
        (lambda parts: (combine(parts).mean, combine(parts).std), "right", "in one place"),
        (mean_of_means, "try again", "counts as much as"),
        (by_hospitals, "try again", "number of hospitals"),
        (lambda parts: (columns(parts)[1].sum(0), by_numpy(parts)[1]), "try again", "How many"),
        (lambda parts: (by_numpy(parts)[0], by_numpy(parts)[1] ** 2), "try again", "variance"),
        (
            lambda parts: (
                by_numpy(parts)[0],
                np.sqrt(columns(parts)[2].sum(0) / columns(parts)[0]),
            ),
            "try again",
            "still in it",
        ),
        (mean_of_stds, "try again", "differ in their means"),
        (lambda parts: (by_numpy(parts)[0], 2 * by_numpy(parts)[1]), "try again", "the formula"),
        (lambda parts: (by_numpy(parts)[0] + 1, by_numpy(parts)[1]), "try again", "divided by"),
        (lambda parts: by_numpy(parts)[::-1], "try again", "The two are swapped"),
        (lambda parts: by_numpy(parts)[0], "try again", "two lists"),
        (lambda parts: (1.0, 2.0), "try again", "two lists"),
        (lambda parts: (by_numpy(parts)[0][:2], by_numpy(parts)[1]), "try again", "the shape [2]"),
        (lambda parts: (by_numpy(parts)[0], by_numpy(parts)[1] * np.nan), "try again", "NaN"),
        (lambda parts: 3, "try again", "two lists"),
        (lambda parts: ..., "not yet", "root"),
    ],
)
def test_mean_and_std_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = mean_and_std(answer)
    assert result.state == state, result.message
    assert says in result.message


def test_the_packages_function_is_what_is_taught(lessons: list[dict[str, Any]]) -> None:
    lesson = lessons[0]
    mean, std = lesson["mean_and_std"](lesson["parts"])
    assert torch.allclose(mean, torch.tensor(lesson["together"].mean).double())
    assert torch.allclose(std, torch.tensor(lesson["together"].std).double())
    rows = pd.read_csv(lesson["csv"]).iloc[:, :30]
    assert len(rows) == 569
