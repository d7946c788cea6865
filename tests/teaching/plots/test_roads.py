"""Pictures of roads: what each costs, and what lay open on whose disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedkit.base.errors import FedkitError
from fedkit.federation.roads.runs import recorded
from fedkit.teaching import plots
from tests.support.pictures import title, words


def test_costs_have_a_bar_and_a_number_each() -> None:
    own = recorded()["own"]
    runs = {
        "own": replace(own, seconds=4.0, bytes=8_600_000, memory_mb=487.4),
        "flower": replace(own, seconds=31.0, bytes=9_000_000, memory_mb=None),
    }
    fig = plots.road_costs(runs)
    assert {"own", "flower", "4", "31", "8.6", "9.0", "487"} <= set(words(fig))
    assert title(fig) == "The same project on 2 roads: what it costs"
    widths = [[bar.get_width() for bar in ax.patches] for ax in fig.axes]
    assert widths == [[4.0, 31.0], [8.6, 9.0], [487.4, 0.0]]
    with pytest.raises(FedkitError, match="nothing to draw"):
        plots.road_costs({})


def test_a_party_has_a_row_and_a_kind_a_column() -> None:
    seen = {"its server": {"update": 9, "global model": 4}, "Mallory": {}}
    fig = plots.who_could_open(
        seen, {"global model": 4, "images": 3, "update": 9}, title="On whose disk"
    )
    assert words(fig).count("none") == 4
    named = {"9 of 9", "4 of 4", "its server", "Mallory", "updates", "global models", "images"}
    assert named <= set(words(fig))
    with pytest.raises(FedkitError, match="nothing to draw"):
        plots.who_could_open({}, {"update": 1}, title="On whose disk")
