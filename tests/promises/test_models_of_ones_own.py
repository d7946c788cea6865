"""Models as people write them, and as torchvision has them, train between datasites and in memory to the same bits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.files import sha256_bytes
from fedkit.base.tensors import state_bytes
from tests.support.digits import seeded
from tests.support.helpers import AGGREGATOR, ALICE, BOB, final_model, problems
from tests.support.tasks import KINDS, Kind, source

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*weight_norm.*")


def both_worlds(root: Path, kind: Kind, **changes: Any) -> fk.StateDict:
    """The last global model, after the two worlds have been found to agree on it and on every update."""
    config = kind.config(**changes)
    states: list[fk.StateDict] = []
    memory = fk.simulate(
        config,
        kind.shards,
        kind.test,
        model=kind.model,
        exact=True,
        on_round=lambda _, state: states.append(state),
    )
    net = fk.Network.create(root, aggregator=AGGREGATOR, participants=[ALICE, BOB])
    for email, shard in zip((ALICE, BOB), kind.shards, strict=True):
        net.give_data(email, shard, kind.task)
    net.give_test(*kind.test)
    net.launch(config, kind.model)
    happened: list[fk.Event] = []
    disk = net.run(approve=fk.approve_all, on_event=happened.append)
    assert problems(happened) == []
    assert disk.done, disk.waiting
    assert [record.contributions for record in disk] == [record.contributions for record in memory]
    assert sha256_bytes(final_model(net)) == sha256_bytes(state_bytes(states[-1]))
    return states[-1]


def table(parts: str, forward: str) -> Kind:
    return replace(KINDS["a table"], model=source(parts, forward))


MODELS = {
    "tied weights": table(
        """self.a = nn.Linear(30, 8)
        self.b = nn.Linear(8, 8)
        self.c = nn.Linear(8, 8)
        self.c.weight = self.b.weight
        self.out = nn.Linear(8, 1)""",
        "return self.out(self.c(torch.tanh(self.b(self.a(x)))))",
    ),
    "weight_norm by a hook": table(
        "self.fc = nn.utils.weight_norm(nn.Linear(30, 1))", "return self.fc(x)"
    ),
    "weight_norm": table(
        "self.fc = nn.utils.parametrizations.weight_norm(nn.Linear(30, 1))", "return self.fc(x)"
    ),
    "drop-out": table(
        "self.drop = nn.Dropout(0.3)\nself.fc = nn.Linear(30, 1)", "return self.fc(self.drop(x))"
    ),
    "batch normalisation": table(
        "self.norm = nn.BatchNorm1d(30)\nself.fc = nn.Linear(30, 1)", "return self.fc(self.norm(x))"
    ),
    "embedding and LSTM": KINDS["text"],
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavgm": {"name": "fedavgm"},
    "fedadam": {"name": "fedadam", "server_lr": 0.01},
    "scaffold": {"name": "scaffold"},
    "fedprox": {"name": "fedprox", "mu": 0.1},
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", MODELS)
def test_with_every_kind_of_strategy(tmp_path: Path, name: str, strategy: str) -> None:
    last = both_worlds(tmp_path, MODELS[name], batch_size=17, strategy=STRATEGIES[strategy])
    assert all(bool(value.isfinite().all()) for value in last.values())
    if name == "tied weights":
        assert torch.equal(last["b.weight"], last["c.weight"])


PARTICIPANT = {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 1.0}
PROMISES: dict[str, dict[str, Any]] = {
    "example": {"dp": PARTICIPANT | {"unit": "example"}},
    "participant": {"dp": PARTICIPANT, "weighting": "equal"},
    "shares of noise": {"dp": PARTICIPANT | {"noise_at": "participants"}, "weighting": "equal"},
}


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", ["tied weights", "weight_norm", "drop-out"])
def test_with_differential_privacy(tmp_path: Path, name: str, promise: str) -> None:
    both_worlds(tmp_path, MODELS[name], **PROMISES[promise])


def images(shape: tuple[int, int, int], model: str) -> Kind:
    samples = torch.rand(90, *shape, generator=seeded(1))
    return Kind({"shape": list(shape), "outputs": 4}, samples, torch.arange(90) % 4, model)


SHAPES = {
    "grey 16x16": images(
        (1, 16, 16), source("self.fc = nn.Linear(256, 4)", "return self.fc(x.flatten(1))")
    ),
    "colour 8x12": images(
        (3, 8, 12),
        source(
            "self.conv = nn.Conv2d(3, 4, 3)\nself.fc = nn.Linear(240, 4)",
            "return self.fc(F.relu(self.conv(x)).flatten(1))",
        ),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_images_of_any_channels_and_size(tmp_path: Path, name: str) -> None:
    both_worlds(tmp_path, SHAPES[name])


RESNET = source(
    "from torchvision.models import resnet18\nself.net = resnet18(weights=None, num_classes=4)",
    "return self.net(x)",
)


def test_torchvisions_resnet_18(tmp_path: Path) -> None:
    """11.2 million weights in files of 45 MB; batch normalisation, with a last batch of one image."""
    kind = images((3, 32, 32), RESNET)
    few = Small(kind.written, kind.samples[:74], kind.labels[:74], kind.model)
    last = both_worlds(tmp_path, few, rounds=1, batch_size=2)
    assert int(last["net.bn1.num_batches_tracked"]) > 0


class Small(Kind):
    """Three images for each participant."""

    @property
    def shards(self) -> list[fk.Shard]:
        return [(self.samples[a : a + 3], self.labels[a : a + 3]) for a in (0, 3)]
