"""A datasite's own policy: what is weaker is declined, and nothing trains against it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from dp_accounting.gaussian_mechanism import get_epsilon_gaussian

from fedkit.base.errors import FedkitError
from fedkit.base.events import Declined, Problem, Waiting
from fedkit.base.files import remove, write_json
from fedkit.datasite.round_plan import RoundPlan
from fedkit.privacy.dp.budget import spent
from fedkit.privacy.dp.policy import read_policy, spend, why_refused
from fedkit.privacy.guarantees import ADVERSARIES, guarantees
from fedkit.protocol.advance import advance
from fedkit.protocol.approval import approve, approve_all, pending_requests, why_declined
from tests.support.helpers import ALICE, PROJECT, launched, shard, small
from tests.support.privacy import EXAMPLE, KINDS, asked, datasite, demand

# six images in batches of 8, two rounds: twice the sensitivity of zero-out, so half the noise
REPLACED = get_epsilon_gaussian(EXAMPLE["noise_multiplier"] / 2 / math.sqrt(2), 1e-3)


# -------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("dp", "policy", "reason"),
    [
        (None, {}, "promises no differential privacy"),
        (
            EXAMPLE,
            {"epsilon": 0.5},
            f"else (zero-out neighbours; for replace-one, this project's is {REPLACED:.3g})",
        ),
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
    site = datasite(tmp_path)
    for text in ("{", '{"unit": "example"}', '{"unit": "example", "epsilon": 1, "delta": 2}'):
        (site.private_client / "policy.json").write_text(text)
        with pytest.raises(FedkitError):
            read_policy(site)
        with pytest.raises(FedkitError):
            spend(
                site, small(dp=EXAMPLE), RoundPlan.of(small(dp=EXAMPLE), 1, []), shard([0, 1]), {}
            )
    assert spent(site) == []


# ------------------------------------------------------------------------------------ the ledger
def test_a_promise_that_means_nothing_is_not_launched(tmp_path: Path) -> None:
    dp = {"unit": "participant", "noise_multiplier": 0.001, "delta": 1e-3, "clip": 0.5}
    net = launched(tmp_path, dp=dp, weighting="equal")
    with pytest.raises(FedkitError, match="too little noise"):
        net.run(approve=approve_all)


LOOSE: dict[str, Any] = {"unit": "participant", "epsilon": 1000.0, "delta": 1e-2}
THREE = [f"{name}@example.org" for name in ("alice", "bob", "carol")]


@pytest.mark.parametrize("against", ADVERSARIES)
@pytest.mark.parametrize("kind", ["example", "central", "sampled", "shares", "masked shares"])
def test_a_policy_accepts_what_the_report_says_and_nothing_else(
    kind: str, against: str, tmp_path: Path
) -> None:
    """At the epsilon of the report's row, and not below it; never where the row has none."""
    site = datasite(tmp_path)
    config = small(**KINDS[kind], participants=THREE)
    unit = "example" if kind == "example" else "participant"
    data = shard([0, 1])
    rows = [
        row
        for row in guarantees(config, {ALICE: len(data[1])})
        if row.unit == unit and set(row.against.split(", ")) & set(ADVERSARIES[against])
    ]
    told = max(math.inf if row.epsilon is None else row.epsilon for row in rows)
    for epsilon in (told * 0.999, told * 1.001, 1e9):
        demand(site, **LOOSE | {"unit": unit, "against": against, "epsilon": min(epsilon, 1e9)})
        said = why_refused(site, config, data)
        assert (said is None) == (told <= epsilon < math.inf), said
        assert said is None or "against" in said


def test_the_default_adversary_is_the_aggregator_and_the_refusal_says_what_to_write(
    tmp_path: Path,
) -> None:
    site, trusting = datasite(tmp_path), '"against": "participants"'
    for kind, reason in (("central", "it adds the noise itself"), ("shares", "one share")):
        config = small(**KINDS[kind], participants=THREE)
        demand(site, **LOOSE)
        said = str(why_refused(site, config, None))
        for words in ("promises nothing against the aggregator", reason, trusting):
            assert words in said
        demand(site, **LOOSE, against="participants")
        assert why_refused(site, config, None) is None
    demand(site, **LOOSE)
    assert why_refused(site, small(**KINDS["masked shares"], participants=THREE), None) is None


