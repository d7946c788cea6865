"""The lab in which datasites differ: two sliders, the labels that everybody gets, and one curve a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.data.feature_shift import heterogeneity
from fedkit.data.shards import Shard
from fedkit.rounds.history import History
from fedkit.rounds.simulation import simulate
from fedkit.teaching.notebook import figure_html
from fedkit.teaching.plots.accuracy import accuracy_by_round
from fedkit.teaching.plots.participants import label_bars
from fedkit.teaching.widgets.panel import Panel, esc, note

__all__ = ["SkewLab"]


_CURVES = 6  # more lines in one picture nobody can tell apart


class SkewLab(Panel):
    """Choose alpha and the local epochs, press Run, and compare with the runs before.

    deal : alpha -> one shard a participant, in the config's order. interactive : False in batch; `lab.run(alpha, epochs)`
    does what the button does, and the panel is a picture of the moment at which it is displayed.
    """

    def __init__(
        self,
        deal: Callable[[float], Sequence[Shard]],
        test: Shard,
        config: FLConfig,
        interactive: bool = True,
    ) -> None:
        super().__init__(interactive)
        self.deal, self.test, self.config = deal, test, config
        self.runs: dict[tuple[float, int], History] = {}
        self.last = (1.0, config.epoch)
        if interactive:
            self._make()

    def run(self, alpha: float, epochs: int) -> History:
        """All rounds with these shards and this many local epochs; a run that was made is not made again."""
        key = (alpha, epochs)
        if key not in self.runs:
            config = self.config.replace(epoch=epochs)
            self.runs[key] = simulate(config, self.deal(alpha), self.test)
        self.last = key
        self.repaint()
        return self.runs[key]

    def html(self) -> str:
        return f"<p><strong>Skew lab</strong></p>{self._said()}{self._pictures()}"

    def text(self) -> str:
        lines = [f"  {name}: {h.accuracies[-1]:.1%}" for name, h in self._named().items()]
        return "\n".join(["Skew lab: accuracy after the last round", *(lines or ["  no run yet"])])

    def _make(self) -> None:
        look: dict[str, Any] = {
            "style": {"description_width": "initial"},
            "layout": {"width": "320px"},
        }
        self.alpha = ipywidgets.SelectionSlider(
            options=[0.1, 0.2, 0.5, 1.0, 2.0, 10.0, 100.0], value=1.0, description="alpha", **look
        )
        self.epochs = ipywidgets.SelectionSlider(
            options=[1, 2, 5, 10, 20], value=5, description="local epochs", **look
        )
        self.go = ipywidgets.Button(description="Run", icon="play", button_style="primary")
        self.clear = ipywidgets.Button(description="Clear", icon="eraser")
        self.go.on_click(lambda _: self._press())
        self.clear.on_click(lambda _: self._forget())
        self.head, self.status, self.body = (ipywidgets.HTML() for _ in range(3))
        sliders = ipywidgets.HBox([self.alpha, self.epochs, self.go, self.clear])
        sliders.add_class("fk-row")
        self.open([self.head, sliders, self.status, self.body], name="fk-skew-lab")

    def paint(self) -> None:
        self.head.value = '<span class="fk-title">Skew lab</span>'
        self.status.value = note(self._said(), role="status")
        self.body.value = self._pictures()

    def _press(self) -> None:
        self.go.disabled = True
        self.status.value = note(f"▶ training {self.config.rounds} rounds …", role="status")
        try:
            self.run(self.alpha.value, self.epochs.value)
        except FedkitError as error:
            self.status.value = note(f"✗ {esc(str(error))}", "bad", "alert")
        finally:
            self.go.disabled = False

    def _forget(self) -> None:
        self.runs.clear()
        self.repaint()

    def _named(self) -> dict[str, History]:
        kept = list(self.runs.items())[-_CURVES:]
        return {
            f"alpha {a:g}, {e} epoch{'' if e == 1 else 's'}": history for (a, e), history in kept
        }

    def _said(self) -> str:
        if not self.runs:
            return "○ No run yet: choose alpha and the local epochs, and press Run."
        alpha, epochs = self.last
        measure = heterogeneity(self.deal(alpha))
        return (
            f"● alpha {alpha:g}, local epochs {epochs}: heterogeneity {measure:.2f}, accuracy "
            f"{self.runs[self.last].accuracies[-1]:.1%} after {self.config.rounds} rounds"
        )

    def _pictures(self) -> str:
        if not self.runs:
            return ""
        shards = self.deal(self.last[0])
        held = dict(zip(self.config.participants, (y for _, y in shards), strict=True))
        title = f"Who holds what at alpha {self.last[0]:g}"
        curves = self._named()
        alt = "; ".join(f"{name}: {h.accuracies[-1]:.0%}" for name, h in curves.items())
        return figure_html(label_bars(held, title=title), title) + figure_html(
            accuracy_by_round(curves), f"Accuracy by round, at the end: {alt}"
        )
