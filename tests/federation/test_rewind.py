"""Back to an earlier round, and on again to the same bits, however the way back was cut off."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedkit.base.errors import Busy, FedkitError
from fedkit.base.files import write_json
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.lock import locked
from fedkit.federation import rewind as rewind_module
from fedkit.federation.network import Network
from fedkit.federation.rewind import rewind
from fedkit.protocol.approval import approve_all
from tests.support.helpers import ALICE, BOB, PROJECT, final_model, launched, problems, snapshot
from tests.support.kills import Killed, cut_off
from tests.support.mutations import EXAMPLES

APART = 1 if EXAMPLES > 1 else 9
"""Of the changes at which a rewind may die, each ninth one is tried; `make test-all` tries them all."""


@pytest.fixture
def done(tmp_path: Path) -> Network:
    """A project of two rounds that is over; both sides of SCAFFOLD remember something."""
    net = launched(tmp_path / "net", participants=[ALICE, BOB], strategy={"name": "scaffold"})
    assert net.run(approve=approve_all).done
    return net


@pytest.mark.parametrize("to_round", [0, 1, 2])
def test_it_goes_on_from_there_to_the_same_bits(done: Network, to_round: int) -> None:
    wanted = final_model(done)
    rewind(done, to_round)
    assert len(done.history()) == to_round
    assert done.run().done
    assert final_model(done) == wanted


@pytest.mark.parametrize("to_round", [0, 1])
def test_a_global_model_that_a_stop_left_on_its_way_does_not_arrive_after_all(
    tmp_path: Path, to_round: int
) -> None:
    """As a press of Pause does at the moment in which the aggregator has sent it, and no file has crossed."""
    net = launched(tmp_path, rounds=3)
    net.run(approve=approve_all, until_round=1)
    sent = net[net.aggregator].client(ALICE).project(PROJECT).global_model(2)
    while not sent.is_file():
        net.advance(stop=sent.is_file)
    assert not net[ALICE].client().project(PROJECT).global_model(2).is_file()
    rewind(net, to_round)
    assert net.run(until_round=to_round + 1).accuracies
    assert len(net.history()) == to_round + 1
    assert net.run().done


@pytest.mark.parametrize("to_round", [0, 1])
def test_a_rewind_that_dies_before_any_of_its_changes_is_done_again(
    tmp_path: Path, done: Network, to_round: int
) -> None:
    """The next one who moves the network does it, and the bits are the same."""
    wanted, made = final_model(done), list[str]()

    def keep(change: str) -> bool:
        if len(made) % APART == to_round % APART:
            shutil.copytree(done.root, tmp_path / str(len(made)))
        made.append(change)
        return False

    with cut_off(keep):
        rewind(done, to_round)
    assert len(made) > 20
    for number in range(to_round % APART, len(made), APART):
        again = Network.open(tmp_path / str(number), workers=1)
        history = again.run(approve=approve_all)
        assert history.done, made[number]
        assert final_model(again) == wanted, made[number]
        assert problems(again.advance()) == []


@contextlib.contextmanager
def beaten(meanwhile: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another process has the locks first, and does something."""
    todo = [meanwhile]

    def late(site: Datasite, timeout_s: float = 0.0) -> contextlib.AbstractContextManager[None]:
        if todo:
            todo.pop()()
        return locked(site, timeout_s)

    with monkeypatch.context() as patch:
        patch.setattr(rewind_module, "locked", late)
        yield


def test_of_two_who_finish_a_rewind_at_once_the_second_takes_nothing_back(
    done: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = final_model(done)
    write_json(done.root / "rewinding.json", {"project": PROJECT, "to_round": 1})
    other = Network.open(done.root, workers=1)
    with beaten(lambda: other.run(), monkeypatch):
        rewind_module.finish_rewind(done)
    assert other.history().done or len(other.history()) == 2
    assert final_model(done) == wanted
    assert not (done.root / "rewinding.json").exists()


def test_a_rewind_that_comes_late_takes_no_masked_round_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = launched(tmp_path, secure_aggregation={"threshold": 2}, rounds=1)
    net.run(approve=approve_all, until_round=0)
    with beaten(lambda: (tmp_path / "rewinding.json").unlink(), monkeypatch):
        rewind(net, 0)  # another one has done it
    other = Network.open(tmp_path, workers=1)

    def on() -> None:
        kept = (tmp_path / "rewinding.json").read_bytes()
        (tmp_path / "rewinding.json").unlink()
        other.run(approve=approve_all)
        (tmp_path / "rewinding.json").write_bytes(kept)

    with beaten(on, monkeypatch):
        rewind(net, 0)
    assert len(other.history()) == 1
    assert not (tmp_path / "rewinding.json").exists()


def test_what_dies_again_and_again_gets_there_in_the_end(done: Network) -> None:
    wanted, died = final_model(done), set[str]()
    write_json(done.root / "rewinding.json", {"project": PROJECT, "to_round": 1})
    for _ in range(500):
        with cut_off(lambda change: change not in died and not died.add(change)):  # type: ignore[func-returns-value]
            try:
                Network.open(done.root, workers=1).advance(until_round=1)
            except Killed:
                continue
        break
    assert len(died) > 20
    assert len(done.history()) == 1
    again = Network.open(done.root)
    assert again.run().done
    assert final_model(again) == wanted


def test_an_intent_for_a_project_that_was_taken_away_is_dropped(done: Network) -> None:
    (done.root / "rewinding.json").write_text(f'{{"project": "{PROJECT} 2", "to_round": 1}}')
    before = snapshot(done.root, skip=lambda path: "rewinding" in path)
    done.advance()
    assert snapshot(done.root) == before


def test_while_somebody_moves_a_datasite_nothing_goes_back(
    done: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewind_module, "_MOMENT_S", 0.05)
    with locked(done[BOB]), pytest.raises(Busy, match="is being advanced"):
        rewind(done, 0)
    assert done.run().done


@pytest.mark.parametrize("to_round", [-1, 3])
def test_a_round_that_was_not_reached_is_named(done: Network, to_round: int) -> None:
    with pytest.raises(FedkitError, match=f"round {to_round} has not been reached"):
        rewind(done, to_round)
    assert not (done.root / "rewinding.json").exists()
