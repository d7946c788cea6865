"""Lesson 09: its checks know right from wrong, what its prose says is so for more than one seed, and its dial turns."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.datasite.datasite import Datasite
from fedkit.privacy import epsilon_of, evidence, noise_by_trust, noise_for
from fedkit.privacy.dp import clip as dp_clip
from fedkit.privacy.dp.account import Mechanism
from fedkit.privacy.dp.policy import why_refused
from fedkit.privacy.guarantees import guarantees
from fedkit.teaching.check.lesson_09 import MOST_NOISE, clip_rows, noise_under_a_floor, noisy_mean
from fedkit.teaching.plots.pixels import digit_row
from fedkit.teaching.plots.privacy import privacy_tradeoff
from fedkit.teaching.widgets.noise_dial import NoiseDial
from tests.support.run_lesson import SOURCES, Run, run_into, seeds
from tools.course.lesson import read_lesson

LESSON = "09_differential_privacy.py"
AFTER_THE_SWEEP = "## Does the noise do what it says?"
POINTS = [1.0, 4.0, 64.0]


def run(folder: Path, until: str = "", **parameters: Any) -> tuple[dict[str, Any], str]:
    """Code cells of the lesson, up to a heading; their names, and what they printed."""
    cells = read_lesson(SOURCES / LESSON).cells
    last = next(cell.number for cell in cells if not until or until in cell.source)
    done = run_into(
        *(Run(), LESSON, folder, "solutions", parameters),
        wanted=lambda cell: not until or cell.number < last,
        values=True,
    )
    return done.names, done.text


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The solved lesson with three points in its sweep, in batch."""
    return run(tmp_path_factory.mktemp("whole"), epsilons=POINTS, interactive=False)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_attack_falls_before_the_accuracy(
    seed: int, whole: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    """And the floor of the exercise holds at the most noise that its check allows."""
    changes: dict[str, Any] = {"epsilons": POINTS, "seed": seed, "interactive": False}
    names = run(tmp_path, AFTER_THE_SWEEP, **changes)[0] if seed else whole[0]
    image = names["image"][0].reshape(-1)
    errors = [float((v.reshape(-1) - image).square().mean()) for v in names["rebuilt"].values()]
    assert errors[0] < 1e-6
    assert errors[2] < 0.05  # 0.01: still a digit
    assert errors[4] > 0.2  # 0.1: worse than an empty picture
    accuracy = dict(zip(POINTS, names["accuracies"], strict=True))
    attack = dict(zip(POINTS, names["attacks"], strict=True))
    assert attack[64.0] > 0.95
    assert attack[4.0] < 0.75
    assert accuracy[64.0] - accuracy[4.0] < 0.05
    assert accuracy[4.0] - accuracy[1.0] > 0.1
    assert names["plain"].accuracies[-1] - accuracy[64.0] > 0.06
    dp = {"unit": "example", "noise_multiplier": MOST_NOISE, "delta": 1e-4, "clip": 1.0}
    config = names["config"].replace(dp=dp)
    history = fk.simulate(config, names["shards"], names["test"], model=names["SMALL"])
    assert history.accuracies[-1] > 0.62


def test_what_the_lesson_says_of_its_own_numbers(whole: tuple[dict[str, Any], str]) -> None:
    names, text = whole
    assert names["broken"].epsilon > names["claim"] + 1 > names["honest"].epsilon + 1
    assert "would spend epsilon 8 of the 6" in text
    assert "STRONGER: epsilon 4.00 of 6 spent" in text
    assert names["history"].done
    spent = [epsilon_of(Mechanism(1.0, 2.7, k), 1e-4) for k in (1, 8, 32)]
    assert 3.9 < spent[1] < 4.1
    assert 2 * spent[1] < spent[2] < 4 * spent[1]
    assert names["replaced"] > 2 * epsilon_of(Mechanism(1.0, 2.7, 8), 1e-4)
    pld, prv = (epsilon_of(names["mechanism"], 1e-4, by) for by in ("PLD", "Opacus PRV"))
    assert round(abs(pld - prv), 2) <= 0.01
    assert 3.6 < noise_for(1.0, 1e-5) < 3.8
    assert 3.1 < names["broken"].ceiling < 4


def test_what_the_lesson_says_of_sampling_and_delta() -> None:
    """A tenth of the images at equal noise on the mean: 0.27 in 8 steps; in 80 steps a tenth as long, 2.7 / sqrt(10)."""
    assert epsilon_of(Mechanism(0.1, 0.27, 8), 1e-4) == pytest.approx(34, abs=0.5)
    assert round(2.7 / 10**0.5, 2) == 0.85
    assert epsilon_of(Mechanism(0.1, 2.7 / 10**0.5, 80), 1e-4) == pytest.approx(7.4, abs=0.2)
    mu, delta = 8**0.5 / 2.7, 1e-4  # of one Gaussian
    epsilon = epsilon_of(Mechanism(1.0, 2.7, 8), delta)
    normal = torch.distributions.Normal(0.0, 1.0)
    beyond = 1 - float(normal.cdf(torch.tensor(epsilon / mu - mu / 2)))  # P(loss > epsilon)
    assert beyond > 4 * delta


TRUST = ("import torch", "epsilons:", "SMALL =", "mnist =", "config = ", "def coarse", "by_trust =")


@pytest.mark.parametrize("seed", seeds(0))
def test_whom_one_trusts_decides_what_an_epsilon_costs(seed: int, tmp_path: Path) -> None:
    """Two lines at the top, two at the bottom; and what turns and bands win at the same epsilon."""

    def wanted(cell: Any) -> bool:
        return any(line in cell.source for line in (*TRUST, "hundred = "))

    parameters = {"seed": seed}
    done = run_into(Run(), LESSON, tmp_path, "solutions", parameters, wanted=wanted, values=True)
    lines, scale = done["by_trust"], done["scale"]
    for k, epsilon in enumerate(scale):
        top = lines["without noise"][k]
        assert max(top - lines["central"][k], top - lines["distributed"][k]) < 0.025
        if epsilon <= 2:
            assert lines["local"][k] < 0.2
            assert lines["shuffled"][k] < 0.32
        else:
            assert abs(lines["local"][k] - lines["shuffled"][k]) < 0.1
    found = done["banded"]
    for epsilon, most, least in ((1.0, 0.22, 0.27), (4.0, 0.36, 0.68)):
        fresh, two, ten = (found[name, epsilon] for name in done["ways"])
        assert fresh < most
        assert fresh + 0.1 < two < ten
        assert ten > least
        assert epsilon == 1 or two - fresh > 2 * (ten - two)  # turns win most
    assert all(found[name, 1.0] < 0.5 for name in done["ways"])


def test_noise_by_whom_one_trusts() -> None:
    one, four, eight = (noise_by_trust(e, 1e-5, 10_000, 3000) for e in (1.0, 4.0, 8.0))
    assert one["local"] == pytest.approx(100 * one["central"])
    assert one["shuffled"] / one["local"] == pytest.approx(1 / 3, abs=0.02)
    assert four["shuffled"] > 0.99 * four["local"]
    assert eight["shuffled"] == eight["local"]


def test_what_a_policy_takes_by_whom_it_is_against(
    whole: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    """Noise that the aggregator adds: not against itself, and without credit for drawing against whoever sees the list."""
    names, _ = whole
    many, alice = names["promised"], names["alice"]
    assert many.dp.mechanism.bands == 10
    assert many.dp.mechanism.turns(many) == 4
    drawn = many.replace(dp=many.dp.model_dump(exclude={"mechanism"}))
    itself, others, models = guarantees(drawn, {})
    assert (itself.epsilon, others.epsilon) == (math.inf, pytest.approx(4.0, rel=2e-3))
    assert "no credit for sampling: the list of those asked goes to all" in others.because
    assert models.epsilon is not None
    assert models.epsilon < 2
    site = Datasite.create(tmp_path, alice.email)  # of whose images nothing is spent yet
    path = site.private_client / "policy.json"
    asked = {"unit": "participant", "epsilon": 20.0, "delta": 1e-2, "secure_noise": False}
    for whom, declined in (("aggregator", True), ("participants", False), ("outside", False)):
        fk.write_json(path, asked | {"against": whom})
        said = why_refused(site, drawn, None)
        assert (said is not None) == declined, said
    fk.write_json(path, asked)
    assert "against the aggregator" in str(why_refused(site, drawn, None))  # the default


def test_the_report_has_the_columns_that_the_lesson_reads(
    whole: tuple[dict[str, Any], str],
) -> None:
    names, _ = whole
    page = fk.privacy_report(names["network"], attacks=[names["tried"]])
    _, heads, rows = page.tables()[0]
    assert heads == (
        "adversary", "sees", "what stands between", "epsilon (zero-out neighbours)", "attacks run", "not covered",
    )  # fmt: skip
    held, attacks = rows[0][3], [row[4] for row in rows]
    for words in ("delta", "for replace-one", "all images in every step", "rounds that have ended"):
        assert words in held
    assert "95 %" in attacks[0]
    assert "guessing 0.5" in attacks[0]
    assert "none; that says nothing of what one would find" in attacks


def test_the_loud_one_is_cut_to_the_clip(whole: tuple[dict[str, Any], str]) -> None:
    names, text = whole
    assert float(names["changes"].norm(dim=1)[0]) > 50 * names["clip"]
    assert f"clipped: the first moves the sum by {names['clip']:.1f}" in text


def test_the_aggregator_has_noisy_updates_without_their_loss(
    whole: tuple[dict[str, Any], str],
) -> None:
    names, _ = whole
    seen = evidence(names["network"], "alice@example.org", 1)
    assert seen.config.dp is not None
    place = names["network"]["aggregator@example.org"].aggregator().project("STRONGER", "done")
    said = fk.read_json(place.update_info("alice@example.org", 1))
    assert "loss" not in said
    assert "seconds" not in said
    assert all(part.loss is None for r in names["history"] for part in r.contributions)
    report = str(fk.privacy_report(names["network"], attacks=[names["tried"]]))
    assert "rehearsal" in report
    assert "least squares on gradients on Alice's two updates" in report


# ---------------------------------------------------------------------------------------- its checks
def right_clip(changes: torch.Tensor, clip: float) -> torch.Tensor:
    return dp_clip.clip_rows(changes, clip)


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda c, clip: c * (clip / c.norm(dim=1, keepdim=True)), "should stay as it is"),
        (lambda c, clip: c.clamp(-clip, clip), "longer"),
        (lambda c, clip: c, "longer"),
        (lambda c, clip: right_clip(c, 1.0), "clip of 2"),
        (lambda c, clip: c[0], "shape"),
        (lambda c, clip: c * (c.norm(dim=1).clamp(max=clip) / c.norm(dim=1))[:, None], "0 by 0"),
        (lambda c, clip: right_clip(c.abs(), clip).flip(1), "should stay as it is"),
    ],
)
def test_wrong_clipping(attempt: Callable[..., Any], words: str) -> None:
    result = clip_rows(attempt)
    assert result.state == "try again"
    assert words in result.message


