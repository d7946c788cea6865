"""What goes wrong on purpose really happens, to files, processes and permissions; fedkit's answer is the one it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit.teaching.failures.faults
from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, FileRefused, Notice
from fedkit.base.files import read_state
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject, ClientProject
from fedkit.datasite.projects import find_project
from fedkit.learning.models import SAMPLE_MODEL, StateDict
from fedkit.protocol.approval import approve_all
from fedkit.rounds.history import History
from fedkit.teaching.control.control import Control
from fedkit.teaching.failures.doomed_process import run_child
from fedkit.teaching.failures.fates import Fate
from fedkit.teaching.failures.faults import KINDS, Fault, Faults
from tests.support.helpers import AGGREGATOR, ALICE, BOB, CAROL, LINEAR, PROJECT, launched

PEOPLE = [ALICE, BOB, CAROL]
WITH_QUORUM: dict[str, Any] = {"min_participants": 2}


def controlled(root: Path, model: str = LINEAR, **changes: Any) -> Control:
    settings = {"participants": PEOPLE, "rounds": 2} | changes
    return Control(launched(root, model, **settings), approve_all)


def run(control: Control) -> History:
    control.run_all()
    now = control.wait(120)
    assert not now.busy
    assert now.error == ""
    return now.history


def fate(control: Control, email: str, n: int) -> Fate:
    (found,) = [f for f in control.now.fates if (f.participant, f.round) == (email, n)]
    return found


def home(control: Control) -> AggregatorProject:
    return find_project(control.network[AGGREGATOR])


def bobs(control: Control) -> ClientProject:
    box = control.network[BOB].client()
    running = box.project(PROJECT)
    return running if running.path.is_dir() else box.project(PROJECT, "done")


def global_bytes(control: Control, n: int = 2) -> bytes:
    return home(control).global_model(n).read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The last global model of the same experiment in which nothing goes wrong."""
    control = controlled(tmp_path_factory.mktemp("undisturbed"))
    assert run(control).done
    return global_bytes(control)


# ------------------------------------------------------------------------------ it really happens
def test_absent_with_a_quorum(tmp_path: Path) -> None:
    control = controlled(tmp_path, rounds=3, **WITH_QUORUM)
    control.faults.set(BOB, Fault("absent", 2))
    records = list(run(control))
    assert [r.absent for r in records] == [(), (BOB,), (BOB,)]
    assert [len(r.contributions) for r in records] == [3, 2, 2]
    assert not bobs(control).trained(2).exists()
    assert fate(control, BOB, 1).word == "averaged"
    assert fate(control, BOB, 3).word == "absent"
    assert "2 that came" in fate(control, BOB, 3).why


def test_absent_without_a_quorum_is_waited_for(tmp_path: Path, undisturbed: bytes) -> None:
    control = controlled(tmp_path)
    control.faults.set(BOB, Fault("absent", 2))
    assert len(run(control)) == 1
    assert control.now.status.startswith(f"waits for {BOB} to send its update of round 2")
    assert fate(control, BOB, 2).word == "awaited"
    assert fate(control, ALICE, 2).word == "awaited"
    control.faults.clear(BOB)
    assert control.refresh().status == "paused in round 2 of 2"
    assert run(control).done
    assert global_bytes(control) == undisturbed


def test_slow_is_waited_for(tmp_path: Path, undisturbed: bytes) -> None:
    control = controlled(tmp_path)
    control.faults.set(BOB, Fault("slow", 2, seconds=1.0))
    assert run(control).done
    assert global_bytes(control) == undisturbed
    assert fate(control, BOB, 1).word == "averaged"
    assert fate(control, BOB, 2).word == "late"


def test_too_slow_for_the_time_out(tmp_path: Path) -> None:
    control = controlled(tmp_path, round_timeout_s=0.5, **WITH_QUORUM)
    control.faults.set(BOB, Fault("slow", 2, seconds=60.0))
    control.run_all()
    now = control.wait(1)  # the round has ended; the run would wait for Bob to finish
    for _ in range(50):
        if len(now.history) == 2:
            break
        now = control.wait(0.5)
    control.pause()
    control.wait(60)
    control.refresh()
    assert [r.absent for r in control.now.history] == [(), (BOB,)]
    assert fate(control, BOB, 2).why.startswith("came too late")


