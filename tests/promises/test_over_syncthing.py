"""The same projects at home and over Syncthing: three instances on loopback, and the same global models, bit for bit.

Mallory is a member of the shared folder: she writes into her own copy, which is Bob's here, and Syncthing carries that to
everybody. A forged approval, a replaced global model and a forged update are each refused by name, and stop nobody.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.events import Problem, Waiting
from fedkit.base.files import read_state, sha256_bytes
from fedkit.base.tensors import state_bytes
from fedkit.datasite.datasite import Datasite
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    launched,
    posix,
    put_launch,
    shard,
    small,
)
from tests.support.synced import Synced
from tests.support.syncthing_network import SyncthingNetwork

pytestmark = posix
EVIL = LINEAR + "\nfrom pathlib import Path\nPath('{}').write_text('ran')\n"


def models(site: Datasite, rounds: int = 2) -> list[str]:
    place = site.aggregator().project(PROJECT, "done")
    return [sha256_bytes(place.global_model(n).read_bytes()) for n in range(rounds + 1)]


def at_home(root: Path, people: Iterable[str], **changes: Any) -> list[str]:
    home = launched(root, participants=list(people), **changes)
    for number, email in enumerate(people):
        home.give_data(email, shard([2 * number, 2 * number + 1], 3 + number))
    assert home.run(approve=approve_all).done
    return models(home.sites[AGGREGATOR])


def finish(net: SyncthingNetwork, sites: Synced, people: Iterable[str]) -> None:
    """Everybody looks again and again, until all are done and nothing lies in `running/` any more."""

    def move() -> None:
        for email in (AGGREGATOR, *people):
            answer(sites[email], approve_all)
            node.advance(sites[email])

    boxes = [sites[AGGREGATOR].aggregator(), *(sites[email].client() for email in people)]
    net.wait(lambda: all((box.done / PROJECT).is_dir() for box in boxes), "all are done", move)
    net.wait(lambda: not under_way(sites), "all moves have arrived", move)


def under_way(sites: Synced) -> list[Path]:
    found = [
        p for site in sites.sites.values() for p in site.datasites.rglob(f"running/{PROJECT}/*")
    ]
    return [path for path in found if path.is_file()]


def content(path: Path) -> bytes:
    """Of a file that may be replaced while we look."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def carried(net: SyncthingNetwork, path: Path, to: Datasite, wait: Callable[[], bool]) -> Path:
    """Where a file of Bob's copy lies at somebody else, once that is so."""
    key = path.relative_to(net.datasites(BOB))
    net.wait(lambda: (to.datasites / key).is_file() and wait(), f"{key} arrives at {to.email}")
    return to.datasites / key


def moved(path: Path) -> bytes:
    """Mallory writes other numbers, of the same size."""
    data = state_bytes({k: v + 1 for k, v in read_state(path).items()})
    path.write_bytes(data)
    return data


def at(net: SyncthingNetwork, who: str, path: Path, owner: Datasite) -> Path:
    """The same file in somebody's copy."""
    return net.datasites(who) / path.relative_to(owner.datasites)


