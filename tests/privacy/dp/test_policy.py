"""A datasite's own policy, and the ledger of what its images have spent: refusals, kills, totals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.events import Declined, Problem, Waiting
from fedkit.base.files import remove, write_json
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.round_plan import RoundPlan
from fedkit.federation.network import Network
from fedkit.privacy.dp import policy as dp_policy
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.dp.budget import spent
from fedkit.privacy.dp.policy import read_policy, spend, why_refused
from fedkit.protocol.advance import advance
from fedkit.protocol.approval import approve, approve_all, pending_requests, why_declined
from fedkit.protocol.project import AtParticipant
from fedkit.rounds import round as rounds_round
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT, launched, shard, small

EXAMPLE = {"unit": "example", "noise_multiplier": 2.0, "delta": 1e-3, "clip": 0.5}
POLICY = {"unit": "example", "epsilon": 8.0, "delta": 1e-2}
# six images in batches of 8: one step an epoch, with all of them
WHOLE = epsilon_of(Mechanism(1.0, 2.0, 2), 1e-3)


def demand(site: Datasite, **changes: Any) -> None:
    write_json(site.private_client / "policy.json", POLICY | changes)


def asked(folder: Path, **changes: Any) -> Network:
    """A network in which the request has arrived, and nobody has answered."""
    net = launched(folder, **changes)
    net.sync()
    net.advance()
    assert pending_requests(net[ALICE]) == [PROJECT]
    return net


def datasite(folder: Path) -> Datasite:
    site = Datasite.create(folder, ALICE)
    site.private_client.mkdir(parents=True, exist_ok=True)
    return site


def first(config: FLConfig) -> RoundPlan:
    return RoundPlan.of(config, 1, config.participants)


# -------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("dp", "policy", "reason"),
    [
        (None, {}, "promises no differential privacy"),
        (EXAMPLE, {"epsilon": 0.5}, "epsilon"),
        (EXAMPLE, {"delta": 1e-4}, "delta"),
        (EXAMPLE, {"unit": "participant"}, "unit 'participant'"),
        (EXAMPLE, {"secure_noise": True}, "secure_noise"),
        (EXAMPLE | {"delta": 0.9}, {}, "not below 1 / 6"),
    ],
)
def test_a_project_weaker_than_the_policy_is_declined(
    dp: dict[str, Any] | None, policy: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """By the client itself, with the reason, although everybody else's policy says yes to all."""
    net = launched(tmp_path, **({} if dp is None else {"dp": dp}))
    demand(net[ALICE], **policy)
    events: list[Any] = []
    history = net.run(approve=approve_all, on_event=events.append)
    said = next(e for e in events if isinstance(e, Declined) and e.email == ALICE)
    assert reason in said.reason
    assert why_declined(net[ALICE], PROJECT) == said.reason
    assert not history.rounds
    assert any(isinstance(e, Waiting) and said.reason in e.remedy for e in history.waiting)
    assert spent(net[ALICE]) == []  # nothing has trained


def test_a_person_cannot_approve_against_the_own_policy_but_can_change_it(tmp_path: Path) -> None:
    net = asked(tmp_path)
    demand(net[ALICE])
    with pytest.raises(FedkitError, match="promises no differential privacy"):
        approve(net[ALICE], PROJECT)
    assert any(isinstance(e, Declined) for e in advance(net[ALICE]))
    assert pending_requests(net[ALICE]) == []
    remove(net[ALICE].private_client / "policy.json")
    approve(net[ALICE], PROJECT)
    assert net.run(approve=approve_all).done


def test_a_copied_approval_meets_the_policy_too(tmp_path: Path) -> None:
    net = asked(tmp_path)
    demand(net[ALICE])
    box = net[ALICE].client()
    (box.request / PROJECT).rename(box.running / PROJECT)
    events = advance(net[ALICE])
    problem = next(e for e in events if isinstance(e, Problem))
    assert "promises no differential privacy" in str(problem.error)
    assert not any(p.name.startswith("trained") for p in net[ALICE].root.rglob("*.pt"))


