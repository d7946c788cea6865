"""Pictures, through their artists: what is drawn, what the title says, and that a reader can read it."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
import torch
from matplotlib import _pylab_helpers
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from fedkit.base.errors import FedkitError
from fedkit.datasite.permissions import write_permissions
from fedkit.datasite.tree import scan
from fedkit.federation.ledger import LedgerEntry
from fedkit.learning.update import Update
from fedkit.privacy.attacks.roc import roc
from fedkit.rounds.history import History, RoundRecord
from fedkit.teaching import plots
from fedkit.teaching.plots import style
from fedkit.teaching.plots.course_map import LESSONS
from tests.support import ROOT


def title(fig: Figure) -> str:
    return fig.get_suptitle().replace("\n", " ")


def visible(fig: Figure) -> list[Text]:
    """Every text that is drawn, and so seen by a reader (matplotlib keeps others, such as ticks out of range)."""
    drawn: list[Text] = []
    draw = Text.draw

    def recording(text: Text, renderer: RendererBase) -> None:
        drawn.append(text)
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", recording)
        FigureCanvasAgg(fig).draw()
    return [text for text in drawn if text.get_visible() and text.get_text().strip()]


def box(fig: Figure, text: Text) -> Bbox:
    return text.get_window_extent(fig.canvas.get_renderer())


def words(fig: Figure) -> list[str]:
    return [text.get_text() for text in visible(fig)]


def history(*accuracies: float) -> History:
    rounds = [RoundRecord(n + 1, accuracy=a, loss=1.0) for n, a in enumerate(accuracies)]
    return History("P", tuple(rounds), len(rounds))


def entry(sender: str, receiver: str, path: str, size: int) -> LedgerEntry:
    return LedgerEntry(sender, receiver, path, size, "0" * 64, 0.0)


AGG, ALICE, BOB = "agg@example.org", "alice@example.org", "bob@example.org"
INBOX = f"{AGG}/app_data/fl_aggregator/running/P/fl_clients"
MAILBOX = "app_data/fl_client/running/P"
LEDGER = [
    entry(ALICE, AGG, f"{INBOX}/{ALICE}/trained_model_round_1.pt", 400_000),
    entry(ALICE, AGG, f"{INBOX}/{ALICE}/trained_model_round_2.pt", 400_000),
    entry(ALICE, AGG, f"{INBOX}/{ALICE}/trained_model_round_1.json", 100),
    entry(BOB, AGG, f"{INBOX}/{BOB}/trained_model_round_1.pt", 400_000),
    entry(BOB, AGG, f"{BOB}/public/syft.pub.yaml", 60),
    entry(BOB, AGG, f"{BOB}/{MAILBOX}/state/state.json", 90),
    entry(AGG, ALICE, f"{ALICE}/{MAILBOX}/agg_weights/agg_model_round_0.pt", 1_200_000),
    entry(AGG, BOB, f"{BOB}/{MAILBOX}/agg_weights/agg_model_round_0.pt", 500_000),
    entry(ALICE, BOB, f"{ALICE}/public/hello.txt", 7_000_000),
]


def datasites(folder: Path) -> Path:
    """Alice's datasite: everything closed, `public` open to all, `shared` writable for Bob."""
    home = folder / ALICE
    write_permissions(home, ALICE)
    write_permissions(home / "public", ALICE, read=["*"])
    write_permissions(home / "shared", ALICE, write=[BOB])
    return folder


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
        "bars": plots.participant_bars({"alice alone": 0.4, "bob alone": 0.3, "federated": 0.875}),
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
        "reaching": plots.reaching([0.3, 0.6, 0.5, 0.85], 0.8),
        "rebuilt": plots.rebuilt_digits(
            {"original": images[:8], "rebuilt": images[:8]}, {"rebuilt": [20.0] * 8}
        ),
        "residuals": plots.residual_dots(
            {"members": 1e-5 + 1e-6 * digits, "1,000 others": 0.2 + 0.01 * digits}
        ),
        "roc": plots.roc_curves({"row space": roc(digits + 10.0, digits + 0.0)}),
        "shares": plots.share_table([[1.0, 0.59], [0.6, 0.0]], ["a: 1", "b: 100"], ["1", "20"]),
        "multiples": plots.small_multiples(sweep, panels="row", title="Bands from three seeds"),
    }