def test_killed_in_the_middle_resumes_to_the_same_bits(tmp_path: Path, undisturbed: bytes) -> None:
    control = controlled(tmp_path)
    control.faults.set(BOB, Fault("killed", 2))
    assert run(control).done
    assert global_bytes(control) == undisturbed
    assert list(bobs(control).path.rglob("*.tmp")) == []
    said = [e.text for e in control.now.events if isinstance(e, Notice) and e.email == BOB]
    assert said == ["round 2: killed: killed in the middle of training"]
    assert fate(control, BOB, 2).word == "resumed"


def deaths(monkeypatch: pytest.MonkeyPatch, *answers: str | None) -> list[str]:
    """Processes that only say something, instead of real ones that take seconds to start; who was moved by one."""
    moved, rest = [], list(answers)

    def child(site: Datasite, kind: str, stop: Callable[[], bool]) -> str | None:
        moved.append(site.email)
        return rest.pop(0) if rest else "killed in the middle of training"

    monkeypatch.setattr(fedkit.teaching.failures.faults, "run_child", child)
    return moved


def test_killed_once_until_set_again_or_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, moved = controlled(tmp_path, rounds=3), deaths(monkeypatch)
    control.faults.set(BOB, Fault("killed", 1))
    control.run_round()
    assert len(control.wait(60).history) == 1
    control.run_round()
    assert len(control.wait(60).history) == 2
    assert moved == [BOB]
    control.faults.set(BOB, Fault("killed", 3))
    assert run(control).done
    assert moved == [BOB, BOB]
    assert control.faults.log == [(BOB, 1, "killed"), (BOB, 3, "killed")]
    control.reset(to_round=1)
    control.wait(60)
    assert control.faults.log == [(BOB, 1, "killed")]
    assert run(control).done
    assert moved == [BOB, BOB, BOB]


def mean_of(control: Control, people: list[str], n: int) -> StateDict:
    """FedAvg by hand of what these participants trained; all of them hold six images."""
    trained = []
    for email in people:
        box = control.network[email].client()
        for folder in ("running", "done"):
            path = box.project(PROJECT, folder).trained(n)
            trained += [read_state(path)] if path.exists() else []
    assert len(trained) == len(people)
    return {name: sum(state[name] for state in trained) / len(trained) for name in trained[0]}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("truncated", "can't be read as tensors"), ("wrong shape", "shape"), ("NaN", "NaN")],
)
def test_refused_with_its_reason_and_not_averaged(tmp_path: Path, kind: str, reason: str) -> None:
    control = controlled(tmp_path, **WITH_QUORUM)
    control.faults.set(BOB, Fault(kind, 2))
    record = list(run(control))[1]
    assert reason in record.refused[BOB]
    assert fate(control, BOB, 2) == Fate(BOB, 2, "refused", record.refused[BOB])
    expected = mean_of(control, [ALICE, CAROL], 2)
    after = read_state(home(control).global_model(2))
    assert all(torch.allclose(after[name], expected[name], atol=1e-6) for name in expected)


@pytest.mark.parametrize("kind", ["truncated", "wrong shape", "NaN", "revoked"])
def test_repaired_without_a_quorum_it_ends_as_if_nothing_had_been(
    tmp_path: Path, kind: str, undisturbed: bytes
) -> None:
    control = controlled(tmp_path)
    control.faults.set(BOB, Fault(kind, 1))
    assert len(run(control)) < 2
    assert BOB in control.now.status
    control.faults.clear()
    assert run(control).done
    assert global_bytes(control) == undisturbed


def test_from_one_fault_to_another_in_the_same_round(tmp_path: Path, undisturbed: bytes) -> None:
    control = controlled(tmp_path)
    for kind in ("NaN", "truncated", "wrong shape"):
        control.faults.set(BOB, Fault(kind, 1))
        assert len(run(control)) == 0
        assert fate(control, BOB, 1).word == "refused"
    assert "shape" in fate(control, BOB, 1).why
    control.faults.clear()
    assert run(control).done
    assert global_bytes(control) == undisturbed


