"""What a report is made of: what crossed as the ledger has it, one project's files, attacks, a simulation."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
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
from tests.support.helpers import ALICE, BOB, CAROL, LINEAR, held_out, launched, shard, small
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
    assert "that says nothing of what one would find" in text


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
    jsonschema.validate(values, PrivacyReport.schema())
    held = [holds for row in values["adversaries"] for holds in row["holds"]]
    assert {holds["epsilon"] for holds in held} == {"infinite"}
    assert json.loads((tmp_path / "privacy_report.schema.json").read_text()) == tutorial.schema()
    page = (tmp_path / "privacy_report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert tutorial._repr_html_() in page
    assert page.count("<table>") == 3


# ------------------------------------------------------------------------------------------ attacks
def test_attacks_are_told() -> None:
    config = small()
    result = attack_result("row space", "one update", torch.tensor([2.0, 3.0]), torch.zeros(2))
    history = History(config.project_name, (), 2)
    report = privacy_report(history, config, attacks=[result])
    assert "row space on one update" in str(report)
    assert "1.000" in report.to_html()
    with pytest.raises(FedkitError):
        attack_result("a", "b", torch.zeros(1), torch.zeros(5))
    with pytest.raises(FedkitError):
        privacy_report(history)
    with pytest.raises(FedkitError, match="none of the report's adversaries"):
        privacy_report(history, config, attacks=[replace(result, by="Mallory")])


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
    replaced = epsilon_of(Mechanism(1.0, 2.0, 4), 1e-3, neighbours="replace-one")
    assert after.guarantees[0].replace_one == pytest.approx(replaced)
    assert f"epsilon {really:.3g} at" in after.headline
    assert "all 2 rounds and 2 taken back and trained anew" in after.guarantees[0].because
    assert (after.rounds, after.planned, after.again) == (2, 2, 2)
    assert after.guarantees[0].so_far == pytest.approx(really)


def test_what_the_rounds_so_far_have_spent_stands_beside_the_promise(tmp_path: Path) -> None:
    net = launched(tmp_path, dp=EXAMPLE | {"secure_noise": True})
    net.run(approve=approve_all, until_round=1)
    row = fk.privacy_report(net).guarantees[0]
    assert row.so_far == pytest.approx(epsilon_of(Mechanism(1.0, 2.0, 1), 1e-3))
    assert row.epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 2.0, 2), 1e-3))
    rewind(net, 0)
    net.run(until_round=1)
    row = fk.privacy_report(net).guarantees[0]
    assert row.so_far == pytest.approx(epsilon_of(Mechanism(1.0, 2.0, 2), 1e-3))
    assert row.epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 2.0, 3), 1e-3))


def test_under_masks_the_owners_accounts_know_what_was_spent(tmp_path: Path) -> None:
    """Nobody tells how many images there are, and epsilon hangs on that."""
    masks = {"secure_aggregation": {"threshold": 2}, "participants": [ALICE, BOB, CAROL]}
    net = launched(tmp_path, dp=EXAMPLE, **masks)
    net.run(approve=approve_all)
    row = fk.privacy_report(net).guarantees[0]
    assert row.epsilon == pytest.approx(epsilon_of(Mechanism(1.0, 2.0, 2), 1e-3))
    assert "by the participants' own accounts" in row.because


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
