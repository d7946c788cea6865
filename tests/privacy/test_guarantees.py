"""The privacy report: true about what was promised and what was not, in sentences that always say against whom."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.federation.report_facts import privacy_report
from fedkit.privacy.attacks.roc import attack_result
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.guarantees import guarantees, headline, left_open, observers
from fedkit.privacy.report_page import PrivacyReport
from fedkit.protocol.approval import approve_all
from fedkit.rounds.history import Contribution, History, RoundRecord
from tests.support.helpers import LINEAR, held_out, launched, shard, small

EXAMPLE = {"unit": "example", "noise_multiplier": 2.0, "delta": 1e-3, "clip": 0.5}
PARTICIPANT = {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5}
SHARES = PARTICIPANT | {"noise_at": "participants"}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "masked": {"secure_aggregation": {"threshold": 2}},
    "example": {"dp": EXAMPLE},
    "secure": {"dp": EXAMPLE | {"secure_noise": True}},
    "central": {"dp": PARTICIPANT, "weighting": "equal"},
    "sampled": {"dp": PARTICIPANT, "weighting": "equal", "participants_per_round": 1},
    "shares": {"dp": SHARES, "weighting": "equal"},
    "masked shares": {"dp": SHARES, "weighting": "equal", "secure_aggregation": {"threshold": 2}},
}


def of(kind: str, **changes: Any) -> PrivacyReport:
    config = small(**KINDS[kind], **changes)
    parts = tuple(Contribution(e, 0.5, 6, None, 0.1, "") for e in config.participants)
    rounds = tuple(RoundRecord(n, parts) for n in (1, 2))
    return privacy_report(History(config.project_name, rounds, config.rounds), config)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> PrivacyReport:
    """The report of an ordinary run between datasites."""
    net = launched(tmp_path_factory.mktemp("net"))
    assert net.run(approve=approve_all).done
    return fk.privacy_report(net)


# ------------------------------------------------------------------------------------ the tutorial's
def test_the_tutorials_run_has_no_formal_privacy_and_says_why(tutorial: PrivacyReport) -> None:
    assert tutorial.headline.startswith("There is no formal privacy against anybody")
    assert {g.unit for g in tutorial.guarantees} == {"example", "participant"}
    for promise in tutorial.guarantees:
        assert promise.epsilon == math.inf
        assert "the aggregator" in promise.against
        assert "no noise" in promise.because
    text = str(tutorial)
    assert "infinite" in text
    assert "notebook 08" in text
    assert "none was run" in text


def test_what_crossed_is_what_the_ledger_says(tutorial: PrivacyReport) -> None:
    assert tutorial.crossed is not None
    crossed = {kind: (files, size) for kind, files, size in tutorial.crossed}
    assert crossed["training images"] == (0, 0)
    assert crossed["model updates"][0] == 4  # two participants, two rounds
    assert tutorial.rounds == 2


def test_one_projects_report_has_no_other_projects_files(tmp_path: Path) -> None:
    net = launched(tmp_path)
    net.run(approve=approve_all)
    net.launch(small(project_name="second", rounds=1), LINEAR)
    net.run("second", approve=approve_all)
    found = {}
    for name in ("MNIST_FL", "second"):
        crossed = fk.privacy_report(net, project=name).crossed
        assert crossed is not None
        found[name] = {kind: files for kind, files, _ in crossed}["model updates"]
    assert found == {"MNIST_FL": 4, "second": 2}


def test_json_and_pages_hold_the_same(tutorial: PrivacyReport, tmp_path: Path) -> None:
    tutorial.save(tmp_path)
    values = json.loads((tmp_path / "privacy_report.json").read_text())
    assert values["headline"] == tutorial.headline
    assert {g["epsilon"] for g in values["guarantees"]} == {"infinite"}
    page = (tmp_path / "privacy_report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert tutorial._repr_html_() in page
    assert page.count("<table>") == 5


def test_names_are_no_markup() -> None:
    report = of("none", project_name="a-b")
    evil = PrivacyReport("<script>", report.headline, 0, (), None, (), (), ("<b>",))
    assert "<script>" not in evil.to_html()
    assert "<b>" not in evil.to_html()


# ------------------------------------------------------------------------------------- every promise
@pytest.mark.parametrize("kind", KINDS)
def test_no_sentence_says_private_without_against_whom(kind: str) -> None:
    report = of(kind)
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
    assert "rehearsal" in of("example").headline
    assert any("seed" in line for line in of("example").not_covered)
    assert "rehearsal" not in of("secure").headline
    assert not any("seed" in line for line in of("secure").not_covered)


def test_an_aggregator_that_adds_the_noise_has_seen_everything() -> None:
    rows = {g.against: g for g in of("central").guarantees}
    assert rows["the aggregator"].epsilon == math.inf
    others = rows["the other participants, everybody else"]
    assert others.epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 1.0, 2), 1e-3))
    assert "the aggregator" not in headline(small(**KINDS["central"]), of("central").guarantees)


def test_a_sample_that_is_known_is_no_help() -> None:
    hidden, known = (g.epsilon for g in of("sampled").guarantees[1:])
    assert hidden == pytest.approx(epsilon_of(Mechanism(0.5, 1.0, 2), 1e-3))
    assert known == pytest.approx(epsilon_of(Mechanism(1.0, 1.0, 2), 1e-3))


def test_shares_help_against_an_aggregator_that_sees_sums_only() -> None:
    alone = {g.against: g.epsilon for g in of("shares").guarantees}
    assert alone["the aggregator"] is None
    (masked,) = of("masked shares").guarantees
    assert "the aggregator" in masked.against
    assert masked.epsilon is not None


def test_masks_alone_bound_nothing() -> None:
    report = of("masked")
    assert {g.epsilon for g in report.guarantees} == {math.inf}
    assert "does not bound what their sum tells" in report.headline
    assert any("the sum itself" in line for line in report.not_covered)
    seen = next(o for o in observers(small(**KINDS["masked"])) if o.who == "the aggregator")
    assert "sum" in seen.sees
    assert "loss" not in seen.sees
    assert left_open(small()) != left_open(small(**KINDS["masked"]))


# ------------------------------------------------------------------------------------------ attacks
def test_an_attacks_interval_is_delongs() -> None:
    """Against the binormal case: the interval covers the true AUC about as often as it says."""
    draw, covered = torch.Generator().manual_seed(0), 0
    truth = 0.5 * (1 + math.erf(1 / 2))  # AUC of N(1, 1) against N(0, 1)
    for _ in range(200):
        inside, outside = torch.randn(60, generator=draw) + 1, torch.randn(40, generator=draw)
        found = attack_result("a", "b", inside, outside)
        assert found.low <= found.success <= found.high
        covered += found.low <= truth <= found.high
    assert 0.9 * 200 <= covered <= 199
    assert found.is_better_than_guessing


def test_attacks_are_told() -> None:
    config = small()
    result = attack_result("row space", "one update", torch.tensor([2.0, 3.0]), torch.zeros(2))
    history = History(config.project_name, (), 2)
    report = privacy_report(history, config, attacks=[result])
    assert "row space | one update" in str(report)
    assert "1.000" in report.to_html()
    with pytest.raises(FedkitError):
        attack_result("a", "b", torch.zeros(1), torch.zeros(5))
    with pytest.raises(FedkitError):
        privacy_report(history)


def test_a_simulation_has_a_report_too() -> None:
    config = small(dp=EXAMPLE)
    history = fk.simulate(config, [shard([0, 1]), shard([2, 3])], held_out(), model=LINEAR)
    report = fk.privacy_report(history, config)
    assert report.crossed is None
    assert report.guarantees[0].epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 2.0, 2), 1e-3))
