"""What a task may say, what follows from it, and how a wrong one is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedkit.config.fl_config import FLConfig
from fedkit.config.task import DIGITS, METRICS, Task
from tests.support.helpers import complaint, tutorial


def config(task: Any) -> FLConfig:
    return FLConfig.from_dict(tutorial(task=task))


def test_without_one_it_is_the_tutorials_digits_and_nothing_is_written(tmp_path: Path) -> None:
    plain = FLConfig.from_dict(tutorial())
    assert plain.task == DIGITS == Task()
    assert plain.task.is_digits
    assert "task" not in json.loads(plain.to_json())
    assert config({}).task == DIGITS


@pytest.mark.parametrize(
    ("written", "follows"),
    [
        (
            {"samples": "vectors", "shape": [30], "loss": "bce_with_logits"},
            {"labels": "binary", "outputs": 1, "metrics": ("accuracy",), "range": None},
        ),
        (
            {"samples": "vectors", "shape": [3], "labels": "numbers"},
            {"loss": "mse", "outputs": 1, "metrics": ("mae",), "classes": 0},
        ),
        ({"samples": "vectors", "shape": [3], "loss": "huber"}, {"labels": "numbers"}),
        (
            {"shape": [3, 32, 32], "outputs": 9},
            {"labels": "classes", "loss": "cross_entropy", "range": (0.0, 1.0), "classes": 9},
        ),
        (
            {"samples": "tokens", "shape": [20], "vocabulary": 50, "padding": 0, "outputs": 3},
            {"range": None, "names": ("0", "1", "2"), "is_digits": False},
        ),
        (
            {
                "samples": "vectors",
                "shape": [2],
                "loss": "bce_with_logits",
                "class_names": ["no", "yes"],
            },
            {"names": ("no", "yes"), "classes": 2},
        ),
    ],
)
def test_what_follows_from_what_is_written(
    tmp_path: Path, written: dict[str, Any], follows: dict[str, Any]
) -> None:
    task = config(written).task
    assert {name: getattr(task, name) for name in follows} == follows
    config(written).save(tmp_path / "c.json")
    assert FLConfig.load(tmp_path / "c.json").task == task


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"samples": "vectors"}, "write [features]"),
        ({"samples": "images", "shape": [3]}, "write [channels, height, width]"),
        ({"samples": "tokens", "shape": [9]}, "vocabulary"),
        ({"samples": "tokens", "shape": [9], "vocabulary": 5, "padding": 5}, "no token below 5"),
        ({"vocabulary": 5}, "are of tokens"),
        ({"shape": [4096, 4096, 4096]}, "numbers in a sample"),
        ({"shape": [3, 32, "32"]}, "shape"),
        ({"range": [1, 0]}, "does not begin below its end"),
        ({"range": [float("nan"), 1]}, "range"),
        ({"outputs": 1}, "needs two classes"),
        ({"outputs": 0}, "outputs"),
        ({"loss": "mse", "labels": "classes"}, "take cross_entropy"),
        ({"loss": "cross-entropy"}, "cross_entropy"),
        ({"loss": "mse", "metrics": ["auc"]}, "take mae, rmse, r2"),
        ({"metrics": ["f1"]}, "take accuracy"),
        ({"outputs": 9, "class_names": ["cat"]}, "are 1 for 9 classes"),
        ({"outputs": 3, "class_weights": [1, 2]}, "are 2 for 3 classes"),
        ({"outputs": 2, "class_weights": [1, 0]}, "class_weights"),
        ({"loss": "l1", "class_names": ["a"]}, "are of classes"),
        ({"shapes": [1, 28, 28]}, "shapes"),
        ("digits", "task"),
        ([1], "task"),
    ],
)
def test_a_wrong_one_is_named_with_its_remedy(written: Any, says: str) -> None:
    error = complaint(lambda: config(written))
    assert says in str(error)
    assert str(error.field).startswith("task")
    assert error.remedy


@pytest.mark.parametrize("labels", METRICS)
def test_every_metric_can_be_asked_for(labels: Any) -> None:
    task = {"samples": "vectors", "shape": [2], "labels": labels, "outputs": 2}
    assert config({**task, "metrics": list(METRICS[labels])}).task.metrics == METRICS[labels]


@pytest.mark.parametrize("key", ["loss", "labels", "samples"])
@pytest.mark.parametrize("value", [[], {}, 1, None, [["mse"]]])
def test_a_strangers_value_of_another_kind_is_an_error_like_any_other(key: str, value: Any) -> None:
    assert str(complaint(lambda: config({key: value})).field).startswith("task")


def test_names_are_of_classes_and_weights_of_outputs() -> None:
    yes_or_no = {"samples": "vectors", "shape": [2], "loss": "bce_with_logits", "outputs": 3}
    assert config({**yes_or_no, "class_weights": [1, 2, 3], "class_names": ["no", "yes"]})
    for wrong in ({"class_names": ["a", "b", "c"]}, {"class_weights": [1, 2]}):
        assert "write one for each" in str(complaint(lambda w=wrong: config({**yes_or_no, **w})))  # type: ignore[misc]
    assert "range" in str(complaint(lambda: config({"range": [0, float("inf")]})))


@pytest.mark.parametrize(
    ("field", "value", "example"),
    [
        ("metrics", "auc", '["accuracy", "auc"]'),
        ("shape", 30, "[3, 32, 32]"),
        ("class_names", "cat", '["benign", "malignant"]'),
    ],
)
def test_a_list_that_is_none_is_told_what_one_looks_like(
    field: str, value: object, example: str
) -> None:
    error = complaint(lambda: FLConfig.from_dict(tutorial(task={field: value})))
    assert "no list" in error.what
    assert error.remedy == f"write a list, such as {example}"
