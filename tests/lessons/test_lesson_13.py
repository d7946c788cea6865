"""Lesson 13: its solution meets the brief with a margin, its checks know designs that don't, its cards hold facts only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedkit as fk
from fedkit.privacy.guarantees import REHEARSAL
from fedkit.teaching.cards import (
    BY_HAND,
    OPEN,
    OWN_WORDS,
    Card,
    Fact,
    model_card,
    privacy_card,
)
from fedkit.teaching.check import lesson_13 as asked
from tests.support import ROOT
from tests.support.run_lesson import Run, run_into

LESSON = "13_capstone.py"
MARGIN = 0.01  # two patients of the 171 who are held out


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The solved lesson's names, without pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fk, "show", lambda figure, alt: None)
        done = run_into(Run(), LESSON, tmp_path_factory.mktemp("lesson"), values=True)
    return {**done.names, "checks": done.checks}


def test_the_solution_is_right_for_all_five(lesson: dict[str, Any]) -> None:
    assert lesson["checks"] == dict.fromkeys(
        (
            "design_budget",
            "design_promise",
            "design_under_attack",
            "design_with_failures",
            "design_held_out",
        ),
        "right",
    )
    assert lesson["history"].done


def test_what_the_prose_says(lesson: dict[str, Any]) -> None:
    assert sum(patients for patients, _ in asked.HOSPITALS.values()) == 569
    assert sum(ill for _, ill in asked.HOSPITALS.values()) == 212
    assert asked.models_cost(lesson["design"]) == 2 * 10 * 8 * 1_893
    sizes = [len(labels) for _, labels in lesson["shards"].values()]
    assert (min(sizes), max(sizes), len(lesson["test"][1])) == (34, 77, 171)
    assert min(lesson["quiet"].metrics["balanced_accuracy"]) > 0.9
    assert max(lesson["loud"].metrics["balanced_accuracy"]) < 0.2, "far below 0.5"


@pytest.mark.slow
def test_run_all_passes_with_every_exercise_open(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fk, "show", lambda figure, alt: None)
        done = run_into(Run(), LESSON, tmp_path, edition="learner", values=True)
    assert set(done.checks.values()) == {"not yet"}
    assert done["history"].done
    assert len(done.checks) == 5


MANY = [pytest.param(seed, marks=pytest.mark.slow) for seed in (502, 503, 504, 505)]


@pytest.mark.parametrize("seed", [501, *MANY])
def test_the_solution_meets_the_brief_with_a_margin(lesson: dict[str, Any], seed: int) -> None:
    """Other seeds than the checks', each with one hospital hostile and with one gone."""
    design, names = lesson["design"], list(asked.HOSPITALS)
    assert asked.models_cost(design) <= 0.8 * asked.BRIEF["bytes"]
    who = f"{names[seed % len(names)]}@example.org"
    scaled = fk.poisoned([who], "scaled", -10.0)
    runs = {
        "accuracy": asked.trained(design, seed),
        "attacked": min(
            asked.trained(design, seed, scaled),
            asked.trained(design, seed, liar=who),
            asked.trained(
                design, seed, lambda _, updates: [u for u in updates if u.participant != who]
            ),
            key=lambda history: history.metrics["balanced_accuracy"][-1],
        ),
    }
    for name, history in runs.items():
        assert history.metrics["balanced_accuracy"][-1] >= asked.BRIEF[name] + MARGIN, (name, who)


# ------------------------------------------------------------------------------------- the checks
TRAINING = {"rounds": 10, "epoch": 1, "batch_size": 32, "learning_rate": 0.5}
PROMISE = {"unit": "example", "epsilon": 2.0, "delta": 1e-3, "clip": 1.0}


