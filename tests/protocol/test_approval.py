"""Approval: exactly the bytes that were reviewed, or nothing."""

import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import Busy, FedkitError
from fedkit.base.events import Approved, Event, MailboxOpened, Problem
from fedkit.base.files import is_file, read_json, sha256_bytes, write_bytes, write_json, write_state
from fedkit.datasite import lock
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import Permissions
from fedkit.protocol import advance as node
from fedkit.protocol import approval
from fedkit.protocol.approval import (
    Review,
    answer,
    approve,
    approve_all,
    approve_none,
    decline,
    pending_requests,
    pin_path,
    pinned,
    review,
    why_declined,
)
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    EVE,
    LINEAR,
    PROJECT,
    linear_weights,
    problems,
    small,
    snapshot,
    waits,
)

OTHER = LINEAR.replace("784, 10", "784, 10, bias=True")
DIGESTS = {"model.py": sha256_bytes(LINEAR.encode())}


@pytest.fixture
def site(tmp_path: Path) -> Datasite:
    """Alice's datasite with a request that nobody has answered."""
    site = Datasite.create(tmp_path, ALICE)
    put_request(site)
    return site


def put_request(
    site: Datasite, model: str = LINEAR, project: str = PROJECT, **changes: Any
) -> Path:
    folder = site.client().project(project, "request").path
    write_bytes(folder / "model.py", model.encode())
    config = small(
        project_name=project, aggregator=AGGREGATOR, participants=[ALICE, BOB], **changes
    )
    config.save(folder / "fl_config.json")
    return folder


def running(site: Datasite) -> Path:
    return site.client().project(PROJECT).path


def advance(site: Datasite) -> list[Event]:
    return node.advance(site)


def goes_on(site: Datasite) -> bool:
    """Approved and under way: the client waits for the aggregator (or for data), for nobody's approval."""
    events = advance(site)
    return not problems(events) and any("training data" in wait.what for wait in waits(events))


# ---------------------------------------------------------------------------------------- the review
def test_a_review_shows_what_would_run(site: Datasite) -> None:
    seen = review(site, PROJECT)
    assert (seen.project, seen.aggregator, seen.participant) == (PROJECT, AGGREGATOR, ALICE)
    assert seen.source == LINEAR
    assert seen.hashes["model.py"] == DIGESTS["model.py"]
    assert seen.hashes["fl_config.json"] == sha256_bytes(seen.config_bytes)
    assert seen.config.rounds == 2


