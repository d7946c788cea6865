"""Panels as a person sees them: words instead of HTML, buttons that are off, a model that is slow enough to be paused."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from fedkit.protocol.approval import approve_all
from fedkit.rounds.history import Contribution, RoundRecord
from fedkit.teaching.widgets.round_control import RoundControl
from fedkit.teaching.widgets.tree_model import Line, TreeModel
from tests.support.helpers import ALICE, LINEAR, launched

ADJUSTABLE = ["learning_rate", "epoch", "participants_per_round"]
# A batch takes 5 ms and more: there is time to pause in the middle of a round.
SLOW = LINEAR.replace("import torch\n", "import time\n\nimport torch\n").replace(
    "return self.fc", "time.sleep(0.005)\n        return self.fc"
)


def words(html: str) -> str:
    """What a page shows of a piece of HTML; fails where a tag is not closed."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.text: list[str] = []

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag == "wbr":  # where a long word may break
                self.text.append(tag)
            elif tag not in ("br", "img"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

        def handle_data(self, data: str) -> None:
            self.text.append(data)

    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return " ".join(" ".join(reader.text).replace(" wbr ", "").split())


def panel_on(root: Path, model: str = LINEAR, **changes: Any) -> RoundControl:
    return RoundControl(launched(root, model, **changes), approve_all)


def record(
    n: int, accuracy: float | None = 0.5, loss: float | None = 1.0, **more: Any
) -> RoundRecord:
    parts = (Contribution(ALICE, 1.0, 6, 0.1, 1.0, "0" * 64),)
    settings = {"learning_rate": 0.1, "local_epochs": 1, "contributions": parts} | more
    return RoundRecord(n, accuracy=accuracy, loss=loss, **settings)


OWN = f"datasites/{ALICE}"


def line(tree: TreeModel, path: str) -> Line:
    """The line of a path; fails where it is not shown."""
    (found,) = [line for line in tree.lines() if line.path == path]
    return found
