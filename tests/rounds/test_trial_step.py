"""A model is tried as it will be trained, once, and leaves no trace."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.learning.models import SAMPLE_MODEL
from fedkit.rounds import trial_step
from fedkit.rounds.trial_step import Trial, try_out
from tests.support import tasks
from tests.support.digits import seeded
from tests.support.helpers import AGGREGATOR, ALICE, BOB, launched, problems, small
from tests.support.kinds import KINDS
from tests.support.tasks import source

EXAMPLE = {"unit": "example", "epsilon": 3.0, "delta": 1e-5, "clip": 1.0}
NORMED = KINDS["batch norm"].source


def digits_model(parts: str, forward: str) -> str:
    return source(f"self.fc = nn.Linear(784, 10)\n{parts}", forward)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The class of each model that was tried, from now on."""
    tried: list[str] = []

    def note(trial: Trial) -> None:
        tried.append(trial.config.model_class_name)

    trial_step._tried.cache_clear()
    monkeypatch.setattr(trial_step, "STEPS", (*trial_step.STEPS, note))
    return tried


@pytest.mark.parametrize("name", tasks.KINDS)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"strategy": {"name": "scaffold"}},
        {"strategy": {"name": "fedprox", "mu": 0.1}},
        {"weighting": "equal", "dp": EXAMPLE | {"unit": "participant"}},
        {"weighting": "equal", "dp": EXAMPLE | {"unit": "participant", "noise_at": "participants"}},
        {"secure_aggregation": {"threshold": 2}},
    ],
    ids=["plain", "scaffold", "fedprox", "dp at the aggregator", "dp", "secure"],
)
def test_what_can_be_trained_passes(name: str, more: dict[str, Any]) -> None:
    kind = tasks.KINDS[name]
    try_out(kind.config(**more), kind.model)


REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "a change in place": (
        digits_model("", "x = torch.sigmoid(self.fc(x.flatten(1)))\nx += 1\nreturn x"),
        {},
        r"\[2,1,28,28\]",
        "x = x + y",
    ),
    "a cut gradient": (
        digits_model("", "return self.fc(x.flatten(1)).detach()"),
        {},
        "FLModel can't be trained",
        "leave out .detach()",
    ),
    "nothing to train": (
        digits_model("self.requires_grad_(False)", "return self.fc(x.flatten(1))"),
        {},
        "nothing to train: all its weights are frozen",
        "requires_grad on for one layer",
    ),
    "an error in train mode alone": (
        digits_model("", "assert not self.training, 'oh'\nreturn self.fc(x.flatten(1))"),
        {},
        "AssertionError: oh. Tried was one local step in train mode, with cross_entropy, fedavg",
        "FLModel().train()(torch.zeros(2, 1, 28, 28)).sum().backward()",
    ),
    "fewer classes in train mode": (
        digits_model("", "y = self.fc(x.flatten(1))\nreturn y[:, :5] if self.training else y"),
        {},
        r"two images with \[2, 5\] in train mode, not with \[2, 10\]",
        "the same in train mode",
    ),
    "a second answer in train mode": (
        digits_model("", "y = self.fc(x.flatten(1))\nreturn (y, y) if self.training else y"),
        {},
        "must be Tensor, not tuple",
        "one tensor, in train mode as in eval mode",
    ),
    "a weight that is one number ten times": (
        digits_model(
            "self.w = nn.Parameter(torch.zeros(1).expand(10))",
            "return self.fc(x.flatten(1)) + self.w",
        ),
        {},
        "more than one element of the written-to tensor",
        "write .clone()",
    ),
    "a mask of large numbers under secure aggregation": (
        digits_model(
            "self.register_buffer('mask', torch.full((3,), -1e9))", "return self.fc(x.flatten(1))"
        ),
        {"secure_aggregation": {"threshold": 2}},
        "too large for secure aggregation: mask. holds 1e.11 in samples times weight.* 2 participants of 100 samples",
        "persistent=False",
    ),
    "a batch that is lost where it is one": (
        digits_model("", "return self.fc(x.flatten(1)).squeeze()"),
        {},
        r"\[1,1,28,28\]",
        "x.squeeze(1)",
    ),
    "a buffer that grows": (
        digits_model(
            "self.register_buffer('seen', torch.zeros(0))",
            "if self.training: self.seen = x.detach().flatten()\nreturn self.fc(x.flatten(1))",
        ),
        {},
        "another model after a local step: seen has shape",
        "keep each buffer's shape",
    ),
    "batch normalisation in batches of one": (
        NORMED,
        {"batch_size": 1},
        "ValueError",
        "batch_size to 2",
    ),
    "batch normalisation under DP-SGD": (
        NORMED,
        {"dp": EXAMPLE},
        "no gradient for a single image",
        "without batch normalisation",
    ),
    "the old weight_norm under DP-SGD": (
        KINDS["weight norm by a hook"].source,
        {"dp": EXAMPLE},
        "fedavg and dp for each example",
        "nn.utils.parametrizations.weight_norm",
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*weight_norm.*")
@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_is_refused_with_the_usual_cause(name: str) -> None:
    model, more, what, remedy = REFUSED[name]
    with pytest.raises(FedkitError, match=what) as caught:
        try_out(small(**more), model, file="launch/own.py")
    assert caught.value.file == Path("launch/own.py")
    assert remedy in str(caught.value.remedy)


@pytest.mark.filterwarnings("ignore:Full backward hook", "ignore:There is a performance drop")
def test_an_lstm_is_refused_under_dp_sgd_and_opacus_own_is_trained() -> None:
    kind = tasks.KINDS["text"]
    config = kind.config(dp=EXAMPLE | {"delta": 1e-3})
    with pytest.raises(FedkitError, match=r"opacus.layers.DPLSTM in place of nn.LSTM"):
        try_out(config, kind.model)
    private = "from opacus.layers import DPLSTM\n" + kind.model.replace("nn.LSTM", "DPLSTM")
    assert len(fk.simulate(config, kind.shards, kind.test, model=private)) == 2


def test_batch_normalisation_needs_no_second_sample_in_a_last_batch() -> None:
    try_out(small(batch_size=2), NORMED)


ALONE = digits_model("self.norm = nn.BatchNorm1d(784)", "return self.fc(self.norm(x.flatten(1)))")


def test_a_shard_of_one_sample_is_refused_where_the_model_needs_two(tmp_path: Path) -> None:
    one = (torch.rand(1, 1, 28, 28, generator=seeded(0)), torch.tensor([3]))
    config = small(participants=[ALICE])
    assert len(fk.simulate(config, [one], one)) == 2
    with pytest.raises(FedkitError, match=r"single sample.*nn\.GroupNorm"):
        fk.simulate(config, [one], one, model=ALONE)
    net = fk.Network.create(tmp_path, aggregator=AGGREGATOR, participants=[ALICE])
    net.give_data(ALICE, one)
    net.give_test(*one)
    net.launch(config, ALONE)
    (told,) = problems(net.run(approve=fk.approve_all).waiting)
    assert "single sample" in told


# ------------------------------------------------------------------------------------------ who tries
def test_a_launch_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    net = launched(tmp_path, NORMED, dp=EXAMPLE)
    with pytest.raises(FedkitError, match="no gradient for a single image") as caught:
        net.run(approve=fk.approve_all)
    folder = net.sites[AGGREGATOR].aggregator().launch
    assert caught.value.file == folder / "model.py"
    assert net.projects() == []
    assert [path for path in tmp_path.rglob("fl_config.json") if path.parent != folder] == []


def test_a_simulation_is_refused_before_its_first_round() -> None:
    kind = tasks.KINDS["colour images"]
    with pytest.raises(FedkitError, match="no gradient for a single image"):
        fk.simulate(kind.config(dp=EXAMPLE), kind.shards, kind.test, model=kind.model)


def test_one_launch_tries_once_for_all_that_take_part(tmp_path: Path, steps: list[str]) -> None:
    net = launched(tmp_path)
    assert steps == []
    assert net.run(approve=fk.approve_all).done
    assert steps == ["FLModel"]


def test_the_same_model_with_another_seed_and_more_rounds_is_not_tried_again(
    steps: list[str],
) -> None:
    try_out(small(), SAMPLE_MODEL)
    try_out(small(seed=7, rounds=9, epoch=2, participants=[BOB, ALICE]), SAMPLE_MODEL)
    assert len(steps) == 1
    try_out(small(strategy={"name": "scaffold"}), SAMPLE_MODEL)
    try_out(small(), SAMPLE_MODEL + "\n")
    assert len(steps) == 3


def test_what_was_refused_is_tried_again() -> None:
    for _ in range(2):
        with pytest.raises(FedkitError, match="ValueError"):
            try_out(small(batch_size=1), NORMED)


# ------------------------------------------------------------------------------------------- no trace
DRAWS = """import random
import numpy as np
""" + digits_model(
    "self.start = random.random() + np.random.rand() + float(torch.rand(()))",
    "x = x + random.random() + np.random.rand() + torch.rand(())\nreturn self.fc(F.dropout(x.flatten(1)))",
)


def test_it_leaves_everybodys_random_numbers_where_they_were(steps: list[str]) -> None:
    def next_ones() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)

    seed()
    wanted = next_ones()
    seed()
    try_out(small(), DRAWS)
    assert len(steps) == 1
    assert next_ones() == wanted


def test_its_own_model_is_built_for_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = KINDS["counts in its file"].source
    config = small(rounds=1, participants=[ALICE])
    shard = (torch.rand(9, 1, 28, 28, generator=seeded(0)), torch.arange(9))
    states = []
    for these in (trial_step.STEPS, ()):
        trial_step._tried.cache_clear()
        monkeypatch.setattr(trial_step, "STEPS", these)
        fk.simulate(
            config, [shard], shard, model=model, on_round=lambda _, state: states.append(state)
        )
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())