# ------------------------------------------------------------------------------- every picture
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


def test_text_can_be_read_on_every_colour() -> None:
    def luminance(colour: str) -> float:
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in style.COLOURS:
        light, dark = sorted([luminance(colour), luminance(style.readable_on(colour))])[::-1]
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour  # WCAG 2.1, level AA


def test_names_are_taken_literally() -> None:
    fig = plots.loss_curves({"a$b@example.org": [2, 1], "c_{d}$@example.org": [2, 1]})
    assert {r"a\$b", r"c_{d}\$"} <= set(words(fig))


def test_names_that_share_a_head_stay_whole() -> None:
    fig = plots.loss_curves({"al@a.org": [2, 1], "al@b.org": [2, 1], "bo@b.org": [2, 1]})
    assert {"al@a.org", "al@b.org", "bo"} <= set(words(fig))


# --------------------------------------------------------------------------------------- rounds
def test_accuracy_is_drawn_and_labelled() -> None:
    fig = plots.accuracy_by_round(history(0.77, 0.86, 0.875))
    (line,) = fig.axes[0].lines
    assert line.get_xydata().tolist() == [[1, 0.77], [2, 0.86], [3, 0.875]]
    assert line.get_marker() not in ("", "None")
    assert {"77.0%", "86.0%", "87.5%", "round", "1", "2", "3"} <= set(words(fig))
    assert "87.5%" in title(fig)
    assert "3 rounds" in title(fig)
    assert fig.axes[0].get_ylim()[0] == 0


def test_rounds_without_an_evaluation_are_left_out() -> None:
    whole = history(0.5, 0.6)
    cut = History("P", (*whole.rounds, RoundRecord(3)), 3)
    assert len(plots.accuracy_by_round(cut).axes[0].lines[0].get_xdata()) == 2


def test_several_accuracies_differ_in_colour_and_marker() -> None:
    fig = plots.accuracy_by_round({"a": history(0.5, 0.7), "b": [0.4, 0.9], "c": [0.3, 0.2]})
    lines = fig.axes[0].lines
    assert len({line.get_color() for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3
    assert {"a: 70.0%", "b: 90.0%", "c: 20.0%"} <= set(words(fig))
    assert "b, 90.0%" in title(fig)


def test_a_tie_has_no_winner() -> None:
    assert "a and b" in title(plots.accuracy_by_round({"a": [0.4, 0.7], "b": [0.5, 0.7]}))


@pytest.mark.parametrize("nothing", [{}, [], {"a": []}, History("P")])
def test_no_accuracy_is_an_error(nothing: object) -> None:
    with pytest.raises(FedkitError) as caught:
        plots.accuracy_by_round(nothing)
    assert caught.value.field.startswith("curves")
    assert caught.value.remedy


def test_loss_title_is_true() -> None:
    assert "everybody" in title(plots.loss_curves({"a": [2, 1], "b": [2, 1]}))
    assert "1 of 2" in title(plots.loss_curves({"a": [2, 1], "b": [1, 2]}))
    assert "nobody" in title(plots.loss_curves({"a": [1, 2]}))


def test_losses_show_where_a_round_begins() -> None:
    fig = plots.loss_curves({"a": [3, 2, 1, 0.5, 0.4, 0.3]}, epochs_per_round=2)
    data, *borders = fig.axes[0].lines
    assert data.get_ydata().tolist() == [3, 2, 1, 0.5, 0.4, 0.3]
    assert [line.get_xdata()[0] for line in borders] == [2.5, 4.5]


# --------------------------------------------------------------------------------- participants
def heights(fig: Figure) -> list[float]:
    return [patch.get_height() for patch in fig.axes[0].patches]


def test_bars_have_their_values_on_top() -> None:
    fig = plots.participant_bars({"alone": 0.4, "federated": 0.875}, highlight=["federated"])
    assert heights(fig) == [0.4, 0.875]
    assert {"40.0%", "87.5%", "alone", "federated"} <= set(words(fig))
    plain, marked = fig.axes[0].patches
    assert plain.get_facecolor() != marked.get_facecolor()
    assert plain.get_hatch() != marked.get_hatch()


def test_bars_of_other_units_are_no_percentages() -> None:
    fig = plots.participant_bars({"a": 0.4, "b": 12.0}, ylabel="seconds", title="How long it took")
    assert not any("%" in word for word in words(fig))
    assert {"0.4", "12", "seconds"} <= set(words(fig))
    assert title(fig) == "How long it took"
    assert fig.axes[0].get_ylim()[1] > 12


def test_label_bars_count_each_digit() -> None:
    fig = plots.label_bars({ALICE: torch.tensor([3, 0, 0, 0, 3]), BOB: torch.tensor([7] * 9)})
    pieces = [(c.get_label(), c[0].get_x(), c[0].get_width()) for c in fig.axes[0].containers]
    assert pieces == [("0", 0, 3), ("3", 3, 2), ("7", 0, 9)]
    assert {"0", "3", "7", "5", "9", "alice", "bob"} <= set(words(fig))


def test_ten_digits_have_ten_colours() -> None:
    fig = plots.label_bars({"a": torch.arange(10)})
    assert len({patch.get_facecolor() for patch in fig.axes[0].patches}) == 10


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"a": [0, 1], "b": [2, 3]}, "No digit is shared: each participant holds 2 of ten"),
        ({"a": [0, 1], "b": [1, 2, 3]}, "Each participant holds 2 or 3 of ten"),
        ({"a": range(10), "b": [1]}, "Each participant holds 1 to 10 of ten"),
        ({"a": range(10), "b": range(10)}, "Every participant holds all ten"),
    ],
)
def test_label_title_is_true(held: dict, said: str) -> None:
    labels = {name: torch.tensor(list(digits)) for name, digits in held.items()}
    assert title(plots.label_bars(labels)).startswith(said)


