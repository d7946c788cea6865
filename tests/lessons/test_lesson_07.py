"""Lesson 07: its checks know right from wrong, and what its prose says is so, for more than one seed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedkit as fk
from fedkit.learning.strategies.robust import Median
from fedkit.learning.update import Update
from fedkit.teaching.check.lesson_07 import coordinate_median, proximal_term
from tests.support.run_lesson import Run, run_into, seeds
from tools.course.lesson import Cell

LESSON = "07_strategies.py"
SETS_UP = re.compile(
    r"^(import|from|mnist,|base =|rules =|def (deal|enter|attacked|through_files|proximal|coordinate))",
    re.M,
)
"""Cells that only say what is what; the others run the experiments."""


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The lesson's own functions and settings."""

    def sets_up(cell: Cell) -> bool:
        return "parameters" in cell.tags or SETS_UP.search(cell.source) is not None

    folder = tmp_path_factory.mktemp("lesson")
    return run_into(Run(), LESSON, folder, wanted=sets_up, values=True).names


THREE = (0, 1, 2)
"""The lesson's own seeds, of which it says what it saw; others say how far to believe it."""
Ends = dict[int, dict[str, list[float]]]


@pytest.fixture(scope="module")
def contest(lesson: dict[str, Any]) -> Ends:
    """The accuracies of six strategies by round, for each seed of the lesson; in `make test-all` for ten."""
    entries: dict[str, dict[str, Any]] = {
        "fedavg": {},
        "fedprox": {"mu": 0.1},
        "fedavgm": {"momentum": 0.7},
        "fedadam": {"server_lr": 0.03},
        "scaffold": {},
        "fednova": {},
    }
    return {
        seed: {n: lesson["enter"](n, seed, **more).accuracies for n, more in entries.items()}
        for seed in seeds(*THREE)
    }


def line(contest: Ends, name: str) -> list[float]:
    """What the lesson draws for a strategy: the mean of its three seeds, round by round."""
    return torch.tensor([contest[seed][name] for seed in THREE]).mean(0).tolist()


def most(ahead: list[bool]) -> bool:
    """All of the lesson's three seeds, and all but one or two of ten."""
    return all(ahead[:3]) and sum(ahead) >= 0.8 * len(ahead)


def test_a_tuned_baseline_wins_back_much_of_the_lead(lesson: dict[str, Any]) -> None:
    low, tuned, high = (
        lesson["enter"]("fedavg", 10, rate=r).accuracies[-1] for r in (0.1, 0.3, 1.0)
    )
    rival = lesson["enter"]("fedavgm", 10, rate=0.1, momentum=0.7).accuracies[-1]
    assert rival - low > 0.02
    assert 0.4 * (rival - low) < tuned - low < rival - low
    assert high < 0.2, "guesses"


def test_fedprox_is_behind_with_these_seeds(lesson: dict[str, Any], contest: Ends) -> None:
    assert most([ends["fedprox"][-1] < ends["fedavg"][-1] for ends in contest.values()])
    pairs = list(zip(line(contest, "fedprox"), line(contest, "fedavg"), strict=True))
    assert sum(held < free for held, free in pairs) >= 6, "its line is below in most rounds"
    for seed, ends in contest.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(lesson, "base", lesson["base"].replace(rounds=1))
            held = lesson["enter"]("fedprox", seed, mu=0.1).rounds[0].contributions
            free = lesson["enter"]("fedavg", seed).rounds[0].contributions
        assert sum(p.norm for p in held) < 0.95 * sum(p.norm for p in free), "they drift less"
        weak, strong = (
            lesson["enter"]("fedprox", seed, mu=mu).accuracies[-1] for mu in (0.01, 1.0)
        )
        assert abs(weak - ends["fedavg"][-1]) < 0.02, "hardly any difference"
        assert strong < ends["fedprox"][-1] - 0.03, "quiz 4"


def test_a_memory_is_ahead_with_these_seeds(contest: Ends) -> None:
    for name in ("fedavgm", "fedadam"):
        assert most([ends[name][-1] > ends["fedavg"][-1] for ends in contest.values()])
        pairs = list(zip(line(contest, name), line(contest, "fedavg"), strict=True))
        assert all(mine > theirs for mine, theirs in pairs[2:]), "from the third round on"


