"""A datasite's road: said once, kept where no sync carries it, and never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import ROADS, road_of, write_road
from tests.support.helpers import ALICE, BOB, PROJECT


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert road_of(tmp_path) == ROADS["own"]
    for name, road in ROADS.items():
        assert write_road(tmp_path, name) == road_of(tmp_path) == road
    with pytest.raises(FedkitError, match="one of own, syftbox, pysyft, synced"):
        write_road(tmp_path, "train")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"road": 7}', '{"road": "train"}'])
def test_what_is_no_road_is_not_taken_for_the_safe_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "private" / "road.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(FedkitError) as error:
        road_of(tmp_path)
    assert error.value.field == "road"
    assert error.value.file == path


def test_only_what_crosses_lies_where_others_can_write(tmp_path: Path) -> None:
    write_road(tmp_path, "synced")
    site = Datasite.create(tmp_path, ALICE)
    client, own = site.client().project(PROJECT), site.aggregator().project(PROJECT)
    crossing = {client.agg_weights, client.state.parent, own.inbox(BOB)}
    private = {client.path, client.trained(1), client.memory(1), own.path, own.agg_weights}
    private |= {own.plan(1), own.record(1), own.settings, site.aggregator().launch}
    assert all(path.is_relative_to(site.datasites) for path in crossing)
    assert all(path.is_relative_to(tmp_path / "private") for path in private)
    theirs = site.client(BOB).project(PROJECT)
    assert theirs.path.is_relative_to(site.datasites / BOB)
    assert theirs.agg_weights.is_relative_to(theirs.path)
