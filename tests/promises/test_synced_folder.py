"""Any synced folder: files in any order, deletions late, copies of conflicts around, wrong clocks; and the same bits."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.events import Notice, Problem, ProjectDone, Waiting
from fedkit.base.files import is_folder, read_bytes, remove, sha256_bytes, write_bytes
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.road import write_road
from fedkit.datasite.tree import folder_names, left_by_a_sync
from fedkit.protocol import advance as node
from fedkit.protocol import signatures
from fedkit.protocol.approval import approve_all
from fedkit.protocol.client.phases import _still_lingers
from fedkit.protocol.project import AtParticipant
from fedkit.protocol.signatures import signature_of
from tests.promises.test_others_can_write import done_models, problems, start, stopped_before
from tests.support.cli import fedkit
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    PROJECT,
    disk,
    launched,
    put_launch,
    run_solo,
    shard,
    small,
    solo,
)
from tests.support.mutations import EXAMPLES
from tests.support.synced import Lagging, Synced

PLANNED = {"adjustable": ["learning_rate"], "strategy": {"name": "scaffold"}}
DRAWN = {"participants_per_round": 2, "participants": [ALICE, BOB, CAROL]}
MASKED = {"secure_aggregation": {"threshold": 2}, "participants": [ALICE, BOB, CAROL]}


def at_home(root: Path, **changes: Any) -> list[str]:
    home = launched(root, **changes)
    for number, email in enumerate(changes.get("participants", [ALICE, BOB])):
        home.give_data(email, shard([2 * number, 2 * number + 1], 3 + number))
    assert home.run(approve=approve_all).done
    place = home.sites[AGGREGATOR].aggregator().project(PROJECT, "done")
    return [sha256_bytes(place.global_model(n).read_bytes()) for n in range(3)]


@pytest.mark.parametrize("seed", range(max(1, int(EXAMPLES / 4))))
@pytest.mark.parametrize(
    "changes",
    [PLANNED, MASKED, pytest.param(DRAWN, marks=pytest.mark.slow)],
    ids=["planned", "masked", "drawn"],
)
def test_in_any_order_with_late_deletions_and_wrong_clocks(
    tmp_path: Path, changes: dict[str, Any], seed: int
) -> None:
    net = Lagging(tmp_path / "net", changes.get("participants", [ALICE, BOB]), seed)
    put_launch(net[AGGREGATOR], small(**changes))
    net.settle()
    assert problems(net.run()) == ""
    place = net[AGGREGATOR].aggregator().project(PROJECT, "done")
    there = [sha256_bytes(place.global_model(n).read_bytes()) for n in range(3)]
    assert there == at_home(tmp_path / "home", **changes)
    for site in net.sites.values():
        boxes = [
            folder for folder in site.datasites.glob("*/app_data/*/running") if is_folder(folder)
        ]
        left = [
            p for box in boxes for p in box.rglob("*") if p.is_file() and not left_by_a_sync(p.name)
        ]
        assert left == [], f"at {site.email}"


@pytest.mark.parametrize("changes", [PLANNED, DRAWN], ids=["adjustable", "participants_per_round"])
def test_a_model_that_comes_before_its_plan_is_not_trained_from(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    net = start(tmp_path, **changes)
    place = net[ALICE].client().project(PROJECT)
    stopped_before(net, lambda net: place.round_settings(1))
    for path in (place.round_settings(1), signature_of(place.round_settings(1))):
        data = read_bytes(path)
        remove(path)
        if place.trained(1).exists():
            pytest.fail("it has trained already")
        (said,) = [e for e in node.advance(net[ALICE]) if isinstance(e, Waiting)]
        assert said.what == "send round_1.json"
        assert not place.trained(1).exists()
        path.write_bytes(data)
    net.sync()
    assert problems(net.run()) == ""


NAMES = [
    *("{stem}.sync-conflict-20260102-030405-ABCDEF2{suffix}", "~syncthing~{name}.tmp"),
    *(".syncthing.{name}.tmp", "{stem} (Bob's conflicted copy 2026-01-02){suffix}"),
    *("{stem} (conflicted copy 2026-01-02 030405){suffix}", "{stem} (1){suffix}"),
    *("{name}.part", "{name}.tmp", ".{name}.swp", "~${name}", ".~lock.{name}#"),
]


@pytest.mark.parametrize(
    "name",
    [
        *(n.format(name="model_1.pt", stem="model_1", suffix=".pt") for n in NAMES[:7]),
        *(".stfolder", ".stignore", ".stversions", "P (1)", "P.sync-conflict-20260102-030405"),
    ],
)
def test_names_that_a_sync_gives_are_known(name: str) -> None:
    assert left_by_a_sync(name)


@pytest.mark.parametrize(
    "name", ["MNIST_FL", "agg_model_round_1.pt", "a conflict", "round_1.json", "x.sig", "a+b - 1"]
)
def test_names_of_people_are_not_taken_for_a_syncs(name: str) -> None:
    assert not left_by_a_sync(name)


def test_what_a_sync_puts_aside_counts_nowhere(tmp_path: Path) -> None:
    """Beside every file that crosses, a copy of it under each such name, from the first look to the last."""
    net = start(tmp_path / "net")
    for site in net.sites.values():
        (site.datasites / ".stfolder").mkdir()
        (site.datasites / ".stignore").write_text("")

    def litter(site: Datasite) -> None:
        for path in [p for p in site.datasites.rglob("*") if p.is_file()]:
            if not left_by_a_sync(path.name) and path.name[0] != ".":
                name = NAMES[len(path.name) % len(NAMES)]
                told = name.format(name=path.name, stem=path.stem, suffix=path.suffix)
                path.with_name(told).write_bytes(path.read_bytes()[:-7] + b"another")
        box = site.client().request
        if (box / PROJECT).is_dir() and not (box / f"{PROJECT} (1)").exists():
            shutil.copytree(box / PROJECT, box / f"{PROJECT} (1)")

    assert problems(net.run(before=litter)) == ""
    place = net[AGGREGATOR].aggregator().project(PROJECT, "done")
    there = [sha256_bytes(place.global_model(n).read_bytes()) for n in range(3)]
    assert there == done_models(net[ALICE]) == at_home(tmp_path / "home")
    assert folder_names(net[ALICE].client().request) == [PROJECT]


def test_a_round_that_has_ended_is_not_shared_again(tmp_path: Path) -> None:
    """Alice knows from the published history that round 2 is over; its model, and the end of the inbox, come later."""
    net = start(tmp_path)
    place = net[ALICE].client().project(PROJECT)
    seen = net[ALICE].aggregator(AGGREGATOR).project(PROJECT)
    stopped_before(net, lambda net: net[AGGREGATOR].aggregator().project(PROJECT).update(ALICE, 2))
    sent = [
        p
        for path in (seen.update(ALICE, 2), seen.update_info(ALICE, 2))
        for p in (path, signature_of(path))
    ]
    for who in (BOB, AGGREGATOR):
        node.advance(net[who])
        net.sync()
    assert (net[AGGREGATOR].aggregator().done / PROJECT).is_dir()
    late = place.global_model(2)
    for path in (late, signature_of(late), *sent):
        remove(path)
    (said,) = [e for e in node.advance(net[ALICE]) if isinstance(e, Waiting)]
    assert has_permission_file(seen.inbox(ALICE))
    assert said.what == "send global model 2"
    assert not seen.update(ALICE, 2).exists()


@pytest.mark.parametrize("role", ["aggregator", "client"])
@pytest.mark.parametrize("late", [False, True], ids=["cut off", "comes later"])
def test_what_crossed_follows_its_project(tmp_path: Path, role: str, late: bool) -> None:
    """Killed between the two renames of the end, or a file came after it: nothing stays in `running/`."""
    net = start(tmp_path)
    assert problems(net.run()) == ""
    site = net[AGGREGATOR] if role == "aggregator" else net[ALICE]
    box: Any = getattr(site, role)()
    running, done = box.path / "running" / PROJECT, box.path / "done" / PROJECT
    assert done.is_dir()
    shutil.rmtree(running, ignore_errors=True)
    known = {p.relative_to(done): p.read_bytes() for p in done.rglob("*") if p.is_file()}
    if late:
        (running / "state").mkdir(parents=True)
        (running / "state" / "syft.pub.yaml").write_text("rules: []")
        (running / "state" / "late.txt").write_text("late")
        known[Path("state/late.txt")] = b"late"
        for key in list(known)[:2]:  # and what is there already
            (running / key).parent.mkdir(parents=True, exist_ok=True)
            (running / key).write_bytes(known[key])
    else:
        done.rename(running)
    node.advance(site)
    assert not running.exists()
    assert {p.relative_to(done): p.read_bytes() for p in done.rglob("*") if p.is_file()} == known


def test_an_update_from_before_a_rewind_is_refused_by_name(tmp_path: Path) -> None:
    """Genuine, signed by Bob for this round of this project; but the aggregator has another global model by now."""
    net = start(tmp_path)
    place = net[AGGREGATOR].aggregator().project(PROJECT)
    stopped_before(net, lambda net: place.update(BOB, 1))
    at = place.global_model(0)
    data = bytearray(at.read_bytes())
    data[-2000] ^= 1
    at.write_bytes(bytes(data))
    events = node.advance(net[AGGREGATOR])
    assert f"{BOB}: was trained by {BOB} from another global model" in str(events)


def test_nothing_is_verified_twice_in_a_quiet_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = start(tmp_path)
    place = net[AGGREGATOR].aggregator().project(PROJECT)
    stopped_before(net, lambda net: place.global_model(1))
    net.sync()
    node.status(net[ALICE])
    verified = list[bytes]()
    genuine = signatures.is_signed

    def spy(key: bytes, signature: bytes, line: bytes) -> bool:
        verified.append(line)
        return genuine(key, signature, line)

    monkeypatch.setattr(signatures, "is_signed", spy)
    node.status(net[ALICE])
    assert b"agg_model" not in b"".join(verified)
    model = net[ALICE].client().project(PROJECT).global_model(0)
    info = model.stat()
    data = bytearray(model.read_bytes())
    data[-2000] ^= 1
    with model.open("r+b") as file:  # in place, and with its old time
        file.write(data)
    os.utime(model, ns=(info.st_atime_ns, info.st_mtime_ns))
    node.status(net[ALICE])
    assert b"agg_model_round_0" in b"".join(verified)


@contextlib.contextmanager
def bound(folder: Path, to: Path) -> Iterator[Path]:
    """`folder` is mounted from elsewhere on the same disk; skips the test where we may not do so."""
    for path in (folder, to):
        path.mkdir(parents=True, exist_ok=True)
    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount")):
        pytest.skip("only root may mount a folder")
    if subprocess.run(["mount", "--bind", to, folder], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a folder")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True, check=True)


@pytest.mark.parametrize("how", ["tmpfs", "bind"])
@pytest.mark.parametrize("road", ["own", "synced"])
def test_datasites_may_be_mounted(tmp_path: Path, how: str, road: str) -> None:
    """Renaming from the data dir into it fails then: "Invalid cross-device link"."""
    root = tmp_path / "data"
    place = root / "datasites"
    with disk(place, "64m") if how == "tmpfs" else bound(place, tmp_path / "share"):
        write_road(root, road)
        site = solo(root)
        (root / "try").mkdir()
        with pytest.raises(OSError, match="cross-device"):
            (root / "try").rename(place / "try")
        put_launch(site)
        events = run_solo(site)
        assert [e for e in events if isinstance(e, Problem)] == []
        assert {e.role for e in events if isinstance(e, ProjectDone)} == {
            "aggregator",
            "participant",
        }
        assert not [p for p in place.rglob(".*") if p.is_dir()]


@pytest.mark.parametrize("road", ["own", "synced"])
def test_another_machines_time_is_not_compared(tmp_path: Path, road: str) -> None:
    """A participant stays for 40 s where the aggregator may be a real app, from when the last model was there.

    At home its date tells when that was. Syncthing brings a file with the date of the machine that wrote it.
    """
    write_road(tmp_path, road)
    at = AtParticipant(Datasite.create(tmp_path, ALICE), small(linger_s=40))
    last = at.place.global_model(2)
    write_bytes(last, b"a model")
    os.utime(last, (time.time() - 86400,) * 2)
    left = _still_lingers(at)
    assert 35 < left <= 40 if road == "synced" else left < 0


def client(data_dir: Path, email: str, *more: object, code: int = 0) -> str:
    config = data_dir.parent / f"{email}.json"
    where = ("--data-dir", data_dir, "--config_path", config, "--port", 8080)
    return fedkit("client", "--email", email, *where, *more, "--once", code=code)


def test_a_data_dir_serves_one_person_on_this_road(tmp_path: Path) -> None:
    client(tmp_path / "data", ALICE, "--synced")
    assert client(tmp_path / "data", ALICE)  # it stays so
    for more in ((), ("--synced",)):
        said = client(tmp_path / "data", BOB, *more, code=1)
        assert f"is the data dir of {ALICE}, and on this road each person needs one" in said
    assert not (tmp_path / "data" / "datasites" / BOB).exists()


def test_a_data_dir_that_others_used_before_is_refused(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path / "data", BOB)
    key = site.private_client / "keys" / f"{BOB}.key"
    key.parent.mkdir()
    key.write_bytes(bytes(32))
    assert f"is the data dir of {BOB}" in client(tmp_path / "data", ALICE, "--synced", code=1)


@pytest.mark.parametrize("sign", [".stfolder", ".dropbox.cache"])
@pytest.mark.parametrize("above", [False, True])
def test_a_data_dir_that_is_synced_itself_is_refused(
    tmp_path: Path, sign: str, above: bool
) -> None:
    data = tmp_path / "shared" / "data"
    (data.parent if above else data).mkdir(parents=True)
    ((data.parent if above else data) / sign).mkdir()
    said = client(data, ALICE, "--synced", code=1)
    assert "lies in a folder that is synced as a whole" in said
    assert "private/ and the data in it would be sent to everybody" in said
    assert not (data / "private").exists()


def test_a_link_is_no_shared_folder(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "datasites").symlink_to(tmp_path / "share")
    said = client(tmp_path / "data", ALICE, "--synced", code=1)
    assert "is a link, and links are not followed" in said
    assert list((tmp_path / "share").iterdir()) == []


@pytest.mark.parametrize("changes", [{}, MASKED], ids=["plain", "masked"])
def test_masks_are_recommended_where_everybody_reads_everything(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    net = start(tmp_path, **changes)
    events = node.advance(net[AGGREGATOR])
    told = [e.text for e in events if isinstance(e, Notice) and "can read each update" in e.text]
    assert len(told) == (0 if changes else 1)
    net.sync()
    config = tmp_path / "config.json"
    from fedkit.config.client_config import ClientConfig

    ClientConfig(net[ALICE].data_dir, ALICE).save(config)
    node.advance(net[AGGREGATOR])
    node.advance(net[ALICE])
    net.sync()
    said = fedkit("approve", PROJECT, "--config_path", config, "--yes")
    assert ("Not under masks: everybody can read each update" in said) == (not changes)


def test_problems_of_the_road_are_a_fedkit_error(tmp_path: Path) -> None:
    from fedkit.federation.roads.synced import refuse_unfit

    (tmp_path / ".stfolder").mkdir()
    with pytest.raises(FedkitError, match="synced as a whole"):
        refuse_unfit(tmp_path / "data", ALICE)
    refuse_unfit(Synced(tmp_path.parent / "other", [ALICE])[ALICE].data_dir, ALICE)