def test_reviewing_and_refusing_run_nothing_and_leave_no_trace(
    site: Datasite, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    put_request(site, model=f"open({str(marker)!r}, 'w').close()\n{LINEAR}")
    before = snapshot(site.data_dir)
    review(site, PROJECT)
    assert answer(site, approve_none) == []
    advance(site)
    node.status(site)
    assert not marker.exists()
    assert snapshot(site.data_dir) == before


def test_approved_is_what_was_reviewed_not_what_lies_there_by_then(site: Datasite) -> None:
    seen = review(site, PROJECT)
    put_request(site, model=OTHER, rounds=99)
    approve(site, seen)
    assert (running(site) / "model.py").read_text(encoding="utf-8") == LINEAR
    assert (running(site) / "fl_config.json").read_bytes() == seen.config_bytes
    assert pinned(site, PROJECT) == seen.hashes
    assert goes_on(site)


def test_an_approval_says_what_was_approved(site: Datasite) -> None:
    event = approve(site, PROJECT)
    assert event == Approved(ALICE, PROJECT, DIGESTS["model.py"])
    kept = read_json(pin_path(site, PROJECT))
    assert kept["sha256"]["model.py"] == DIGESTS["model.py"]
    assert "private" in pin_path(site, PROJECT).parts


@pytest.mark.parametrize("where", ["running", "done"])
def test_nothing_is_approved_twice(site: Datasite, where: str) -> None:
    folder = site.client().project(PROJECT, where).path
    folder.mkdir(parents=True)
    before = snapshot(site.data_dir)
    with pytest.raises(FedkitError, match="approved before") as caught:
        approve(site, PROJECT)
    assert caught.value.file == folder
    assert snapshot(site.data_dir) == before


@pytest.mark.parametrize("project", ["nothing", "../request", "", "x" * 99])
def test_what_was_not_asked_cannot_be_approved(site: Datasite, project: str) -> None:
    before = snapshot(site.data_dir)
    with pytest.raises(FedkitError) as caught:
        approve(site, project)
    assert caught.value.remedy
    assert snapshot(site.data_dir) == before


# --------------------------------------------------------------------------------- changes afterwards
@pytest.mark.parametrize("name", ["model.py", "fl_config.json"])
@pytest.mark.parametrize("how", ["approve", "copy"])
def test_what_changes_after_the_approval_is_refused_and_said(
    site: Datasite, how: str, name: str, tmp_path: Path
) -> None:
    if how == "approve":
        approve(site, PROJECT)
    else:
        shutil.copytree(site.client().request / PROJECT, running(site))
        advance(site)
    path, marker = running(site) / name, tmp_path / "marker"
    good = path.read_bytes()
    if name == "model.py":
        path.write_text(f"open({str(marker)!r}, 'w').close()\n{LINEAR}", encoding="utf-8")
    else:
        path.write_bytes(good.replace(b'"rounds": 2', b'"rounds": 3'))
    assert path.read_bytes() != good
    write_state(site.client().project(PROJECT).global_model(0), linear_weights())
    before = snapshot(site.data_dir)
    (text,) = problems(advance(site))
    assert f"{PROJECT}/{name}" in text
    assert "has changed since it was approved" in text
    assert sha256_bytes(good)[:12] in text
    assert snapshot(site.data_dir) == before
    assert not marker.exists()
    path.write_bytes(good)  # the first remedy
    assert goes_on(site)


@pytest.mark.parametrize("how", ["approve", "copy"])
def test_what_was_taken_back_can_be_approved_anew(site: Datasite, how: str) -> None:
    """The second remedy: remove it, look again, say yes again, by either way."""
    approve(site, PROJECT)
    advance(site)
    (running(site) / "model.py").write_text(OTHER, encoding="utf-8")
    assert problems(advance(site))
    shutil.rmtree(running(site))
    put_request(site, model=OTHER)
    assert "approve the request" in waits(advance(site))[0].what
    assert pinned(site, PROJECT) is None
    if how == "approve":
        approve(site, PROJECT)
    else:
        shutil.copytree(site.client().request / PROJECT, running(site))
    assert goes_on(site)
    assert pinned(site, PROJECT)["model.py"] == sha256_bytes(OTHER.encode())  # type: ignore[index]


def test_a_request_that_changes_later_changes_nothing(site: Datasite) -> None:
    approve(site, PROJECT)
    put_request(site, model=OTHER)
    assert goes_on(site)
    assert (running(site) / "model.py").read_text(encoding="utf-8") == LINEAR


def test_a_file_that_is_gone_after_the_approval_is_named(site: Datasite) -> None:
    approve(site, PROJECT)
    (running(site) / "model.py").unlink()
    (text,) = problems(advance(site))
    assert "model.py: is not there" in text


# ----------------------------------------------------------------------------------- plain cp and mv
def test_a_plain_copy_approves(site: Datasite) -> None:
    shutil.copytree(site.client().request / PROJECT, running(site))
    events = advance(site)
    assert [event for event in events if isinstance(event, Approved)]
    assert [event for event in events if isinstance(event, MailboxOpened)]
    assert pinned(site, PROJECT)["model.py"] == DIGESTS["model.py"]  # type: ignore[index]
    assert goes_on(site)


def test_a_plain_move_approves(site: Datasite) -> None:
    (site.client().request / PROJECT).rename(running(site))
    assert goes_on(site)
    assert is_file(running(site) / "agg_weights" / "syft.pub.yaml")


HALVES = {
    "empty folder": [],
    "config only": ["fl_config.json"],
    "model only": ["model.py"],
    "half a model": ["fl_config.json", "model.py:20"],
    "half a config": ["fl_config.json:20", "model.py"],
}


@pytest.mark.parametrize("kind", HALVES)
def test_a_copy_that_is_half_done_is_not_taken(site: Datasite, kind: str) -> None:
    asked = site.client().request / PROJECT
    running(site).mkdir()
    for item in HALVES[kind]:
        name, _, length = item.partition(":")
        data = (asked / name).read_bytes()
        (running(site) / name).write_bytes(data[: int(length)] if length else data)
    before = snapshot(site.data_dir)
    (text,) = problems(advance(site))
    assert str(running(site)) in text
    assert " -> " in text
    assert snapshot(site.data_dir) == before  # nothing pinned, no mailbox opened
    shutil.copytree(asked, running(site), dirs_exist_ok=True)  # the copy ends
    assert goes_on(site)


def test_a_copy_of_a_request_that_has_changed_since_is_not_taken(site: Datasite) -> None:
    """Looked at, copied; meanwhile another model lies there. Which of them was looked at?"""
    shutil.copytree(site.client().request / PROJECT, running(site))
    put_request(site, model=OTHER)
    (text,) = problems(advance(site))
    assert "differs from the same file in request/" in text
    assert pinned(site, PROJECT) is None


def test_a_copy_beside_a_project_that_is_done_is_said(site: Datasite) -> None:
    shutil.copytree(site.client().request / PROJECT, running(site))
    site.client().project(PROJECT, "done").path.mkdir(parents=True)
    (text,) = problems(advance(site))
    assert "done already" in text


def test_an_approval_that_was_cut_off_is_made_up_for(
    site: Datasite, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def cut(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", cut)
        with pytest.raises(Killed):
            approve(site, PROJECT)
    assert not running(site).exists()
    put_request(site, model=OTHER)  # and it was not taken for a yes to something else
    assert "approve the request" in waits(advance(site))[0].what
    approve(site, PROJECT)
    assert goes_on(site)
    assert (running(site) / "model.py").read_text(encoding="utf-8") == OTHER


# ------------------------------------------------------------------------------- several people, policies
def test_two_people_in_one_data_dir_have_a_yes_each(site: Datasite) -> None:
    bob = Datasite.create(site.data_dir, BOB)
    shutil.copytree(site.client().request / PROJECT, bob.client().request / PROJECT)
    approve(site, PROJECT)
    assert pinned(bob, PROJECT) is None
    assert "approve the request" in waits(advance(bob))[0].what
    approve(bob, PROJECT)
    advance(bob)
    shutil.rmtree(bob.client().project(PROJECT).path)
    advance(bob)
    assert pinned(site, PROJECT) is not None
    assert goes_on(site)


def test_a_policy_sees_each_request_and_answers_it(site: Datasite) -> None:
    put_request(site, project="Second")
    put_request(site, project="Third", model="x = (")
    (site.client().request / "Fourth").mkdir()
    seen = []

    def policy(asked: Any) -> bool:
        seen.append(asked.project)
        return asked.project == "Second"

    events = answer(site, policy)
    assert seen == [PROJECT, "Second", "Third"]
    assert [event.project for event in events if isinstance(event, Approved)] == ["Second"]
    assert [event.project for event in events if isinstance(event, Problem)] == ["Fourth"]
    assert pending_requests(site) == ["Fourth", PROJECT, "Third"]
    answer(site, approve_all)
    assert pending_requests(site) == ["Fourth"]


# ------------------------------------------------------------------------------------------------ no
def test_a_no_with_its_reason(site: Datasite) -> None:
    decline(site, PROJECT, "  too many\nrounds\t for us ")
    assert why_declined(site, PROJECT) == "too many rounds for us"
    assert pending_requests(site) == []
    assert advance(site) == []
    aggregator = Datasite.create(site.data_dir, AGGREGATOR)
    assert why_declined(aggregator, PROJECT, ALICE) == "too many rounds for us"
    approve(site, PROJECT)  # a no can become a yes
    assert why_declined(site, PROJECT) is None
    assert goes_on(site)


def test_a_no_needs_a_reason_and_a_request(site: Datasite) -> None:
    for project, reason in ((PROJECT, " \n"), ("nothing", "no"), ("../x", "no")):
        with pytest.raises(FedkitError) as caught:
            decline(site, project, reason)
        assert caught.value.remedy
    assert pending_requests(site) == [PROJECT]


def test_nobody_says_no_for_another(site: Datasite) -> None:
    """request/ is open to all; what lies there about an answer is not the addressee's."""
    place = site.client().request / PROJECT / "declined.json"
    write_json(place, {"participant": ALICE, "reason": "forged"})
    assert why_declined(site, PROJECT) is None
    assert pending_requests(site) == [PROJECT]
    decline(site, PROJECT, "mine")
    path = site.client().declined(PROJECT).relative_to(site.datasites).as_posix()
    for email in (AGGREGATOR, BOB, EVE):
        permissions = Permissions(site.datasites)
        assert permissions.may(email, "read", path)
        assert not permissions.may(email, "write", path)
        assert not permissions.may(email, "create", path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"reason": ""}', b'{"reason": null}', b"\xff"])
def test_an_unreadable_no_is_none(site: Datasite, content: bytes) -> None:
    write_bytes(site.client().declined(PROJECT), content)
    assert why_declined(site, PROJECT) is None
    assert pending_requests(site) == [PROJECT]


def test_a_long_no_is_cut(site: Datasite) -> None:
    write_bytes(site.client().declined(PROJECT), json.dumps({"reason": "x" * 9999}).encode())
    assert len(str(why_declined(site, PROJECT))) <= 300


# ------------------------------------------------------------------------------ several at a time
def test_of_two_who_approve_at_once_one_is_the_first_and_what_it_saw_runs(site: Datasite) -> None:
    """Each of them has seen another version of the request."""
    path = site.client().project(PROJECT, "request").path / "model.py"
    seen = [review(site, PROJECT)]
    path.write_bytes(path.read_bytes() + b"\n# another version\n")
    seen.append(review(site, PROJECT))
    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(lambda number: _try_to_approve(site, seen[number % 2]), range(8)))
        assert sorted(said) == ["approved"] + 7 * [
            "is there already, so this project was approved before"
        ]
        source = (site.client().project(PROJECT).path / "model.py").read_bytes()
        assert (pinned(site, PROJECT) or {})["model.py"] == sha256_bytes(source)
        assert problems(advance(site)) == []
        shutil.rmtree(site.client().project(PROJECT).path)


def _try_to_approve(site: Datasite, reviewed: Review) -> str:
    try:
        approve(site, reviewed)
    except FedkitError as error:
        return error.what
    return "approved"


def test_an_answer_waits_for_another_and_not_for_the_training(
    site: Datasite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_MOMENT_S", 0.05)
    with lock.answering(site):
        with pytest.raises(Busy, match="has a request answered by another process"):
            approve(site, PROJECT)
        with pytest.raises(Busy):
            decline(site, PROJECT, "no time")
    with lock.locked(site):
        approve(site, PROJECT)
    assert pinned(site, PROJECT)


def test_a_client_that_finds_the_first_half_of_an_approval_leaves_it(
    site: Datasite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pin is there, running/P is not yet: to a client that looks at this moment, it seems to be cut off."""
    at_work, go_on = threading.Event(), threading.Event()
    pin_ = approval.pin

    def slow(*args: Any) -> None:
        pin_(*args)
        at_work.set()
        go_on.wait(10)

    monkeypatch.setattr(approval, "pin", slow)
    with ThreadPoolExecutor(2) as pool:
        person = pool.submit(approve, site, PROJECT)
        assert at_work.wait(10)
        machine = pool.submit(advance, site)
        time.sleep(0.2)
        go_on.set()
        person.result(20)
        machine.result(20)
    assert pinned(site, PROJECT)
    assert problems(advance(site)) == []


def test_a_request_that_spells_the_e_mail_otherwise_says_who_must_write_it(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, "Alice@Example.org")
    put_request(site)
    with pytest.raises(FedkitError) as caught:
        review(site, PROJECT)
    said = str(caught.value)
    assert f"ask the aggregator to write Alice@Example.org where it says {ALICE}" in said