def test_seeded_noise_is_taken_only_where_the_policy_says_so(tmp_path: Path) -> None:
    site = datasite(tmp_path)
    write_json(
        site.private_client / "policy.json", {"unit": "example", "epsilon": 8, "delta": 0.01}
    )
    said = str(why_refused(site, small(**KINDS["example"]), shard([0, 1])))
    assert "same bits" in said
    assert '"secure_noise": false' in said
    assert why_refused(site, small(**KINDS["secure"]), shard([0, 1])) is None


def test_what_was_spent_against_others_only_is_unbounded_for_a_stricter_policy(
    tmp_path: Path,
) -> None:
    """Alice trusted an aggregator once, with every update. A policy that trusts none can't add that up."""
    site = datasite(tmp_path)
    config = small(**KINDS["central"], participants=THREE)
    demand(site, **LOOSE, against="participants")
    plan = RoundPlan.of(config, 1, config.participants)
    spend(site, config, plan, shard([0, 1]), {})
    next_one = small(**KINDS["masked shares"], participants=THREE, project_name="next")
    assert why_refused(site, next_one, shard([0, 1])) is None
    demand(site, **LOOSE)
    said = str(why_refused(site, next_one, shard([0, 1])))
    assert "with what MNIST_FL spent, epsilon inf" in said
    (entry,) = (site.private_client / "spent" / ALICE).glob("*.json")
    old = {k: v for k, v in json.loads(entry.read_text()).items() if k != "against"}
    write_json(entry, old)  # of before there were adversaries: then, noise was the aggregator's
    assert "with what MNIST_FL spent, epsilon inf" in str(
        why_refused(site, next_one, shard([0, 1]))
    )
    demand(site, **LOOSE, against="participants")
    assert why_refused(site, next_one, shard([0, 1])) is None


def test_what_was_spent_counts_for_the_unit_that_the_policy_protects(tmp_path: Path) -> None:
    """Noise for one image hides no participant; noise for participants hides an image as one replaced by another."""
    site = datasite(tmp_path)
    images, whole = small(**KINDS["example"], rounds=1), small(**KINDS["shares"], rounds=1)
    loose = {**LOOSE, "unit": "example"}
    demand(site, **loose)
    spend(site, images, RoundPlan.of(images, 1, images.participants), shard([0, 1]), {})
    demand(site, **LOOSE, against="participants")
    after = whole.replace(project_name="after")
    said = str(why_refused(site, after, shard([0, 1])))
    assert "with what MNIST_FL spent, epsilon inf" in said
    other = datasite(tmp_path / "other")
    demand(other, **LOOSE, against="participants")
    spend(other, whole, RoundPlan.of(whole, 1, whole.participants), shard([0, 1]), {})
    (zeroed,) = spent(other, shard([0, 1]))
    (replaced,) = spent(other, shard([0, 1]), neighbours="replace-one")
    (found,) = spent(other, shard([0, 1]), unit="example")
    assert found.epsilon == replaced.epsilon > zeroed.epsilon


def test_what_was_spent_with_noise_from_a_seed_is_unbounded_for_a_policy_that_wants_secrets(
    tmp_path: Path,
) -> None:
    site = datasite(tmp_path)
    config, loose = small(**KINDS["example"], rounds=1), {**LOOSE, "unit": "example"}
    demand(site, **loose)
    spend(site, config, RoundPlan.of(config, 1, config.participants), shard([0, 1]), {})
    after = small(**KINDS["secure"], rounds=1, project_name="after")
    assert why_refused(site, after, shard([0, 1])) is None
    demand(site, **loose | {"secure_noise": True})
    said = str(why_refused(site, after, shard([0, 1])))
    assert "with what MNIST_FL spent, epsilon inf" in said
    assert why_refused(site, after, shard([8, 9])) is None