def test_a_participant_without_labels_is_named() -> None:
    with pytest.raises(FedkitError) as caught:
        plots.label_bars({"a": torch.tensor([1]), "b": torch.tensor([], dtype=torch.int64)})
    assert "'b'" in caught.value.field


# ------------------------------------------------------------------------------------ knowledge
def test_per_digit_table() -> None:
    rows = {"alone": [0.9] * 4 + [0.0] * 6, "federated": [0.75] * 10}
    fig = plots.per_digit_accuracy(rows)
    shown = words(fig)
    assert (shown.count("90"), shown.count("75")) == (4, 10)
    assert "alone 4, federated 10" in title(fig)


def test_per_digit_needs_ten() -> None:
    with pytest.raises(FedkitError) as caught:
        plots.per_digit_accuracy({"a": [0.5] * 9})
    assert "'a'" in caught.value.field
    assert "9" in caught.value.what


def test_confusion_counts_every_image() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(10, (500,), generator=generator)
    predictions = torch.randint(10, (500,), generator=generator)
    predictions[labels == 4] = 9
    table = plots.confusion(predictions, labels).axes[0].images[0].get_array()
    for true in range(10):
        for taken in range(10):
            pairs = zip(labels.tolist(), predictions.tolist(), strict=True)
            assert table[true][taken] == sum(pair == (true, taken) for pair in pairs)
    assert "a 4 is taken for a 9" in title(plots.confusion(predictions, labels))


def test_confusion_without_mistakes_names_none() -> None:
    labels = torch.arange(10)
    assert title(plots.confusion(labels, labels)) == "100.0% are right"


# --------------------------------------------------------------------------------------- digits
def test_each_digit_stands_above_its_label() -> None:
    images = torch.stack([torch.full((1, 28, 28), n / 10) for n in range(7)])
    fig = plots.digit_grid(images, torch.arange(7), columns=3)
    sheet = fig.axes[0].images[0].get_array()
    below = sorted(fig.axes[0].texts, key=lambda text: int(text.get_text()))
    assert [text.get_text() for text in below] == [str(n) for n in range(7)]
    for number, text in enumerate(below):
        x, y = (int(value) for value in text.get_position())
        assert sheet[y - 14][x] == pytest.approx(number / 10)
    assert len({text.get_position()[0] for text in below}) == 3


def test_bytes_and_shares_look_the_same() -> None:
    stored = torch.randint(256, (4, 28, 28), dtype=torch.uint8)
    one = plots.digit_grid(stored).axes[0].images[0].get_array()
    other = plots.digit_grid((stored / 255)[:, None]).axes[0].images[0].get_array()
    assert abs(one - other).max() < 1e-6


