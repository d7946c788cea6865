"""Two worlds that differ by one record: what crosses, and what is public, is the same to the last byte.

The clipping norm is so small that neither the record nor the noise moves a float32 that is not near 0: what still differed
would be something that travels beside the weights.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedkit.data.shards import Shard
from fedkit.federation.network import Network
from fedkit.protocol.approval import approve_all
from fedkit.protocol.project import AtParticipant
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    LINEAR,
    linear_weights,
    network,
    shard,
    small,
)
from tests.support.privacy import EXAMPLE, PARTICIPANT, SHARES

NOTHING = {"clip": 1e-12}
MASKS = {
    "secure_aggregation": {"threshold": 2},
    "rounds": 1,
}  # a second one from the same model is refused
WAYS: dict[str, dict[str, Any]] = {
    "example": {"dp": EXAMPLE | NOTHING},
    "example under masks": {"dp": EXAMPLE | NOTHING, **MASKS},
    "participant, noise on the mean": {"dp": PARTICIPANT | NOTHING, "weighting": "equal"},
    "participant, shares": {"dp": SHARES | NOTHING, "weighting": "equal"},
    "participant, shares under masks": {"dp": SHARES | NOTHING, "weighting": "equal", **MASKS},
}
RAW = "trained_model_round_"
"""The one file that is meant to differ: an update that no noise covers, for an aggregator that is trusted with it."""


def neighbours(unit: str) -> tuple[Shard, Shard]:
    """Alice's data, in both worlds."""
    images, labels = shard([0, 1])
    if unit == "participant":
        return (images, labels), shard([4, 5, 6, 7], 30)
    other, label = images.clone(), labels.clone()
    other[2], label[2] = shard([7])[0][0], 7
    return (images, labels), (other, label)


def world(
    root: Path, monkeypatch: pytest.MonkeyPatch, data: Shard, changes: dict[str, Any]
) -> Network:
    """A whole run, in which even the keys are the same each time."""
    count = itertools.count()

    def drawn(length: int = 32) -> bytes:
        return hashlib.shake_128(str(next(count)).encode()).digest(length)

    monkeypatch.setattr("fedkit.base.keys.secrets", SimpleNamespace(token_bytes=drawn))
    config = small(**changes)
    net = network(root, config.participants)
    weights = {k: (v * 256).round().clamp(min=1) / 1024 for k, v in linear_weights().items()}
    net.launch(config, LINEAR, weights)
    for path in net[ALICE].data_files:
        path.unlink()
    net.give_data(ALICE, data)
    history = net.run(approve=approve_all)
    assert history.done, history
    net.sync()
    return net


def crossed(root: Path, arrivals: list[tuple[Path, bytes]]) -> dict[str, list[bytes]]:
    """All versions of each file that arrived somewhere, in their order."""
    found: dict[str, list[bytes]] = {}
    for path, data in arrivals:
        found.setdefault(path.relative_to(root).as_posix(), []).append(data)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_what_crosses_and_what_is_public_is_the_same_in_both_worlds(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrivals: list[tuple[Path, bytes]]
) -> None:
    seen, public, changes = [], [], WAYS[way]
    for number, data in enumerate(neighbours(changes["dp"]["unit"])):
        arrivals.clear()
        root = tmp_path / str(number)
        net = world(root, monkeypatch, data, changes)
        seen.append(crossed(root, arrivals))
        folder = net[AGGREGATOR].public_results("MNIST_FL")
        public.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    one, other = seen
    assert one.keys() == other.keys()
    assert len(one) > 15
    assert public[0].keys() == {"accuracy_metrics.json", "history.json", "participants.json"}
    assert public[0] == public[1]
    for path, versions in one.items():
        assert [len(data) for data in versions] == [len(data) for data in other[path]], path
        if (
            way == "participant, noise on the mean"
            and path.endswith(".pt")
            and f"{ALICE}/{RAW}" in path
        ):
            assert versions != other[path]  # the worlds do differ
        else:
            assert versions == other[path], path
    about = [json.loads(v[-1]) for path, v in one.items() if RAW in path and path.endswith(".json")]
    if "masks" in way:
        assert about == []
    else:
        told = {"round", "num_samples", "steps"} if way == "example" else {"round"}
        assert [values.keys() for values in about] == [told] * len(about)
        assert about
    states = [json.loads(v[-1]) for path, v in one.items() if path.endswith("state.json")]
    assert states
    assert all(("num_samples" in state) == (way == "example") for state in states)


def test_an_ordinary_project_would_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrivals: list[tuple[Path, bytes]]
) -> None:
    """So the test above can fail: without noise, what is said beside an update differs."""
    seen = []
    for number, data in enumerate(neighbours("example")):
        arrivals.clear()
        root = tmp_path / str(number)
        world(root, monkeypatch, data, {})
        seen.append(crossed(root, arrivals))
    differ = {Path(path).name for path in seen[0] if seen[0][path] != seen[1][path]}
    assert {"trained_model_round_1.pt", "trained_model_round_1.json"} <= differ


def test_a_count_that_was_told_before_goes_with_the_next_change(tmp_path: Path) -> None:
    """A project that began when `state.json` still held it."""
    net = network(tmp_path)
    for way, kept in (
        ("example", True),
        ("participant, shares", False),
        ("example under masks", False),
    ):
        at = AtParticipant(net[ALICE], small(**WAYS[way], project_name="P"))
        at.write_json(at.place.state, {"dataset_added": True, "num_samples": 6})
        at.set_state(model_train_progress="x")
        assert ("num_samples" in at.read_object(at.place.state)) == kept
