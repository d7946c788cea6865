"""The same projects at home and over SyftBox 0.4.0: server and clients of its own, and the same global models, bit for bit.

One participant is fedkit as SyftBox's own app, so that the whole road is walked: installed, started, ended by the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedkit.base.files import sha256_bytes, write_dataset
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import REJECTED
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all
from tests.support.cli import fedkit
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    held_out,
    launched,
    posix,
    put_launch,
    shard,
    small,
)
from tests.support.syftbox_network import SyftBoxNetwork

pytestmark = [posix]

PLAIN = small(project_name="PLAIN")
MASKED = small(project_name="MASKED", rounds=1, secure_aggregation={"threshold": 2})
PROJECTS = [PLAIN, MASKED]


def models(site: Datasite, config: FLConfig) -> list[str]:
    place = site.aggregator().project(config.project_name, "done")
    return [sha256_bytes(place.global_model(n).read_bytes()) for n in range(config.rounds + 1)]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Datasite]]:
    """The three datasites after both projects, which ran side by side."""
    root = tmp_path_factory.mktemp("syftbox")
    with SyftBoxNetwork(root, [AGGREGATOR, ALICE, BOB]) as net:
        for email in (AGGREGATOR, ALICE):
            fedkit("client", "--syftbox", net.configs[email], "--once")
        fedkit("syftbox", "install", "--config_path", net.configs[BOB])
        request = net.dirs[BOB] / "datasites" / BOB / "app_data" / "fl_client" / "request"
        net.wait((request / "syft.pub.yaml").is_file, "the app has started")
        sites = {email: Datasite.load(config) for email, config in net.configs.items()}
        assert {site.road.name for site in sites.values()} == {"syftbox"}
        for number, email in enumerate((ALICE, BOB)):
            write_shard(sites[email].private_client, shard([2 * number, 2 * number + 1]))
        test_set = sites[AGGREGATOR].private_aggregator / "mnist_test_dataset.pt"
        write_dataset(test_set, *held_out())

        def move() -> None:
            answer(sites[BOB], approve_all)  # the rest is done by the app
            answer(sites[ALICE], approve_all)
            for email in (AGGREGATOR, ALICE):
                node.advance(sites[email])

        for config in PROJECTS:
            put_launch(sites[AGGREGATOR], config)
            move()

        def done() -> bool:
            names = [config.project_name for config in PROJECTS]
            boxes = [sites[AGGREGATOR].aggregator(), sites[ALICE].client(), sites[BOB].client()]
            return all((box.done / name).is_dir() for box in boxes for name in names)

        def settled() -> bool:
            """Nothing of what has moved away lies anywhere any more."""
            return not any(
                "running" in path.relative_to(site.datasites).parts
                for site in sites.values()
                for path in site.datasites.rglob("*")
                if path.is_file() and REJECTED not in path.name
            )

        net.wait(done, "both projects are done", move)
        net.wait(settled, "all moves have arrived", move)
        yield sites
        net.stop(BOB)
        log = net.dirs[BOB] / "apps" / "fedkit" / "fedkit.log"
        net.wait(lambda: "Stopped." in log.read_text(), "the app ends with its client")


@pytest.mark.parametrize("config", PROJECTS, ids=lambda config: config.project_name)
def test_the_same_models_as_at_home(
    tmp_path: Path, sites: dict[str, Datasite], config: FLConfig
) -> None:
    changes = {key: getattr(config, key) for key in ("project_name", "rounds")}
    if config.secure_aggregation is not None:
        changes["secure_aggregation"] = {"threshold": 2}
    home = launched(tmp_path, **changes)
    assert home.run(approve=approve_all).done
    site = sites[AGGREGATOR]
    assert models(site, config) == models(home.sites[AGGREGATOR], config)


def test_nothing_was_refused(sites: dict[str, Datasite]) -> None:
    for site in sites.values():
        assert [path for path in site.data_dir.rglob("*") if REJECTED in path.name] == []


def test_nobody_holds_what_others_sent(sites: dict[str, Datasite]) -> None:
    for email in (ALICE, BOB):
        site = sites[email]
        others = [path for path in site.datasites.rglob("*") if path.suffix in (".pt", ".msg")]
        assert others
        assert [path for path in others if not path.is_relative_to(site.root)] == []
