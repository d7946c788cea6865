"""The privacy report for the grid of features: each cell against a value that was calculated another way.

A third of the grid, in which each feature meets each other one; all of it in `make test-all`.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import jsonschema
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.federation.report_facts import privacy_report
from fedkit.privacy.attacks.roc import AttackResult
from fedkit.privacy.report_page import PrivacyReport
from fedkit.rounds.history import Contribution, History, RoundRecord
from tests.support.helpers import small
from tests.support.mutations import EXAMPLES

PEOPLE = [f"{name}@example.org" for name in "abcd"]
ROUNDS, RAN, DELTA = 4, 3, 1e-4

PROMISES: dict[str, dict[str, Any] | None] = {
    "none": None,
    "example": {"unit": "example", "noise_multiplier": 2.0},
    "central": {"unit": "participant", "noise_multiplier": 1.5},
    "shares": {"unit": "participant", "noise_multiplier": 1.5, "noise_at": "participants"},
    "shares, two tell": {
        "unit": "participant",
        "noise_multiplier": 1.5,
        "noise_at": "participants",
        "colluders": 2,
    },
    "target": {"unit": "participant", "epsilon": 2.0},
}
GRID = list(product(PROMISES, (False, True), (False, True), (False, True), (False, True)))


def config_of(promise: str, masked: bool, sampled: bool, secure: bool, signed: bool) -> FLConfig:
    """A config of the grid. Raises FedkitError where it is refused."""
    changes: dict[str, Any] = {"participants": PEOPLE, "rounds": ROUNDS, "batch_size": 1000}
    dp = PROMISES[promise]
    if dp is not None:
        changes["dp"] = dp | {"delta": DELTA, "clip": 1.0, "secure_noise": secure}
        if dp["unit"] == "participant":
            changes["weighting"] = "equal"
    if masked:
        changes["secure_aggregation"] = {"threshold": 3 if not sampled else 2}
    if sampled:
        changes["participants_per_round"] = 2
    return small(**changes, signed=signed)


def gaussian(sigma: float, steps: int, sensitivity: float = 1.0) -> float:
    """Epsilon of the Gaussian mechanism by its closed form (Balle and Wang 2018, theorem 8); steps compose to one."""
    mu = sensitivity * math.sqrt(steps) / sigma

    def delta(epsilon: float) -> float:
        high = norm.logcdf(-mu / 2 - epsilon / mu) + epsilon
        return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(high))

    return float(brentq(lambda e: delta(e) - DELTA, 0, 200))


def report_of(config: FLConfig, told: bool) -> PrivacyReport:
    parts = tuple(Contribution(e, 0.25, 6 if told else None, None, 0.1, "") for e in PEOPLE)
    rounds = tuple(RoundRecord(n, parts) for n in range(1, RAN + 1))
    attacks = [
        AttackResult("one", "an update", "AUC", 0.9, 0.8, 0.95, 0.5),
        AttackResult("other", "a model", "AUC", 0.6, 0.4, 0.7, 0.5, by="the other participants"),
    ]
    return privacy_report(History(config.project_name, rounds, ROUNDS), config, attacks=attacks)


def expected(config: FLConfig, who: str, rounds: int) -> tuple[float | None, float | None]:
    """(epsilon, that of replace-one) of the config's unit against somebody after so many rounds; None: no statement.

    Written from the definitions: who sees what, and how much noise is in it that they do not know.
    """
    dp, people = config.dp, len(PEOPLE)
    if dp is None:
        return math.inf, math.inf
    sees_updates = who in ("the aggregator", "an aggregator that lies") or "network" in who
    sigma = dp.noise_multiplier
    if dp.unit == "example":
        assert sigma is not None
        pair = gaussian(sigma, rounds), gaussian(sigma, rounds, 2.0)
    elif dp.noise_at == "aggregator":
        if sees_updates:
            return math.inf, math.inf
        if (
            sigma is None
        ):  # the smallest noise that keeps the promise when all rounds have ended, to within 0.1 %
            sigma = float(brentq(lambda s: gaussian(s, ROUNDS) - (dp.epsilon or 0), 0.5, 100))
        pair = gaussian(sigma, rounds), gaussian(sigma, rounds, 2.0)
    else:
        assert sigma is not None
        known = 1 if dp.colluders is None else dp.colluders
        whole = people - known == 1  # a share is all of the noise
        if sees_updates and config.secure_aggregation is None and not whole:
            return None, None
        pair = gaussian(sigma, rounds), gaussian(sigma, rounds, 2.0)
    return pair


@pytest.mark.parametrize(
    ("promise", "masked", "sampled", "secure", "signed"), GRID if EXAMPLES > 1 else GRID[::7]
)
def test_each_cell(promise: str, masked: bool, sampled: bool, secure: bool, signed: bool) -> None:
    try:
        config = config_of(promise, masked, sampled, secure, signed)
    except FedkitError:
        return  # `fedkit run` says why, in one line: test_features_together
    report = report_of(config, told=promise == "example")
    page = report.to_dict()
    jsonschema.validate(page, report.schema())
    text, dp = str(report), config.dp
    assert page["rounds"] == {"ran": RAN, "planned": ROUNDS, "again": 0}
    names = [row["who"] for row in page["adversaries"]]
    assert names[:5] == [
        "the aggregator",
        "an aggregator that lies",
        "the other participants",
        "everybody else",
        "whoever runs the network between the datasites",
    ]
    drawn = dp is not None and dp.unit == "participant" and sampled
    assert (names[5:] == ["somebody outside who sees only the models"]) == drawn
    for row in page["adversaries"][:5]:
        about = [h for h in row["holds"] if dp is None or h["unit"] == dp.unit]
        assert about, row["who"]
        for held in about:
            wanted = expected(config, row["who"], ROUNDS)
            so_far = expected(config, row["who"], RAN)[0]
            for value, right in ((held["epsilon"], wanted[0]), (held["replace_one"], wanted[1])):
                if right is None or right == math.inf:
                    assert value == ("infinite" if right else None), row["who"]
                else:
                    assert value == pytest.approx(right, rel=5e-3), row["who"]
            if wanted[0] is not None and wanted[0] < math.inf:
                assert held["so_far"] == pytest.approx(so_far, rel=5e-3)
                assert (held["delta"], held["neighbours"]) == (DELTA, "zero-out")
                assert held["rounds"] == ROUNDS
                assert "no credit" in held["sampling"] if drawn else held["sampling"]
        other = [h for h in row["holds"] if dp is not None and h["unit"] != dp.unit]
        assert {h["epsilon"] for h in other} <= {
            None
        }  # nothing is said of the unit that has no noise
    seen = {row["who"]: row for row in page["adversaries"]}
    first = seen["the aggregator"]
    assert first["sees"].startswith("the sum" if masked else "every participant's update")
    assert ("masks" in first["between"]) == masked
    assert ("number" in first["sees"]) == (not masked and (dp is None or dp.unit == "example"))
    assert ("loss" in first["sees"]) == (dp is None and not masked)
    assert ("The sum itself" in " ".join(first["not_covered"])) == masked
    assert ("fedkit keys" in " ".join(seen[names[1]]["not_covered"])) == masked
    assert ("signatures" in seen[names[4]]["between"]) == signed
    assert ("alters or forges" in " ".join(seen[names[4]]["not_covered"])) == (not signed)
    assert [a["name"] for a in first["attacks"]] == ["one"]
    assert [a["name"] for a in seen["the other participants"]["attacks"]] == ["other"]
    assert "one on an update: 0.900, 95 % 0.800 to 0.950, guessing 0.5" in text
    assert ("rehearsal" in page["headline"]) == (dp is not None and not secure)
    assert ("no formal privacy" in page["headline"]) == (dp is None)
    exact = secure and dp is not None and not (dp.noise_at == "participants" and not masked)
    assert ("Rounding is covered" in text) == exact
    assert ("told in the clear" in text) == (dp is not None)


def test_most_of_the_grid_is_no_refusal() -> None:
    taken = 0
    for case in GRID:
        try:
            config_of(*case)
        except FedkitError:
            continue
        taken += 1
    assert taken > len(GRID) / 2