def noisy(factor: Callable[..., float], late: bool = False) -> Callable[..., Any]:
    def attempt(changes: Any, clip: float, sigma: float, expected: float, noise: Any) -> Any:
        total = right_clip(changes, clip).sum(dim=0)
        drawn = noise.normal(total.shape, factor(sigma, clip))
        return total / expected + drawn if late else (total + drawn) / expected

    return attempt


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (noisy(lambda sigma, clip: 0.0), "where is the noise"),
        (noisy(lambda sigma, clip: sigma * clip, late=True), "on the sum"),
        (noisy(lambda sigma, clip: clip), "noise multiplier is missing"),
        (noisy(lambda sigma, clip: sigma), "Half the clip"),
        (noisy(lambda sigma, clip: 7.0), "standard deviation 2"),
        (lambda c, clip, s, n, noise: dp_clip.noisy_mean(c, clip, s, len(c), noise), "rows there"),
    ],
)
def test_wrong_noise(attempt: Callable[..., Any], words: str) -> None:
    result = noisy_mean(attempt)
    assert result.state == "try again"
    assert words in result.message


def test_right_answers() -> None:
    assert clip_rows(right_clip).state == "right"
    assert clip_rows(lambda changes, clip: right_clip(changes, clip).numpy()).state == "right"
    assert noisy_mean(dp_clip.noisy_mean).state == "right"
    assert noisy_mean(noisy(lambda sigma, clip: sigma * clip)).state == "right"
    assert noise_under_a_floor(noise_for(4.0, 1e-4, steps=8)).state == "right"
    assert noise_under_a_floor(3.0).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [(1.0, "more than 4"), (0.01, "more than 4"), (9.0, "less noise"), (-1, "above 0")],
)
def test_noise_outside_of_promise_and_floor(answer: float, words: str) -> None:
    result = noise_under_a_floor(answer)
    assert result.state == "try again"
    assert words in result.message
    assert noise_under_a_floor(...).state == "not yet"