def test_a_missing_label_is_an_error() -> None:
    with pytest.raises(FedkitError) as caught:
        plots.digit_grid(torch.zeros(3, 1, 28, 28), torch.zeros(2))
    assert caught.value.field == "labels"


def test_weights_have_colours_around_zero() -> None:
    weights = torch.randn(5, 784, generator=torch.Generator().manual_seed(0)) + 1
    fig = plots.weight_images({"fc1.weight": weights}, units=4)
    picture = fig.axes[0].images[0]
    assert picture.get_clim()[0] == -picture.get_clim()[1]
    assert float(picture.get_cmap()(0.5)[1]) > 0.9, "no weight, no colour"
    assert (picture.get_array()[:28, :28] == weights[0].reshape(28, 28).numpy()).all()
    assert len(fig.axes) == 2, "a colour bar says what the colours mean"
    same = plots.weight_images({"fc1.weight": weights}, scale=0.25).axes[0].images[0]
    assert same.get_clim() == (-0.25, 0.25)


@pytest.mark.parametrize("layer", ["fc2.weight", "fc1.bias", "nothing"])
def test_a_layer_without_pixels_names_one_that_has_them(layer: str) -> None:
    shapes = {"fc1.weight": (3, 784), "fc1.bias": (3,), "fc2.weight": (10, 3)}
    with pytest.raises(FedkitError) as caught:
        plots.weight_images({name: torch.zeros(s) for name, s in shapes.items()}, layer)
    assert "fc1.weight" in caught.value.remedy


# -------------------------------------------------------------------------------------- folders
def lines(fig: Figure) -> list[str]:
    """The tree as text: sign, then guide and name, line by line."""
    rows: dict[float, list[Text]] = {}
    for text in fig.axes[0].texts:
        rows.setdefault(text.get_position()[1], []).append(text)
    told = []
    for _, texts in sorted(rows.items()):
        sign = "".join(t.get_text() for t in texts if t.get_position()[0] == 0) or " "
        middle = [t.get_text() for t in texts if t.get_position()[0] == 0.025]
        guide = min(middle, key=len)
        told.append(sign + guide + max(middle, key=len)[len(guide) :])
    return told


def test_tree_shows_files_and_empty_folders(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "b" / "empty").mkdir(parents=True)
    (site / "b" / "x.pt").write_bytes(b"0" * 2_500)
    (site / "a.txt").write_text("hello")
    (site / ".hidden").write_text("no")
    (site / "half.tmp").write_text("no")
    fig = plots.folder_tree(site)
    assert lines(fig) == [" site/", " ├── b/", " │   ├── empty/", " │   └── x.pt", " └── a.txt"]
    assert {"2.5 kB", "5 B"} <= set(words(fig))
    assert "2 files" in title(fig)


def test_tree_marks_what_changed_and_folds_the_rest(tmp_path: Path) -> None:
    for name in ("same/deep/1.txt", "same/2.txt", "box/old.txt", "box/kept.txt", "box/w.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = scan(tmp_path)
    (tmp_path / "box/old.txt").unlink()
    (tmp_path / "box/w.txt").write_text("longer")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/n.txt").write_text("1")
    fig = plots.folder_tree(tmp_path, before, root="D")
    assert lines(fig) == [
        " D/",
        " ├── box/",
        " │   ├── kept.txt",
        "-│   ├── old.txt",
        "~│   └── w.txt",
        " ├── new/",
        "+│   └── n.txt",
        " └── same/ …",
    ]
    assert title(fig).endswith("1 new (+), 1 rewritten (~), 1 gone (-)")
    assert title(plots.folder_tree(tmp_path, scan(tmp_path))) == "Nothing has changed"


def test_tree_leaves_out_and_cuts(tmp_path: Path) -> None:
    for name in ("a/1.yaml", "a/2.txt", "b/3.txt", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    shown = lines(plots.folder_tree(tmp_path, root="D", hide=["1.yaml", "b"]))
    assert shown == [" D/", " ├── a/", " │   └── 2.txt", " └── c.txt"]
    cut = lines(plots.folder_tree(tmp_path, root="D", rows=4))
    assert len(cut) == 4
    assert cut[-1].strip() == "… and 4 lines more"


def cells(fig: Figure, columns: int) -> list[list[str]]:
    texts = [text.get_text() for text in fig.axes[0].texts]
    return [texts[i : i + columns] for i in range(0, len(texts), columns)]


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ("read", [["✓ own", "–", "–"], ["✓ own", "✓", "✓"], ["✓ own", "✓", "–"]]),
        ("write", [["✓ own", "–", "–"], ["✓ own", "–", "–"], ["✓ own", "✓", "–"]]),
    ],
)
def test_permission_matrix(tmp_path: Path, right: str, expected: list[list[str]]) -> None:
    paths = [f"{ALICE}/{name}" for name in ("diary.txt", "public/p.txt", "shared/s.txt")]
    people = [ALICE, BOB, "eve@example.org"]
    fig = plots.permission_matrix(datasites(tmp_path), people, paths, right)
    assert cells(fig, 3) == expected
    assert right in title(fig)
    assert {"alice", "bob", "eve", f"{ALICE}/public/p.txt"} <= set(words(fig))
    assert fig.axes[0].images[0].get_array().tolist() == [
        [int("✓" in cell) for cell in row] for row in expected
    ]


