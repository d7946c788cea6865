"""Lesson 06: its checks know right from wrong, and what its prose says is so, for more than one seed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.data.label_skew import deal_dirichlet as dealt
from fedkit.learning.geometry import changes
from fedkit.teaching.check.lesson_06 import agreement, deal_dirichlet
from fedkit.teaching.widgets.skew_lab import SkewLab
from tests.support.run_lesson import Run, run_into
from tools.course.lesson import Cell

LESSON = "06_datasites_differ.py"


def run(folder: Path, seed: int, through_files: bool) -> dict[str, Any]:
    """The solved lesson's names; without pictures, and without its datasites where they are not asked for."""

    def wanted(cell: Cell) -> bool:
        words = {"network", "rise", "guessed", "record"}
        used = {n.id for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Name)}
        return through_files or not (words & used or "fk.record" in cell.source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fk, "show", lambda figure, alt: None)
        options = {"seed": seed, "interactive": False}
        done = run_into(Run(), LESSON, folder, parameters=options, wanted=wanted, values=True)
    return {**done.names, "checks": done.checks}


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The lesson with two seeds; with the first one through files too."""
    return [run(tmp_path_factory.mktemp("lesson"), seed, seed == 0) for seed in (0, 1)]


def test_the_solutions_are_right(lessons: list[dict[str, Any]]) -> None:
    assert lessons[0]["checks"] == {"deal_dirichlet": "right", "agreement": "right"}


def test_skew_costs_rounds_and_accuracy(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        even, little, much = (run.accuracies for run in lesson["runs"].values())
        assert even[-1] == pytest.approx(0.87, abs=0.02)
        assert even[-1] - little[-1] < 0.03
        assert even[-1] - much[-1] > 0.03, "several points after ten rounds"
        assert sum(even[:3]) / 3 - sum(much[:3]) / 3 > 0.12, "far more after the first ones"
        values = [fk.heterogeneity(lesson["deal"](alpha)) for alpha in (100.0, 1.0, 0.1)]
        assert values[0] < 0.1 < values[1] < 0.45 < values[2]


def test_updates_of_skewed_shards_pull_apart(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        even, skewed = (fk.agreement(*first) for first in lesson["rounds_of"].values())
        assert even == pytest.approx(0.8, abs=0.07), "about four fifths"
        assert skewed == pytest.approx(0.53, abs=0.07), "little more than a half"


def test_meeting_less_often_is_free_for_even_shards_only(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        even, skewed = list(lesson["ends"].values())[:3], list(lesson["ends"].values())[3:]
        assert max(even) - min(even) < 0.07
        assert skewed[0] > skewed[1] + 0.02
        assert skewed[1] > skewed[2] + 0.02
        assert skewed[0] - skewed[2] > 0.12


def test_right_at_home_lost_abroad(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        home, abroad, everybody = zip(*lesson["places"].values(), strict=True)
        assert sum(home) / len(home) > 0.95
        assert min(home) > 0.85
        assert max(abroad) <= 0.2
        assert min(abroad) > 0.16
        assert all(own - theirs > 0.02 for own, theirs in zip(home, everybody, strict=True))
        assert float(lesson["everybody"].mean()) - min(everybody) > 0.08, "worse than the average"


def test_what_the_aggregator_saw(lessons: list[dict[str, Any]]) -> None:
    lesson = lessons[0]
    assert lesson["on_disk"].rounds == lesson["in_memory"].rounds
    assert lesson["on_disk"].done
    assert lesson["right"] > 0.75, "most of the table"
    assert lesson["top"] >= 9
    sizes = {
        e.size for e in lesson["network"].ledger() if "trained_model" in e.path and ".pt" in e.path
    }
    assert len(sizes) == 1, "an update has the size of the model"


def test_quiz(lessons: list[dict[str, Any]]) -> None:
    lesson = lessons[0]
    images, labels, people = lesson["pool"], lesson["pool_labels"], lesson["people"]
    two = fk.split_shards(labels, 10, generator=fk.generator(0, "two"))
    assert fk.heterogeneity(fk.take(images, labels, two)) > 0.6
    assert {len(labels[part].unique()) for part in two} <= {2, 3, 4}
    turned = fk.shift_features(lesson["even"], "rotation", generator=fk.generator(0, "turn"))
    assert fk.heterogeneity(turned) == fk.heterogeneity(lesson["even"])
    shifted = fk.simulate(lesson["config"], turned, lesson["test"]).accuracies[-1]
    assert shifted < lesson["runs"]["alpha 100"].accuracies[-1] - 0.005
    one = torch.arange(10).repeat_interleave(100)
    own = [(torch.zeros(100, 1, 28, 28), one[part]) for part in fk.split_groups(one)]
    assert fk.heterogeneity(own) == pytest.approx(0.9)
    assert len(people) == 10


# ------------------------------------------------------------------------------------- the panel
def test_the_panel_does_what_the_cell_does(lessons: list[dict[str, Any]]) -> None:
    lesson = lessons[0]
    config = lesson["config"].replace(rounds=1)
    live = SkewLab(lesson["deal"], lesson["test"], config)
    assert "no run yet" in live.text()
    assert "No run yet" in live.html()
    live.alpha.value, live.epochs.value = 0.5, 1
    live.go.click()
    assert list(live.runs) == [(0.5, 1)]
    assert "heterogeneity" in live.status.value
    assert live.body.value.count("<img") == 2
    batch = SkewLab(lesson["deal"], lesson["test"], config, interactive=False)
    history = batch.run(0.5, 1)
    assert history.rounds == live.runs[0.5, 1].rounds
    assert f"{history.accuracies[-1]:.1%}" in batch.text()
    assert "application/vnd.jupyter.widget-view+json" not in batch._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in live._repr_mimebundle_()
    assert batch.html().count("<img") == 2
    live.clear.click()
    assert live.runs == {}
    live.close()


def test_the_panel_says_what_is_impossible(lessons: list[dict[str, Any]]) -> None:
    def impossible(alpha: float) -> list[fk.Shard]:
        raise fk.FedkitError("can't be dealt out", field="alpha", remedy="use a larger one")

    lab = SkewLab(impossible, lessons[0]["test"], lessons[0]["config"])
    lab.go.click()
    assert "use a larger one" in lab.status.value
    assert not lab.go.disabled
    lab.close()


# ------------------------------------------------------------------------------------- the checks
def same_shares(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    shares = rng.dirichlet([alpha] * participants)
    parts: list[list[torch.Tensor]] = [[] for _ in range(participants)]
    for digit in range(10):
        mine = (labels == digit).nonzero().flatten()
        cuts = [round(end * len(mine)) for end in shares.cumsum().tolist()[:-1]]
        for part, piece in zip(parts, mine.tensor_split(cuts), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def evenly(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    return list(torch.from_numpy(rng.permutation(len(labels))).tensor_split(participants))


def loses_some(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    return [part[1:] for part in dealt(labels, participants, alpha, rng)]


def twice(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    return [torch.cat([part, part]) for part in dealt(labels, participants, alpha, rng)]


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (dealt, "right", "shares of its own"),
        (same_shares, "try again", "same shares"),
        (evenly, "try again", "nobody does"),
        (loses_some, "try again", "only"),
        (twice, "try again", "twice"),
        (lambda *a: dealt(*a)[:-1], "try again", "a part each"),
        (lambda labels, k, alpha, rng: dealt(labels, k, 0.1, rng), "try again", "very large alpha"),
        (lambda *a: 3, "try again", "list"),
        (lambda *a: ..., "not yet", "cut"),
    ],
)
def test_deal_dirichlet_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = deal_dirichlet(answer)
    assert result.state == state, result.message
    assert says in result.message


def lengths(model: Any, updates: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return changes(model, updates), torch.tensor(fk.mixing_weights(updates)).double()


def upside_down(model: Any, updates: Any) -> float:
    rows, shares = lengths(model, updates)
    return float(shares @ rows.norm(dim=1)) / max(float((shares @ rows).norm()), 1e-12)


def without_shares(model: Any, updates: Any) -> float:
    rows, _ = lengths(model, updates)
    return float(rows.mean(0).norm() / rows.norm(dim=1).mean())


def inverse(model: Any, updates: Any) -> float:
    left = fk.agreement(model, updates)
    return 1 / left if 0.6 < left < 0.8 else left


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (fk.agreement, "right", "cancel"),
        (without_shares, "try again", "Do your shares count"),
        (inverse, "try again", "upside down"),
        (upside_down, "try again", "leave 0"),
        (lambda model, updates: 1.0, "try again", "leave 0"),
        (lambda model, updates: 0.0, "try again", "all of it is left"),
        (lambda model, updates: ..., "not yet", "lengths"),
    ],
)
def test_agreement_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = agreement(answer)
    assert result.state == state, result.message
    assert says in result.message