def test_scaffold_is_ahead_by_rounds_and_behind_by_bytes(contest: Ends) -> None:
    assert most([ends["scaffold"][-1] > ends["fedavg"][-1] for ends in contest.values()])
    averaged, nova, drift = (line(contest, n)[-1] for n in ("fedavg", "fednova", "scaffold"))
    assert averaged < nova < drift
    for ends in contest.values():
        assert ends["scaffold"][0] == pytest.approx(ends["fedavg"][0], abs=0.005), "starts there"
        assert ends["scaffold"][3] < ends["fedavg"][7] - 0.005, "four rounds against eight"
        assert ends["fedavgm"][7] > ends["scaffold"][3] + 0.02


def test_scaffold_sends_twice_the_bytes(lesson: dict[str, Any], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lesson, "root", tmp_path)
        patch.setitem(lesson, "base", lesson["base"].replace(epoch=1))
        ledgers = [lesson["through_files"](name).ledger() for name in ("fedavg", "scaffold")]
    plain, twice = (sum(e.size for e in led if "_round_2." in e.path) for led in ledgers)
    assert twice == pytest.approx(2 * plain, rel=0.01)
    assert plain == pytest.approx(6 * 409_000, rel=0.01)  # three up, three down


@pytest.mark.parametrize("seed", seeds(0))
def test_where_datasites_are_alike_there_is_little_to_win(
    lesson: dict[str, Any], seed: int
) -> None:
    entries = {"fedavg": {}, "fedprox": {"mu": 0.1}, "fedavgm": {"momentum": 0.7}, "scaffold": {}}
    ends = [lesson["enter"](n, seed, alpha=100.0, **m).accuracies[-1] for n, m in entries.items()]
    assert max(ends) - min(ends) < 0.025


@pytest.mark.parametrize("seed", seeds(0, 2))
def test_who_survives(lesson: dict[str, Any], seed: int) -> None:
    shards = lesson["deal"](seed, alpha=100.0, count=500)

    def end(rule: str, attack: str, hostile: int) -> float:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(lesson, "seed", seed)
            return lesson["attacked"](rule, attack, hostile, shards).accuracies[-1]

    honest, loud = end("mean", "sign flip", 0), "flip and scale"
    assert end("mean", loud, 2) < 0.3, "two of ten are enough"
    flipped, lied = end("mean", "sign flip", 4), end("mean", "label flip", 4)
    assert flipped < honest - 0.1
    assert lied > flipped + 0.01, "label flips do least"
    for rule in ("median", "trimmed mean", "Multi-Krum"):
        assert end(rule, loud, 3) > max(0.6, honest - 0.2), "loses some points, and stands"
    assert end("median", loud, 4) > 0.5
    assert end("trimmed mean", loud, 4) < 0.35
    assert end("Multi-Krum", loud, 4) < 0.55


@pytest.mark.parametrize("seed", seeds(0))
def test_what_robustness_costs(lesson: dict[str, Any], seed: int) -> None:
    rules = {**lesson["rules"], "geometric": {"name": "geometric_median"}}
    ends = {r: lesson["enter"](seed=seed, alpha=0.2, **s).accuracies[-1] for r, s in rules.items()}
    for rule in ("median", "trimmed mean", "Multi-Krum"):
        assert ends[rule] < ends["mean"] - 0.02
    assert ends["mean"] - ends["geometric"] < 0.8 * (ends["mean"] - ends["median"]), "quiz 5"


@pytest.mark.parametrize("seed", seeds(0))
def test_only_the_loud_attack_shows_in_the_norms(lesson: dict[str, Any], seed: int) -> None:
    shards = lesson["deal"](seed, alpha=100.0, count=500)
    norms = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lesson, "base", lesson["base"].replace(rounds=1))
        patch.setitem(lesson, "seed", seed)
        for attack in ("sign flip", "flip and scale", "label flip"):
            record = lesson["attacked"]("mean", attack, 1, shards).rounds[0]
            norms[attack] = [part.norm for part in record.contributions]
    for attack in ("sign flip", "label flip"):
        *honest, hostile = norms[attack]
        assert 0.7 * min(honest) < hostile < 1.4 * max(honest)
    *honest, hostile = norms["flip and scale"]
    assert hostile > 3 * max(honest)


