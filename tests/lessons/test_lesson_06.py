"""Lesson 06: its checks know right from wrong, and what its prose says is so, for more than one seed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedkit as fk
from fedkit.data.label_skew import deal_dirichlet as dealt
from fedkit.learning.geometry import changes
from fedkit.teaching.check.lesson_06 import agreement, deal_dirichlet
from fedkit.teaching.widgets.skew_lab import SkewLab
from tests.support.mutations import EXAMPLES
from tests.support.run_lesson import Run, run_into, seeds
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
    """The lesson with its own seed, through files too; in `make test-all` with ten, all through files."""
    chosen = seeds(0)
    whole = chosen if len(chosen) > 2 else [0]
    return [run(tmp_path_factory.mktemp("lesson"), seed, seed in whole) for seed in chosen]


def test_the_solutions_are_right(lessons: list[dict[str, Any]]) -> None:
    assert lessons[0]["checks"] == {"deal_dirichlet": "right", "agreement": "right"}


def test_skew_costs_rounds_and_accuracy(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        even, little, much = (run.accuracies for run in lesson["runs"].values())
        assert even[-1] == pytest.approx(0.87, abs=0.02)
        assert even[-1] - little[-1] < 0.03
        assert even[-1] - much[-1] > 0.03, "several points after ten rounds"
        assert sum(even[:3]) / 3 - sum(much[:3]) / 3 > even[-1] - much[-1] + 0.02, (
            "the curve is late"
        )
        values = [fk.heterogeneity(lesson["deal"](alpha)) for alpha in (100.0, 1.0, 0.1)]
        assert values[0] < 0.1 < values[1] < 0.45 < values[2]


def test_a_small_alpha_gives_nearly_everything_to_a_few(lessons: list[dict[str, Any]]) -> None:
    draws = -np.sort(-np.random.default_rng(0).dirichlet([0.1] * 10, size=1000))
    assert draws[:, :3].sum(1).mean() > 0.9
    for lesson in lessons:
        counts = fk.label_counts(lesson["skewed"]).double()
        sizes = counts.sum(1)
        assert sizes.max() > 4 * sizes.min(), "bars of very different lengths"
        few = counts.sort(1, descending=True).values[:, :4].sum(1)
        assert (few > 0.6 * sizes).all(), "each mostly of a few digits"
        assert 0.4 < float((counts == 0).double().mean()) < 0.7, "about half of the cells are empty"
        most = counts.flatten().sort(descending=True).values
        assert most[:20].sum() > 0.8 * most.sum(), "a fifth of the cells holds most images"


def test_updates_of_skewed_shards_pull_apart(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        even, skewed = (fk.agreement(*first) for first in lesson["rounds_of"].values())
        assert even == pytest.approx(0.8, abs=0.05), "about four fifths"
        assert skewed == pytest.approx(0.53, abs=0.06), "about a half"
        even, skewed = (leaning(*first) for first in lesson["rounds_of"].values())
        assert min(even) > 0.55, "all lean the same way"
        assert sum(skewed) / len(skewed) < 0.6, "they fan out"
        assert min(skewed) < 0.45


def leaning(model: Any, updates: Any) -> list[float]:
    """The cosine of each change with the mean change."""
    rows, shares = changes(model, updates), torch.tensor(fk.mixing_weights(updates)).double()
    return torch.nn.functional.cosine_similarity(rows, (shares @ rows)[None]).tolist()


def test_a_batch_of_a_single_image_makes_an_arrow_stick_out(lessons: list[dict[str, Any]]) -> None:
    lesson = lessons[0]
    (single,) = [k for k, (_, labels) in enumerate(lesson["even"]) if len(labels) % 32 == 1]
    cosines = leaning(*lesson["rounds_of"]["alpha 100"])
    assert cosines.index(min(cosines)) == single


def test_meeting_less_often_is_free_for_even_shards_only(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        even, skewed = list(lesson["ends"].values())[:3], list(lesson["ends"].values())[3:]
        assert max(even) - min(even) < 0.07, "within a few points"
        assert even[2] > even[0] - 0.045, "meeting once is nearly as good"
        assert skewed[0] > skewed[1] + 0.02
        assert skewed[1] > skewed[2] + 0.02
        assert skewed[0] - skewed[2] > 0.12


def test_right_at_home_lost_abroad(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        home, abroad, everybody = zip(*lesson["places"].values(), strict=True)
        assert sum(home) / len(home) > 0.95
        assert min(home) > 0.85
        assert sum(own > 0.94 for own in home) > len(home) / 2, "near 100 % at most homes"
        assert max(abroad) <= 0.2
        assert min(abroad) > 0.16
        assert all(own - theirs > 0.02 for own, theirs in zip(home, everybody, strict=True))
        assert float(lesson["everybody"].mean()) - min(everybody) > 0.08, "worse than the average"


def test_what_the_aggregator_saw(lessons: list[dict[str, Any]]) -> None:
    for lesson in (lesson for lesson in lessons if "network" in lesson):
        assert lesson["on_disk"].rounds == lesson["in_memory"].rounds
        assert lesson["on_disk"].done
        assert lesson["right"] > 0.75, "most of the table"
        assert lesson["top"] >= 9
        ledger = lesson["network"].ledger()
        sizes = {e.size for e in ledger if "trained_model" in e.path and ".pt" in e.path}
        assert len(sizes) == 1, "an update has the size of the model"
        ana = lesson["config"].aggregator
        for who in lesson["people"]:
            sent = sum(e.size for e in ledger if (e.sender, e.receiver) == (who, ana))
            came = sum(e.size for e in ledger if (e.sender, e.receiver) == (ana, who))
            assert (round(sent / 1e6, 1), round(came / 1e6, 1)) == (0.8, 1.2)


def test_quiz(lessons: list[dict[str, Any]]) -> None:
    for lesson in lessons:
        seed, images, labels = lesson["seed"], lesson["pool"], lesson["pool_labels"]
        two = fk.split_shards(labels, 10, generator=fk.generator(seed, "two"))
        assert fk.heterogeneity(fk.take(images, labels, two)) > 0.6
        assert max(len(labels[part].unique()) for part in two) <= 4
        turned = fk.shift_features(lesson["even"], "rotation", generator=fk.generator(seed, "turn"))
        assert fk.heterogeneity(turned) == fk.heterogeneity(lesson["even"])
        shifted = fk.simulate(lesson["config"], turned, lesson["test"]).accuracies[-1]
        assert shifted < lesson["runs"]["alpha 100"].accuracies[-1] - 0.05
    one = torch.arange(10).repeat_interleave(100)
    own = [(torch.zeros(100, 1, 28, 28), one[part]) for part in fk.split_groups(one)]
    assert fk.heterogeneity(own) == pytest.approx(0.9)


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
def by_digit(labels: Any, draw_shares: Any, rng: Any) -> list[torch.Tensor]:
    """Each digit cut at the shares [K] that `draw_shares()` gives for it."""
    pieces = []
    for digit in range(10):
        mine = torch.from_numpy(rng.permutation(np.flatnonzero(labels == digit)))
        ends = np.cumsum(draw_shares())[:-1]
        pieces.append(mine.tensor_split([round(end * len(mine)) for end in ends.tolist()]))
    return [torch.cat(part) for part in zip(*pieces, strict=True)]


def same_shares(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    shares = rng.dirichlet([alpha] * participants)
    return by_digit(labels, lambda: shares, rng)


def sizes_alone(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    ends = rng.dirichlet([alpha] * participants).cumsum()[:-1]
    cuts = [round(end * len(labels)) for end in ends.tolist()]
    return list(torch.from_numpy(rng.permutation(len(labels))).tensor_split(cuts))


def evenly(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    return list(torch.from_numpy(rng.permutation(len(labels))).tensor_split(participants))


def loses_one(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    parts = dealt(labels, participants, alpha, rng)
    largest = max(range(participants), key=lambda k: len(parts[k]))
    return [part[1:] if k == largest else part for k, part in enumerate(parts)]


def one_twice(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    first, second, *rest = dealt(labels, participants, alpha, rng)
    both = torch.cat([first, second])
    return [torch.cat([first, both[:1]]), torch.cat([second, both[:1]]), *rest]


def by_numpy(labels: Any, participants: int, alpha: float, rng: Any) -> list[np.ndarray]:
    labels, pieces = labels.numpy(), []
    for digit in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == digit))
        ends = rng.dirichlet(np.full(participants, alpha)).cumsum()
        pieces.append(np.split(mine, (ends[:-1] * len(mine)).astype(int)))
    return [np.concatenate(part) for part in zip(*pieces, strict=True)]


def in_lists(labels: Any, participants: int, alpha: float, rng: Any) -> list[list[int]]:
    parts: list[list[int]] = [[] for _ in range(participants)]
    for digit in range(10):
        who = rng.dirichlet([alpha] * participants)
        mine = np.where(labels == digit)[0]
        counts = np.diff(np.round(who.cumsum() * len(mine)).astype(int), prepend=0)
        for part, piece in zip(parts, np.split(mine, counts.cumsum()[:-1]), strict=True):
            part.extend(piece.tolist())
    return parts


def each_by_itself(labels: Any, participants: int, alpha: float, rng: Any) -> Any:
    """Draws a participant for every image, by its digit's shares, and cuts nothing."""
    who = np.empty(len(labels), dtype=int)
    for digit in range(10):
        shares, mine = rng.dirichlet([alpha] * participants), np.flatnonzero(labels == digit)
        who[mine] = rng.choice(participants, size=len(mine), p=shares)
    return tuple(np.flatnonzero(who == k) for k in range(participants))


