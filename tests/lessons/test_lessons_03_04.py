"""Lessons 03 and 04: their checks know right from wrong, and what their prose says is so, for more than one seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import fedkit as fk
from fedkit.teaching.check.lesson_03 import sgd_epoch, steps_in_a_round, what_the_facts_tell
from fedkit.teaching.check.lesson_04 import fedavg, mixing_weights
from tests.support.run_lesson import run

ALICE, BOB, AGGREGATOR = "alice@example.org", "bob@example.org", "aggregator@example.org"
TRAIN, AGGREGATE = "03_train.py", "04_aggregate.py"
TINY = {"rounds": 2, "epoch": 1, "per_digit": 20}
SEEDS = [0, pytest.param(1, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=SEEDS)
def train(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names of lesson 03 after a run with its own parameters and some seed."""
    return run(TRAIN, tmp_path_factory.mktemp("train"), seed=request.param).names


@pytest.fixture(scope="module", params=SEEDS)
def aggregate(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names of lesson 04 after a run with its own parameters and some seed."""
    return run(AGGREGATE, tmp_path_factory.mktemp("aggregate"), seed=request.param).names


# ------------------------------------------------------------------------------- both, as a whole
@pytest.mark.parametrize(
    ("lesson", "exercises"),
    [
        (TRAIN, {"sgd_epoch", "steps_in_a_round", "what_the_facts_tell"}),
        (AGGREGATE, {"mixing_weights", "fedavg"}),
    ],
)
def test_editions_agree_run_after_run(lesson: str, exercises: set[str], tmp_path: Path) -> None:
    """Solutions are right; run again in the same folder with every exercise open, the same lines are printed."""
    whole = run(lesson, tmp_path, **TINY)
    assert whole.checks == dict.fromkeys(exercises, "right")
    learner = run(lesson, tmp_path, "learner", **TINY)
    assert learner.checks == dict.fromkeys(exercises, "not yet")
    assert learner.text == whole.text


# --------------------------------------------------------------------------------- checks, lesson 03
def epoch_with(
    rate: float = 1.0,
    whole: bool = False,
    shuffle: bool = True,
    drop_last: bool = False,
    mean_of_means: bool = False,
) -> Any:
    """An epoch of SGD with torch's own tools, right or with one of the usual mistakes."""

    def attempt(model, images, labels, learning_rate, batch_size, generator):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        order = torch.randperm(len(labels), generator=generator)
        order = order if shuffle else torch.arange(len(labels))
        batches = list(order.split(batch_size))
        batches = batches[:-1] if drop_last else batches
        total = 0.0
        for batch in batches:
            chosen = order if whole else batch
            loss = F.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            (loss * (rate * learning_rate if rate else 1.0)).backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        return total / len(batches) if mean_of_means else total / len(labels)

    return attempt


def gives_a_new_name(model, images, labels, learning_rate, batch_size, generator):
    parameters = list(model.parameters())
    for batch in torch.randperm(len(labels), generator=generator).split(batch_size):
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter = parameter - learning_rate * gradient
    return loss.item()


def takes_all_labels(model, images, labels, learning_rate, batch_size, generator):
    batch = torch.randperm(len(labels), generator=generator)[:batch_size]
    return F.cross_entropy(model(images[batch]), labels)


def is_open(model, images, labels, learning_rate, batch_size, generator):
    ...  # noqa: PIE790
    return loss / len(labels)  # noqa: F821


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (fk.sgd_epoch, "right", "agree with plain SGD"),
        (epoch_with(), "right", "agree with plain SGD"),
        (epoch_with(rate=-1), "try again", "uphill"),
        (epoch_with(rate=0), "try again", "learning rate"),
        (epoch_with(whole=True), "try again", "its batch only"),
        (epoch_with(shuffle=False), "try again", "old order"),
        (epoch_with(drop_last=True), "try again", "is left out"),
        (epoch_with(mean_of_means=True), "try again", "mean loss"),
        (gives_a_new_name, "try again", "the same afterwards"),
        (takes_all_labels, "try again", "ValueError"),
        (is_open, "not yet", "section above"),
    ],
)
def test_sgd_epoch_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = sgd_epoch(answer)
    assert result.state == state, result.message
    assert says in result.message


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (320, "right", "one of 16"),
        (32, "try again", "ten"),
        (310, "try again", "1,984"),
        (312.5, "try again", "anew"),
        (313, "try again", "anew"),
        (640, "try again", "Bob"),
        (960, "try again", "three rounds"),
        (20_000, "try again", "whole batch"),
        (7, "try again", "Count the batches"),
        ("320", "try again", "one number"),
        (..., "not yet", "last one"),
    ],
)
def test_steps_in_a_round_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = steps_in_a_round(answer)
    assert result.state == state
    assert says in result.message
    assert state == "right" or "320" not in result.message


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        ({"a", "c", "d"}, "right", "no images"),
        (["d", "c", "a"], "right", "no images"),
        ({"a", "c"}, "try again", "how long"),
        ({"a", "b", "c", "d"}, "try again", "digit"),
        ({"a", "c", "d", "e"}, "try again", "No image"),
        ({"c", "d"}, "try again", "counts Alice's images"),
        ({"A"}, "try again", "loss of the last epoch"),
        (3, "try again", "letters"),
        ({...}, "not yet", "each letter"),
    ],
)
def test_what_the_facts_tell_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = what_the_facts_tell(answer)
    assert result.state == state
    assert says in result.message


