"""What everybody may read about a project: right in every number, silent about single participants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.config.fl_config import FLConfig
from fedkit.datasite.round_plan import change_settings
from fedkit.federation.network import Network
from fedkit.protocol.aggregator.publish import outdated
from fedkit.protocol.approval import approve_all
from fedkit.protocol.project import AtAggregator
from fedkit.rounds.history import read_records
from fedkit.teaching.failures.faults import Fault, Faults
from tests.support.helpers import ALICE, BOB, CAROL, EVE, PROJECT, launched
from tests.support.privacy import PARTICIPANT

FILES = ("accuracy_metrics.json", "participants.json", "history.json")


def public(net: Network) -> Path:
    return net[net.aggregator].public / "fl" / PROJECT


def published(net: Network, name: str = "history.json") -> Any:
    return json.loads((public(net) / name).read_bytes())


def news(net: Network) -> set[str]:
    """Names of the public files that are not what they should be."""
    site = net[net.aggregator]
    place = site.aggregator().project(PROJECT)
    config = FLConfig.load(place.config)
    records = read_records(place, config.rounds)
    return {path.name for path in outdated(AtAggregator(site, config), records)}


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Three rounds of four: in round 2 one is absent, in round 3 another sends NaN too, at half the learning rate."""
    net = launched(
        tmp_path_factory.mktemp("net"),
        participants=[ALICE, BOB, CAROL, EVE],
        rounds=3,
        min_participants=2,
        adjustable=["learning_rate"],
    )
    faults = Faults()
    faults.set(CAROL, Fault("absent", from_round=2))
    faults.set(EVE, Fault("NaN", from_round=3))
    net.run(approve=approve_all, actor=faults.act, until_round=2)
    change_settings(net[net.aggregator], PROJECT, learning_rate=0.05)
    assert net.run(approve=approve_all, actor=faults.act).done
    return net


@pytest.fixture(scope="module")
def halfway(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """One round of two is over, the next one has not begun."""
    net = launched(tmp_path_factory.mktemp("net"))
    net.run(approve=approve_all, until_round=1)
    return net


def test_each_round_is_told(eventful: Network) -> None:
    found = published(eventful)
    assert (found["project"], found["rounds"]) == (PROJECT, 3)
    told = [
        tuple(r[k] for k in ("round", "asked", "participants", "refused", "absent"))
        for r in found["history"]
    ]
    assert told == [(1, 4, 4, 0, 0), (2, 4, 3, 0, 1), (3, 4, 2, 1, 1)]
    assert [r["learning_rate"] for r in found["history"]] == [0.1, 0.1, 0.05]
    assert [r["local_epochs"] for r in found["history"]] == [1, 1, 1]
    assert [r["accuracy"] for r in found["history"]] == eventful.history().accuracies
    assert published(eventful, FILES[0]) == [
        {"round": 0, "accuracy": 0},
        *({"round": r["round"], "accuracy": r["accuracy"]} for r in found["history"]),
    ]


def test_the_size_is_that_of_what_crossed(eventful: Network) -> None:
    weights = [e for e in eventful.ledger() if e.path.endswith(".pt")]
    assert len(weights) > 4 * 3
    size = published(eventful)["model_bytes"]
    assert all(abs(entry.size - size) < 0.05 * size for entry in weights)


def test_nobody_is_named_and_nobodys_numbers_are_told(eventful: Network) -> None:
    text = (public(eventful) / "history.json").read_text()
    assert "@" not in text
    private = [part for record in eventful.history() for part in record.contributions]
    assert len(private) == 9
    for part in private:
        for number in (part.loss, part.norm, part.num_samples, part.weight, part.sha256):
            assert f" {json.dumps(number)}," not in text, number
        assert part.participant.partition("@")[0] not in text
    columns = {key for row in published(eventful, "participants.json") for key in row}
    assert columns == {
        "Email",
        "Fl Client Installed",
        "Project Approved",
        "Added Private Data",
        "Round (current/total)",
        "Training Progress",
    }


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [None, b"", b'{"half', b"[]"])
def test_what_was_damaged_comes_back(halfway: Network, name: str, damage: bytes | None) -> None:
    path = public(halfway) / name
    before = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    assert news(halfway) == {name}
    halfway.advance(until_round=1)
    assert path.read_bytes() == before
    assert news(halfway) == set()


def test_looking_loads_no_weights(halfway: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    path = public(halfway) / "history.json"
    before = path.read_bytes()
    path.unlink()

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(torch, "load", refuse)
    assert news(halfway) == {"history.json"}
    path.write_bytes(before)


def test_before_anybody_answers(tmp_path: Path) -> None:
    net = launched(tmp_path)
    net.advance()
    found = published(net)
    assert (found["rounds"], found["history"]) == (2, [])
    assert found["model_bytes"] > 784 * 10 * 4
    assert published(net, FILES[0]) == [{"round": 0, "accuracy": 0}]
    assert [row["Project Approved"] for row in published(net, "participants.json")] == [False] * 2


def test_who_was_refused_is_not_told_where_whole_participants_are_protected(tmp_path: Path) -> None:
    """That an update is refused depends on what is in it; that it was sent does not."""
    net = launched(
        tmp_path,
        participants=[ALICE, BOB, CAROL],
        rounds=1,
        min_participants=2,
        dp=PARTICIPANT,
        weighting="equal",
    )
    faults = Faults()
    faults.set(CAROL, Fault("NaN"))
    history = net.run(approve=approve_all, actor=faults.act)
    assert set(history.rounds[0].refused) == {CAROL}  # the aggregator's own record
    (told,) = published(net)["history"]
    assert "refused" not in told
    assert (told["asked"], told["participants"], told["absent"]) == (3, 3, 0)