@pytest.mark.parametrize(
    ("training", "state", "says"),
    [
        ({**TRAINING, "participants_per_round": 6, "rounds": 15}, "right", "340,740 bytes"),
        ({...}, "not yet", "Four keys"),
        ({**TRAINING, "rounds": ...}, "not yet", "Four keys"),
        ({**TRAINING, "rounds": 16}, "try again", "15 evenings"),
        ({**TRAINING, "rounds": 15}, "try again", "454,320 bytes"),
        ({k: v for k, v in TRAINING.items() if k != "epoch"}, "try again", "epoch"),
        ({**TRAINING, "epochs": 3}, "try again", "'epochs'"),
        ({**TRAINING, "learning_rate": -1}, "try again", "is refused"),
        (5, "try again", "dict"),
        (
            {**TRAINING, "rounds": np.int64(1), "learning_rate": torch.tensor(0.5)},
            "right",
            "1 round and",
        ),
        ({**TRAINING, "epoch": 100_000}, "try again", "21,000,000 training steps"),
    ],
)
def test_a_budget(training: Any, state: str, says: str) -> None:
    result = asked.design_budget(training)
    assert (result.state, says in result.message) == (state, True), result.message


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({}, "right", "Epsilon 2 at delta 0.001 against the aggregator"),
        ({"epsilon": 4.0}, "try again", "has epsilon 4 for a patient"),
        pytest.param({"delta": 0.005}, "try again", "delta", marks=pytest.mark.slow),
        ({"unit": "participant"}, "try again", "The unit is a participant"),
        ({"clip": 0}, "try again", "is refused"),
        ({"sigma": 1}, "try again", "'sigma'"),
        ({"delta": 0.9}, "try again", "Your delta of 0.9 is larger"),
        ({"epsilon": 1e9}, "try again", "promises too little"),
        ({}, "right", "This is a rehearsal"),
    ],
)
def test_a_promise(changes: dict[str, Any], state: str, says: str) -> None:
    result = asked.design_promise(TRAINING, PROMISE | changes)
    assert (result.state, says in result.message) == (state, True), result.message


def test_a_run_that_stops_is_told_with_its_reason() -> None:
    short, rule = {**TRAINING, "rounds": 1}, {"strategy": {"name": "krum", "hostile": 5}}
    result = asked.design_held_out(short, PROMISE, rule, {"min_participants": 7})
    assert result.state == "try again"
    assert "With seed 201 the run stops: strategy: needs 13 updates" in result.message


@pytest.mark.slow
def test_a_mean_is_carried_off_and_noise_can_drown_it_all() -> None:
    plain = {**TRAINING, "rounds": 2}
    result = asked.design_under_attack(plain, PROMISE, {"strategy": {"name": "fedavg"}})
    assert result.state == "try again"
    assert "Where north sends ten times its change" in result.message
    drowned = asked.design_held_out(
        plain,
        {**PROMISE, "epsilon": 0.01},
        {"strategy": {"name": "median"}},
        {"min_participants": 7},
    )
    assert "On three seeds of its own" in drowned.message


@pytest.mark.parametrize(
    ("patience", "says"),
    [
        ({}, "waits for 8 of 8"),
        ({"min_participants": 8}, "waits for 8 of 8"),
        ({"min_participants": 3}, "minority"),
    ],
)
def test_a_quorum(patience: dict[str, Any], says: str) -> None:
    result = asked.design_with_failures(TRAINING, PROMISE, {}, patience)
    assert (result.state, says in result.message) == ("try again", True), result.message


