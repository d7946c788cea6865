"""Epsilon: two libraries against each other and against the closed form, and the search for the noise that inverts it."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import pytest
from dp_accounting import gaussian_mechanism as closed

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.dp.account import ACCOUNTANTS, Mechanism, epsilon_of, noise_for
from fedkit.privacy.dp.mechanism import example_mechanism, participant_mechanism
from tests.support.helpers import tutorial

EXAMPLE = {"unit": "example", "noise_multiplier": 1.1, "delta": 1e-4, "clip": 1.0}
PARTICIPANT = {"unit": "participant", "noise_multiplier": 1.1, "delta": 1e-4, "clip": 1.0}
GRID = list(itertools.product((0.02, 0.1, 1.0), (0.8, 1.5, 6.0), (1, 30, 200), (1e-6, 1e-4)))


def test_pld_and_prv_agree_within_one_percent() -> None:
    """Over a grid of (q, sigma, T, delta), wherever epsilon is one that somebody would promise."""
    compared = 0
    for rate, noise, steps, delta in GRID:
        mechanism = Mechanism(rate, noise, steps)
        if not 0.05 < epsilon_of(mechanism, delta, "RDP") < 15:
            continue
        pld, prv = (epsilon_of(mechanism, delta, by) for by in ("PLD", "Opacus PRV"))
        assert pld == pytest.approx(prv, rel=0.01), mechanism
        compared += 1
    assert compared >= 20


def test_rdp_is_an_upper_bound_in_both_libraries() -> None:
    for rate, noise, steps, delta in GRID[::7]:
        mechanism = Mechanism(rate, noise, steps)
        ours = epsilon_of(mechanism, delta)
        for by in ("RDP", "Opacus RDP"):
            assert epsilon_of(mechanism, delta, by) >= ours * 0.995, (by, mechanism)


@pytest.mark.parametrize(
    ("noise", "steps", "delta"), [(1.0, 1, 1e-5), (5.0, 20, 1e-6), (9, 3, 0.01)]
)
def test_without_sampling_epsilon_is_the_closed_form(
    noise: float, steps: int, delta: float
) -> None:
    """T Gaussian mechanisms are one with noise sigma / sqrt(T) (Dong, Roth, Su 2022, corollary 3.3)."""
    exact = closed.get_epsilon_gaussian(noise / math.sqrt(steps), delta)
    assert epsilon_of(Mechanism(1.0, noise, steps), delta) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize(
    ("epsilon", "delta", "rate", "steps"),
    [(1.0, 1e-5, 1.0, 1), (4.0, 1e-4, 0.1, 60), (0.3, 1e-5, 0.02, 400)],
)
def test_noise_for_inverts_epsilon(epsilon: float, delta: float, rate: float, steps: int) -> None:
    noise = noise_for(epsilon, delta, rate, steps)
    assert epsilon_of(Mechanism(rate, noise, steps), delta) <= epsilon
    assert epsilon_of(Mechanism(rate, noise * 0.998, steps), delta) > epsilon


def test_noise_for_agrees_with_the_exact_calibration() -> None:
    assert noise_for(1.0, 1e-5) == pytest.approx(closed.get_sigma_gaussian(1.0, 1e-5), rel=3e-3)


@pytest.mark.parametrize(
    ("mechanism", "field"),
    [
        ((0.0, 1.0, 1), "sampling_rate"),
        ((1.5, 1.0, 1), "sampling_rate"),
        ((0.1, 0.0, 1), "noise_multiplier"),
        ((0.1, math.nan, 1), "noise_multiplier"),
        ((0.1, 1.0, -1), "steps"),
    ],
)
def test_what_is_no_mechanism_is_refused(mechanism: tuple[float, float, int], field: str) -> None:
    with pytest.raises(FedkitError) as caught:
        Mechanism(*mechanism)
    assert caught.value.field == field


def test_what_is_no_question_is_refused() -> None:
    mechanism = Mechanism(0.1, 1.0, 1)
    for delta, by in ((0.0, "PLD"), (1.0, "PLD"), (1e-5, "guess")):
        with pytest.raises(FedkitError):
            epsilon_of(mechanism, delta, by)
    for epsilon, steps in ((0.0, 1), (-1.0, 1), (1.0, 0)):
        with pytest.raises(FedkitError):
            noise_for(epsilon, 1e-5, 1.0, steps)
    assert epsilon_of(Mechanism(0.1, 1.0, 0), 1e-5) == 0
    assert set(ACCOUNTANTS) == {"PLD", "RDP", "Opacus PRV", "Opacus RDP"}


# ------------------------------------------------------------------------------------ what a config promises
def complaint(**changes: object) -> FedkitError:
    with pytest.raises(FedkitError) as caught:
        FLConfig.from_dict(tutorial(**changes))
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("dp", "field", "reason"),
    [
        ({**EXAMPLE, "epsilon": 2}, "dp", "both are given"),
        ({k: v for k, v in EXAMPLE.items() if k != "noise_multiplier"}, "dp", "neither is given"),
        ({k: v for k, v in EXAMPLE.items() if k != "clip"}, "dp.clip", "is missing"),
        ({**EXAMPLE, "clip": 0}, "dp.clip", "bounds nothing"),
        ({**EXAMPLE, "clip": 1e999}, "dp.clip", "bounds nothing"),
        ({**EXAMPLE, "delta": 0}, "dp.delta", "undefined"),
        ({**EXAMPLE, "delta": 1}, "dp.delta", "undefined"),
        ({**EXAMPLE, "noise_multiplier": 0}, "dp.noise_multiplier", "epsilon is infinite"),
        ({**EXAMPLE, "noise_multiplier": "1"}, "dp.noise_multiplier", "must be a number"),
        ({**EXAMPLE, "unit": "image"}, "dp.unit", "example"),
        ({**EXAMPLE, "sigma": 1}, "dp.sigma", "not permitted"),
        ({**EXAMPLE, "noise_at": "participants"}, "dp", "its own gradients"),
        (PARTICIPANT, "weighting", "equal"),
    ],
)
def test_a_promise_without_meaning_is_refused(dp: dict, field: str, reason: str) -> None:
    error = complaint(dp=dp)
    assert error.field == field
    assert reason in f"{error.what} {error.remedy}"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"adjustable": ["epoch"], "dp": EXAMPLE}, "adjustable"),
        ({"adjustable": ["participants_per_round"], "dp": PARTICIPANT}, "adjustable"),
        ({"strategy": {"name": "krum"}, "dp": PARTICIPANT}, "strategy"),
        ({"strategy": {"name": "of_tomorrow"}, "dp": EXAMPLE}, "strategy"),
        ({"dp": {**PARTICIPANT, "delta": 0.5}}, "dp.delta"),
        (
            {"participants_per_round": 1, "dp": {**PARTICIPANT, "noise_at": "participants"}},
            "participants_per_round",
        ),
        ({"dp": PARTICIPANT, "secure_aggregation": {"threshold": 2}}, "dp.noise_at"),
        ({"dp": {**PARTICIPANT, "adaptive_clip": {"count_noise": 0.5}}}, "dp"),
    ],
)
def test_what_does_not_go_with_the_rest_is_refused(changes: dict, field: str) -> None:
    assert complaint(weighting="equal", **changes).field == field


def test_what_was_written_is_written_again() -> None:
    config = FLConfig.from_dict(tutorial(dp=EXAMPLE))
    assert FLConfig.parse(config.to_json()) == config == config.replace()
    assert '"epsilon"' not in config.to_json()


def test_mechanisms_count_what_is_done() -> None:
    """One example: 130 images in batches of 64, 3 rounds of 10 epochs: 3 steps an epoch, each with a third of them."""
    config = FLConfig.from_dict(tutorial(dp=EXAMPLE))
    assert example_mechanism(config, 130) == Mechanism(1 / 3, 1.1, 90)
    with pytest.raises(FedkitError, match="not below 1 / 10,000"):
        example_mechanism(config, 10_000)
    config = FLConfig.from_dict(tutorial(dp=PARTICIPANT, weighting="equal"))
    assert participant_mechanism(config) == Mechanism(1.0, 1.1, 3)
    some = config.replace(participants_per_round=1)
    assert participant_mechanism(some) == Mechanism(0.5, 1.1, 3)
    assert participant_mechanism(some, sample_is_secret=False) == Mechanism(1.0, 1.1, 3)
    wanted = {k: v for k, v in EXAMPLE.items() if k != "noise_multiplier"} | {"epsilon": 2.0}
    mechanism = example_mechanism(FLConfig.from_dict(tutorial(dp=wanted)), 130)
    assert epsilon_of(mechanism, 1e-4) == pytest.approx(2.0, rel=5e-3)


def test_whoever_promises_nothing_does_not_wait_for_the_accountants() -> None:
    code = (
        "import sys, fedkit.protocol.client.phases, fedkit.rounds.simulation, fedkit.privacy.report_page\n"
        "print({'opacus', 'dp_accounting'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