def test_a_policy_that_comes_later_stops_the_training(tmp_path: Path) -> None:
    net = launched(tmp_path, dp=EXAMPLE)
    net.run(approve=approve_all, until_round=1)
    assert len(spent(net[ALICE])) == 1
    demand(net[ALICE], epsilon=0.1)
    history = net.run(approve=approve_all)
    problem = next(e for e in history.waiting if isinstance(e, Problem))
    assert problem.email == ALICE
    assert "policy.json" in str(problem.error)
    assert len(history.rounds) == 1


def test_a_policy_that_can_not_be_read_lets_nothing_train(tmp_path: Path) -> None:
    site, config = datasite(tmp_path), small(dp=EXAMPLE)
    for text in ("{", '{"unit": "example"}', '{"unit": "example", "epsilon": 1, "delta": 2}'):
        (site.private_client / "policy.json").write_text(text)
        with pytest.raises(FedkitError):
            read_policy(site)
        with pytest.raises(FedkitError):
            spend(site, config, first(config), shard([0, 1]), {})
    assert spent(site) == []


# ------------------------------------------------------------------------------------ the ledger
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


class Killed(BaseException):
    """As sudden as SIGKILL: nothing of fedkit's catches it."""


def killed_at(owner: object, name: str, net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
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
    round_one = epsilon_of(Mechanism(1.0, 2.0, 1), 1e-3)
    killed_at(dp_policy, "spend", net, monkeypatch)
    assert spent(net[ALICE]) == []
    killed_at(rounds_round, "local_update", net, monkeypatch)
    assert [s.epsilon for s in spent(net[ALICE])] == [pytest.approx(round_one)]
    killed_at(AtParticipant, "write_state", net, monkeypatch)
    assert [s.epsilon for s in spent(net[ALICE])] == [pytest.approx(round_one)]
    assert net.run(approve=approve_all).done
    assert [s.epsilon for s in spent(net[ALICE])] == [pytest.approx(WHOLE)]


def test_with_secure_noise_every_attempt_counts(tmp_path: Path) -> None:
    site = datasite(tmp_path)
    config = small(dp=EXAMPLE | {"secure_noise": True})
    for attempts in (1, 2, 3):
        spend(site, config, first(config), shard([0, 1]), {})
        wanted = epsilon_of(Mechanism(1.0, 2.0, attempts), 1e-3)
        assert [s.epsilon for s in spent(site)] == [pytest.approx(wanted)]
    demand(site, epsilon=wanted + 0.01)
    with pytest.raises(FedkitError, match="would spend"):
        spend(site, config, first(config), shard([0, 1]), {})


def test_the_same_round_counts_again_where_its_start_or_its_config_differs(tmp_path: Path) -> None:
    site, config = datasite(tmp_path), small(dp=EXAMPLE)
    a, b = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    for start, change, steps in ((a, 0.1, 1), (a, 0.1, 1), (b, 0.1, 2), (b, 0.2, 3)):
        spend(site, config, replace(first(config), learning_rate=change), shard([0, 1]), start)
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
    spend(site, config, first(config), shard([0, 1]), {})
    (entry,) = (site.private_client / "spent" / ALICE).glob("*.json")
    entry.write_text("{")
    with pytest.raises(FedkitError):
        spent(site)
    entry.write_text(json.dumps({"project": "x"}))
    with pytest.raises(FedkitError):
        spent(site)


def test_a_promise_that_means_nothing_is_not_launched(tmp_path: Path) -> None:
    dp = {"unit": "participant", "noise_multiplier": 0.001, "delta": 1e-3, "clip": 0.5}
    net = launched(tmp_path, dp=dp, weighting="equal")
    with pytest.raises(FedkitError, match="too little noise"):
        net.run(approve=approve_all)
