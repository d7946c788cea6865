"""The ledger of what a datasite's images have spent: kills, attempts, reservations, totals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.round_plan import RoundPlan
from fedkit.federation.network import Network
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.dp.budget import spent
from fedkit.privacy.dp.policy import spend, why_refused
from fedkit.protocol.advance import advance
from fedkit.protocol.approval import approve, approve_all
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT, launched, shard, small
from tests.support.kills import Killed
from tests.support.privacy import EXAMPLE, asked, datasite, demand

# six images in batches of 8: one step an epoch, with all of them
WHOLE = epsilon_of(Mechanism(1.0, 2.0, 2), 1e-3)


def test_a_run_spends_what_the_accountant_says(tmp_path: Path) -> None:
    net = launched(tmp_path, dp=EXAMPLE)
    demand(net[ALICE])
    assert net.run(approve=approve_all).done
    (total,) = spent(net[ALICE], shard([0, 1]))
    assert total.project == PROJECT
    assert total.epsilon == pytest.approx(WHOLE)
    assert total.delta == 1e-3
    assert spent(net[ALICE], shard([5])) == []  # other images
    again = small(project_name="again", dp=EXAMPLE)
    demand(net[ALICE], epsilon=2 * WHOLE + 0.01)
    assert why_refused(net[ALICE], again, shard([0, 1])) is None
    demand(net[ALICE], epsilon=2 * WHOLE - 0.01)
    assert "with what MNIST_FL spent" in str(why_refused(net[ALICE], again, shard([0, 1])))
    assert why_refused(net[ALICE], again, shard([0, 9])) is not None  # some of the same images
    assert why_refused(net[ALICE], again, shard([8, 9])) is None


def round_one(config: FLConfig) -> RoundPlan:
    return RoundPlan.of(config, 1, config.participants)


def killed_at(where: str, net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"fedkit.{where}", die)
        with pytest.raises(Killed):
            advance(net[ALICE])


def test_killed_between_spending_and_training_counts_once_and_never_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = asked(tmp_path, dp=EXAMPLE)
    for email in (ALICE, BOB):
        approve(net[email], PROJECT)
    net.sync()
    advance(net[AGGREGATOR])
    net.sync()  # the global model is there, and nobody has trained
    one_round = epsilon_of(Mechanism(1.0, 2.0, 1), 1e-3)
    killed_at("privacy.dp.policy.spend", net, monkeypatch)
    assert spent(net[ALICE]) == []
    killed_at("rounds.round.local_update", net, monkeypatch)
    assert [s.epsilon for s in spent(net[ALICE])] == [pytest.approx(one_round)]
    killed_at("protocol.project.AtParticipant.write_state", net, monkeypatch)
    assert [s.epsilon for s in spent(net[ALICE])] == [pytest.approx(one_round)]
    assert net.run(approve=approve_all).done
    assert [s.epsilon for s in spent(net[ALICE])] == [pytest.approx(WHOLE)]


def test_with_secure_noise_every_attempt_counts(tmp_path: Path) -> None:
    site = datasite(tmp_path)
    config = small(dp=EXAMPLE | {"secure_noise": True})
    for attempts in (1, 2, 3):
        spend(site, config, round_one(config), shard([0, 1]), {})
        wanted = epsilon_of(Mechanism(1.0, 2.0, attempts), 1e-3)
        assert [s.epsilon for s in spent(site)] == [pytest.approx(wanted)]
    demand(site, epsilon=wanted + 0.01)
    with pytest.raises(FedkitError, match="would spend"):
        spend(site, config, round_one(config), shard([0, 1]), {})


def test_the_same_round_counts_again_where_its_start_or_its_config_differs(tmp_path: Path) -> None:
    site, config = datasite(tmp_path), small(dp=EXAMPLE)
    a, b = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    for start, change, steps in ((a, 0.1, 1), (a, 0.1, 1), (b, 0.1, 2), (b, 0.2, 3)):
        changed = config.replace(learning_rate=change)
        spend(site, changed, round_one(changed), shard([0, 1]), start)
        wanted = epsilon_of(Mechanism(1.0, 2.0, steps), 1e-3)
        assert [s.epsilon for s in spent(site)] == [pytest.approx(wanted)]


def test_a_project_without_privacy_is_written_down_as_unbounded(tmp_path: Path) -> None:
    net = launched(tmp_path)
    assert net.run(approve=approve_all).done
    (total,) = spent(net[ALICE], shard([0]))
    assert total.epsilon == math.inf
    assert len(list((net[ALICE].private_client / "spent" / ALICE).iterdir())) == 1
    demand(net[ALICE])
    reason = why_refused(net[ALICE], small(project_name="next", dp=EXAMPLE), shard([0, 1]))
    assert reason is not None
    assert "with what MNIST_FL spent, epsilon inf" in reason


def test_approved_projects_reserve_their_budget(tmp_path: Path) -> None:
    """Two projects that fit one by one do not fit together, although neither has trained."""
    net = asked(tmp_path, dp=EXAMPLE)
    demand(net[ALICE], epsilon=1.5 * WHOLE)
    approve(net[ALICE], PROJECT)
    other = small(project_name="other", dp=EXAMPLE)
    assert "MNIST_FL" in str(why_refused(net[ALICE], other, shard([0, 1])))


def test_a_damaged_ledger_is_no_empty_one(tmp_path: Path) -> None:
    site, config = datasite(tmp_path), small(dp=EXAMPLE)
    spend(site, config, round_one(config), shard([0, 1]), {})
    (entry,) = (site.private_client / "spent" / ALICE).glob("*.json")
    entry.write_text("{")
    with pytest.raises(FedkitError):
        spent(site)
    entry.write_text(json.dumps({"project": "x"}))
    with pytest.raises(FedkitError):
        spent(site)