# ------------------------------------------------------------------------------- dial and pictures
def test_the_dial_shows_one_picture_at_a_time_and_its_twin_shows_all() -> None:
    pictures = {f"σ = {k}": torch.full((784,), k / 2) for k in range(3)}
    dial = NoiseDial(pictures)
    try:
        first = dial.picture.value
        assert "σ = 0" in first
        dial.turn("σ = 2")
        assert dial.picture.value != first
        assert "σ = 2" in dial.picture.value
        dial.dial.value = "σ = 0"
        assert dial.picture.value == first
    finally:
        dial.close()
    twin = NoiseDial(pictures, interactive=False)
    assert twin.box is None
    assert all(caption in twin.html() for caption in pictures)
    assert 'alt="' in twin.html()
    assert "σ = 1" in twin.text()


def test_pictures_say_what_they_show() -> None:
    figure = privacy_tradeoff([1, 4], [0.5, 0.7], [0.5, 0.6], plain=0.8)
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(labels) == 4
    assert [line.get_ydata().tolist() for line in axes.lines[:2]] == [[0.5, 0.7], [0.5, 0.6]]
    assert "epsilon" in axes.get_xlabel()
    row = digit_row({"a": torch.zeros(28, 28), "b": torch.ones(784)})
    assert [text.get_text() for text in row.axes[0].texts] == ["a", "b"]
    for draw in (lambda: privacy_tradeoff([], [], []), lambda: digit_row({})):
        with pytest.raises(FedkitError):
            draw()
