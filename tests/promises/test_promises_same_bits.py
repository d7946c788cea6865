"""Same seed, same bits: with one worker or four, in any order, uninterrupted or killed at every change of the disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.errors import Busy, FedkitError
from fedkit.base.events import Problem, Waiting
from fedkit.base.files import write_dataset
from fedkit.base.tensors import load_state
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.federation import network as network_module
from fedkit.federation.network import Network
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all
from tests.support import helpers
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    final_model,
    held_out,
    last_model,
    launched,
    posix,
    problems,
    put_launch,
    run_solo,
    shard,
    small,
    solo,
)
from tests.support.kills import Killed, cut_off

EMAILS = (ALICE, BOB, CAROL)


# ------------------------------------------------------------------- workers, order, repetition, place
def outcome(root: Path, workers: int = 1, **changes: Any) -> bytes:
    net = launched(root, participants=EMAILS, **changes)
    net.workers = workers
    assert net.run(approve=approve_all).done
    return final_model(net)


def test_workers_and_repetition_change_nothing_and_the_seed_does(tmp_path: Path) -> None:
    one = outcome(tmp_path / "one")
    assert outcome(tmp_path / "again") == one
    assert outcome(tmp_path / "four", workers=4) == one
    assert outcome(tmp_path / "seed", seed=1) != one


def test_who_advances_first_changes_nothing(tmp_path: Path) -> None:
    """Each datasite is advanced by hand, in every rotation and backwards, with the sync in between."""
    results = set()
    orders = [(AGGREGATOR, *EMAILS), (*EMAILS, AGGREGATOR), (CAROL, AGGREGATOR, BOB, ALICE)]
    for number, order in enumerate(orders):
        net = launched(tmp_path / str(number), participants=EMAILS)
        for _ in range(40):
            for email in order:
                answer(net[email], approve_all)
                node.advance(net[email])
                net.sync()
        results.add(final_model(net))
    assert len(results) == 1


def test_one_shared_tree_gives_the_bits_of_separate_ones(tmp_path: Path) -> None:
    """The tutorial's single machine: all e-mails in one data dir, with one private folder for all."""
    net = launched(tmp_path / "apart")
    for email in net.participants:
        net.give_data(email, shard([0, 1, 2, 3]))
    net.run(approve=approve_all)

    sites = [Datasite.create(tmp_path / "shared", e) for e in (AGGREGATOR, ALICE, BOB)]
    write_shard(sites[0].private_client, shard([0, 1, 2, 3]))
    write_dataset(sites[0].private_aggregator / "mnist_test_dataset.pt", *held_out())
    put_launch(sites[0], small())
    for _ in range(10):
        for site in sites:
            assert not [e for e in node.advance(site) if isinstance(e, Problem)]
            answer(site, approve_all)
    assert last_model(sites[0]) == final_model(net)


def test_the_order_in_the_config_is_no_accident(tmp_path: Path) -> None:
    """Sums are taken in the order of the config; another order may differ, but only by rounding."""
    one = load_state(outcome(tmp_path / "one"), Path("one.pt"))
    net = launched(tmp_path / "other", participants=EMAILS[::-1])
    for number, email in enumerate(EMAILS):  # the same digits for the same person
        net.give_data(email, shard([2 * number, 2 * number + 1]))
    net.run(approve=approve_all)
    other = load_state(final_model(net), Path("other.pt"))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


# -------------------------------------------------------------------- cut off at every change of the disk
def twin(root: Path, target: Path) -> Path:
    """The same files elsewhere: hard links, since fedkit replaces files and never writes into one."""
    shutil.copytree(root, target, copy_function=os.link)
    return target


def results(data_dir: Path) -> dict[str, bytes]:
    """What must come out the same: every weight file, and what is published."""
    found = {}
    for path in sorted(data_dir.rglob("*")):
        key = path.relative_to(data_dir).as_posix()
        wanted = path.suffix == ".pt" or "/public/fl/" in f"/{key}"
        if wanted and path.is_file() and ".tmp" not in path.name and ".fedkit" not in key:
            found[key] = path.read_bytes()
    return found


def test_a_project_that_is_cut_off_at_any_change_ends_with_the_same_bits(tmp_path: Path) -> None:
    """One datasite in both roles: what lies on the disk right before each change is what a kill there leaves."""
    site = solo(tmp_path / "whole")
    put_launch(site, small(aggregator=ALICE, participants=[ALICE], rounds=1))
    made: list[str] = []

    def keep(change: str) -> bool:
        twin(site.data_dir, tmp_path / str(len(made)))
        made.append(change)
        return False

    with cut_off(keep):
        run_solo(site)
    wanted = results(site.data_dir)
    assert any("done" in key and key.endswith("agg_model_round_1.pt") for key in wanted)
    assert len(made) > 60, made
    for place, change in enumerate(made):
        again = Datasite.create(tmp_path / str(place), ALICE)
        assert problems(run_solo(again)) == [], change
        assert results(again.data_dir) == wanted, change
        for box in (again.client(), again.aggregator()):
            assert list(box.running.iterdir()) == [], change
        assert list(again.aggregator().launch.iterdir()) == [], change


