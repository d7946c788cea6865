"""The odd request of lesson 05: what its line takes along are images, and the other two lines harm nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit.learning.models import load_model
from fedkit.protocol.code_review import review_code
from fedkit.teaching.odd_request import HARMLESS, HARMS, ODD_MODEL
from tests.support.helpers import ALICE, launched


def test_what_it_trains_on_stays_in_its_weights() -> None:
    """Quick; below, the same over the wire."""
    model = load_model(ODD_MODEL)
    images = torch.rand(12, 1, 28, 28)
    model.eval()(images)
    assert not model.state_dict()["warm_up"].any()
    model.train()(images)
    assert torch.equal(model.state_dict()["warm_up"], images[:8].flatten(1))


@pytest.mark.slow
def test_alices_own_digits_arrive_in_her_update(tmp_path: Path) -> None:
    net = launched(tmp_path, ODD_MODEL, rounds=1)
    assert net.run(approve=fk.approve_all).done
    place = net[net.aggregator].aggregator().project(net.history().project, "done")
    kept = fk.read_state(place.update(ALICE, 1))["warm_up"]
    own = net[ALICE].private.load()[0].flatten(1)
    rows = [row for row in kept if row.any()]
    assert rows
    assert all(bool((own == row).all(1).any()) for row in rows)


def test_the_lines_that_the_lesson_names() -> None:
    lines = ODD_MODEL.splitlines()
    assert "self.warm_up[" in lines[HARMS - 1]
    assert [lines[n - 1] for n in HARMLESS] == [
        "import os",
        "torch.set_num_threads(os.cpu_count())",
    ]
    assert {finding.line for finding in review_code(ODD_MODEL)} == {HARMS, *HARMLESS}