# -------------------------------------------------------------------------------------- the cards
def test_the_cards_hold_what_the_records_hold(lesson: dict[str, Any]) -> None:
    card, history = lesson["card"], lesson["history"]
    facts = {heading: {fact.text: fact.source for fact in told} for heading, told in card.sections}
    accuracy = history.metrics["balanced_accuracy"]
    last, best = accuracy[-1], max(accuracy)
    told = f"balanced_accuracy: {last:.4f} after the last round that was evaluated; best of all rounds {best:.4f}."
    assert facts["Quantitative analyses"][told] == "history"
    assert "398 samples at 8 participants" in next(iter(facts["Training data"]))
    assert facts["Intended use"] == {"An exercise. Not for patients.": OWN_WORDS}
    assert any("this run was a rehearsal" in text for text in facts["Caveats and recommendations"])
    sources = {source for told in facts.values() for source in told.values()}
    assert sources == {"config", "config: task", "history", "privacy report", OWN_WORDS}
    shield = lesson["shield"].to_markdown()
    assert "Against the aggregator" in shield
    assert "For a sample: epsilon 2 at delta 0.001." in shield
    updates = sum(
        "trained_model" in e.path and e.path.endswith(".pt") for e in lesson["network"].ledger()
    )
    assert re.search(rf"model updates: {updates} files", shield)
    assert (lesson["place"] / "model_card.md").read_text("utf-8") == card.to_markdown()


def test_a_section_that_no_record_fills_is_left_open_and_none_may_be_overwritten(
    lesson: dict[str, Any],
) -> None:
    config = lesson["design"].replace(rounds=1, dp=None)
    history = asked.trained(config, 7)
    card = model_card(history, config)
    assert OPEN in card.to_markdown()
    assert OPEN in card.to_html()
    with pytest.raises(fk.FedkitError, match="is filled from records"):
        model_card(history, config, words={"Metrics": "100 %"})
    with pytest.raises(fk.FedkitError, match="config"):
        model_card(history)
    sharp = model_card(history, config, words={BY_HAND[0]: "<script>*x*</script>"})
    assert "<script>" not in sharp.to_html() + sharp.to_markdown().replace("\\<", "")
    assert (
        "Nothing: the run was simulated"
        in privacy_card(fk.privacy_report(history, config)).to_markdown()
    )


def test_no_words_make_a_heading_or_a_record_of_their_own_on_a_card() -> None:
    told = (
        "ok\n\nMetrics\n=====\n\n* accuracy: 1.0 *(history)* ![i](http://e/x.png) &lt;b&gt; \u202e"
    )
    card = Card("A <b>*x*</b>", (("Intended use", (Fact(told, OWN_WORDS),)),))
    lines = card.to_markdown().splitlines()
    assert len(lines) == 5
    assert lines[0] == r"# A \<b\>\*x\*\</b\>"
    assert r"\*(history)\*" in lines[-1]
    assert lines[-1].endswith("*(author)*")
    assert r"!\[i\]" in lines[-1]
    assert r"\\u202e" in lines[-1]
    assert r"\&lt;" in lines[-1]
    assert "<b>" not in card.to_html()


@pytest.mark.parametrize("secure", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_epsilon_of_a_rehearsal_never_stands_without_that_word(
    lesson: dict[str, Any], secure: bool
) -> None:
    shield = lesson["shield"]
    if secure:
        config = asked.configured(
            {**TRAINING, "rounds": 1}, {"dp": {**PROMISE, "secure_noise": True}}
        )
        shield = privacy_card(fk.privacy_report(asked.trained(config, 7), config))
    told = 0
    for heading, facts in shield.sections:
        texts = [fact.text for fact in facts]
        if any(re.match(r"For a \w+: epsilon \d", text) for text in texts):
            assert (REHEARSAL in texts) is not secure, heading
            told += 1
    assert told


def test_a_model_without_finite_numbers_is_judged_all_the_same() -> None:
    config = asked.configured({**TRAINING, "rounds": 1, "learning_rate": 1e38})
    assert "balanced_accuracy" in asked.trained(config, 7).metrics


def test_the_teacher_has_a_rubric() -> None:
    text = (ROOT / "notebooks" / "teaching" / "13.md").read_text("utf-8")
    for name in lesson_checks():
        assert name in text


def lesson_checks() -> list[str]:
    source = Path(ROOT / "notebooks" / "src" / LESSON).read_text("utf-8")
    return re.findall(r"fk\.check\.(\w+)", source)