# --------------------------------------------------------------------------------- checks, lesson 04
def counted(updates: Any) -> list[int]:
    return [update.num_samples or 0 for update in updates]


def by_samples_always(updates: Any, weighting: str = "samples") -> list[float]:
    return [count / max(1, sum(counted(updates))) for count in counted(updates)]


def not_divided(updates: Any, weighting: str = "samples") -> list[float]:
    return counted(updates)


def few_weigh_more(updates: Any, weighting: str = "samples") -> list[float]:
    inverse = [1 / max(1, count) for count in counted(updates)]
    return [value / sum(inverse) for value in inverse]


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (fk.mixing_weights, "right", "whoever holds it"),
        (lambda *asked: np.array(fk.mixing_weights(*asked)), "right", "whoever holds it"),
        (lambda updates, weighting: [1 / len(updates)] * len(updates), "try again", "three quarte"),
        (by_samples_always, "try again", "half each"),
        (
            lambda updates, weighting: (
                by_samples_always(updates)
                if weighting == "samples"
                else [1 / len(updates)] * len(updates)
            ),
            "try again",
            "unknown",
        ),
        (not_divided, "try again", "add up to 800"),
        (few_weigh_more, "try again", "half each"),
        (lambda updates, weighting: 0.75, "try again", "list"),
        (lambda updates, weighting: [1.0], "try again", "2 shares"),
        (lambda updates, weighting: [c / 0 for c in counted(updates)], "try again", "ZeroDivision"),
        (lambda updates, weighting: ..., "not yet", "Two returns"),
    ],
)
def test_mixing_weights_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = mixing_weights(answer)
    assert result.state == state
    assert says in result.message


def mixed(*shares: float) -> Any:
    """Tensors of two updates, each times a number, in the dtypes that they came with."""

    def attempt(updates: Any, weighting: str = "samples") -> dict[str, torch.Tensor]:
        total = {}
        for name, tensor in updates[0].state.items():
            parts = [s * u.state[name].double() for s, u in zip(shares, updates, strict=True)]
            total[name] = parts[0] + parts[1]
            if not tensor.is_floating_point():
                total[name] = total[name].round()
            total[name] = total[name].to(tensor.dtype)
        return total

    return attempt


def stays_double(updates: Any, weighting: str = "samples") -> dict[str, torch.Tensor]:
    return {name: tensor.double() for name, tensor in updates[0].state.items()}


def cuts_off(updates: Any, weighting: str = "samples") -> dict[str, torch.Tensor]:
    first, second = (update.state for update in updates)
    return {n: (0.75 * first[n] + 0.25 * second[n]).to(first[n].dtype) for n in first}


