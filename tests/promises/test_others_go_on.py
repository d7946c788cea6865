"""Whatever a participant does in its own folders, or says of itself, the others go on; and nobody shrinks the quorum."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fedkit as fk
from fedkit.base.events import Event, ProjectStopped, Waiting
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import ClientProject
from fedkit.datasite.round_plan import read_plan
from fedkit.federation.network import Network
from fedkit.protocol.approval import approve_all, decline
from tests.support.helpers import ALICE, BOB, CAROL, PROJECT, launched, posix

THREE = [ALICE, BOB, CAROL]


def until_round(network: Network, n: int, **options: Any) -> fk.History:
    return network.run(approve=approve_all, until_round=n, **options)


def a_full_folder(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "mine.txt").write_text("x", encoding="utf-8")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.symlink_to("nowhere")


THINGS: dict[str, Callable[[Path], object]] = {
    "a folder with something in it": a_full_folder,
    "an empty folder": lambda path: path.mkdir(),
    "a pipe": a_pipe,
    "a link that leads nowhere": a_link,
}


@posix
@pytest.mark.parametrize("kind", sorted(THINGS))
@pytest.mark.parametrize("name", ["agg_model_round_1.pt", "round_2.json", "extra_round_2.bin"])
def test_what_lies_where_a_file_belongs_stops_its_owner_alone(
    tmp_path: Path, kind: str, name: str
) -> None:
    """In the aggregator's copy of the participant's folder, as on one shared tree."""
    network = launched(tmp_path, participants=THREE, min_participants=2, rounds=2)
    until_round(network, 1)
    home = network[network.aggregator]
    place = home.client(BOB).project(PROJECT).agg_weights
    (place / name).unlink(missing_ok=True)
    THINGS[kind](place / name)
    for _ in range(8):
        events = fk.advance(home, patient=False)
        for email in (ALICE, CAROL):
            fk.advance(network[email])
        network.sync()
        if home.aggregator().project(PROJECT, "done").path.is_dir():
            break
        # the sync would put right what a participant's own datasite does not have
        if not (place / name).exists() and place.is_dir() and not (place / name).is_symlink():
            THINGS[kind](place / name)
    history = network.history()
    assert len(history) == 2, [fk.render(event) for event in events]
    assert {part.participant for part in history.rounds[1].contributions} == {ALICE, CAROL}


@posix
def test_a_folder_in_the_place_of_a_request_is_named_and_others_are_asked(tmp_path: Path) -> None:
    network = launched(tmp_path, participants=THREE, min_participants=2, approval="quorum")
    network.sync()
    home = network[network.aggregator]
    a_full_folder(home.client(ALICE).project(PROJECT, "request").config)
    fk.advance(home)
    events = fk.advance(home)
    asked = [email for email in THREE if _asked(home, email)]
    assert asked == [BOB, CAROL]
    (wait,) = [event for event in events if isinstance(event, Waiting)]
    assert "fl_config.json is no file" in wait.remedy


def _asked(home: Datasite, email: str) -> bool:
    return (home.client(email).project(PROJECT, "request").path / "model.py").is_file()


# ------------------------------------------------------------------------------------ the quorum
def leaves(site: Datasite, project: str = PROJECT) -> None:
    """A participant takes its approval back, in the middle of a project."""
    shutil.rmtree(site.client().project(project).path)
    fk.advance(site)  # forgets the pin: the request may be answered anew
    decline(site, project, "no more of my data")


def test_below_the_quorum_the_project_stops_with_its_last_model(tmp_path: Path) -> None:
    network = launched(tmp_path, participants=THREE, rounds=3)
    until_round(network, 1)
    leaves(network[CAROL])
    happened: list[Event] = []
    history = network.run(approve=fk.approve_none, on_event=happened.append)
    (stopped,) = [event for event in happened if isinstance(event, ProjectStopped)]
    assert (stopped.round, stopped.left, stopped.quorum) == (1, (CAROL,), 3)
    assert CAROL in fk.render(stopped)
    assert len(history) == 1  # no round of two
    assert not history.done
    done = network[network.aggregator].aggregator().project(PROJECT, "done")
    assert done.global_model(1).is_file()
    for email in (ALICE, BOB):  # nobody waits for ever
        assert network[email].client().project(PROJECT, "done").path.is_dir()
    rows = fk.status(network[network.aggregator])
    assert "stopped" in next(row.text for row in rows if row.state == "done")


def test_who_leaves_in_the_middle_of_a_round_stops_it_too(tmp_path: Path) -> None:
    network = launched(tmp_path, participants=THREE, rounds=2)
    for _ in range(20):
        network.advance(approve_all)
        if network[ALICE].client().project(PROJECT).global_model(0).is_file():
            break
    home = network[network.aggregator].aggregator().project(PROJECT)
    assert home.plan(1).is_file()
    for path in (home.update(CAROL, 1), network[CAROL].client().project(PROJECT).trained(1)):
        path.unlink(missing_ok=True)
    mine = network[CAROL].aggregator(network.aggregator).project(PROJECT)
    mine.update(CAROL, 1).unlink(missing_ok=True)
    leaves(network[CAROL])
    history = network.run(approve=fk.approve_none)
    assert len(history) == 0
    assert network[network.aggregator].aggregator().project(PROJECT, "done").stopped.is_file()


def test_who_was_drawn_and_leaves_never_lets_the_others_wait_for_ever(tmp_path: Path) -> None:
    """Two of three were drawn, both are needed: the round can't end any more, though two people remain."""
    drawn = {"min_participants": 2, "participants_per_round": 2}
    network = launched(tmp_path, participants=THREE, rounds=3, **drawn)
    until_round(network, 1)
    home = network[network.aggregator]
    fk.advance(home)
    plan = read_plan(home.aggregator().project(PROJECT), 2)
    assert plan is not None
    gone = plan.participants[-1]
    leaves(network[gone])
    happened: list[Event] = []
    history = network.run(approve=fk.approve_none, on_event=happened.append)
    (stopped,) = [event for event in happened if isinstance(event, ProjectStopped)]
    assert (stopped.round, stopped.left) == (1, (gone,))
    assert len(history) == 1
    assert home.aggregator().project(PROJECT, "done").global_model(1).is_file()