# ------------------------------------------------------------------------------------- the checks
def squares(weights: Any, anchor: Any) -> Any:
    return sum((w - anchor[name]).square().sum() for name, w in weights.items())


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (lambda w, a, mu: mu / 2 * squares(w, a), "right", "pull"),
        (lambda w, a, mu: mu / 2 * squares(w, a).sqrt(), "try again", "not 5"),
        (lambda w, a, mu: mu * squares(w, a), "try again", "twice too much"),
        (lambda w, a, mu: squares(w, a), "try again", "missing"),
        (lambda w, a, mu: mu / 2 * (w["w"] - a["w"]).square().sum(), "try again", "left out"),
        (
            lambda w, a, mu: mu / 2 * sum((v - a[n]).sum() for n, v in w.items()) ** 2,
            "try again",
            "cancel",
        ),
        (lambda w, a, mu: (mu / 2 * squares(w, a)).detach(), "try again", "no gradient"),
        (lambda w, a, mu: (mu / 2 * squares(w, a)).item(), "try again", "keep it a tensor"),
        (lambda w, a, mu: mu / 3 * squares(w, a), "try again", "which is 5"),
        (lambda w, a, mu: ..., "not yet", "squared"),
    ],
)
def test_proximal_term_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = proximal_term(answer)
    assert result.state == state, result.message
    assert says in result.message


def by_the_package(rows: torch.Tensor) -> torch.Tensor:
    updates = [Update(f"p{k}", 1, {"w": row}, 1) for k, row in enumerate(rows)]
    return Median().combine(rows, updates)[0]


def in_place(rows: torch.Tensor) -> torch.Tensor:
    rows.copy_(rows.sort(0).values)
    return (rows[(len(rows) - 1) // 2] + rows[len(rows) // 2]) / 2


def whole_rows(rows: torch.Tensor) -> torch.Tensor:
    return rows[rows.norm(dim=1).argsort()[len(rows) // 2]]


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (by_the_package, "right", "carry it away"),
        (lambda rows: torch.quantile(rows, 0.5, dim=0), "right", "carry it away"),
        (lambda rows: np.median(rows.numpy(), axis=0), "right", "carry it away"),
        (lambda rows: rows.median(dim=0).values, "try again", "one of the two middle"),
        (lambda rows: rows.mean(0), "try again", "the mean"),
        (lambda rows: rows.median(), "try again", "each column"),
        (whole_rows, "try again", "sorted by itself"),
        (in_place, "try again", "have changed"),
        (lambda rows: ..., "not yet", "Sort every column"),
    ],
)
def test_coordinate_median_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = coordinate_median(answer)
    assert result.state == state, result.message
    assert says in result.message


def test_the_lessons_own_answers_are_right(lesson: dict[str, Any]) -> None:
    assert proximal_term(lesson["proximal_term"]).state == "right"
    assert coordinate_median(lesson["coordinate_median"]).state == "right"


@pytest.mark.parametrize("seed", seeds(0, 3))
def test_a_claim_takes_the_model_and_a_cap_takes_it_back(lesson: dict[str, Any], seed: int) -> None:
    *honest, last = lesson["deal"](seed, alpha=100.0, count=500)
    shards, largest = [*honest, fk.flip_labels(last)], max(len(s[1]) for s in (*honest, last))
    assert largest < 70, "all have about fifty"

    def boast(model: object, updates: list[Update]) -> list[Update]:
        return [*updates[:-1], replace(updates[-1], num_samples=999_999_999)]

    ends = {}
    for cap in (None, largest):
        config = lesson["base"].replace(rounds=4, epoch=3, seed=seed, max_samples=cap)
        history = fk.simulate(config, shards, lesson["test"], on_the_way=boast)
        record = history.rounds[-1]
        ends[cap] = record.contributions[-1].weight, record.accuracy, dict(record.capped)
    share, accuracy, told = ends[None]
    assert (share > 0.999, accuracy < 0.15, told) == (True, True, {})
    share, accuracy, told = ends[largest]
    assert (share < 0.13, accuracy > 0.6) == (True, True)
    assert list(told.values()) == [999_999_999]
