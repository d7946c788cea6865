"""Where others can write into a datasite, nobody runs code, takes part or speaks for somebody by writing a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.events import Problem, Waiting
from fedkit.base.files import read_state, sha256_bytes, write_bytes, write_json
from fedkit.base.tensors import state_bytes
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import ROADS, write_road
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve, approve_all, decline, pinned
from fedkit.protocol.signatures import signature_of
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    launched,
    put_launch,
    small,
)
from tests.support.synced import Synced

EVIL = LINEAR + "\nfrom pathlib import Path\nPath(__file__ if False else '{}').write_text('ran')\n"


def start(root: Path, **changes: Any) -> Synced:
    """A launch in a synced folder of two participants."""
    net = Synced(root, changes.get("participants", [ALICE, BOB]))
    put_launch(net[AGGREGATOR], small(**changes))
    net.sync()
    return net


def done_models(site: Datasite, rounds: int = 2) -> list[str]:
    place = site.client().project(PROJECT, "done")
    return [sha256_bytes(place.global_model(n).read_bytes()) for n in range(rounds + 1)]


def problems(events: Any) -> str:
    return " ".join(str(e.error) for e in events if isinstance(e, Problem))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"adjustable": ["learning_rate"], "strategy": {"name": "scaffold"}},
        {"secure_aggregation": {"threshold": 2}},
    ],
    ids=["plain", "planned, two-sided", "masked"],
)
def test_the_same_bits_as_at_home(tmp_path: Path, changes: dict[str, Any]) -> None:
    people = [ALICE, BOB] if "secure_aggregation" not in changes else [ALICE, BOB, CAROL]
    changes = changes | {"participants": people}
    net = start(tmp_path / "synced", **changes)
    assert problems(net.run()) == ""
    home = launched(tmp_path / "home", **changes)
    for number, email in enumerate(people):
        from tests.support.helpers import shard

        home.give_data(email, shard([2 * number, 2 * number + 1], 3 + number))
    home.run(approve=approve_all)
    there = home[AGGREGATOR].aggregator().project(PROJECT, "done")
    own = [sha256_bytes(there.global_model(n).read_bytes()) for n in range(3)]
    assert done_models(net[ALICE]) == done_models(net[BOB]) == own


def test_a_copy_into_running_approves_nothing(tmp_path: Path) -> None:
    net, sign = start(tmp_path), tmp_path / "sign"
    net.run(policy=None)
    box = net[ALICE].client()
    shutil.copytree(box.request / PROJECT, box.path / "running" / PROJECT)
    (box.path / "running" / PROJECT / "model.py").write_text(EVIL.format(sign))
    events = node.advance(net[ALICE])
    (said,) = [e for e in events if isinstance(e, Waiting)]
    assert "was copied into running/, not approved" in said.what
    assert f"`fedkit approve {PROJECT}`" in said.remedy
    assert not pinned(net[ALICE], PROJECT)
    approve(net[ALICE], PROJECT)
    approve(net[BOB], PROJECT)
    assert problems(net.run()) == ""
    assert not sign.exists()
    assert len(done_models(net[ALICE])) == 3


def test_a_folder_of_a_project_that_nobody_asked_for_runs_nothing(tmp_path: Path) -> None:
    net, sign = Synced(tmp_path, [ALICE, BOB]), tmp_path / "sign"
    for box in (net[ALICE].client(), net[AGGREGATOR].aggregator()):
        place = box.path / "running" / "GIFT"
        write_bytes(place / "fl_config.json", small(project_name="GIFT").to_json().encode())
        write_bytes(place / "model.py", EVIL.format(sign).encode())
        write_json(place / "launch.json", {})
    launch = net[AGGREGATOR].aggregator().path / "launch"
    put = small()
    write_bytes(launch / "fl_config.json", put.to_json().encode())
    write_bytes(launch / "model.py", EVIL.format(sign).encode())
    events = net.run()
    assert not sign.exists()
    assert [e.what for e in events if isinstance(e, Waiting)] == [
        "approve GIFT: it was copied into running/, not approved"
    ]


def everything(net: Synced, email: str) -> list[Path]:
    root = net[email].datasites
    return [p for p in root.rglob("*") if p.is_file() and p.suffix not in (".yaml", ".tmp")]


def test_whatever_is_rewritten_runs_no_code_and_moves_no_model(tmp_path: Path) -> None:
    """Mallory is a member of the folder and rewrites every file that holds code, config, weights or a plan."""
    wanted = None
    for attack in (False, True):
        net, sign = start(tmp_path / str(attack)), tmp_path / f"sign {attack}"
        seen: set[str] = set()

        def forge(
            site: Datasite, net: Synced = net, sign: Path = sign, seen: set[str] = seen
        ) -> None:
            for path in everything(net, site.email):
                key = f"{site.email} {path.relative_to(site.datasites)}"
                if key in seen or "running" not in path.parts:
                    continue
                seen.add(key)
                if path.suffix == ".py":
                    path.write_text(EVIL.format(sign))
                elif path.suffix == ".pt":
                    state = {k: v + 1 for k, v in read_state(path).items()}
                    path.write_bytes(state_bytes(state))

        net.run(looks=10, before=forge if attack else lambda site: None)
        events = net.run()
        assert not sign.exists()
        models = list(net[AGGREGATOR].aggregator().home.rglob("agg_model*.pt"))  # type: ignore[union-attr]
        found = {p.name: sha256_bytes(p.read_bytes()) for p in models}
        wanted = wanted or found
        assert found.items() <= wanted.items(), problems(events)
        assert found


FORGED: list[tuple[str, Callable[[Synced], Path], str]] = [
    ("update", lambda net: net[AGGREGATOR].aggregator().project(PROJECT).update(BOB, 1), "refused"),
    ("model", lambda net: net[ALICE].client().project(PROJECT).global_model(0), "said"),
]


def stopped_before(net: Synced, wanted: Callable[[Synced], Path]) -> Path:
    """Look by look, until that file has come."""
    for _ in range(20):
        for site in net.sites.values():
            from fedkit.protocol.approval import answer

            answer(site, approve_all)
            node.advance(site)
            net.sync()
            if wanted(net).is_file():
                return wanted(net)
    raise AssertionError("it never came")


def test_a_replaced_global_model_is_refused_by_name_and_sent_again(tmp_path: Path) -> None:
    net = start(tmp_path)
    path = stopped_before(net, lambda net: net[ALICE].client().project(PROJECT).global_model(0))
    state = {k: v + 1 for k, v in read_state(path).items()}
    path.write_bytes(state_bytes(state))
    said = problems(node.advance(net[ALICE]))
    assert f"{path.name}: is not the file that {AGGREGATOR} has signed" in said
    assert not net[ALICE].client().project(PROJECT).trained(1).exists()
    net.sync()
    assert problems(net.run()) == ""
    assert len(done_models(net[ALICE])) == 3


@pytest.mark.parametrize(
    "how", ["same size", "no signature", "of somebody else", "of another round"]
)
def test_a_forged_update_is_refused_by_name_and_sent_again(tmp_path: Path, how: str) -> None:
    net = start(tmp_path, rounds=2)
    place = net[AGGREGATOR].aggregator().project(PROJECT)
    path = stopped_before(net, lambda net: place.update(BOB, 1))
    genuine = path.read_bytes()
    if how == "same size":
        state = {k: v + 1 for k, v in read_state(path).items()}
        path.write_bytes(state_bytes(state))
        assert path.stat().st_size == len(genuine)
        reason = f"is not the file that {BOB} has signed"
    elif how == "of somebody else":
        alices = place.update(ALICE, 1)
        if not alices.is_file():
            stopped_before(net, lambda net: alices)
        for one, other in ((alices, path), (signature_of(alices), signature_of(path))):
            other.write_bytes(one.read_bytes())
        reason = f"is not signed by {BOB}"
    elif how == "of another round":
        other = place.update(BOB, 2)
        other.write_bytes(genuine)
        signature_of(other).write_bytes(signature_of(path).read_bytes())
        reason = ""
    else:
        signature_of(path).unlink()
        reason = ""
    events = node.advance(net[AGGREGATOR])
    if reason:
        assert reason in " ".join(getattr(e, "remedy", "") for e in events)
    net.sync()
    assert problems(net.run()) == ""
    assert len(done_models(net[BOB])) == 3


def test_nobody_says_no_for_somebody_else(tmp_path: Path) -> None:
    net = start(tmp_path, min_participants=2)
    forged = net[AGGREGATOR].client(BOB).declined(PROJECT)
    write_json(forged, {"participant": BOB, "reason": "forged"})
    assert problems(net.run()) == ""
    assert len(done_models(net[ALICE])) == 3
    other = start(tmp_path / "real")
    other.run(policy=None)
    decline(other[BOB], PROJECT, "no time")
    other.sync()
    events = node.advance(other[AGGREGATOR])
    assert f"{BOB}: no time" in " ".join(getattr(e, "remedy", "") for e in events)


def test_nobody_ends_a_project_for_the_aggregator(tmp_path: Path) -> None:
    net = start(tmp_path)
    stopped_before(net, lambda net: net[ALICE].client().project(PROJECT).global_model(0))
    told = net[ALICE].public_results(PROJECT, AGGREGATOR) / "history.json"
    values = json.loads(told.read_text()) | {"stopped": True}
    told.write_text(json.dumps(values))
    node.advance(net[ALICE])
    assert net[ALICE].client().project(PROJECT).path.is_dir()


def test_a_request_must_be_its_aggregators(tmp_path: Path) -> None:
    net, sign = start(tmp_path), tmp_path / "sign"
    net.run(policy=None, looks=2)
    path = net[ALICE].client().project(PROJECT, "request").path / "model.py"
    path.write_text(EVIL.format(sign))
    with pytest.raises(FedkitError, match=f"is not the file that {AGGREGATOR} has signed"):
        approve(net[ALICE], PROJECT)
    unsigned = small(project_name="PLAIN")
    place = net[ALICE].client().project("PLAIN", "request")
    write_bytes(place.config, unsigned.to_json().encode())
    write_bytes(place.path / "model.py", LINEAR.encode())
    with pytest.raises(FedkitError, match="has no signatures, and on this road others can write"):
        approve(net[ALICE], "PLAIN")
    assert not sign.exists()


def test_a_launch_without_signatures_is_refused_there(tmp_path: Path) -> None:
    net = start(tmp_path, signed=False)
    said = problems(node.advance(net[AGGREGATOR]))
    assert "signed: is false, and on this road others can write into this datasite" in said


def test_roads_have_names(tmp_path: Path) -> None:
    assert {name for name, road in ROADS.items() if road.others_can_write} == {"pysyft", "synced"}
    with pytest.raises(FedkitError, match="is no road"):
        write_road(tmp_path, "train")
    site = Datasite.create(tmp_path, ALICE)
    assert site.road == ROADS["own"]
    write_json(tmp_path / "private" / "road.json", {"road": "train"})
    with pytest.raises(FedkitError, match="is no road of this datasite"):
        _ = Datasite.create(tmp_path, ALICE).road


def test_projects_at_home_may_be_signed_too(tmp_path: Path) -> None:
    net = launched(tmp_path, signed=True)
    assert net.run(approve=approve_all).done
    place = net[AGGREGATOR].aggregator().project(PROJECT, "done")
    assert signature_of(place.update(ALICE, 1)).is_file()
    assert [p.name for p in sorted(place.agg_weights.iterdir())] == [
        f"agg_model_round_{n}.pt" for n in range(3)
    ]