# -------------------------------------------------------------------------------------- traffic
def test_what_the_aggregator_received() -> None:
    fig = plots.what_crossed(LEDGER, aggregator=AGG)
    rows = {
        label.get_text(): row
        for label, row in zip(fig.axes[0].get_yticklabels(), cells(fig, 2), strict=True)
    }
    assert rows == {
        "model updates": ["2 files, 800 kB", "1 file, 400 kB"],
        "progress and counts": ["1 file, 100 B", "1 file, 90 B"],
        "permission files": ["none", "1 file, 60 B"],
        "training images": ["none", "none"],
    }
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == [
        "from alice",
        "from bob",
    ]
    assert title(fig) == "The aggregator received 3 model updates and no training image"


@pytest.mark.parametrize("leak", [f"{ALICE}/private/x.pt", f"{ALICE}/public/mnist_label_3.pt"])
def test_a_leak_would_be_seen(leak: str) -> None:
    fig = plots.what_crossed([*LEDGER, entry(ALICE, AGG, leak, 9)], aggregator=AGG)
    assert "1 file of training images" in title(fig)
    assert "1 file, 9 B" in words(fig)


def test_bytes_each_way() -> None:
    fig = plots.bytes_by_participant(LEDGER, aggregator=AGG)
    assert heights(fig) == pytest.approx([0.8001, 0.40015, 1.2, 0.5])
    assert title(fig) == "The participants sent 1.2 MB and received 1.7 MB"
    sent, received = fig.axes[0].containers
    assert sent[0].get_hatch() != received[0].get_hatch()
    everything = plots.bytes_by_participant(LEDGER)
    assert sum(heights(everything)) == pytest.approx(2 * sum(e.size for e in LEDGER) / 1e6)


@pytest.mark.parametrize("draw", [plots.what_crossed, plots.bytes_by_participant])
def test_an_empty_ledger_is_an_error(draw: Callable[..., Figure]) -> None:
    with pytest.raises(FedkitError) as caught:
        draw([], aggregator=AGG)
    assert caught.value.field == "ledger"


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_234, "1.2 kB"),
        (9_949, "9.9 kB"),
        (409_245, "409 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (2_046_225, "2.0 MB"),
    ],
)
def test_sizes_in_words(size: int, said: str) -> None:
    assert style.size_text(size) == said


# ----------------------------------------------------------------------------------- the course
def test_course_map_names_every_lesson_once() -> None:
    fig = plots.course_map(here=3)
    shown = [word.replace("\n", " ") for word in words(fig)]
    assert [n for n in shown if n.isdigit()] == [f"{n:02d}" for n in range(14)]
    assert set(LESSONS) <= set(shown)
    assert "03" in title(fig)
    assert "you are" not in title(plots.course_map(None))
    with pytest.raises(FedkitError):
        plots.course_map(14)


def test_course_map_agrees_with_the_lessons() -> None:
    for source in sorted((ROOT / "notebooks" / "src").glob("[0-9][0-9]_*.py")):
        found = [
            line for line in source.read_text(encoding="utf-8").splitlines() if line[:4] == "# # "
        ]
        assert found == [f"# # {LESSONS[int(source.name[:2])]}"], source.name