@pytest.mark.parametrize("more", [{"rounds": 1}, {"rounds": 2, "strategy": {"name": "scaffold"}}])
def test_a_network_that_is_cut_off_before_every_change_once_ends_with_the_same_bits(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    """Every change dies once before it may happen: a process an attempt, hundreds of them, one after the other."""
    whole = launched(tmp_path / "whole", participants=[ALICE], **more)
    whole.run(approve=approve_all)
    wanted = results(whole.root)
    if "strategy" in more:  # both sides remember, and what they remember is compared too
        assert sum(key.endswith(("memory_1.pt", "memory_2.pt")) for key in wanted) == 4
    root = launched(tmp_path / "cut", participants=[ALICE], **more).root
    died: set[str] = set()
    for _ in range(2000):
        with cut_off(lambda change: change not in died and not died.add(change)):  # type: ignore[func-returns-value]
            try:
                net = Network.open(root, workers=1)
                history = net.run(approve=approve_all)
            except Killed:
                continue
        break
    assert history.done
    assert results(root) == wanted
    assert len(died) > 100
    lines = {(entry.receiver, entry.path, entry.sha256) for entry in net.ledger()}
    for entry in whole.ledger():
        if entry.path.endswith(".pt"):
            assert (entry.receiver, entry.path, entry.sha256) in lines


# --------------------------------------------------------------------------- real processes, really killed
HARNESS = '''
"""Forks a process after the other that runs the project under `root`, and kills each at a random moment."""
import json, os, random, signal, sys, time
import fedkit.protocol.advance, fedkit.federation.network
from tests.support import helpers
from pathlib import Path

root, kind, seed, wanted = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def work(root):
    if kind == "network":
        from fedkit.protocol.approval import approve_all
        net = fedkit.federation.network.Network.open(root, workers=2)
        return net.run(approve=approve_all).done
    site = fedkit.datasite.datasite.Datasite.create(root, helpers.ALICE)
    helpers.run_solo(site)
    return site.aggregator().project(helpers.PROJECT, "done").path.is_dir()

def start(root):
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work(root) else 3)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(4)
    return child

began = time.perf_counter()
_, status = os.waitpid(start(root / "whole"), 0)
assert status == 0, status
whole = time.perf_counter() - began
draw, kills, codes = random.Random(seed), 0, []
for attempt in range(300):
    child = start(root / "cut")
    if kills < wanted:
        time.sleep(draw.uniform(0.0, 2.0 * whole / wanted) if attempt % 4 else draw.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        kills += 1
        continue
    codes.append(os.waitstatus_to_exitcode(status))
    if codes[-1] == 0:
        break
print(json.dumps({"kills": kills, "codes": codes, "whole": whole}))
'''


@posix
@pytest.mark.parametrize("kind", ["network", "solo"])
def test_a_process_that_is_killed_again_and_again_ends_with_the_same_bits(
    tmp_path: Path, kind: str
) -> None:
    """SIGKILL at random moments of a whole project, more than fifteen times, each time a new process."""
    for name in ("whole", "cut"):
        if kind == "network":
            launched(tmp_path / name, rounds=2)
        else:
            site = solo(tmp_path / name)
            put_launch(site, small(aggregator=ALICE, participants=[ALICE], rounds=3))
    done = helpers.python(HARNESS, str(tmp_path), kind, "7", "20")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["codes"] == [0], done.stderr
    assert report["kills"] >= 15
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


# ------------------------------------------------------------------------------------------- the lock
HOLDER = """
import sys, time
from fedkit.datasite.datasite import Datasite
from fedkit.protocol import advance as node
with node.locked(Datasite(__import__("pathlib").Path(sys.argv[1]), sys.argv[2])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_two_processes_exclude_each_other_and_the_lock_dies_with_its_process(
    tmp_path: Path,
) -> None:
    site, other = Datasite.create(tmp_path, ALICE), Datasite.create(tmp_path, BOB)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", HOLDER, str(tmp_path), ALICE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            with pytest.raises(Busy) as caught:
                node.advance(site)
            assert caught.value.file == site.root
            assert "another process" in caught.value.what
            assert caught.value.remedy
            node.advance(other)  # another person in the same data dir
            node.status(site)  # looking is free
            holder.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
            holder.wait(10)
            node.advance(site, timeout_s=10)
        finally:
            holder.kill()


def test_two_threads_exclude_each_other(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    with node.locked(site):
        began = time.perf_counter()
        with pytest.raises(Busy):
            node.advance(site, timeout_s=0.05)
        assert time.perf_counter() - began >= 0.05
    node.advance(site)
    with pytest.raises(ZeroDivisionError), node.locked(site):
        _ = 1 // 0
    node.advance(site)


def test_what_another_holds_is_an_error_for_people_in_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "_MOMENT_S", 0.05)
    net = launched(tmp_path)
    with node.locked(net[ALICE]), pytest.raises(FedkitError, match="another process"):
        net.run(approve=approve_all)
    assert net.run(approve=approve_all).done


def test_an_idle_advance_changes_nothing(tmp_path: Path) -> None:
    """`advance()` again and again, at every stage: what is done is not done twice."""
    net = launched(tmp_path)
    for _ in range(12):
        events = net.advance(approve_all)
        before = helpers.snapshot(tmp_path)
        for site in net.sites.values():
            first = node.advance(site)
            if all(isinstance(event, Waiting | Problem) for event in first):
                assert node.advance(site) == first
        if all(isinstance(event, Waiting | Problem) for event in events):
            assert helpers.snapshot(tmp_path) == before
    assert net.run(approve=approve_all).done
    stamps = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in tmp_path.rglob("*.*")}
    assert all(isinstance(event, Waiting | Problem) for event in net.advance(approve_all))
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in tmp_path.rglob("*.*")} == stamps
