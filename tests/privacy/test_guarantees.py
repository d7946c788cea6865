"""What a run promises and what it leaves open, in sentences that always say against whom."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

import fedkit as fk
from fedkit.base.seeds import generator
from fedkit.learning.geometry import flatten
from fedkit.learning.models import load_model
from fedkit.privacy.adversaries import left_open
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.guarantees import guarantees, headline
from fedkit.protocol.approval import approve_all
from fedkit.rounds.strategy import strategy_of
from tests.support.helpers import LINEAR, launched, shard, small
from tests.support.privacy import EXAMPLE, KINDS, SHARES, linear_state, report_of

THREE = {"participants": [f"{name}@example.org" for name in "abc"]}


@pytest.mark.parametrize("kind", KINDS)
def test_no_sentence_says_private_without_against_whom(kind: str) -> None:
    report = report_of(kind)
    sentences = re.split(r"(?<=[.;:])\s|\n|\|", str(report))
    told = [s for s in sentences if re.search(r"priva(?:te|cy)", s, re.IGNORECASE)]
    told = [s for s in told if not s.startswith("Privacy report of")]
    assert told
    assert [s for s in told if "against" not in s] == []


def test_example_level_holds_against_everybody_by_the_accountant(tmp_path: Path) -> None:
    net = launched(tmp_path, dp=EXAMPLE)
    net.run(approve=approve_all)
    first = fk.privacy_report(net).guarantees[0]
    assert first.unit == "example"
    assert first.epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 2.0, 2), 1e-3))
    assert all(who in first.against for who in ("aggregator", "participants", "everybody"))
    assert (
        fk.privacy_report(net).guarantees[1].epsilon is None
    )  # nothing is said about participants


def test_the_largest_epsilon_of_all_participants_is_told() -> None:
    """Few images in a batch size of 8: one step with all of them costs more than many steps with some."""
    config = small(dp=EXAMPLE)
    counts = {"a@example.org": 6, "b@example.org": 200}
    each = [guarantees(config, {"x": count})[0].epsilon for count in counts.values()]
    assert guarantees(config, counts)[0].epsilon == max(e for e in each if e is not None)
    assert guarantees(config, {"x": 5_000})[0].epsilon is None  # delta is not below 1 / 5,000
    assert "1 / 5,000" in guarantees(config, {"x": 5_000})[0].because


def test_a_seed_that_everybody_reads_is_a_rehearsal() -> None:
    assert "rehearsal" in report_of("example").headline
    assert any("seed" in line for line in report_of("example").not_covered)
    assert "rehearsal" not in report_of("secure").headline
    assert not any("seed" in line for line in report_of("secure").not_covered)


def test_an_aggregator_that_adds_the_noise_has_seen_everything() -> None:
    rows = {g.against: g for g in report_of("central").guarantees}
    assert rows["the aggregator"].epsilon == math.inf
    others = rows["the other participants, everybody else"]
    assert others.epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 1.0, 2), 1e-3))
    assert "the aggregator" not in headline(
        small(**KINDS["central"]), report_of("central").guarantees
    )


def test_a_sample_that_is_known_is_no_help() -> None:
    """The list of those asked goes to all: the headline says q = 1, and the smaller number stands beside it."""
    report = report_of("sampled")
    _, known, hidden = report.guarantees
    assert known.epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 1.0, 2), 1e-3))
    assert hidden.epsilon == pytest.approx(epsilon_of(Mechanism(0.5, 1.0, 2), 1e-3))
    assert "participants" in known.against
    assert hidden.against == "somebody outside who sees only the models"
    assert f"epsilon {known.epsilon:.3g} at" in report.headline
    assert f"{hidden.epsilon:.3g} at" not in report.headline


def test_shares_help_against_an_aggregator_that_sees_sums_only() -> None:
    alone = {g.against: g.epsilon for g in report_of("shares", **THREE).guarantees}
    assert alone["the aggregator"] is None
    (whole,) = report_of(
        "shares"
    ).guarantees  # of two, one knows its own: all noise is in each update
    assert "the aggregator" in whole.against
    assert "all of the noise" in whole.because
    (masked,) = report_of("masked shares").guarantees
    assert "the aggregator" in masked.against
    assert masked.epsilon is not None


@pytest.mark.parametrize("kind", ["example", "central", "sampled", "shares", "masked shares"])
def test_every_epsilon_names_its_neighbours_and_has_that_of_replace_one_beside_it(
    kind: str,
) -> None:
    report = report_of(kind)
    held = [row for row in report.guarantees if row.epsilon is not None and row.epsilon < math.inf]
    for row, rate in zip(held, (1.0, 0.5), strict=False):
        noise = 2.0 if kind == "example" else 1.0
        mechanism = Mechanism(rate, noise, 2)
        assert row.replace_one == epsilon_of(mechanism, 1e-3, neighbours="replace-one")
        assert row.epsilon == pytest.approx(epsilon_of(mechanism, 1e-3))
    first = held[0]
    told = f"epsilon {first.epsilon:.3g} at delta 0.001 for zero-out neighbours ({first.replace_one:.3g} for replace-one)"
    assert told in report.headline
    heads = next(heads for title, heads, _ in report.tables() if title.startswith("Against whom"))
    assert "epsilon (zero-out neighbours)" in heads
    assert f"{first.replace_one:.3g} for replace-one neighbours" in str(report)
    assert any("told in the clear: " in line for line in report.not_covered)
    assert any("how long a training takes" in line for line in report.not_covered)


@pytest.mark.parametrize("known", [None, 0, 1, 2])
def test_shares_that_their_makers_know_do_not_count(known: int | None) -> None:
    """Four add noise: what is left when `known` of them take theirs away is what the accountant was told."""
    dp = SHARES | ({} if known is None else {"colluders": known})
    config = small(weighting="equal", dp=dp, participants=[*THREE["participants"], "d@example.org"])
    rows = {row.against: row for row in guarantees(config, {})}
    row, less = rows["the other participants, everybody else"], 1 if known is None else known
    assert row.epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 1.0, 2), 1e-3))
    model, state = load_model(LINEAR), linear_state()
    variance, trainer = 0.0, strategy_of(config)
    for who in config.participants[less:]:
        plain: Any = {"epochs": 1, "learning_rate": 1e-9, "batch_size": 8}
        sent, _ = trainer.trainer(who, 1)(
            model, state, shard([0]), generator=generator(0, who), **plain
        )
        variance += float((flatten(sent).double() - flatten(state).double()).var())
    assert variance == pytest.approx(0.5**2, rel=0.1)  # (sigma C)^2
    told = {0: "nobody uses", 1: "another one's share", 2: "no more than 2 participants"}
    assert told[less] in row.because
    if less:
        more = epsilon_of(Mechanism(1.0, math.sqrt(4 / (4 - less)), 2), 1e-3)
        assert f"epsilon is {more:.3g}" in row.because


def test_masks_alone_bound_nothing() -> None:
    report = report_of("masked")
    assert {g.epsilon for g in report.guarantees} == {math.inf}
    assert "does not bound what their sum tells" in report.headline
    seen = next(row for row in report.adversaries if row.who == "the aggregator")
    assert any("The sum itself" in line for line in seen.not_covered)
    assert "sum" in seen.sees
    assert "loss" not in seen.sees
    assert left_open(small()) != left_open(small(**KINDS["example"]))
