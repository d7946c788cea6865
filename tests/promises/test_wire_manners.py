"""What the real apps get wrong and fedkit must not: the protocol's ten points, numbered as there."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.events import Approved, Event, FileRefused, Waiting
from fedkit.base.files import read_state
from fedkit.data.shards import write_shard
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    EVE,
    LINEAR,
    PROJECT,
    problems,
    shard,
    small,
    waits,
)
from tests.support.helpers import put_launch as launch
from tests.support.wire import (
    BOTH,
    KINDS,
    LEADER,
    Approve,
    Wire,
    approved,
    check_the_end,
    copied,
    moved,
    weights,
)


def model(n: int) -> str:
    return f"agg_weights/agg_model_round_{n}.pt"


def age(path: Path, seconds: float) -> None:
    """Make a file look as if it was written so long ago."""
    when = time.time() - seconds
    os.utime(path, (when, when))


# ---------------------------------------------------------- 1: empty folders, and a file for a folder
@pytest.mark.parametrize("how", [copied, moved, approved])
def test_nobody_ever_sees_an_empty_folder(
    tmp_path: Path, how: Approve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at after every file that fedkit puts in place."""
    wire = Wire(tmp_path, LEADER).begin()
    replace, seen = Path.replace, []

    def watched(self: Path, target: Path) -> Path:
        answer = replace(self, target)
        for email in (ALICE, BOB):
            folders = [p for p in wire.cl(email).rglob("*") if p.is_dir()]
            seen.extend(p for p in folders if not any(p.iterdir()))
            seen.append(None)
        return answer

    monkeypatch.setattr(Path, "replace", watched)
    check_the_end(wire.run(how))
    assert len(seen) > 20
    assert set(seen) == {None}


def test_approve_makes_the_folder_appear_whole(tmp_path: Path) -> None:
    wire = Wire(tmp_path, LEADER).begin()
    approve(wire.sites[ALICE], PROJECT)
    found = {p.relative_to(wire.cl(ALICE)).as_posix() for p in wire.cl(ALICE).rglob("*")}
    signs = {f"{folder}/{kind}" for folder in ("agg_weights", "state") for kind in KINDS[:2]}
    files = {"fl_config.json", "model.py", "state/state.json"}
    assert found == {"agg_weights", "state"} | signs | files


@pytest.mark.parametrize("how", [copied, moved])
def test_an_aggregator_that_comes_too_early(tmp_path: Path, how: Approve) -> None:
    """Between the copying and the client's pass, its copy into the missing folder becomes a file of that name."""
    wire = Wire(tmp_path, LEADER, config=small(participants=[ALICE], linger_s=30)).begin()
    how(wire.sites[ALICE])
    wire.aggregator()
    assert (wire.cl(ALICE) / "agg_weights").is_file()
    wire.participant(ALICE)
    assert weights(wire.cl(ALICE) / "agg_weights") == ["agg_model_round_0.pt"]
    check_the_end(wire.run())


# ---------------------------------------------------- 2: the end depends on the rounds, not on folders
def test_a_peer_that_left_for_good_does_not_keep_the_aggregator(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH).begin()
    wire.until((wire.agg() / "fl_clients" / BOB / "trained_model_round_3.pt").is_file)
    for email in (ALICE, BOB):
        shutil.rmtree(wire.cl(email))
    (wait,) = waits(wire.aggregator())  # the last model is owed to them, for a while
    assert wait.whom == f"{ALICE}, {BOB}"
    assert 0 < (wait.seconds or 0) <= wire.config.linger_s
    age(wire.agg() / model(3), wire.config.linger_s)
    wire.aggregator()
    assert wire.agg("done").is_dir()


def test_the_last_model_reaches_who_was_out_of_sight(tmp_path: Path) -> None:
    """A peer rewrites its permission file on every pass; in that moment its mailbox looks closed."""
    wire = Wire(tmp_path, BOTH).begin()
    wire.until((wire.agg() / "fl_clients" / BOB / "trained_model_round_3.pt").is_file)
    sign = wire.cl(ALICE) / "agg_weights" / KINDS[0]
    sign.rename(tmp_path / "away")
    wire.aggregator()
    assert (wire.cl(BOB) / model(3)).is_file()
    assert not (wire.cl(ALICE) / model(3)).exists()
    assert not wire.agg("done").exists()
    (tmp_path / "away").rename(sign)
    check_the_end(wire.run())


def test_a_round_never_begins_without_somebody_who_is_out_of_sight(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH).begin()
    wire.until((wire.agg() / "fl_clients" / ALICE / "trained_model_round_2.pt").is_file)
    wire.participant(BOB)
    sign = wire.cl(ALICE) / "agg_weights" / KINDS[0]
    sign.rename(tmp_path / "away")
    wire.aggregator()  # ends round 2, begins round 3
    assert (wire.cl(BOB) / model(2)).is_file()
    assert wire.participant(BOB) == "trained round 3"
    (wait,) = waits(wire.aggregator())
    assert wait.whom == ALICE
    (tmp_path / "away").rename(sign)
    check_the_end(wire.run())


