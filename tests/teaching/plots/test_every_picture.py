"""Every picture that the package draws: a title that says something, and text that a reader can read."""

from itertools import combinations
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
import torch
from matplotlib import _pylab_helpers
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from fedkit.base.errors import FedkitError
from fedkit.federation.roads.runs import recorded
from fedkit.learning.update import Update
from fedkit.privacy.attacks.roc import roc
from fedkit.teaching import plots
from tests.support.pictures import (
    AGG,
    ALICE,
    LEDGER,
    MAILBOX,
    ZERO,
    datasites,
    history,
    title,
    visible,
)


def box(fig: Figure, text: Text) -> Bbox:
    return text.get_window_extent(fig.canvas.get_renderer())


def arrows(spread: float) -> tuple[dict[str, torch.Tensor], list[Update]]:
    """A model at 0, and five updates around (2, 0, 0, 0)."""
    noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    rows = torch.tensor([2.0, 0, 0, 0]) + spread * noise
    return {"w": torch.zeros(4)}, [Update(f"p{k}", 1, {"w": row}, 10) for k, row in enumerate(rows)]


def gallery(folder: Path) -> dict[str, Figure]:
    """One figure of each function, with names and numbers as a lesson has them."""
    people = [f"{name}@example.org" for name in ("alice", "bob", "carol")]
    digits = torch.arange(300) % 10
    images = torch.rand(300, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    paths = [f"{ALICE}/{p}" for p in ("secret.txt", "public/x.txt", f"{MAILBOX}/state/state.json")]
    rows = [("IID", s, n, 0.5 + 0.1 * n + 0.01 * s) for s in range(3) for n in range(1, 5)]
    rows += [("two shards", s, n, 0.3 + 0.1 * n) for _, s, n, _ in rows]
    sweep = pd.DataFrame(rows, columns=["row", "seed", "round", "accuracy"])
    curves = {"alone": [0.3, 0.31], "pooled": [0.85, 0.9], "federated": history(0.84, 0.89)}
    return {
        "accuracy": plots.accuracy_by_round(history(0.77, 0.86, 0.875)),
        "accuracy, long": plots.accuracy_by_round([0.5 + n / 60 for n in range(25)]),
        "accuracies": plots.accuracy_by_round(curves),
        "losses": plots.loss_curves({p: [2 / n for n in range(1, 31)] for p in people}),
        "rounds": plots.loss_curves({ALICE: [2 / n for n in range(1, 31)]}, epochs_per_round=10),
        "class": plots.class_picture(
            {
                f"03 exercise_{n}": ["right"] * n + ["try again", "not yet", "missing"]
                for n in range(9)
            },
            {"03 exercise_4": 3},
        ),
        "bars": plots.participant_bars({"alice alone": 0.4, "bob alone": 0.3, "federated": 0.875}),
        "metric": plots.metric_by_round(history(0.5, 0.7), "loss"),
        "many bars": plots.participant_bars({f"participant {n}": n for n in range(8)}, ylabel="n"),
        "labels": plots.label_bars({p: digits[: 100 * (n + 1)] for n, p in enumerate(people)}),
        "digits": plots.digit_grid(images[:20], digits[:20]),
        "weights": plots.weight_images({"fc1.weight": images[:128, 0].reshape(-1, 784) - 0.5}),
        "confusion": plots.confusion((digits * 3) % 10, digits),
        "per digit": plots.per_digit_accuracy({p: [0.1 * d for d in range(10)] for p in people}),
        "permissions": plots.permission_matrix(
            datasites(folder), [*people, AGG, "eve@x.org"], paths
        ),
        "tree": plots.folder_tree(folder),
        "bytes": plots.bytes_by_participant(LEDGER, aggregator=AGG),
        "crossed": plots.what_crossed(LEDGER, aggregator=AGG),
        "map": plots.course_map(),
        "heat": plots.label_heatmap({p: digits[: 100 * (n + 1)] for n, p in enumerate(people)}),
        "sizes": plots.shard_sizes({p: digits[: 100 * (n + 1)] for n, p in enumerate(people)}),
        "home": plots.home_and_abroad(dict.fromkeys(people, (0.98, 0.2, 0.5)), average=0.7),
        "drift": plots.drift_arrows({"alike": arrows(0.1), "apart": arrows(3.0)}),
        "bands": plots.accuracy_bands(
            {"FedAvg": [[0.4, 0.8], [0.5, 0.7]], "FedProx": [[0.3, 0.6]]}
        ),
        "bytes bands": plots.accuracy_bands({"a": [[0.4, 0.8]]}, megabytes={"a": 8.2}),
        "survival": plots.survival_curves(
            {a: {r: [0.9, 0.5, 0.1] for r in ("mean", "median")} for a in ("flip", "scale", "lie")},
            title="The median survives what the mean does not",
        ),
        "row of digits": plots.digit_row({f"canary {n}": images[n, 0] for n in range(6)}),
        "masked": plots.masked_rows({p: images[:6, 0].flatten(1) - 0.5 for p in people}),
        "trade-off": plots.privacy_tradeoff([1, 4, 64], [0.5, 0.7, 0.74], [0.5, 0.6, 1], plain=0.8),
        "trust": plots.trust_curves(
            [1, 4, 16],
            {
                "without noise": [0.8] * 3,
                "local": [0.1, 0.3, 0.7],
                "shuffled": [0.2, 0.4, 0.7],
                "distributed": [0.7, 0.79, 0.8],
                "central": [0.75, 0.8, 0.8],
            },
        ),
        "reaching": plots.reaching([0.3, 0.6, 0.5, 0.85], 0.8),
        "rebuilt": plots.rebuilt_digits(
            {"original": images[:8], "rebuilt": images[:8]}, {"rebuilt": [20.0] * 8}
        ),
        "residuals": plots.residual_dots(
            {"members": 1e-5 + 1e-6 * digits, "1,000 others": 0.2 + 0.01 * digits}
        ),
        "roc": plots.roc_curves({"row space": roc(digits + 10.0, digits + 0.0)}),
        "shares": plots.share_table([[1.0, 0.59], [0.6, 0.0]], ["a: 1", "b: 100"], ["1", "20"]),
        "road costs": plots.road_costs(recorded()),
        "disks": plots.who_could_open(
            {"synced folder: Mallory": {"update": 9}, "pysyft: its drive (recorded)": {}},
            {"global model": 4, "images": 3, "update": 9},
            title="What lay open on whose disk",
        ),
        "multiples": plots.small_multiples(sweep, panels="row", title="Bands from three seeds"),
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    before = dict(matplotlib.rcParams)
    drawn = gallery(tmp_path_factory.mktemp("datasites"))
    assert dict(matplotlib.rcParams) == before, "a learner's own settings stay as they are"
    assert _pylab_helpers.Gcf.figs == {}, "pyplot never hears of a figure"
    return drawn


def test_every_function_has_its_picture(pictures: dict[str, Figure]) -> None:
    assert len(pictures) >= len(plots.__all__)
    assert all(isinstance(fig, Figure) for fig in pictures.values())
    assert all(callable(getattr(plots, name)) for name in plots.__all__)


def test_every_title_is_a_short_message(pictures: dict[str, Figure]) -> None:
    lengths = {name: len(title(fig)) for name, fig in pictures.items()}
    assert {name: n for name, n in lengths.items() if not 10 <= n <= 132} == {}


def test_nothing_is_small_or_wider_than_the_page(pictures: dict[str, Figure]) -> None:
    for name, fig in pictures.items():
        sizes = {t.get_fontsize() for t in visible(fig)}
        assert min(sizes) >= 9, name
        assert fig.get_tightbbox(fig.canvas.get_renderer()).width <= 7.3, name


def test_no_text_hides_another(pictures: dict[str, Figure]) -> None:
    for name, fig in pictures.items():
        boxes = [(t.get_text(), t.get_position(), box(fig, t)) for t in visible(fig)]
        hidden = [
            (one[0], other[0])
            for one, other in combinations(boxes, 2)
            # in a tree, a name stands on spaces over its guide: both begin at one point
            if one[1] != other[1] and covered(one[2], other[2]) > 0.1
        ]
        assert hidden == [], name


def covered(one: Bbox, other: Bbox) -> float:
    """The share of the smaller box that the other one covers."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    area = min(one.width * one.height, other.width * other.height)
    return max(width, 0) * max(height, 0) / area


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: plots.label_heatmap({}), "labels"),
        (lambda: plots.shard_sizes({}), "labels"),
        (lambda: plots.home_and_abroad({"a": (0.1, 0.2)}), "places['a']"),
        (lambda: plots.drift_arrows({}), "rounds"),
        (lambda: plots.drift_arrows({"a": (ZERO, [])}), "rounds['a']"),
        (lambda: plots.accuracy_bands({"a": []}), "runs['a']"),
        (lambda: plots.accuracy_bands({"a": [[0.1], [0.1, 0.2]]}), "runs['a']"),
        (lambda: plots.survival_curves({}, title="As it is"), "attacks"),
        (lambda: plots.survival_curves({"a": {"m": []}}, title="As it is"), "attacks['a']['m']"),
    ],
)
def test_what_cannot_be_drawn_is_named(call, field: str) -> None:
    with pytest.raises(FedkitError) as caught:
        call()
    assert caught.value.field == field