def spoils_an_update(updates: Any, weighting: str = "samples") -> dict[str, torch.Tensor]:
    for tensor in updates[0].state.values():
        if tensor.is_floating_point():
            tensor.mul_(0.75)
    return dict(updates[0].state)


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (fk.fedavg, "right", "no more than this"),
        (mixed(0.75, 0.25), "try again", "zip() argument 2 is longer"),
        (mixed(0.5, 0.5), "try again", "count the same"),
        (mixed(1, 1), "try again", "in full"),
        (mixed(0.25, 0.75), "try again", "wrong updates"),
        (mixed(600, 200), "try again", "counts"),
        (mixed(0.75, 0), "try again", "Only the first update"),
        (stays_double, "try again", "float64"),
        (cuts_off, "try again", "rounded"),
        (spoils_an_update, "try again", "has changed one"),
        (lambda updates, weighting="": {"layer.bias": torch.zeros(2)}, "try again", "same names"),
        (lambda updates, weighting="": ..., "not yet", "`parts`"),
    ],
)
def test_fedavg_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = fedavg(answer)
    assert result.state == state, result.message
    assert says in result.message


# ------------------------------------------------------------------------------ what lesson 03 says
def test_one_step_lowers_the_loss_a_little(train: dict[str, Any]) -> None:
    before, after = train["loss"].item(), train["after"].item()
    assert before == pytest.approx(2.3, abs=0.1)
    assert 0.03 < before - after < 0.5


def test_losses_fall_most_in_the_first_two_epochs(train: dict[str, Any]) -> None:
    alice, bob = train["losses"].values()
    for losses in (alice, bob):
        assert losses[0] > 1
        assert losses[-1] < 0.25
        assert 2.3 - losses[1] > 0.75 * (2.3 - losses[-1])
    assert all(his > hers for hers, his in zip(alice, bob, strict=True))


def test_the_client_does_what_was_done_by_hand(train: dict[str, Any]) -> None:
    assert train["same"]
    assert fk.flatten(train["update"]).numel() == 101_770
    assert train["project"].trained(1).stat().st_size // 1000 == 409
    log = train["project"].training_log(1).read_text(encoding="utf-8").splitlines()
    drawn = [float(line.rpartition("= ")[2]) for line in log[1:]]
    assert drawn == pytest.approx(train["losses"][ALICE], abs=1e-6)


def test_nobody_knows_what_they_have_not_seen(train: dict[str, Any]) -> None:
    assert train["answers"].max() < 5
    assert min(train["test_labels"][train["unseen"]]) >= 5
    alice, bob = train["table"].values()
    assert max(*alice[5:], *bob[:5]) < 0.01
    assert min(*alice[:5], *bob[5:]) > 0.6
    assert sum(alice[:5]) / 5 > 0.91  # "more than nine times out of ten"


def test_federated_lies_between_alone_and_pooled(train: dict[str, Any]) -> None:
    accuracy = train["accuracy"]
    assert 0.44 < accuracy["Bob alone"] < 0.5
    assert 0.44 < accuracy["Alice alone"] < 0.5
    assert 0.82 < accuracy["federated"] < 0.88  # "about 85 %"
    assert 0.915 < accuracy["pooled"] < 0.945  # "about 93 %"
    assert 0.055 < accuracy["pooled"] - accuracy["federated"] < 0.11  # "some 8 points"
    federated, pooled = train["rows"]["federated"], train["rows"]["pooled"]
    assert min(federated) > 0.5
    assert sum(f < p for f, p in zip(federated, pooled, strict=True)) >= 6