def test_the_sync_sits_out_the_rewriting_of_a_permission_file(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH, synced=True).begin()
    sign = wire.cl(ALICE) / "agg_weights" / KINDS[0]
    there = wire.sites[AGGREGATOR].client(ALICE).project(PROJECT).path
    wire.until((there / model(0)).is_file)
    wire.carry()
    text = sign.read_bytes()
    sign.write_bytes(b"")
    shutil.copy(there / model(0), there / model(1))
    wire.carry()  # refuses nothing, takes nothing away
    assert weights(there / "agg_weights") == ["agg_model_round_0.pt", "agg_model_round_1.pt"]
    sign.write_bytes(text)
    wire.carry()
    assert (wire.cl(ALICE) / model(1)).is_file()
    sign.write_bytes(b"")
    age(sign, 60)  # one that stays empty means it
    wire.carry()
    assert not there.joinpath("agg_weights").exists()


# -------------------------------------------------------------------------- 3: whoever dies goes on
def test_a_client_that_died_before_sharing_shares_again(tmp_path: Path) -> None:
    wire = Wire(tmp_path, LEADER).begin()
    update = wire.agg() / "fl_clients" / BOB / "trained_model_round_2.pt"
    before = wire.until(update.is_file) and update.read_bytes()
    update.unlink()
    wire.participant(BOB)
    assert update.read_bytes() == before
    check_the_end(wire.run())


def test_an_aggregator_that_died_before_sending_sends_again(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH).begin()
    sent = wire.cl(BOB) / model(2)
    before = wire.until(sent.is_file) and sent.read_bytes()
    sent.unlink()
    wire.aggregator()
    assert sent.read_bytes() == before
    check_the_end(wire.run())


# ------------------------------------------------------------------ 4: rounds are parsed from names
STRAYS = (
    *(".DS_Store", ".ipynb_checkpoints/", "Thumbs.db", "notes (1).txt", "agg_model_round_1 (1).pt"),
    *("trained_model_round_1-checkpoint.pt", "agg_model_round_x.pt", "agg_model_round_99.pt"),
    *("mnist_label_3 (1).pt", "AGG_MODEL_ROUND_3.PTX", "round_weights/", "mnist_label_10.pt"),
)


def test_strays_count_for_nothing(tmp_path: Path) -> None:
    plain = Wire(tmp_path / "plain", set()).begin().run()
    wire = Wire(tmp_path / "littered", set())

    def litter() -> None:
        folders = [wire.agg() / "agg_weights", *(wire.agg() / "fl_clients").glob("*@*")]
        for email in (ALICE, BOB):
            folders += [wire.cl(email) / f for f in ("agg_weights", "round_weights", "logs")]
            folders += [wire.sites[email].private_client]
        for folder in filter(Path.is_dir, folders):
            for name in STRAYS:
                if name.endswith("/"):
                    (folder / name).mkdir(exist_ok=True)
                else:
                    (folder / name).write_bytes(b"stray")

    for _ in wire.begin().passes():
        litter()
        if wire.done():
            break
    for n in range(4):
        assert (wire.agg("done") / model(n)).read_bytes() == (
            plain.agg("done") / model(n)
        ).read_bytes()


# --------------------------------------------------- 5: no silent stop, and nobody stops the others
def test_a_config_before_its_model_is_waited_for(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH)
    wire.participants()
    wire.launch()
    box = wire.sites[AGGREGATOR].aggregator().launch
    for name in ("model.py", "global_model_weight.pt"):
        (box / name).rename(tmp_path / name)
    for name in ("model.py", "global_model_weight.pt"):
        (wait,) = waits(wire.aggregator())
        assert name in wait.what
        assert wait.whom == AGGREGATOR
        (tmp_path / name).rename(box / name)
    check_the_end(wire.run())


def test_a_second_launch_of_the_same_name_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH).begin()
    wire.until((wire.cl(ALICE) / model(1)).is_file)
    site = wire.sites[AGGREGATOR]
    launch(site, wire.config.replace(seed=1))
    (problem,) = problems(node.advance(site))
    assert "project_name" in problem
    assert PROJECT in problem
    wire.parts["aggregator", AGGREGATOR] = lambda: node.advance(site)
    check_the_end(wire.run())
    assert len(list(site.aggregator().launch.iterdir())) == 3


def test_a_request_that_is_gone_comes_again(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH).begin()
    shutil.rmtree(wire.cl(ALICE, "request"))
    wire.aggregator()
    check_the_end(wire.run())


