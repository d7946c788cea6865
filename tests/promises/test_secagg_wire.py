"""Secure aggregation over datasites: the bits of the plain sum, through drop-outs and kills, nothing unmasked between."""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Problem, Waiting
from fedkit.base.files import read_json, read_state, write_bytes, write_dataset, write_json
from fedkit.base.keys import new_secret, sign, signing_key
from fedkit.base.tensors import state_bytes
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.round_plan import change_settings
from fedkit.federation.ledger import KEYS, MASKED, kind_of
from fedkit.federation.ledger import crossings as by_round
from fedkit.federation.network import Network
from fedkit.federation.rewind import rewind
from fedkit.learning.strategies.base import unpack
from fedkit.privacy.secagg.fixedpoint import encode
from fedkit.protocol import advance as node
from fedkit.protocol import approval, signed_messages, signing_keys
from fedkit.protocol.aggregator import secure_round
from fedkit.protocol.aggregator.secure_round import AggregatorRound
from fedkit.protocol.approval import answer, approve_all, pin_path, unpin
from fedkit.protocol.client import secure_round as client_round
from fedkit.protocol.signing_keys import identity, known_keys, trust
from fedkit.rounds.simulation import simulate
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    final_model,
    held_out,
    launched,
    problems,
    put_launch,
    shard,
    small,
    waits,
)
from tests.support.kills import Killed, cut_off

ALL = (ALICE, BOB, CAROL)
SECURE = {"secure_aggregation": {"threshold": 2}, "participants": ALL}
STEPS = signed_messages.STEPS


def start(root: Path, **changes: Any) -> Network:
    """Three participants with unequal shards, one round, a threshold of two."""
    net = launched(root, **({"rounds": 1} | SECURE | changes))
    for email, part in data(net.participants).items():
        net.give_data(email, part)
    return net


def data(emails: Any) -> dict[str, Any]:
    return {e: shard([2 * k, 2 * k + 1], 3 + k) for k, e in enumerate(emails)}


def in_memory(folder: Path, *, without: Any = (), **changes: Any) -> bytes:
    """The last global model of the same rounds in memory: fixed-point sums without any mask."""
    config = small(**({"rounds": 1} | SECURE | changes))

    def leave(_: Any, updates: Any) -> Any:
        return [u for u in updates if u.participant not in without]

    test, shards = held_out(), data(config.participants)
    simulate(
        config,
        shards,
        test,
        model=LINEAR,
        exact=True,
        checkpoint=folder,
        every=1,
        on_the_way=leave if without else None,
    )
    return state_bytes(unpack(read_state(folder / f"state_{config.rounds}.pt"))["model"])


def inbox(net: Network, email: str, folder: str = "done") -> Path:
    return net[net.aggregator].aggregator().project(PROJECT, folder).inbox(email)