def test_what_the_aggregator_of_lesson_03_saw(train: dict[str, Any]) -> None:
    entries = [e for e in train["network"].ledger() if e.receiver == AGGREGATOR]
    models = [(e.sender, e.path.rpartition("/")[2]) for e in entries if e.path.endswith(".pt")]
    assert sorted(models) == [
        (ALICE, "trained_model_round_1.pt"),
        (BOB, "trained_model_round_1.pt"),
    ]
    for who in (ALICE, BOB):
        facts = [
            e.path.rpartition("/")[2]
            for e in entries
            if e.sender == who and e.path.endswith(".json")
        ]
        assert len(facts) == 3, "three have crossed"
        assert set(facts) == {"state.json", "trained_model_round_1.json"}, "two lie there"
        assert len(list(train["network"][who].private_client.glob("mnist_label_*.pt"))) == 5
    told = {**train["facts"], **train["state"]}
    assert told["num_samples"] == len(train["labels"]) == 2_000
    assert told["loss"] == pytest.approx(train["losses"][ALICE][-1])
    assert set(told) == {
        "round",
        "num_samples",
        "loss",
        "seconds",
        "steps",
        "dataset_added",
        "model_train_progress",
    }


def test_the_quiz_of_lesson_03(train: dict[str, Any]) -> None:
    one_batch = {**train, "batch_size": 2_000}
    rebound = type(train["train_locally"])(train["train_locally"].__code__, one_batch)
    _, losses = rebound(train["start"], ALICE, train["shards"][ALICE], 1)
    assert losses[-1] > 1.1
    if train["seed"] == 0:  # as much work as the lesson's own federated training
        thirty = {**train, "rounds": 30, "epoch": 1}
        for name in ("train_locally", "train_together"):
            thirty[name] = type(train[name])(train[name].__code__, thirty)
        state = thirty["train_together"](train["shards"])
        score, _ = fk.evaluate(train["model"], state, train["test_images"], train["test_labels"])
        assert 0.875 < score < 0.91  # "nearly 90 %"
        assert score > train["accuracy"]["federated"] + 0.02


# ------------------------------------------------------------------------------ what lesson 04 says
def test_the_mixture_by_samples_is_the_gradient_of_all(aggregate: dict[str, Any]) -> None:
    both, alice, bob = (aggregate[name] for name in ("g_both", "g_alice", "g_bob"))
    assert len(aggregate["fewer"][1]) == 1_000

    def off(share: float) -> float:
        return float((share * alice + (1 - share) * bob - both).norm() / both.norm())

    assert off(0.8) < 5e-6
    assert off(0.5) > 0.3


def test_the_mean_of_two_half_blind_models_sees(aggregate: dict[str, Any]) -> None:
    model, test = aggregate["model"], aggregate["test"]
    alone = [fk.evaluate(model, update.state, *test)[0] for update in aggregate["updates"]]
    mean, _ = fk.evaluate(model, aggregate["average"], *test)
    assert max(alone) < 0.5
    assert 0.76 < mean < 0.88


def test_each_row_of_the_picture_has_its_owners_digits(aggregate: dict[str, Any]) -> None:
    alice, bob, mean = (row.norm(dim=1) for row in aggregate["rows"].values())
    assert alice[5:].max() < 0.4 * alice[:5].min()
    assert bob[:5].max() < 0.4 * bob[5:].min()
    assert mean.min() > 1.2 * max(alice[5:].max(), bob[:5].max())
    assert mean.max() < min(alice[:5].min(), bob[5:].min())


def test_one_round_by_hand_gives_the_bytes_of_advance(aggregate: dict[str, Any]) -> None:
    assert aggregate["ours"] == aggregate["theirs"]
    done = aggregate["aggregator"].aggregator().project("MNIST_FL", "done")
    record = json.loads(done.record(1).read_text())
    assert [part["weight"] for part in record["contributions"]] == [0.5, 0.5]
    assert record["accuracy"] == aggregate["history"].accuracies[0]


def test_the_project_comes_to_its_end(aggregate: dict[str, Any]) -> None:
    history = aggregate["history"]
    assert history.done
    first, second, third = history.accuracies
    assert first < second < third  # "every round brings the model further"
    assert 0.76 < first < 0.88  # "about 82 %"
    assert 0.85 < third < 0.895  # "about 87 %"
    metrics = fk.read_json(aggregate["public"] / "accuracy_metrics.json")
    assert [row["accuracy"] for row in metrics] == [0, *history.accuracies]
    people = fk.read_json(aggregate["public"] / "participants.json")
    assert [row["Round (current/total)"] for row in people] == ["3/3", "3/3"]