def test_a_project_that_waits_does_not_stop_the_next_one(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH)
    wire.participants()
    launch(wire.sites[AGGREGATOR], small(project_name="A_first"))
    wire.aggregator()
    check_the_end(wire.begin().run())
    assert (wire.agg().parent / "A_first").is_dir()


# -------------------------------------------------------------------------------- 6: half a file
def test_half_a_file_is_not_there_yet(tmp_path: Path) -> None:
    """Peers write in place: models, updates and JSON are met at every length."""
    wire = Wire(tmp_path, set()).begin()
    wire.until((wire.cl(ALICE) / "round_weights" / "trained_model_round_1.pt").is_file)
    for path, reader, whom in (
        (wire.cl(BOB) / model(0), lambda: wire.participant(BOB), AGGREGATOR),
        (wire.agg() / "fl_clients" / ALICE / "trained_model_round_1.pt", wire.aggregator, ALICE),
        (wire.cl(ALICE) / "state" / "state.json", wire.aggregator, BOB),
    ):
        whole = path.read_bytes()
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            events = reader()
            (wait,) = waits(events)
            assert whom in wait.whom
            assert [e for e in events if not isinstance(e, Waiting)] == []
        path.write_bytes(whole)
    check_the_end(wire.run())


# ---------------------------------------------------------------- 7: an absent participant, a quorum
def test_with_a_quorum_the_others_go_on(tmp_path: Path) -> None:
    config = small(rounds=2, min_participants=1, round_timeout_s=60, linger_s=0)
    wire = Wire(tmp_path, BOTH, config=config).begin()
    wire.until((wire.cl(BOB) / model(0)).is_file)
    for n in (1, 2):  # Bob sleeps
        wire.participant(ALICE)
        (wait,) = waits(wire.aggregator())
        assert wait.whom == BOB
        assert 0 < (wait.seconds or 0) <= 60
        for folder in (wire.cl(ALICE), wire.cl(BOB)):  # no file of a participant's is a clock
            age(folder / model(n - 1), 61)
        assert [wait.whom for wait in waits(wire.aggregator())] == [BOB]
        age(wire.agg() / "rounds" / f"plan_{n}.json", 61)
        wire.aggregator()
    assert wire.agg("done").is_dir()
    assert wire.participant(BOB) == "done"  # all models were sent to it meanwhile


# -------------------------------------------------------------------- 8: bad numbers, fair weights
def spoilt(update: Path, how: str) -> None:
    state = torch.load(update, weights_only=True)
    if how == "NaN":
        state["fc.bias"][0] = float("nan")
    elif how == "shape":
        state["fc.bias"] = state["fc.bias"][:9].clone()
    elif how == "dtype":
        state["fc.bias"] = state["fc.bias"].double()
    else:
        state["more"] = state["fc.bias"]
    torch.save(state, update)


@pytest.mark.parametrize("how", ["NaN", "shape", "dtype", "key"])
def test_a_bad_update_is_never_averaged_in(tmp_path: Path, how: str) -> None:
    wire = Wire(tmp_path, BOTH).begin()
    update = wire.agg() / "fl_clients" / BOB / "trained_model_round_2.pt"
    good = wire.until(update.is_file) and update.read_bytes()
    spoilt(update, how)
    (wait,) = waits(wire.aggregator())
    assert wait.whom == BOB
    assert ("more" if how == "key" else "fc.bias") in wait.remedy
    assert not (wire.agg() / model(2)).exists()
    update.write_bytes(good)
    check_the_end(wire.run())


def test_who_has_more_samples_weighs_more(tmp_path: Path) -> None:
    """Known from fedkit's clients by state.json, from some real ones by a dataset_size.json beside the update."""
    wire = Wire(tmp_path, {("participant", BOB)}, synced=True)
    inbox = wire.sites[BOB].aggregator(AGGREGATOR).project(PROJECT).inbox(BOB)
    bob = wire.parts["participant", BOB]

    def bob_and_his_size() -> Any:
        answer = bob()
        if inbox.is_dir():
            (inbox / "dataset_size.json").write_text('{"dataset_size": 30}', encoding="utf-8")
        return answer

    write_shard(wire.sites[BOB].private_client, shard([2, 3, 4], per_digit=10))
    wire.parts["participant", BOB] = bob_and_his_size
    wire.begin().run()
    alices, bobs = (
        read_state(wire.agg("done") / "fl_clients" / email / "trained_model_round_3.pt")
        for email in (ALICE, BOB)
    )
    for name, value in read_state(wire.agg("done") / model(3)).items():
        torch.testing.assert_close(value, (6 * alices[name] + 30 * bobs[name]) / 36)