def leaving(who: dict[str, str], back: Callable[[], bool] = lambda: False) -> Any:
    """An actor: somebody moves no more once its message of a step lies in its datasite ("" : never moves)."""
    approved: set[str] = set()

    def act(site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        step = who.get(site.email)
        if step is None or back():
            return go()
        if site.email not in approved:
            approved.add(site.email)
            return go()  # the mailbox opens; training waits for the global model
        place = site.aggregator(AGGREGATOR).project(PROJECT)
        if step == "" or place.message(site.email, 1, step).is_file():
            return []
        known = client_round.STEPS
        client_round.STEPS = known[: known.index(step) + 1]  # it dies right after this step
        try:
            return go()
        finally:
            client_round.STEPS = known

    return act


# -------------------------------------------------------------------------------- the same bits
@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Two rounds with all three, uninterrupted."""
    net = start(tmp_path_factory.mktemp("whole") / "net", rounds=2)
    assert net.run(approve=approve_all).done
    return net


def test_keys_differ_each_time_and_the_global_model_does_not(
    whole: Network, tmp_path: Path
) -> None:
    again = start(tmp_path / "again", rounds=2)
    again.workers = 3
    assert again.run(approve=approve_all).done
    assert final_model(again) == final_model(whole) == in_memory(tmp_path / "memory", rounds=2)
    for email, n, step in itertools.product(ALL, (1, 2), STEPS):
        one, other = (inbox(net, email) / f"secagg_{n}_{step}.msg" for net in (whole, again))
        assert one.read_bytes() != other.read_bytes()
        assert one.stat().st_size == other.stat().st_size
    rounds = whole.history().rounds
    assert (
        rounds == again.history().rounds or rounds[0].accuracy == again.history().rounds[0].accuracy
    )
    assert [len(record.contributions) for record in rounds] == [3, 3]
    assert rounds[0].diagnostics["sum_of_weights"] == 2 * (3 + 4 + 5)
    assert {part.num_samples for part in rounds[0].contributions} == {None}


@pytest.mark.parametrize(
    "changes",
    [
        {
            "weighting": "equal",
            "dp": {
                "unit": "participant",
                "noise_multiplier": 0.01,
                "delta": 1e-5,
                "clip": 1.0,
                "noise_at": "participants",
            },
        },
        {"strategy": {"name": "fedadam"}, "rounds": 2},
        {"participants_per_round": 2, "rounds": 2},
    ],
)
def test_both_worlds_agree_whatever_the_config(tmp_path: Path, changes: dict[str, Any]) -> None:
    net = start(tmp_path / "net", **changes)
    assert net.run(approve=approve_all).done
    assert final_model(net) == in_memory(tmp_path / "memory", **changes)


def test_one_shared_tree_does_it_too(tmp_path: Path) -> None:
    """Aggregator and participants in one data dir, the aggregator among the participants."""
    people = [AGGREGATOR, ALICE, BOB]
    config = small(participants=people, secure_aggregation={"threshold": 2}, rounds=1)
    sites = [Datasite.create(tmp_path / "shared", email) for email in people]
    write_shard(sites[0].private_client, shard([0, 1, 2]))
    write_dataset(sites[0].private_aggregator / "mnist_test_dataset.pt", *held_out())
    put_launch(sites[0], config)
    for _ in range(12):
        for site in sites:
            assert problems(node.advance(site)) == []
            answer(site, approve_all)
    assert sites[0].aggregator().project(PROJECT, "done").path.is_dir()


# ----------------------------------------------------------------------------- nothing unmasked crosses
def needles(net: Network, n: int, start_from: Any) -> dict[str, list[bytes]]:
    """What would show a participant's update: pieces of its weights or of their change, in every usual encoding."""
    found = {}
    for email in net.participants:
        trained = read_state(net[email].client().project(PROJECT, "done").trained(n))
        count = len(data(net.participants)[email][1])
        piece = slice(300, 304)  # four weights in a row, somewhere in the middle of the picture
        values = trained["fc.weight"].flatten()[piece]
        change = values - start_from["fc.weight"].flatten()[piece]
        encoded = encode({"w": values}, count, 3)[1:]
        kinds: list[Any] = [encoded, encode({"w": values}, 1, 3)[1:]]
        for some in (values.numpy(), change.numpy()):
            assert len(set(some.tolist())) == 4
            kinds += [
                some,
                some.astype(">f4"),
                some.astype("f8"),
                count * some,
                count * some.astype("f8"),
            ]
        found[email] = [kind.tobytes() for kind in kinds]
    return found


def hits(net: Network, files: list[tuple[Path, bytes]]) -> set[str]:
    before = read_state(net[AGGREGATOR].aggregator().project(PROJECT, "done").global_model(0))
    wanted = needles(net, 1, before)
    return {
        e for e, some in wanted.items() for _, content in files if any(x in content for x in some)
    }


def test_no_byte_that_crossed_shows_a_single_update(
    tmp_path: Path, arrivals: list[tuple[Path, bytes]]
) -> None:
    net = start(tmp_path / "secure")
    assert net.run(approve=approve_all).done
    at_home = [(p, p.read_bytes()) for p in net[AGGREGATOR].data_dir.rglob("*") if p.is_file()]
    assert len(arrivals) > 80
    assert hits(net, arrivals) == set()
    assert hits(net, at_home) == set()
    assert not [p for p, _ in at_home if p.name.startswith("trained_model")]
    told = [content for path, content in arrivals if path.name == "state.json"]
    assert told
    assert not [content for content in told if b"num_samples" in content]
    # the search is worth something: it finds everybody in a plain round
    arrivals.clear()
    plain = start(tmp_path / "plain", secure_aggregation=None)
    assert plain.run(approve=approve_all).done
    assert hits(plain, arrivals) == set(ALL)


def test_masked_updates_are_noise_and_their_sum_is_not(whole: Network) -> None:
    bodies = {}
    for email in ALL:
        content = (inbox(whole, email) / "secagg_1_masked.msg").read_bytes()
        bodies[email] = np.frombuffer(content.split(b"\n", 2)[2], dtype="<u8")
    assert {len(body) for body in bodies.values()} == {1 + 7850}
    for body in bodies.values():
        top = np.bincount((body >> np.uint64(60)).astype(int), minlength=16)
        assert float(((top - 490.7) ** 2 / 490.7).sum()) < 80  # chi-square, 15 degrees of freedom
    plain = encode(read_state(whole[ALICE].client().project(PROJECT, "done").trained(1)), 6, 3)
    top = np.bincount((plain >> np.uint64(60)).astype(int), minlength=16)
    assert float(((top - 490.7) ** 2 / 490.7).sum()) > 1000


def test_real_apps_find_nothing_that_they_would_count(whole: Network) -> None:
    for email in ALL:
        place = whole[email].client().project(PROJECT, "done")
        models = sorted(p.name for p in place.agg_weights.glob("*.pt"))
        assert models == [f"agg_model_round_{n}.pt" for n in range(3)]
        rounds = sorted(p.name for p in (place.path / "round_weights").iterdir())
        assert rounds == ["trained_model_round_1.pt", "trained_model_round_2.pt"]
        assert not list(inbox(whole, email).glob("*.pt"))
    results = whole[AGGREGATOR].public_results(PROJECT)
    rows = read_json(results / "participants.json")
    assert [row["Round (current/total)"] for row in rows] == ["2/2"] * 3


def test_the_ledger_tells_masked_updates_and_keys_apart(whole: Network) -> None:
    kinds = {kind_of(entry.path) for entry in whole.ledger() if entry.receiver == AGGREGATOR}
    assert {MASKED, KEYS} <= kinds
    masked = [c for c in by_round(whole.ledger()) if c.kind == MASKED]
    assert sorted((c.entry.sender, c.round) for c in masked) == sorted(
        itertools.product(ALL, (1, 2))
    )


def test_secrets_are_nobodys_and_go_with_their_round(tmp_path: Path) -> None:
    net = start(tmp_path, rounds=2)
    net.run(approve=approve_all, until_round=1)
    vault = net[ALICE].private_client / "secagg"
    kept = [p for p in vault.rglob("*") if p.is_file()]
    key = net[ALICE].private_client / "keys" / f"{ALICE}.key"
    kept.append(key)
    if os.name != "nt":
        assert {stat.S_IMODE(p.stat().st_mode) for p in kept} == {0o600}
    assert net.run().done
    left = {p.relative_to(vault).as_posix() for p in vault.rglob("*") if p.is_file()}
    # which rounds there were, and no secret of them
    assert left == {f"secured/{ALICE}.json", f"peers/{ALICE}.json"}
    assert not [e for e in net.ledger() if "private" in e.path.split("/")]


def secrets_of(net: Network, email: str) -> set[str]:
    """The rounds whose secrets lie at a participant."""
    return {path.parent.name for path in net[email].private_client.rglob("secrets.json")}


def test_secrets_go_with_a_client_that_dies_while_its_project_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = start(tmp_path)

    def die(site: Datasite, project: str) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("fedkit.protocol.client.phases.forget", die)
        with pytest.raises(Killed):
            net.run(approve=approve_all)
    left = [email for email in ALL if net[email].client().project(PROJECT, "done").path.is_dir()]
    assert left
    assert all(secrets_of(net, email) for email in left)
    net.run(approve=approve_all)
    assert not any(secrets_of(net, email) for email in ALL)


@pytest.mark.parametrize("way", ["removed", "moved away for a moment"])
def test_secrets_of_a_project_that_a_person_took_away(tmp_path: Path, way: str) -> None:
    net = start(tmp_path, rounds=2)
    net.run(approve=approve_all, until_round=1)
    assert secrets_of(net, ALICE) == {"1"}
    place, away = net[ALICE].client().project(PROJECT).path, tmp_path / "away"
    place.rename(away)
    if way == "removed":
        unpin(net[ALICE], PROJECT)  # as whoever approves anew does first
    node.advance(net[ALICE])
    assert secrets_of(net, ALICE) == (set() if way == "removed" else {"1"})


def test_who_is_no_longer_drawn_keeps_no_secrets(tmp_path: Path) -> None:
    drawn: dict[int, list[str]] = {1: [ALICE, BOB], 2: [BOB, CAROL]}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fedkit.rounds.round.draw", lambda config, able, n: drawn[n])
        net = start(tmp_path, rounds=3, participants_per_round=2)
        net.run(approve=approve_all, until_round=1)
        assert secrets_of(net, ALICE) == {"1"}
        net.run(until_round=2)
    assert secrets_of(net, ALICE) == set()
    assert secrets_of(net, BOB) == {"2"}


def test_an_identity_that_lay_among_projects_is_the_same_one(tmp_path: Path) -> None:
    """Before, a project of that name would have had its secrets inside the key."""
    site = Datasite.create(tmp_path, ALICE)
    older = site.private_client / "secagg" / ALICE / "identity.key"
    write_bytes(older, bytes(range(32)), mode=0o600)
    assert identity(site) == bytes(range(32)) == identity(site)
    assert not older.exists()
    net = start(tmp_path / "net", project_name="identity.key")
    assert net.run(approve=approve_all).done


# ------------------------------------------------------------------------------------- drop-outs
@pytest.mark.parametrize("step", ["", *STEPS])
def test_a_participant_that_never_comes_back_after_a_step(tmp_path: Path, step: str) -> None:
    """With a quorum of two, the round ends without Carol, or with her where her masked update is in."""
    net = start(tmp_path / "net", min_participants=2)
    history = net.run(approve=approve_all, actor=leaving({CAROL: step}))
    gone = () if step in ("masked", "agreed", "revealed") else (CAROL,)
    (record,) = history.rounds
    assert [p.participant for p in record.contributions] == [e for e in ALL if e not in gone]
    assert record.absent == gone
    assert final_model(net) == in_memory(tmp_path / "memory", without=gone)
    dealt_and_gone = 1.0 if step == "shares" else 0.0
    assert record.diagnostics["unmasked_for"] == dealt_and_gone


@pytest.mark.parametrize("step", ["keys", "masked"])  # the others: in memory
def test_t_minus_1_survivors_wait_and_nothing_is_unmasked(tmp_path: Path, step: str) -> None:
    """Two of three leave; a threshold of two. When they come back, the round ends with all three."""
    back: list[bool] = []
    net = start(tmp_path / "net", min_participants=2)
    act = leaving({BOB: step, CAROL: step}, lambda: bool(back))
    history = net.run(approve=approve_all, actor=act)
    assert len(history) == 0
    (wait,) = [w for w in waits(history.waiting) if w.email == AGGREGATOR]
    assert set(wait.whom.split(", ")) == {BOB, CAROL}
    assert "1 of at least 2 are there" in wait.remedy
    for email in ALL:
        assert not list(inbox(net, email, "running").glob("secagg_1_revealed.msg"))
    back.append(True)
    assert net.run(approve=approve_all, actor=act).done
    assert final_model(net) == in_memory(tmp_path / "memory")


def test_whoever_takes_everything_back_after_its_masked_update_still_counts(tmp_path: Path) -> None:
    """Carol removes her masked update and publishes another signing key; nobody else is held up by that."""
    net = start(tmp_path / "net", min_participants=2)
    hers = net[CAROL].aggregator(AGGREGATOR).project(PROJECT)
    message = hers.message(CAROL, 1, "masked")
    stays, gone = leaving({CAROL: "masked"}), []

    def act(site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        listed = net[CAROL].client().project(PROJECT).agg_weights / "secagg_1_survivors.json"
        if site.email == CAROL and gone:
            return []
        if site.email == CAROL and listed.is_file():
            gone.append(True)
            message.unlink()
            other = {"email": CAROL, "ed25519": signing_key(new_secret()).hex()}
            write_json(net[CAROL].public / "keys" / "fl_client.json", other)
            return []
        return stays(site, go)

    history = net.run(approve=approve_all, actor=act)
    assert gone
    assert not message.is_file()
    assert [p.participant for p in history.rounds[0].contributions] == list(ALL)
    assert final_model(net) == in_memory(tmp_path / "memory")
    assert not list(net.root.rglob("secagg_1_masked_*"))


def test_without_a_quorum_a_round_waits_for_everybody(tmp_path: Path) -> None:
    net = start(tmp_path)
    history = net.run(approve=approve_all, actor=leaving({CAROL: "shares"}))
    (wait,) = [w for w in waits(history.waiting) if w.email == AGGREGATOR]
    assert wait.whom == CAROL
    assert "masked update" in wait.what
    assert net.run().done


def test_the_time_out_holds_for_each_step(tmp_path: Path) -> None:
    net = start(tmp_path, min_participants=2, round_timeout_s=0.05)
    act = leaving({CAROL: "keys"})
    for _ in range(60):
        events = net.advance(approve_all, actor=act, patient=True)
        if net.projects() and len(net.history()):
            break
        time.sleep(0.01)
    assert problems(events) == []
    assert net.history().rounds[0].absent == (CAROL,)


# --------------------------------------------------------------------------------- kills and rewinds
def test_cut_off_before_every_change_of_its_files_once_it_ends_with_the_same_bits(
    tmp_path: Path,
) -> None:
    """Every write, rename and removal that secure aggregation makes dies once before it happens."""
    net = start(tmp_path / "net", participants=[ALICE, BOB], secure_aggregation={"threshold": 2})
    died: set[str] = set()

    def decide(change: str) -> bool:
        ours = "secagg" in change or "keys/fl_client" in change
        return ours and change not in died and not died.add(change)  # type: ignore[func-returns-value]

    for _ in range(400):
        with cut_off(decide):
            try:
                history = Network.open(net.root, workers=1).run(approve=approve_all)
            except Killed:
                continue
        break
    assert history.done
    assert len(died) > 60
    people = {"participants": [ALICE, BOB], "secure_aggregation": {"threshold": 2}}
    assert final_model(net) == in_memory(tmp_path / "memory", **people)


def test_once_masks_have_hidden_an_update_nothing_goes_back(tmp_path: Path) -> None:
    """The same update under other masks, without one of the others: the difference is theirs."""
    net = start(tmp_path, rounds=2)
    net.advance()
    rewind(net, 0)  # nothing has begun
    net.run(approve=approve_all, until_round=1)
    for to_round in (0, 1):
        with pytest.raises(FedkitError, match="can't go back") as caught:
            rewind(net, to_round)
        assert "another project name" in str(caught.value.remedy)
    assert net.run().done
    with pytest.raises(FedkitError, match="can't go back"):
        rewind(net, 1)
    assert net.run().done


# -------------------------------------------------------------------------- altered, replayed, forged
def tampering(who: str, n: int, step: str, change: Callable[[Path], None]) -> Any:
    """An actor: after `who` has shared its message of a step, something happens to it on its way, once."""
    done: list[bool] = []

    def act(site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        events = go()
        place = site.aggregator(AGGREGATOR).project(PROJECT)
        path = place.message(who, n, step)
        if site.email == who and path.is_file() and not done:
            done.append(True)
            change(path)
        return events

    return act


def flip(position: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)

    return change


def replay(path: Path) -> None:
    """The message of round 1 again, in round 2."""
    path.write_bytes(path.with_name(path.name.replace("_2_", "_1_")).read_bytes())


def forge(path: Path) -> None:
    """Somebody else signs what the participant said."""
    _, line, body = path.read_bytes().split(b"\n", 2)
    path.write_bytes(sign(new_secret(), line).hex().encode() + b"\n" + line + b"\n" + body)


@pytest.mark.parametrize(
    ("n", "step", "change", "reason"),
    [
        (1, "masked", flip(-1), "masked: was altered"),
        (1, "masked", flip(200), "masked: is not signed by carol@example.org"),
        (2, "masked", replay, "masked: belongs to round 1, not to round 2"),
        (1, "keys", forge, "keys: is not signed by carol@example.org"),
        (1, "shares", flip(-3), "shares: was altered"),
    ],
)
def test_a_message_that_was_changed_on_its_way_is_refused_with_its_reason(
    tmp_path: Path, n: int, step: str, change: Any, reason: str
) -> None:
    net = start(tmp_path, rounds=n, min_participants=2)
    events: list[Event] = []
    act = tampering(CAROL, n, step, change)
    history = net.run(approve=approve_all, actor=act, on_event=events.append)
    record = history.rounds[n - 1]
    assert record.refused == {CAROL: reason}
    assert [p.participant for p in record.contributions] == [ALICE, BOB]
    assert [e for e in events if getattr(e, "reason", "") == reason]


def test_what_crossed_in_another_project_is_worth_nothing_here(tmp_path: Path) -> None:
    """The same people, keys and round, another learning rate: messages do not fit."""
    one = start(tmp_path / "one")
    one.run(approve=approve_all)
    two = start(tmp_path / "two", learning_rate=0.2, min_participants=2)
    for email in ALL:
        source = one[email].private_client / "keys" / f"{email}.key"
        write_bytes(two[email].private_client / "keys" / f"{email}.key", source.read_bytes())

    def old(path: Path) -> None:
        path.write_bytes((inbox(one, CAROL) / path.name).read_bytes())

    history = two.run(approve=approve_all, actor=tampering(CAROL, 1, "keys", old))
    wanted = "keys: belongs to another project, config or set of participants"
    assert history.rounds[0].refused == {CAROL: wanted}


# ------------------------------------------------------------------------- an aggregator that lies
def lie(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[str, Any], Any]) -> None:
    """The aggregator shows each participant what `change` makes of a list."""
    honest = AggregatorRound.send

    def send(self: AggregatorRound, what: str, values: Mapping[str, Any]) -> Any:
        if what == name:
            values = {who: change(who, value) for who, value in values.items()}
        return honest(self, what, values)

    monkeypatch.setattr(AggregatorRound, "send", send)


def refusals(net: Network) -> dict[str, str]:
    seen: list[Event] = []
    history = net.run(approve=approve_all, on_event=seen.append)
    assert not history.done
    assert not list(net.root.rglob("secagg_1_revealed.msg"))
    return {e.email: str(e.error) for e in history.waiting if isinstance(e, Problem)}


def test_a_round_larger_than_approved_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two a round were approved, with a threshold of two: of three, two halves could be asked for both of Alice's masks."""
    monkeypatch.setattr("fedkit.rounds.round.draw", lambda config, able, n: list(able))
    found = refusals(start(tmp_path, participants_per_round=2))
    assert set(found) == set(ALL)
    assert all(
        "asks 3 participants in round 1, and the approved config allows 2" in w
        for w in found.values()
    )
    assert not list(tmp_path.rglob("secagg_1_keys.msg"))


def test_a_finished_round_never_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The aggregator takes round 1 back: whoever masked its update then masks it under no other keys."""
    net = start(tmp_path, rounds=2)
    net.run(approve=approve_all, until_round=1)
    monkeypatch.setattr("fedkit.federation.rewind._hidden", lambda place: False)
    rewind(net, 0)
    assert not list(net.root.rglob("trained_model_round_1.pt"))  # its people even train anew
    history = net.run()
    found = {e.email: str(e.error) for e in history.waiting if isinstance(e, Problem)}
    assert set(found) == set(ALL)
    assert all("round 1 was secured already" in why for why in found.values())
    assert not list(net.root.rglob("secagg_1_*.msg"))


def test_nobody_trains_from_one_model_twice_under_masks(tmp_path: Path) -> None:
    """Rounds of {A, B}, {A, C} and {B, C} from one model would be three sums of three updates."""
    net = start(tmp_path)
    net.run(approve=approve_all)
    again = small(rounds=1, project_name="AGAIN", learning_rate=0.2, **SECURE)
    net.launch(again, LINEAR)
    history = net.run("AGAIN", approve=approve_all)
    found = {e.email: str(e.error) for e in history.waiting if isinstance(e, Problem)}
    assert set(found) == set(ALL)
    assert all(f"from a model that round 1 of {PROJECT} did already" in w for w in found.values())
    net.launch(again.replace(project_name="OTHER", seed=1), LINEAR)
    assert net.run("OTHER", approve=approve_all).done


@pytest.mark.parametrize("name", [f"{ALICE.partition('@')[0]}.json", "secured.json", "secured"])
def test_no_project_is_called_what_keeps_the_marks(tmp_path: Path, name: str) -> None:
    """The list of secured rounds lies where no name that an aggregator chooses leads."""
    net = start(tmp_path, project_name=name)
    assert net.run(approve=approve_all).done
    for email in ALL:
        assert (net[email].private_client / "secagg" / "secured" / f"{email}.json").is_file()


def test_different_lists_of_survivors_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To Alice it says that Carol has dropped out: with shares of both kinds, it could open Carol's update."""

    def change(who: str, value: dict[str, Any]) -> dict[str, Any]:
        return {"survivors": [ALICE, BOB]} if who == ALICE else value

    lie(monkeypatch, "survivors", change)
    # and it passes on what it gets, whatever that says
    monkeypatch.setattr(
        "fedkit.protocol.aggregator.secure_inbox._need", lambda fits, otherwise: None
    )
    found = refusals(start(tmp_path, min_participants=2))
    assert set(found) == set(ALL)
    assert "was shown another list than" in found[ALICE]
    assert "was shown another list than" in found[CAROL]


def test_fewer_shares_of_noise_than_promised_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of three add a third of the noise each: the sum of two would have less than the config promises."""
    lie(monkeypatch, "survivors", lambda who, value: {"survivors": [ALICE, BOB]})
    monkeypatch.setattr(
        "fedkit.protocol.aggregator.secure_inbox._need", lambda fits, otherwise: None
    )
    noise = {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5}
    noise["noise_at"] = "participants"
    found = refusals(start(tmp_path, dp=noise, weighting="equal"))
    assert all("is the sum of 3 shares" in found[who] for who in (ALICE, BOB))


def test_a_round_smaller_than_the_promised_noise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three were promised, less one who may collude: of two, only one share would hide the other's update."""
    monkeypatch.setattr("fedkit.rounds.round.draw", lambda config, able, n: able[:2])
    noise = {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5}
    noise["noise_at"] = "participants"
    net = start(tmp_path, dp=noise, weighting="equal")
    found = refusals(net)
    assert set(found) == {ALICE, BOB}
    assert all(
        "asks 2 participants in round 1, fewer than the quorum of 3" in w for w in found.values()
    )
    assert not list(tmp_path.rglob("secagg_1_keys.msg"))


@pytest.mark.parametrize("keys", ["nothing", "one twice", "another one's"])
def test_a_bad_key_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    """Carol, the last to be looked at, publishes keys that no honest client would take."""
    honest, of_alice = client_round.Secrets.public, dict[str, Any]()

    def public(self: Any) -> Any:
        made = honest(self)
        of_alice.setdefault("keys", made)  # the first one
        bad = {
            "nothing": {"mask": bytes(32)},
            "one twice": {"mask": made.seal},
            "another one's": {"mask": of_alice["keys"].mask},
        }[keys]
        return replace(made, **bad) if carols_turn else made

    carols_turn = False

    def act(site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        nonlocal carols_turn
        carols_turn = site.email == CAROL
        return go()

    monkeypatch.setattr(client_round.Secrets, "public", public)
    net = start(tmp_path, min_participants=2, round_timeout_s=0.1)
    history = net.run(approve=approve_all, actor=act)
    assert history.done
    assert "key" in history.rounds[0].refused[CAROL]
    assert [part.participant for part in history.rounds[0].contributions] == [ALICE, BOB]


def test_a_list_below_the_threshold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie(monkeypatch, "survivors", lambda who, value: {"survivors": [who]})
    found = refusals(start(tmp_path))
    assert "and 2 of the 3 participants are needed" in found[BOB]


def test_a_roster_with_a_key_that_its_owner_did_not_sign_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The aggregator puts a key of its own in Bob's place, to read what is sealed for him."""

    def change(who: str, value: dict[str, str]) -> dict[str, str]:
        _, line, body = bytes.fromhex(value[BOB]).split(b"\n", 2)
        forged = sign(new_secret(), line).hex().encode() + b"\n" + line + b"\n" + body
        return value if who == BOB else {**value, BOB: forged.hex()}

    lie(monkeypatch, "roster", change)
    found = refusals(start(tmp_path))
    assert set(found) == {ALICE, CAROL}
    assert f"the message of '{BOB}' is not signed by {BOB}" in found[ALICE]
    assert "its update stays hidden" in found[ALICE]


def another_model(*whom: str) -> Any:
    """An actor: these find another global model of round 1 in their mailbox than all others."""

    def act(site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        path = site.client().project(PROJECT).global_model(1)
        if site.email in whom and path.is_file():
            dead = {name: torch.zeros_like(value) for name, value in read_state(path).items()}
            write_bytes(path, state_bytes(dead))
        return go()

    return act


def other_settings(setting: str, value: float, *whom: str) -> Any:
    """An actor: of these, the aggregator asks something else in round 2 than of all others."""

    def act(site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        place = site.client().project(PROJECT)
        if site.email in whom and place.global_model(1).is_file():
            write_json(place.round_settings(2), {setting: value})
        return go()

    return act


def masked_in_round(n: int, net: Network) -> list[Path]:
    return list(net.root.rglob(f"secagg_{n}_masked.msg"))


def test_who_trained_from_another_model_is_named_and_nothing_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bob and Carol get a dead model: their updates are known beforehand, and the sum would be Alice's."""
    net = start(tmp_path, rounds=2)
    # this aggregator takes whatever it gets
    monkeypatch.setattr(
        "fedkit.protocol.aggregator.secure_inbox._need", lambda fits, otherwise: None
    )
    history = net.run(approve=approve_all, actor=another_model(BOB, CAROL))
    found = {e.email: str(e.error) for e in history.waiting if isinstance(e, Problem)}
    assert set(found) == set(ALL)
    other = "has trained from another global model than"
    assert f"{BOB} {other} {ALICE} in round 2" in found[ALICE]
    assert f"{ALICE} {other} {BOB} in round 2" in found[BOB]
    assert masked_in_round(2, net) == []


@pytest.mark.parametrize(("setting", "value"), [("learning_rate", 1e-30), ("epoch", 3)])
def test_who_trained_with_other_settings_is_named_and_nothing_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: float
) -> None:
    """With steps of next to nothing for Bob and Carol, the sum would be Alice's too."""
    net = start(tmp_path, rounds=2, adjustable=[setting])
    monkeypatch.setattr(
        "fedkit.protocol.aggregator.secure_inbox._need", lambda fits, otherwise: None
    )
    history = net.run(approve=approve_all, actor=other_settings(setting, value, BOB, CAROL))
    found = {e.email: str(e.error) for e in history.waiting if isinstance(e, Problem)}
    assert set(found) == set(ALL)
    assert f"{BOB} has trained with another {setting} than {ALICE} in round 2" in found[ALICE]
    assert masked_in_round(2, net) == []


def test_what_all_are_asked_for_alike_is_no_other_setting(tmp_path: Path) -> None:
    net = start(tmp_path, rounds=2, adjustable=["learning_rate", "epoch"])
    net.run(approve=approve_all, until_round=1)
    change_settings(net[AGGREGATOR], PROJECT, learning_rate=0.05, epoch=2)
    assert net.run().done


def test_an_honest_aggregator_goes_on_without_who_has_another_model(tmp_path: Path) -> None:
    net = start(tmp_path, rounds=2, min_participants=2)
    history = net.run(approve=approve_all, actor=another_model(CAROL))
    assert history.done
    why = "keys: has trained from another global model, or with other settings"
    assert history.rounds[1].refused == {CAROL: why}
    assert [p.participant for p in history.rounds[1].contributions] == [ALICE, BOB]


@pytest.mark.parametrize("approved_by", ["today's version", "an older one"])
def test_who_names_no_model_is_good_only_where_an_older_version_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, approved_by: str
) -> None:
    """Nobody can take the names away: each signs its own, and what was approved how lies in a private folder."""
    keep = client_round.ParticipantRound.keep

    def older(self: Any, step: str, about: Any, body: Any = b"") -> list[Event]:
        return keep(self, step, {} if step == "keys" and self.me == CAROL else about, body)

    pin = approval.pin

    def as_before(site: Datasite, project: str, hashes: Any) -> None:
        pin(site, project, hashes)
        values = read_json(pin_path(site, project))
        assert values.pop("keys_name_model") is True
        write_json(pin_path(site, project), values)

    monkeypatch.setattr(client_round.ParticipantRound, "keep", older)
    net = start(tmp_path)
    if approved_by == "an older one":
        monkeypatch.setattr(approval, "pin", as_before)
        monkeypatch.setattr(secure_round, "keys_name_model", lambda place: False)
    else:
        # this aggregator takes whatever it gets
        monkeypatch.setattr(
            "fedkit.protocol.aggregator.secure_inbox._need", lambda fits, otherwise: None
        )
    history = net.run(approve=approve_all)
    assert history.done == (approved_by == "an older one")
    found = {e.email: str(e.error) for e in history.waiting if isinstance(e, Problem)}
    assert set(found) == (set() if history.done else {ALICE, BOB})
    assert all(f"{CAROL} does not say which global model" in why for why in found.values())


def test_who_names_no_model_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = client_round.ParticipantRound.keep

    def older(self: Any, step: str, about: Any, body: Any = b"") -> list[Event]:
        return keep(self, step, {} if step == "keys" and self.me == CAROL else about, body)

    monkeypatch.setattr(client_round.ParticipantRound, "keep", older)
    history = start(tmp_path, min_participants=2).run(approve=approve_all)
    assert history.done
    why = "keys: does not say what it trained from; its fedkit is an older one"
    assert history.rounds[0].refused == {CAROL: why}


def test_whose_key_has_changed_stops_nobody_else(tmp_path: Path) -> None:
    net = start(tmp_path, rounds=2, min_participants=2)
    net.run(approve=approve_all, until_round=1)
    (net[BOB].private_client / "keys" / f"{BOB}.key").unlink()
    history = net.run()
    assert history.done
    assert "signs with another key than before" in history.rounds[1].refused[BOB]
    assert [p.participant for p in history.rounds[1].contributions] == [ALICE, CAROL]


def test_whose_key_has_changed_is_named_until_people_trust_the_new_one(tmp_path: Path) -> None:
    """Between two rounds another key stands where Bob's was: it may be a thief's, it may be his new laptop's."""
    net = start(tmp_path, rounds=2)
    net.run(approve=approve_all, until_round=1)
    (net[BOB].private_client / "keys" / f"{BOB}.key").unlink()
    wait = next(w for w in waits(net.run().waiting) if w.email == AGGREGATOR)
    assert wait.whom == BOB
    assert "signs with another key than before" in wait.remedy
    trust(net[AGGREGATOR], BOB)
    history = net.run()
    found = {e.email: e.error for e in history.waiting if isinstance(e, Problem)}
    assert set(found) == {ALICE, CAROL}
    for error in found.values():
        assert error.field == BOB
        assert "signs with another key than before" in error.what
        assert f"fedkit keys --trust {BOB}" in str(error.remedy)
    assert masked_in_round(2, net) == []
    assert known_keys(net[ALICE])[BOB] != trust(net[ALICE], BOB)
    trust(net[CAROL], BOB)
    assert net.run().done


def test_an_old_roster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old: dict[str, str] = {}

    def change(who: str, value: dict[str, str]) -> dict[str, str]:
        if not old:
            old.update(value)
        return {**value, BOB: old[BOB]}

    lie(monkeypatch, "roster", change)
    net = start(tmp_path, rounds=2)
    history = net.run(approve=approve_all)
    assert len(history) == 1
    found = {e.email: str(e.error) for e in history.waiting if isinstance(e, Problem)}
    assert "belongs to round 1, not to round 2" in found[ALICE]
    assert "other keys of bob@example.org than its own" in found[BOB] or "round 1" in found[BOB]


def test_strangers_in_a_roster_never_become_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers = {ALICE: "../../../../private/x", BOB: "eve@example.org", CAROL: ""}
    lie(monkeypatch, "roster", lambda who, value: {**value, strangers[who]: value[ALICE]})
    opened: list[str] = []
    honest = signing_keys.published_key

    def published_key(site: Datasite, email: str) -> bytes | None:
        opened.append(email)
        return honest(site, email)

    monkeypatch.setattr(signing_keys, "published_key", published_key)
    found = refusals(start(tmp_path))
    assert all("is not signed" in found[email] for email in ALL)
    assert set(opened) == set(ALL)


def test_an_update_without_a_mask_is_not_taken_and_its_client_is_named(tmp_path: Path) -> None:
    """As a real app would send it; nobody else is held up by that where the quorum allows it."""
    net = start(tmp_path)
    act = leaving({CAROL: ""})
    net.run(approve=approve_all, actor=act)
    place = net[AGGREGATOR].aggregator().project(PROJECT)
    write_bytes(place.update(CAROL, 1), place.global_model(0).read_bytes())
    wait = next(w for w in waits(net.run(actor=act).waiting) if w.email == AGGREGATOR)
    assert "carol@example.org: its client has sent an update without a mask" in wait.remedy
    assert net.run().done  # her own client has not lost its place


def test_shares_that_do_not_open_are_refused_before_anything_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(who: str, value: dict[str, str]) -> dict[str, str]:
        return {
            dealer: text[:-2] + f"{int(text[-2:], 16) ^ 1:02x}" for dealer, text in value.items()
        }

    lie(monkeypatch, "dealt", change)
    net = start(tmp_path)
    assert "can't be unsealed" in refusals(net)[ALICE]
    assert not list(net.root.rglob("secagg_1_masked.msg"))


def test_a_message_is_never_made_twice(tmp_path: Path) -> None:
    """An aggregator that shows another list later, and loses the masked update, gets the same bytes again."""
    net = start(tmp_path)
    act = leaving({CAROL: "shares"})
    net.run(approve=approve_all, actor=act)
    path = inbox(net, ALICE, "running") / "secagg_1_masked.msg"
    first = path.read_bytes()
    dealt = net[ALICE].client().project(PROJECT).secure_list(1, "dealt")
    values = read_json(dealt)
    values.pop(BOB)
    write_json(dealt, values)
    path.unlink()
    net.run(actor=act)
    assert path.read_bytes() == first
    assert net.run().done


def test_whoever_has_not_published_a_key_is_waited_for(tmp_path: Path) -> None:
    net = start(tmp_path)
    site = net[ALICE]
    assert signing_keys.published_key(site, BOB) is None
    key = signing_keys.identity(net[BOB])
    net.sync()
    assert signing_keys.published_key(site, BOB) is not None
    assert signing_keys.identity(net[BOB]) == key
    path = site.datasites / BOB / "public" / "keys" / "fl_client.json"
    for bad in (
        b"",
        b"[]",
        b'{"email": "x", "ed25519": "00"}',
        b'{"email": "bob@example.org", "ed25519": "zz"}',
    ):
        path.write_bytes(bad)
        assert signing_keys.published_key(site, BOB) is None


def test_status_says_what_it_waits_for(tmp_path: Path) -> None:
    net = start(tmp_path)
    net.run(approve=approve_all, actor=leaving({CAROL: "keys"}))
    rows = {row.role: row for row in node.status(net[AGGREGATOR])}
    assert rows["aggregator"].waits_for == CAROL
    assert "deal its shares (round 1, secure aggregation)" in rows["aggregator"].text
    assert torch.is_tensor(read_state(net[ALICE].client().project(PROJECT).trained(1))["fc.weight"])
    assert isinstance(waits(net.advance())[0], Waiting)
