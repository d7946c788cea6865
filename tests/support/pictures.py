"""Pictures as a reader sees them, and what the tests of several pictures draw."""

from pathlib import Path

import pytest
import torch
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from fedkit.datasite.permissions import write_permissions
from fedkit.federation.ledger import LedgerEntry
from fedkit.learning.update import Update
from fedkit.rounds.history import History, RoundRecord


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


def words(fig: Figure) -> list[str]:
    return [text.get_text() for text in visible(fig)]


def heights(fig: Figure) -> list[float]:
    return [patch.get_height() for patch in fig.axes[0].patches]


def cells(fig: Figure, columns: int) -> list[list[str]]:
    texts = [text.get_text() for text in fig.axes[0].texts]
    return [texts[i : i + columns] for i in range(0, len(texts), columns)]


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


def updates(rows: torch.Tensor, counts: list[int] | None = None) -> list[Update]:
    return [
        Update(f"p{k}@example.org", 1, {"w": row[:2], "b": row[2:], "n": torch.tensor(k)}, count)
        for k, (row, count) in enumerate(zip(rows, counts or [5] * len(rows), strict=True))
    ]


ZERO = {"w": torch.zeros(2), "b": torch.zeros(2), "n": torch.tensor(0)}