def test_with_a_quorum_that_still_holds_the_others_go_on(tmp_path: Path) -> None:
    network = launched(tmp_path, participants=THREE, min_participants=2, rounds=2)
    until_round(network, 1)
    leaves(network[CAROL])
    history = network.run(approve=fk.approve_none)
    assert history.done
    assert {part.participant for part in history.rounds[1].contributions} == {ALICE, BOB}


def test_a_stopped_project_can_be_rewound_and_goes_on(tmp_path: Path) -> None:
    network = launched(tmp_path, participants=THREE, rounds=2)
    until_round(network, 1)
    kept = network.history().rounds[0]
    leaves(network[CAROL])
    network.run(approve=fk.approve_none)
    fk.approve(network[CAROL], PROJECT)
    fk.rewind(network, 1)
    history = network.run(approve=approve_all)
    assert history.done
    assert history.rounds[0] == kept


def test_before_the_first_round_a_no_is_said_and_nothing_stops(tmp_path: Path) -> None:
    network = launched(tmp_path, participants=THREE)
    for _ in range(2):
        network.advance()
    decline(network[CAROL], PROJECT, "not with my data")
    history = network.run(approve=approve_all)
    assert any(
        "not with my data" in event.remedy
        for event in history.waiting
        if isinstance(event, Waiting)
    )
    assert network[network.aggregator].aggregator().project(PROJECT).path.is_dir()


def test_nothing_of_ours_is_taken_for_an_obstacle(tmp_path: Path) -> None:
    network = launched(tmp_path)
    until_round(network, 1)
    home = network[network.aggregator]
    place = ClientProject(home.client(ALICE).project(PROJECT).path)
    (place.agg_weights / ".ipynb_checkpoints").mkdir()
    (place.agg_weights / "notes").mkdir()
    assert network.run(approve=approve_all).done
