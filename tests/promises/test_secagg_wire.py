"""Secure aggregation over datasites: the bits of the plain sum, through drop-outs and kills, nothing unmasked between."""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedkit.base.events import Event, Problem, Waiting
from fedkit.base.files import read_json, read_state, write_bytes, write_dataset, write_json
from fedkit.base.keys import new_secret, sign, signing_key
from fedkit.base.tensors import state_bytes
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.federation.ledger import KEYS, MASKED, kind_of
from fedkit.federation.ledger import crossings as by_round
from fedkit.federation.network import Network
from fedkit.federation.rewind import rewind
from fedkit.learning.strategies.base import unpack
from fedkit.privacy.secagg.fixedpoint import encode
from fedkit.protocol import advance as node
from fedkit.protocol import signed_messages
from fedkit.protocol.aggregator.secure_round import AggregatorRound
from fedkit.protocol.approval import answer, approve_all
from fedkit.protocol.client import secure_round as client_round
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
    vault = net[ALICE].private_client / "secagg" / ALICE
    kept = [p for p in vault.rglob("*") if p.is_file()]
    assert (vault / "identity.key") in kept
    if os.name != "nt":
        assert {stat.S_IMODE(p.stat().st_mode) for p in kept} == {0o600}
    assert net.run().done
    assert [p.name for p in vault.rglob("*") if p.is_file()] == ["identity.key"]
    assert not [e for e in net.ledger() if "private" in e.path.split("/")]


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


def test_rewound_and_run_again_with_new_secrets_and_the_same_bits(
    whole: Network, tmp_path: Path
) -> None:
    net = start(tmp_path, rounds=2)
    net.run(approve=approve_all)
    first = (inbox(net, ALICE) / "secagg_2_masked.msg").read_bytes()
    rewind(net, 1)
    left = [p.name for p in tmp_path.rglob("secagg_2_*")]
    assert left == []
    assert list(inbox(net, ALICE, "running").glob("secagg_1_*"))
    assert net.run().done
    assert (inbox(net, ALICE) / "secagg_2_masked.msg").read_bytes() != first
    assert final_model(net) == final_model(whole)


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
        source = one[email].private_client / "secagg" / email / "identity.key"
        write_bytes(
            two[email].private_client / "secagg" / email / "identity.key", source.read_bytes()
        )

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
    honest = client_round.published_key

    def published_key(site: Datasite, email: str) -> bytes | None:
        opened.append(email)
        return honest(site, email)

    monkeypatch.setattr(client_round, "published_key", published_key)
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
    assert signed_messages.published_key(site, BOB) is None
    key = signed_messages.identity(net[BOB])
    net.sync()
    assert signed_messages.published_key(site, BOB) is not None
    assert signed_messages.identity(net[BOB]) == key
    path = site.datasites / BOB / "public" / "keys" / "fl_client.json"
    for bad in (
        b"",
        b"[]",
        b'{"email": "x", "ed25519": "00"}',
        b'{"email": "bob@example.org", "ed25519": "zz"}',
    ):
        path.write_bytes(bad)
        assert signed_messages.published_key(site, BOB) is None


def test_status_says_what_it_waits_for(tmp_path: Path) -> None:
    net = start(tmp_path)
    net.run(approve=approve_all, actor=leaving({CAROL: "keys"}))
    rows = {row.role: row for row in node.status(net[AGGREGATOR])}
    assert rows["aggregator"].waits_for == CAROL
    assert "deal its shares (round 1, secure aggregation)" in rows["aggregator"].text
    assert torch.is_tensor(read_state(net[ALICE].client().project(PROJECT).trained(1))["fc.weight"])
    assert isinstance(waits(net.advance())[0], Waiting)
