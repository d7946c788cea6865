"""What an aggregator holds of a round is what lies in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit import privacy
from tests.support.helpers import ALICE, network, small


def test_evidence_is_what_lies_in_the_aggregators_folder(tmp_path: Path) -> None:
    net = network(tmp_path)
    config = small(rounds=2, epoch=3, learning_rate=0.2)
    net.launch(config)
    net.run(approve=fk.approve_all)
    seen = privacy.evidence(net, ALICE, 2)
    home = net.sites[net.aggregator]
    place = home.aggregator().project(config.project_name, "done")
    read = {fk.read_state: (place.global_model(1), place.update(ALICE, 2))}
    before, update = (fk.read_state(path) for path in next(iter(read.values())))
    assert all(torch.equal(seen.before[name], value) for name, value in before.items())
    assert all(torch.equal(seen.update[name], value) for name, value in update.items())
    assert (seen.epochs, seen.learning_rate, seen.num_samples, seen.steps) == (3, 0.2, 6, 3)
    assert seen.sha256 in {entry.sha256 for entry in net.ledger()}
    assert seen.source == (place.path / "model.py").read_bytes()
    assert privacy.evidence(home, ALICE, 2).update.keys() == update.keys()
    for name, value in seen.gradient.items():
        torch.testing.assert_close(before[name] - 0.2 * value, update[name].double())
    with pytest.raises(fk.FedkitError, match="has not arrived"):
        privacy.evidence(net, ALICE, 3)