# --------------------------------------------------------------- 9: a stranger's bytes are data
def test_what_was_approved_is_what_runs(tmp_path: Path) -> None:
    wire = Wire(tmp_path, LEADER, config=small(participants=[ALICE])).begin_and_approve()
    site, marker = wire.sites[ALICE], tmp_path / "ran"
    evil = f"open({str(marker)!r}, 'w')\n" + LINEAR
    (wire.cl(ALICE, "request") / "model.py").write_text(evil, encoding="utf-8")
    assert "differs" in problems(node.advance(site))[0]
    shutil.copy(wire.cl(ALICE) / "model.py", wire.cl(ALICE, "request"))
    wire.participant(ALICE)
    wire.aggregator()
    (wire.cl(ALICE) / "model.py").write_text(evil, encoding="utf-8")
    assert "approved" in problems(node.advance(site))[0]
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../../public", "a/b", "..", "C:x", "/abs", ".hidden"])
@pytest.mark.parametrize("field", ["project_name", "model_arch"])
def test_a_request_cannot_name_a_way_out(tmp_path: Path, field: str, name: str) -> None:
    wire = Wire(tmp_path, LEADER, config=small(participants=[ALICE])).begin_and_approve()
    value = name if field == "project_name" else f"{name}.py"
    for place in (wire.cl(ALICE), wire.cl(ALICE, "request")):
        values = json.loads((place / "fl_config.json").read_bytes()) | {field: value}
        (place / "fl_config.json").write_text(json.dumps(values), encoding="utf-8")
    (problem,) = problems(node.advance(wire.sites[ALICE]))
    assert field in problem
    assert sorted(p.name for p in wire.cl(ALICE).iterdir()) == ["fl_config.json", "model.py"]


def test_a_third_one_reaches_nobodys_update(tmp_path: Path) -> None:
    """Eve takes part too; she neither sees nor changes what Bob sends, nor what is sent to him."""
    config = small(participants=[ALICE, BOB, EVE], linger_s=30)
    wire = Wire(tmp_path, set(), synced=True, config=config)
    boxes = (
        wire.sites[EVE].aggregator(AGGREGATOR).project(PROJECT).inbox(BOB),
        wire.sites[EVE].client(BOB).project(PROJECT).agg_weights,
    )
    refused: list[Event] = []
    for email in wire.begin().passes():
        for box in boxes if email == EVE else ():
            assert not box.exists()
            box.mkdir(parents=True)
            for name in ("trained_model_round_1.pt", "agg_model_round_1.pt", KINDS[0]):
                (box / name).write_bytes(b"eve")
            refused += wire.sync()
            shutil.rmtree(box)
        if wire.done():
            break
    check_the_end(wire)
    assert all(isinstance(event, FileRefused) and event.email == EVE for event in refused)
    assert len(refused) >= 12
    lines = (tmp_path / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    crossed = [json.loads(line) for line in lines]
    hers = [entry["path"] for entry in crossed if EVE in (entry["sender"], entry["receiver"])]
    others = [path for path in hers if "/running/" in path and not path.startswith(f"{EVE}/")]
    assert others
    assert [path for path in others if f"/fl_clients/{EVE}/" not in path] == []
    assert [e["path"] for e in crossed if "mnist_" in e["path"] or "private" in e["path"]] == []


# ------------------------------------------------------------------------ 10: the last one out waits
@pytest.fixture
def almost(tmp_path: Path) -> Wire:
    """A peer leads, all models are sent, and it has not looked again yet."""
    wire = Wire(tmp_path, LEADER, config=small(linger_s=30)).begin()
    return wire.until((wire.cl(BOB) / model(2)).is_file)


def test_a_client_waits_until_the_peer_has_finished(almost: Wire) -> None:
    for email in (ALICE, BOB):
        (wait,) = waits(almost.participant(email))
        assert wait.whom == AGGREGATOR
        assert 0 < (wait.seconds or 0) <= 30
        assert almost.cl(email).is_dir()
    assert almost.aggregator() == "done"
    almost.participants()  # what they shared was moved: nobody needs the folders any more
    check_the_end(almost)


def test_a_client_does_not_wait_for_ever(almost: Wire) -> None:
    age(almost.cl(ALICE) / model(2), 31)
    almost.participant(ALICE)
    assert almost.cl(ALICE, "done").is_dir()


def test_after_fedkits_aggregator_nobody_waits(tmp_path: Path) -> None:
    check_the_end(Wire(tmp_path, set(), config=small(linger_s=3600)).begin().run())


def test_two_people_who_share_a_data_dir_approve_each_for_himself(tmp_path: Path) -> None:
    wire = Wire(tmp_path, LEADER).begin()
    approve(wire.sites[ALICE], PROJECT)
    assert not wire.cl(BOB).exists()
    copied(wire.sites[BOB])
    yes = [event for event in wire.participant(BOB) if isinstance(event, Approved)]
    assert [event.email for event in yes] == [BOB]
    check_the_end(wire.run())
