"""One trial: the same numbers as the simulation with the same settings, until its target is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fedkit as fk
from fedkit.config.task import Task
from fedkit.data.folder import digest_of, write_data_folder
from fedkit.experiments.trial import check_trial, run_trial
from tests.support.sweeps import SMALL
from tests.support.tasks import KINDS


def test_a_trial_is_simulate_with_the_same_settings() -> None:
    found = run_trial(check_trial({**SMALL, "partition": "shards", "seed": 3, "batch_size": 10}))
    digits, draw = fk.load_mnist(), fk.generator(3, "partition")
    chosen = torch_permutation(len(digits.train_labels), draw)[:100]
    images, labels = digits.train_images[chosen], digits.train_labels[chosen]
    parts = fk.split_shards(labels, 5, 2, generator=draw)
    config = check_trial({**SMALL, "seed": 3}).config()
    test = fk.as_float(digits.test_images), digits.test_labels
    history = fk.simulate(
        config,
        fk.take(images, labels, parts),
        test,
        weights=fk.seed_weights(fk.SAMPLE_MODEL, 3),
    )
    assert found["accuracies"] == history.accuracies
    assert found["rounds_run"] == 2
    assert found["accuracy"] == history.accuracies[-1]


def test_a_trial_of_own_data_standardises_them_as_their_task_says(tmp_path: Path) -> None:
    kind = KINDS["a table"]
    losses = []
    (tmp_path / "m.py").write_text(kind.model)
    for way in (None, "own", "federated"):
        task = Task.model_validate({**kind.written, "standardise": way})
        folder = tmp_path / str(way)
        write_data_folder(folder, task, dict(zip("ab", kind.shards, strict=True)), kind.test)
        own = {"data_dir": str(folder), "data_sha256": digest_of(folder), "participants": 2}
        trial = check_trial({**own, "model": str(tmp_path / "m.py"), "rounds": 2})
        found = run_trial(trial)
        losses.append(found["losses"])
        history = fk.simulate(
            trial.config(),
            *(kind.shards, kind.test),
            model=kind.model,
            weights=fk.seed_weights(kind.model, 0),
        )
        assert found["losses"] == [record.loss for record in history]
        assert found["auc by round"] == history.metrics["auc"]
    assert losses[0] != losses[1] != losses[2]


def torch_permutation(count: int, draw: Any) -> Any:
    import torch

    return torch.randperm(count, generator=draw)


def test_a_trial_stops_at_its_target_and_says_when() -> None:
    values = {"rounds": 30, "images": 500, "participants": 5, "learning_rate": 0.3}
    found = run_trial(check_trial({**values, "target": 0.6}))
    assert found["accuracies"][-1] >= 0.6 > max(found["accuracies"][:-1])
    assert found["rounds_run"] - 1 < found["rounds_to_target"] <= found["rounds_run"] < 30
    assert run_trial(check_trial({**SMALL, "target": 1.0}))["rounds_to_target"] is None


def test_all_is_one_batch_for_the_largest_shard() -> None:
    whole = {**SMALL, "partition": "sizes", "alpha": 1.0}
    everything = run_trial(check_trial({**whole, "batch_size": "all"}))
    assert everything == run_trial(check_trial({**whole, "batch_size": 100}))
    assert everything != run_trial(check_trial({**whole, "batch_size": 10}))


@pytest.mark.parametrize(
    "partition",
    [
        {"partition": "dirichlet", "alpha": 0.5},
        {"partition": "labels", "labels_each": 2},
        {"partition": "sizes", "alpha": 1.0},
    ],
)
def test_every_partition_runs_and_depends_on_the_seed(partition: dict[str, Any]) -> None:
    one, other = (run_trial(check_trial({**SMALL, **partition, "seed": s})) for s in (0, 1))
    assert one["accuracies"] != other["accuracies"]
    assert 0 <= one["heterogeneity"] < 1


def test_an_optimizer_is_swept_by_name_or_with_parameters() -> None:
    found = [
        run_trial(check_trial({**SMALL, "learning_rate": 0.01, "optimizer": optimizer}))["losses"]
        for optimizer in (None, "sgd", "adam", {"name": "adam"}, {"name": "sgd", "momentum": 0.9})
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[2] == found[3]
    assert len({losses[-1] for losses in found[1:]}) == 3


def test_what_is_kept_back_is_swept() -> None:
    shares = [run_trial(check_trial({**SMALL, "validation": v})) for v in (None, {"share": 0.5})]
    assert shares[0]["losses"] != shares[1]["losses"]


def test_a_schedule_is_swept_by_name_or_with_parameters() -> None:
    found = [
        run_trial(check_trial({**SMALL, "schedule": schedule}))["losses"]
        for schedule in (None, "constant", "cosine", {"name": "step", "every": 1, "factor": 0.5})
    ]
    assert found[0] == found[1]
    assert found[2][-1] == pytest.approx(found[3][-1], rel=1e-4)  # of two rounds: half, both ways
    assert found[0][-1] != found[2][-1]
