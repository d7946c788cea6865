"""Standardised samples, beside scikit-learn's on everything in one place."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.config.task import Statistics, Task
from fedkit.data.standardise import combine, far_apart, moments, read_moments, standardised, stated
from tests.support.tasks import KINDS

VECTORS = {"samples": "vectors", "shape": [4], "outputs": 2}
IMAGES = {"shape": [3, 5, 7], "range": None, "outputs": 2}


def drawn(task: Task, count: int = 40, seed: int = 0) -> Tensor:
    samples = torch.randn(count, *task.shape, generator=torch.Generator().manual_seed(seed))
    scale = torch.linspace(0.1, 100, task.shape[0]).reshape(-1, *[1] * (len(task.shape) - 1))
    return (samples + 3) * scale


def in_rows(samples: Tensor) -> Any:
    return samples.movedim(1, -1).flatten(0, -2).numpy()


@pytest.mark.parametrize("written", [VECTORS, IMAGES])
def test_own_statistics_are_a_standard_scaler_s(written: dict[str, Any]) -> None:
    task = Task.model_validate({**written, "standardise": "own"})
    samples = drawn(task)
    seen, labels = standardised((samples, torch.zeros(40, dtype=torch.int64)), task)
    assert (seen.dtype, seen.shape, len(labels)) == (torch.float32, samples.shape, 40)
    oracle = StandardScaler().fit_transform(in_rows(samples).astype(np.float64))
    assert np.allclose(in_rows(seen), oracle, atol=1e-5)


@pytest.mark.parametrize("written", [VECTORS, IMAGES])
def test_federated_statistics_are_those_of_all_samples_in_one_place(
    written: dict[str, Any],
) -> None:
    task = Task.model_validate({**written, "standardise": "federated"})
    parts = [drawn(task, count, seed) for seed, count in enumerate((1, 7, 30))]
    each = [moments(part, task) for part in parts]
    found = combine(each)
    oracle = StandardScaler().fit(in_rows(torch.cat(parts)).astype(np.float64))
    assert np.allclose(found.mean, oracle.mean_, rtol=1e-9)
    assert np.allclose(found.std, oracle.scale_, rtol=1e-6)
    assert {combine(order) for order in itertools.permutations(each)} == {found}


def test_what_is_constant_stays_zero() -> None:
    task = Task.model_validate({**VECTORS, "standardise": "own"})
    samples = drawn(task)
    samples[:, 1], samples[:, 2] = 0.1, 1e9 / 3
    seen, _ = standardised((samples, torch.zeros(40)), task)
    assert torch.equal(seen[:, 1:3], torch.zeros(40, 2))
    assert bool((seen[:, 0] != 0).any())
    alone, _ = standardised((samples[:1], torch.zeros(1)), task)
    assert torch.equal(alone, torch.zeros(1, 4))


def test_stated_numbers_are_used_as_they_stand() -> None:
    numbers = {"mean": [1, 2, 3, 4], "std": [1, 2, 0, 0.5]}
    task = Task.model_validate({**VECTORS, "standardise": numbers})
    seen, _ = standardised((torch.ones(2, 4) * 4, torch.zeros(2)), task)
    assert seen.tolist() == [[3, 1, 0, 0]] * 2
    shard = torch.ones(1, 4), torch.zeros(1)
    assert standardised(shard, Task.model_validate(VECTORS)) is shard


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"mean": [0] * 3, "std": [1] * 4}, "are 3 for 4 features"),
        ({"mean": [0] * 4, "std": [1] * 5}, "are 5 for 4 features"),
        ({"mean": [0] * 4, "std": [-1] * 4}, "at least 0"),
        ({"mean": [0] * 4}, "is missing"),
        ({"mean": [float("nan")] * 4, "std": [1] * 4}, "mean"),
        ({"mean": [0] * 4, "std": [1] * 4, "more": 1}, "more"),
        ("mine", "own"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers: object, said: str) -> None:
    with pytest.raises(FedkitError, match=r"task[.:] ?standardise") as caught:
        KINDS["a table"].config(task={**VECTORS, "standardise": numbers})
    assert said in str(caught.value)


def test_tokens_are_refused() -> None:
    written = KINDS["text"].written | {"standardise": "own"}
    with pytest.raises(FedkitError, match="tokens are numbers of words"):
        KINDS["text"].config(task=written)
    with pytest.raises(FedkitError, match="no mean"):
        moments(KINDS["text"].samples, KINDS["text"].task)


@pytest.mark.parametrize("unit", ["example", "participant"])
def test_privacy_does_not_cover_what_is_made_of_the_samples(unit: str) -> None:
    kind = KINDS["a table"]
    dp = {"unit": unit, "noise_multiplier": 1.0, "delta": 1e-3, "clip": 1.0}
    for way in ("own", "federated"):
        with pytest.raises(FedkitError, match="epsilon does not cover"):
            kind.config(task={**kind.written, "standardise": way}, dp=dp, weighting="equal")
    public = {"mean": [0] * 30, "std": [1] * 30}
    assert kind.config(task={**kind.written, "standardise": public}, dp=dp, weighting="equal").dp


def test_federated_becomes_numbers_that_are_written(tmp_path: Path) -> None:
    kind = KINDS["a table"]
    config = kind.config(task={**kind.written, "standardise": "federated"})
    with pytest.raises(FedkitError, match="fedkit data statistics"):
        standardised(kind.shards[0], config.task)
    found = stated(config, kind.shards)
    assert isinstance(found.task.standardise, Statistics)
    found.save(tmp_path / "fl_config.json")
    assert type(found).load(tmp_path / "fl_config.json") == found  # to the last bit
    assert stated(found, []) is found


def test_what_overflows_is_refused() -> None:
    numbers = {"mean": [0] * 4, "std": [1e-30] * 4}
    task = Task.model_validate({**VECTORS, "standardise": numbers})
    with pytest.raises(FedkitError, match="overflow"):
        standardised((torch.full((1, 4), 1e30), torch.zeros(1)), task)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "no",
        '{"n": 0, "sums": [1], "squares": [1]}',
        '{"n": 1, "sums": [1], "squares": [-1]}',
    ],
)
def test_a_file_that_holds_no_statistics_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FedkitError, match=r"a\.json"):
        read_moments(tmp_path / "a.json")


def test_statistics_of_different_tasks_are_not_mixed() -> None:
    one = moments(torch.ones(2, 3), Task.model_validate({**VECTORS, "shape": [3]}))
    other = moments(torch.ones(2, 4), Task.model_validate(VECTORS))
    with pytest.raises(FedkitError, match="3 and 4 features"):
        combine([one, other])
    with pytest.raises(FedkitError, match="no features"):
        combine([])


def test_columns_that_are_far_apart_are_noticed() -> None:
    samples = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert not far_apart(samples)
    assert far_apart(samples * torch.tensor([1.0, 1.0, 500.0]))
    assert not far_apart(torch.cat([samples, torch.full((50, 1), 1e6)], 1))  # constant
    assert not far_apart(samples[:, :1])
