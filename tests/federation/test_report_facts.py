"""What a report is made of: what crossed as the ledger has it, one project's files, attacks, a simulation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.federation.report_facts import privacy_report
from fedkit.federation.rewind import rewind
from fedkit.privacy.attacks.roc import attack_result
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.report_page import PrivacyReport
from fedkit.protocol.approval import approve_all
from fedkit.rounds.history import History
from tests.support.helpers import LINEAR, held_out, launched, shard, small
from tests.support.privacy import EXAMPLE


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


# ------------------------------------------------------------------------------------------ attacks
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


def test_a_round_that_was_taken_back_counts_each_time(tmp_path: Path) -> None:
    """The number on the page is that of the owners' accounts, and not that of a run without the rewind."""
    net = launched(tmp_path, dp=EXAMPLE | {"secure_noise": True})
    net.run(approve=approve_all)
    before = fk.privacy_report(net)
    promise = epsilon_of(Mechanism(1.0, 2.0, 2), 1e-3)
    assert before.guarantees[0].epsilon == pytest.approx(promise)
    assert "taken back" not in before.headline + before.guarantees[0].because
    rewind(net, 0)
    assert net.run().done
    after = fk.privacy_report(net)
    really = epsilon_of(Mechanism(1.0, 2.0, 4), 1e-3)
    assert after.guarantees[0].epsilon == pytest.approx(really)
    assert f"epsilon {really:.3g} at" in after.headline
    assert f"not the {promise:.3g} of the config" in after.guarantees[0].because


def test_what_masks_leave_open_is_said_where_there_are_masks(tmp_path: Path) -> None:
    """In the clear: no number of images of one participant, which nobody tells under masks. And whose keys these are."""
    plain, secure = (
        launched(tmp_path / "plain", rounds=1),
        launched(tmp_path / "secure", rounds=1, secure_aggregation={"threshold": 2}),
    )
    told = "Under the masks these go in the clear: names, who was there"
    for net, masked in ((plain, False), (secure, True)):
        assert net.run(approve=approve_all).done
        lines = fk.privacy_report(net).not_covered
        assert any(line.startswith(told) for line in lines) == masked
        assert (
            any("first masked round" in line and "fedkit keys" in line for line in lines) == masked
        )
    counts = [part.num_samples for r in secure.history() for part in r.contributions]
    assert set(counts) == {None}
    assert "sum_of_weights" in secure.history().rounds[0].diagnostics