def ignores_alpha(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    return by_digit(labels, lambda: rng.dirichlet([0.5] * participants), rng)


def always_even(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    return by_digit(labels, lambda: rng.dirichlet([2.0 + alpha] * participants), rng)


def upside_down_alpha(labels: Any, participants: int, alpha: float, rng: Any) -> list[torch.Tensor]:
    return by_digit(labels, lambda: rng.dirichlet([1 / alpha] * participants), rng)


DEALS = [
    (dealt, "right", "shares of its own"),
    (by_numpy, "right", "shares of its own"),
    (in_lists, "right", "shares of its own"),
    (each_by_itself, "right", "shares of its own"),
    (same_shares, "try again", "same shares"),
    (sizes_alone, "try again", "does not look at the labels"),
    (evenly, "try again", "does not look at the labels"),
    (loses_one, "try again", "only 3,999"),
    (one_twice, "try again", "twice"),
    (ignores_alpha, "try again", "Is alpha used"),
    (always_even, "try again", "nobody does"),
    (upside_down_alpha, "try again", "the other way round"),
]


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        *DEALS,
        (lambda *a: dealt(*a)[:-1], "try again", "a part each"),
        (lambda labels, k, alpha, rng: dealt(labels, k, 0.1, rng), "try again", "very large alpha"),
        (lambda *a: [part + 1 for part in dealt(*a)], "try again", "0 to 3,999"),
        (lambda *a: [part.double() for part in dealt(*a)], "try again", "list"),
        (lambda labels, k, alpha, rng: [labels == d for d in range(k)], "try again", "list"),
        (lambda *a: dict(enumerate(dealt(*a))), "try again", "list"),
        (lambda *a: 3, "try again", "list"),
        (lambda *a: ..., "not yet", "cut"),
    ],
)
def test_deal_dirichlet_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = deal_dirichlet(answer)
    assert result.state == state, result.message
    assert says in result.message


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "state", "says"), DEALS)
def test_deal_dirichlet_says_so_by_no_chance(answer: Any, state: str, says: str) -> None:
    """Whatever is drawn: streams of the answer's own in the place of the check's, two hundred in `make test-all`."""
    for seed in range(200 if EXAMPLES > 1 else 10):
        own = np.random.default_rng(seed)
        result = deal_dirichlet(lambda *a, own=own: answer(*a[:-1], own))
        assert (result.state, says in result.message) == (state, True), (seed, result.message)


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
        (upside_down, "try again", "more than was walked"),
        (lambda model, updates: 1.0, "try again", "leave 0"),
        (lambda model, updates: 0.0, "try again", "all of it is left"),
        (lambda model, updates: ..., "not yet", "lengths"),
    ],
)
def test_agreement_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = agreement(answer)
    assert result.state == state, result.message
    assert says in result.message