@pytest.mark.parametrize(("kind", "k"), [("sign-flipped", -1.0), ("scaled", 5.0)])
def test_hostile_but_well_formed_goes_through(tmp_path: Path, kind: str, k: float) -> None:
    control = controlled(tmp_path)
    control.faults.set(BOB, Fault(kind, 2, factor=5.0))
    record = list(run(control))[1]
    assert record.refused == {}
    before, sent = (
        read_state(home(control).global_model(1)),
        read_state(home(control).update(BOB, 2)),
    )
    trained = read_state(bobs(control).trained(2))
    for name in sent:
        change = trained[name] - before[name]
        assert torch.allclose(sent[name], before[name] + k * change, atol=1e-6)
    assert fate(control, BOB, 2).word == "unnoticed"
    assert fate(control, BOB, 1).word == "averaged"


def test_replayed_sends_the_bytes_of_the_round_before(tmp_path: Path) -> None:
    control = controlled(tmp_path)
    control.faults.set(BOB, Fault("replayed", 2))
    assert run(control).done
    sent = home(control).update(BOB, 2).read_bytes()
    assert sent == bobs(control).trained(1).read_bytes() != bobs(control).trained(2).read_bytes()
    assert fate(control, BOB, 2).word == "unnoticed"


def test_revoked_closes_the_mailbox_to_the_aggregator(tmp_path: Path) -> None:
    control = controlled(tmp_path, rounds=3, **WITH_QUORUM)
    control.faults.set(BOB, Fault("revoked", 2))
    records = list(run(control))
    assert records[2].absent == (BOB,)
    refused = [e.path for e in control.now.events if isinstance(e, FileRefused)]
    assert any(BOB in path and path.endswith("agg_model_round_2.pt") for path in refused)
    assert not bobs(control).global_model(2).exists()
    assert fate(control, BOB, 3).why.startswith("let no global model in")


def test_disk_full_leaves_no_half_written_update(tmp_path: Path) -> None:
    control = controlled(tmp_path, SAMPLE_MODEL, **WITH_QUORUM)
    control.faults.set(BOB, Fault("disk full", 2))
    records = list(run(control))
    assert records[1].absent == (BOB,)
    assert not bobs(control).trained(2).exists()
    assert list(bobs(control).path.rglob("*.tmp")) == []
    assert fate(control, BOB, 2).why.startswith("could not write its files")
    control.faults.clear()
    run(control)
    assert bobs(control).path.parent.name == "done"


# ------------------------------------------------------------------------------------- the pieces
def test_every_kind_says_what_it_means_and_no_other_is_known() -> None:
    assert all(KINDS.values())
    for kind in KINDS:
        assert Fault(kind).kind == kind
    with pytest.raises(FedkitError) as caught:
        Fault("gremlin")
    assert "absent" in (caught.value.remedy or "")


def test_a_stop_ends_the_participants_process(tmp_path: Path) -> None:
    control = controlled(tmp_path)
    control.run_round()
    control.wait(60)
    assert run_child(control.network[BOB], "killed", lambda: True) is None


def test_a_process_that_a_pause_ended_dies_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, moved = controlled(tmp_path), deaths(monkeypatch, None)
    control.faults.set(BOB, Fault("killed", 1))
    assert run(control).done
    assert moved == [BOB, BOB]
    assert control.faults.log == [(BOB, 1, "killed")]


def test_setting_and_clearing() -> None:
    faults = Faults()
    faults.set(ALICE, Fault("NaN"))
    faults.set(BOB, Fault("absent"))
    faults.set(BOB, Fault("slow"))
    assert {email: fault.kind for email, fault in faults.current().items()} == {
        ALICE: "NaN",
        BOB: "slow",
    }
    faults.clear(ALICE)
    faults.clear(CAROL)
    assert list(faults.current()) == [BOB]
    faults.clear()
    assert faults.current() == {}


def test_slow_is_late_until_its_time_has_come_or_it_is_cleared(tmp_path: Path) -> None:
    control = controlled(tmp_path)
    control.run_round()
    control.wait(60)
    faults, bob = control.faults, control.network[BOB]
    moved: list[Event] = [Notice(BOB, PROJECT, "moved")]
    for seconds, late in [(3600.0, True), (0.0, False), (3600.0, True)]:
        faults.set(BOB, Fault("slow", 1, seconds=seconds))
        assert faults.act(bob, lambda: moved) == (None if late else moved)
    faults.clear()
    assert faults.act(bob, lambda: moved) == moved
    assert control.faults.log == [(BOB, 1, "slow")]