def test_shares_decide_where_shards_differ(aggregate: dict[str, Any]) -> None:
    samples, equal = (aggregate["curves"][name] for name in ("samples", "equal"))
    assert max(samples) < 0.5
    assert 0.7 < equal[-1] < 0.79  # "about 75 %"
    samples, equal = (aggregate["alike_curves"][name] for name in ("samples", "equal"))
    assert 0.87 < samples[-1] < 0.9  # "almost 90 %"
    assert all(s > e + 0.05 for s, e in zip(samples, equal, strict=True))


def test_what_the_aggregator_of_lesson_04_saw(aggregate: dict[str, Any]) -> None:
    entries = [e for e in aggregate["network"].ledger() if AGGREGATOR in (e.sender, e.receiver)]
    for email in (ALICE, BOB):
        models = [e for e in entries if email in (e.sender, e.receiver) and e.path.endswith(".pt")]
        assert len([e for e in models if e.sender == email]) == 3
        assert len([e for e in models if e.receiver == email]) == 4
        assert sum(e.size for e in entries if e.sender == email) / 1e6 == pytest.approx(
            1.2, abs=0.05
        )
        assert sum(e.size for e in entries if e.receiver == email) / 1e6 == pytest.approx(
            1.6, abs=0.05
        )
    alice, bob = aggregate["found"].values()
    assert max(*alice[5:], *bob[:5]) < 0.01
    assert min(*alice[:5], *bob[5:]) > 0.6


def test_the_quiz_of_lesson_04(aggregate: dict[str, Any]) -> None:
    def shares(*counts: int) -> list[float]:
        return fk.mixing_weights([fk.Update("x", 1, {}, count) for count in counts])

    assert shares(600, 200, 200) == pytest.approx([0.6, 0.2, 0.2])
    assert shares(4_000, 1_000_000)[1] == pytest.approx(0.996, abs=5e-4)
    mnist = aggregate["mnist"]
    shards = fk.by_digits(
        mnist.train_images,
        mnist.train_labels,
        aggregate["digits"],
        200,
        generator=fk.generator(0, "even"),
    )
    even = dict(zip((ALICE, BOB), shards, strict=True))
    short = {**aggregate, "rounds": 1, "settings": {**aggregate["settings"], "epochs": 1}}
    rehearse = type(aggregate["rehearse"])(aggregate["rehearse"].__code__, short)
    assert rehearse(even, "samples") == rehearse(even, "equal")


# ------------------------------------------------------------------------------- the picture of 04
def test_weight_rows_draws_every_number_once_and_names_its_rows() -> None:
    rows = {"Alice": torch.rand(3, 784), "their mean": -torch.rand(3, 784)}
    figure = fk.plots.weight_rows(rows, [7, 8, 9], xlabel="digit", title="Two models")
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Alice", "their mean"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["7", "8", "9"]
    drawn = ax.images[0].get_array()
    shown = torch.tensor(drawn.filled(float("nan")))
    assert sorted(shown[~shown.isnan()].tolist()) == sorted(
        torch.cat(list(rows.values())).flatten().tolist()
    )
    low, high = ax.images[0].get_clim()
    assert low == -high  # white is zero


@pytest.mark.parametrize(
    ("rows", "columns", "field"),
    [
        ({}, None, "rows"),
        ({"a": torch.zeros(2, 784), "b": torch.zeros(3, 784)}, None, "rows['b']"),
        ({"a": torch.zeros(784)}, None, "rows['a']"),
        ({"a": torch.zeros(2, 784)}, ["one"], "columns"),
    ],
)
def test_weight_rows_refuses_what_does_not_fit(rows: Any, columns: Any, field: str) -> None:
    with pytest.raises(fk.FedkitError) as caught:
        fk.plots.weight_rows(rows, columns)
    assert caught.value.field == field
