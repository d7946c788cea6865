"""In memory as on disk: the same bits, with any number of workers, cut off or not."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.learning.models import SAMPLE_MODEL, load_model, seed_weights
from fedkit.learning.stacked import NotStackable, StackedModel
from fedkit.learning.strategies.registry import STRATEGIES
from fedkit.rounds.in_memory import groups_of
from fedkit.rounds.simulation import numbered_participants, simulate
from tests.support.digits import uneven_shards

PEOPLE = numbered_participants(5)
CNN = """
import torch
from torch import nn
class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    def forward(self, x):
        return self.net(x)
"""


def config(**more: object) -> fk.FLConfig:
    return fk.FLConfig.from_dict(
        {
            "project_name": "T",
            "aggregator": "a@example.org",
            "participants": PEOPLE,
            "rounds": 3,
            "epoch": 1,
            "learning_rate": 0.1,
            "model_arch": "model.py",
            "model_weight": "w.pt",
        }
        | more
    )


@pytest.fixture(scope="module")
def data() -> tuple[list[fk.Shard], fk.Shard]:
    return uneven_shards()


def on_disk(root: Path, what: fk.FLConfig, data: tuple, model: str = SAMPLE_MODEL) -> fk.History:  # type: ignore[type-arg]
    network = fk.Network.create(root, aggregator=what.aggregator, participants=what.participants)
    for email, shard in zip(what.participants, data[0], strict=True):
        network.give_data(email, shard)
    network.give_test(*data[1])
    network.launch(what, model)
    return network.run(approve=fk.approve_all)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "fedbn"])
def test_every_strategy_gives_the_same_bits_on_disk_and_in_memory(
    tmp_path: Path,
    data: tuple,
    name: str,  # type: ignore[type-arg]
) -> None:
    spec = {"name": name} | ({"mu": 0.5} if name == "fedprox" else {})
    what = config(strategy=spec)
    disk, memory = on_disk(tmp_path, what, data), simulate(what, *data, exact=True)
    assert disk.done
    assert disk.rounds == memory.rounds  # every update's SHA-256 among them


@pytest.mark.parametrize(
    "more",
    [
        {"participants_per_round": 2},
        {"weighting": "equal", "seed": 7},
        {"batch_size": 16, "epoch": 2},
        {
            "participants_per_round": 2,
            "strategy": {"name": "scaffold"},
            "batch_size": 16,
            "rounds": 4,
        },
    ],
)
def test_sampling_weighting_and_batches_too(tmp_path: Path, data: tuple, more: dict) -> None:  # type: ignore[type-arg]
    what = config(**more)
    assert on_disk(tmp_path, what, data).rounds == simulate(what, *data, exact=True).rounds


def test_a_cnn_runs_in_both_worlds_one_by_one(tmp_path: Path, data: tuple) -> None:  # type: ignore[type-arg]
    with pytest.raises(NotStackable):
        StackedModel(load_model(CNN))
    what = config(rounds=2)
    disk = on_disk(tmp_path, what, data, CNN)
    assert disk.rounds == simulate(what, *data, model=CNN, exact=True).rounds
    assert disk.accuracies == simulate(what, *data, model=CNN).accuracies


@pytest.mark.parametrize("participants", [1, 4, 5])
def test_workers_change_no_bit(data: tuple, participants: int) -> None:  # type: ignore[type-arg]
    what = config(rounds=1, participants=PEOPLE[:participants])
    one, four = (simulate(what, data[0][:participants], data[1], workers=w) for w in (1, 4))
    assert one.rounds == four.rounds


@pytest.mark.parametrize(
    ("count", "numbers", "sizes"),
    [
        (10, 199_210, [5, 5]),
        (11, 199_210, [3, 4, 4]),
        (100, 199_210, [5] * 20),
        (10, 5_000_000, [1] * 10),
        (3, 10, [3]),
        (200, 10, [50] * 4),
        (0, 10, [0]),
    ],
)
def test_groups_hold_everybody_once_and_are_balanced(
    count: int, numbers: int, sizes: list[int]
) -> None:
    groups = groups_of(range(count), numbers)
    assert [len(group) for group in groups] == sizes
    assert [who for group in groups for who in group] == list(range(count))


@pytest.mark.parametrize("strategy", ["fedadam", "scaffold"])
def test_cut_off_and_gone_on_from_a_checkpoint_gives_the_same_bits(
    tmp_path: Path,
    data: tuple,  # type: ignore[type-arg]
    strategy: str,
) -> None:
    what = config(rounds=4, strategy={"name": strategy}, participants_per_round=3)
    whole = simulate(what, *data)
    first = simulate(what, *data, checkpoint=tmp_path, every=1, until=lambda h: len(h) == 2)
    assert len(first) == 2
    assert not first.done
    asked = []

    def shard(email: str) -> fk.Shard:
        asked.append(email)
        return dict(zip(PEOPLE, data[0], strict=True))[email]

    assert simulate(what, shard, data[1], checkpoint=tmp_path).rounds == whole.rounds
    assert len(asked) == 2 * 3  # only the two rounds that were missing
    seen = {part.participant for record in whole.rounds for part in record.contributions}
    files = [path.name.split("_", 2)[2] for path in tmp_path.glob("memory_*.pt")]
    assert sorted(files) == (sorted(f"{who}.pt" for who in seen) if strategy == "scaffold" else [])
    with pytest.raises(FedkitError, match="another config"):
        simulate(config(), *data, checkpoint=tmp_path)


def test_ctrl_c_returns_the_history_so_far(data: tuple) -> None:  # type: ignore[type-arg]
    calls = iter(range(100))

    def shard(email: str) -> fk.Shard:
        if next(calls) == 7:
            raise KeyboardInterrupt
        return data[0][PEOPLE.index(email)]

    assert len(simulate(config(), shard, data[1])) == 1


def test_missing_shards_are_named(data: tuple) -> None:  # type: ignore[type-arg]
    with pytest.raises(FedkitError, match="there is none for p0005"):
        simulate(config(), dict(zip(PEOPLE[:4], data[0], strict=False)), data[1])
    with pytest.raises(FedkitError, match="are 4"):
        simulate(config(), data[0][:4], data[1])


def with_value(images: Tensor, value: float) -> Tensor:
    images = images.clone()
    images[1, 0, 3, 3] = value
    return images


BAD: dict[str, tuple[Callable[[Tensor, Tensor], object], str]] = {
    "shifted labels": (lambda x, y: (x, y + 5), r"labels range from \d+ to 1\d, not within"),
    "NaN": (lambda x, y: (with_value(x, math.nan), y), "images hold NaN"),
    "bytes": (lambda x, y: (x * 255, y), "images range from 0 to 255"),
    "another dtype": (lambda x, y: (x.double(), y), "images are torch.float64"),
    "labels of bytes": (lambda x, y: (x, y.byte()), "labels are torch.uint8"),
    "one-hot": (lambda x, y: (x, F.one_hot(y, 10)), r"labels have shape \[\d+, 10\]"),
    "flat": (lambda x, y: (x.flatten(1), y), r"images have shape \[\d+, 784\]"),
    "other lengths": (lambda x, y: (x, y[1:]), r"labels are \d+ for \d+ images"),
    "empty": (lambda x, y: (x[:0], y[:0]), "images are empty"),
    "numpy": (lambda x, y: (x.numpy(), y.numpy()), "is no pair of tensors"),
    "images alone": (lambda x, y: x, "is no pair of tensors"),
    "nothing": (lambda x, y: None, "is no pair of tensors"),
    "a data set": (lambda x, y: TensorDataset(x, y), "is no pair of tensors"),
}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("spoil", "what"), BAD.values(), ids=BAD)
def test_what_a_datasite_would_refuse_is_refused_in_one_line(
    data: tuple,  # type: ignore[type-arg]
    spoil: Callable[[Tensor, Tensor], object],
    what: str,
    exact: bool,
) -> None:
    shards = dict(zip(PEOPLE, data[0], strict=True))
    bad: Any = shards | {PEOPLE[3]: spoil(*data[0][3])}
    for given in (bad, list(bad.values()), bad.__getitem__):
        with pytest.raises(FedkitError, match=rf"^shards: {PEOPLE[3]}: {what}") as caught:
            simulate(config(rounds=1), given, data[1], exact=exact)
        assert caught.value.field == "shards"
        assert caught.value.remedy
    with pytest.raises(FedkitError, match=f"^test: {what}") as caught:
        simulate(config(rounds=1), shards, spoil(*data[1]), exact=exact)  # type: ignore[arg-type]
    assert caught.value.field == "test"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("config", {"rounds": 3}, "is a dict"),
        ("shards", None, "are a NoneType"),
        ("shards", torch.zeros(5), "are a Tensor"),
        ("model", Path("model.py"), "not the text"),
        ("model", load_model(SAMPLE_MODEL), "not the text"),
        ("weights", load_model(SAMPLE_MODEL), "no state dict"),
        ("weights", {}, "is missing"),
        ("weights", {"fc1.weight": [1.0]}, "no state dict"),
        ("weights", seed_weights(CNN), "is missing"),
        (
            "weights",
            seed_weights(SAMPLE_MODEL) | {"fc2.bias": torch.full((10,), math.nan)},
            "NaN|not in",
        ),
        ("workers", 0, "is 0"),
        ("every", 0, "is 0"),
        ("device", "abacus", "can't be used"),
    ],
)
def test_every_other_argument_is_looked_at_too(
    data: tuple,  # type: ignore[type-arg]
    field: str,
    value: object,
    what: str,
) -> None:
    given: Any = {"config": config(), "shards": data[0], "test": data[1], field: value}
    with pytest.raises(FedkitError, match=what) as caught:
        simulate(**given)
    assert caught.value.field == field
    assert caught.value.remedy


def test_shards_that_are_not_sorted_give_the_bits_of_the_datasites(
    tmp_path: Path,
    data: tuple,  # type: ignore[type-arg]
) -> None:
    shards = []
    for k, (images, labels) in enumerate(data[0]):
        order = torch.randperm(len(labels), generator=fk.generator(k))
        shards.append((images[order], labels[order]))
    what = config(batch_size=16)
    disk = on_disk(tmp_path, what, (shards, data[1]))
    assert disk.rounds == simulate(what, shards, data[1], exact=True).rounds
    assert disk.accuracies == pytest.approx(simulate(what, shards, data[1]).accuracies, abs=0.01)


def test_a_round_in_which_nobody_was_drawn_has_nobody_on_the_way(data: tuple) -> None:  # type: ignore[type-arg]
    dp = {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.1}
    what = config(dp=dp, weighting="equal", participants_per_round=1, rounds=8)
    seen: list[int] = []
    history = simulate(
        what, *data, on_the_way=lambda _, updates: seen.append(len(updates)) or updates
    )
    assert [len(record.contributions) for record in history].count(0) == 8 - len(seen) > 0


def test_every_rounds_model_can_be_kept(data: tuple) -> None:  # type: ignore[type-arg]
    kept: list[tuple[fk.RoundRecord, fk.StateDict]] = []
    history = simulate(config(rounds=2), *data, on_round=lambda *what: kept.append(what))
    assert tuple(record for record, _ in kept) == history.rounds
    model = load_model(SAMPLE_MODEL)
    assert [fk.evaluate(model, state, *data[1])[0] for _, state in kept] == history.accuracies