def test_the_same_models_as_at_home_with_a_forger_among_the_members(tmp_path: Path) -> None:
    people, sign = [ALICE, BOB], tmp_path / "sign"
    with SyncthingNetwork(tmp_path / "net", [AGGREGATOR, *people]) as net:
        sites = Synced(tmp_path / "net" / "people", people)
        alice, aggregator = sites[ALICE], sites[AGGREGATOR]
        put_launch(aggregator, small())
        asked = [sites[who].client().project(PROJECT, "request") for who in people]
        net.wait(
            lambda: all(place.config.is_file() for place in asked),
            "everybody is asked",
            lambda: node.advance(aggregator),
        )

        # a forged approval, and code with it
        request = at(net, BOB, asked[0].path, alice)
        files = [
            path.relative_to(asked[0].path) for path in asked[0].path.rglob("*") if path.is_file()
        ]
        net.wait(
            lambda: all((request / name).is_file() for name in files),
            "Mallory sees all of the request",
        )
        copy = request.parents[1] / "running" / PROJECT
        shutil.copytree(request, copy)
        (copy / "model.py").write_text(EVIL.format(sign))
        there = carried(net, copy / "model.py", alice, lambda: True)
        net.wait((there.parent / "fl_config.json").is_file, "the copy is whole")
        (said,) = [e for e in node.advance(alice) if isinstance(e, Waiting)]
        assert "was copied into running/, not approved" in said.what

        # a replaced global model
        answer(alice, approve_all)
        node.advance(alice)
        model = alice.client().project(PROJECT).global_model(0)

        def others_move() -> None:
            answer(sites[BOB], approve_all)
            node.advance(sites[BOB])
            node.advance(aggregator)

        net.wait(model.is_file, "the first global model has come", others_move)
        bobs = at(net, BOB, model, alice)
        net.wait(bobs.is_file, "Mallory sees it")
        forged = moved(bobs)
        net.wait(lambda: content(model) == forged, "the forged model has come")
        (problem,) = [e for e in node.advance(alice) if isinstance(e, Problem)]
        assert f"{model.name}: is not the file that {AGGREGATOR} has signed" in str(problem.error)
        assert not alice.client().project(PROJECT).trained(1).exists()

        # a forged update
        update = aggregator.aggregator().project(PROJECT).update(ALICE, 1)

        def all_but_the_aggregator() -> None:
            for who in (AGGREGATOR, ALICE) if not own.is_file() else (ALICE,):
                node.advance(sites[who])

        own = alice.client().project(PROJECT).trained(1)
        net.wait(update.is_file, "Alice's update has come", all_but_the_aggregator)
        bobs = at(net, BOB, update, aggregator)
        net.wait(bobs.is_file, "Mallory sees it")
        forged = moved(bobs)
        net.wait(lambda: content(update) == forged, "the forged update has come")
        said_of_it = " ".join(getattr(e, "remedy", "") for e in node.advance(aggregator))
        assert f"{ALICE}: is not the file that {ALICE} has signed" in said_of_it

        finish(net, sites, people)
        assert models(aggregator) == at_home(tmp_path / "home", people)
        assert not sign.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"adjustable": ["learning_rate"], "strategy": {"name": "scaffold"}},
        {"secure_aggregation": {"threshold": 2}},
    ],
    ids=["planned, two-sided", "masked"],
)
def test_an_instance_is_killed_on_the_way(tmp_path: Path, changes: dict[str, Any]) -> None:
    people = [ALICE, BOB, CAROL]
    with SyncthingNetwork(tmp_path / "net", [AGGREGATOR, *people]) as net:
        sites = Synced(tmp_path / "net" / "people", people)
        put_launch(sites[AGGREGATOR], small(participants=people, **changes))

        def move() -> None:
            for site in sites.sites.values():
                answer(site, approve_all)
                node.advance(site)

        trained = sites[BOB].client().project(PROJECT).trained(1)
        net.wait(trained.is_file, "Bob has trained", move)
        net.kill(BOB)
        for _ in range(5):
            move()
        net.start(BOB)
        finish(net, sites, people)
        assert models(sites[AGGREGATOR]) == at_home(tmp_path / "home", people, **changes)


def test_nothing_of_it_leaves_this_machine(tmp_path: Path) -> None:
    """Its instances listen on, and are connected to, loopback alone."""
    with SyncthingNetwork(tmp_path, [ALICE, BOB]) as net:
        pids = net.processes.pids()
        assert len(pids) == 2
        found = sockets(pids)
    assert found
    assert {address for address in found if not address.startswith(("127.", "::1"))} == set()


def sockets(pids: Iterable[int]) -> set[str]:
    """The addresses, own and others', of these processes' sockets; of a listener its own."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("only Linux tells of a process's sockets in /proc")
    own = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed while we look
                own.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            cells = row.split()
            if cells[9] in own:
                found |= {_readable(cells[1]), *([_readable(cells[2])] if cells[3] != "0A" else [])}
    return found


def _readable(address: str) -> str:
    import ipaddress

    digits = address.partition(":")[0]
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    parsed = ipaddress.ip_address(b"".join(words))
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
