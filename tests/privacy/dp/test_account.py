"""Epsilon: two libraries against each other and against the closed form, and the search for the noise that inverts it."""

from __future__ import annotations

import itertools
import logging
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dp_accounting import NeighboringRelation, pld
from dp_accounting import gaussian_mechanism as closed

from fedkit.base.errors import FedkitError
from fedkit.privacy.dp.account import (
    ACCOUNTANTS,
    Mechanism,
    epsilon_of,
    event_of,
    noise_for,
    quiet,
)
from tests.support.mutations import EXAMPLES

GRID = list(itertools.product((0.02, 0.1, 1.0), (0.8, 1.5, 6.0), (1, 30, 200), (1e-6, 1e-4)))


def test_pld_and_prv_agree_within_one_percent() -> None:
    """Over a grid of (q, sigma, T, delta), wherever epsilon is one that somebody would promise."""
    compared = 0
    for rate, noise, steps, delta in GRID if EXAMPLES > 1 else GRID[::2]:
        mechanism = Mechanism(rate, noise, steps)
        if not 0.05 < epsilon_of(mechanism, delta, "RDP") < 15:
            continue
        pld, prv = (epsilon_of(mechanism, delta, by) for by in ("PLD", "Opacus PRV"))
        assert pld == pytest.approx(prv, rel=0.01), mechanism
        compared += 1
    assert compared >= (20 if EXAMPLES > 1 else 10)


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


def test_zero_out_is_add_or_remove_and_what_the_library_calls_replace_special() -> None:
    for rate, noise, steps, delta in GRID[::9]:
        mechanism = Mechanism(rate, noise, steps)
        special = pld.PLDAccountant(NeighboringRelation.REPLACE_SPECIAL, 1e-3)
        wanted = special.compose(event_of(mechanism)).get_epsilon(delta)
        if 1 < wanted < 20:
            assert epsilon_of(mechanism, delta) == pytest.approx(wanted)


@pytest.mark.parametrize(("noise", "steps"), [(2.0, 2), (5.0, 20), (1.0, 1)])
def test_to_replace_a_record_moves_the_sum_twice_as_far(noise: float, steps: int) -> None:
    exact = closed.get_epsilon_gaussian(noise / 2 / math.sqrt(steps), 1e-5)
    got = epsilon_of(Mechanism(1.0, noise, steps), 1e-5, neighbours="replace-one")
    assert got == pytest.approx(exact, rel=2e-3)
    assert got > 2 * epsilon_of(Mechanism(1.0, noise, steps), 1e-5)


@pytest.mark.parametrize(("rate", "noise"), [(0.5, 1.0), (0.1, 0.7), (0.02, 0.6)])
def test_a_sampled_record_that_is_replaced_against_the_integral(rate: float, noise: float) -> None:
    """delta = integral of max(0, p - e^epsilon p') for p = (1-q) N(0) + q N(1), p' = (1-q) N(0) + q N(-1)."""
    x = np.linspace(-15, 15, 400_001)

    def density(at: float) -> np.ndarray:
        return np.exp(-(((x - at) / noise) ** 2) / 2) / (noise * math.sqrt(2 * math.pi))

    one, other = ((1 - rate) * density(0) + rate * density(at) for at in (1, -1))
    epsilon = epsilon_of(Mechanism(rate, noise, 1), 1e-4, neighbours="replace-one")
    excess = np.maximum(one - math.exp(epsilon) * other, 0).sum() * (x[1] - x[0])
    assert excess == pytest.approx(1e-4, rel=0.02)


def test_neighbours_that_an_accountant_does_not_know_are_refused() -> None:
    for how in ({"accountant": "RDP", "neighbours": "replace-one"}, {"neighbours": "some"}):
        with pytest.raises(FedkitError) as caught:
            epsilon_of(Mechanism(1.0, 1.0, 1), 1e-5, **how)
        assert caught.value.field == "neighbours"
    assert epsilon_of(Mechanism(1.0, 0.01, 9), 1e-5, neighbours="replace-one") == math.inf


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


def test_whoever_promises_nothing_does_not_wait_for_the_accountants() -> None:
    code = (
        "import sys, fedkit.protocol.client.phases, fedkit.rounds.simulation, fedkit.privacy.report_page\n"
        "print({'opacus', 'dp_accounting'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_orders_that_do_not_converge_are_nobodys_concern(caplog: pytest.LogCaptureFixture) -> None:
    """Of participants that account side by side, too: absl's logger says nothing of it, and is left able to speak."""
    with ThreadPoolExecutor(4) as pool:
        mechanisms = [Mechanism(0.5, 3.278121 + k, 20) for k in range(4)]
        assert all(e > 0 for e in pool.map(lambda m: epsilon_of(m, 1e-3, "RDP"), mechanisms))
    assert "converge" not in caplog.text
    logging.getLogger("absl").warning("something else")
    assert "something else" in caplog.text


@pytest.mark.parametrize("mechanism", [(0.02, 0.8, 200), (1 / 3, 2.0, 77), (1.0, 6.0, 30)])
def test_a_step_accounted_once_gives_the_accountants_own_number(
    mechanism: tuple[float, float, int],
) -> None:
    """To the last bit what dp-accounting says of all the steps together."""
    from dp_accounting import rdp

    with quiet():
        theirs = rdp.RdpAccountant().compose(event_of(Mechanism(*mechanism))).get_epsilon(1e-5)
    assert epsilon_of(Mechanism(*mechanism), 1e-5, "RDP") == theirs
