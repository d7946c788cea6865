"""The lab in which datasites differ: two sliders, the labels that everybody gets, and one curve a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig
from fedkit.data.feature_shift import heterogeneity
from fedkit.data.shards import Shard
from fedkit.rounds.history import History
from fedkit.rounds.simulation import simulate
from fedkit.teaching.notebook import figure_html
from fedkit.teaching.plots.accuracy import accuracy_by_round
from fedkit.teaching.plots.participants import label_bars
from fedkit.teaching.widgets.panel import Panel, button, esc, fitted, heading, note, row

__all__ = ["SkewLab"]


_CURVES = 6  # more lines in one picture nobody can tell apart
Setting = tuple[float, int]  # alpha, local epochs


class SkewLab(Panel):
    """Choose alpha and the local epochs, press Run, and compare with the runs before.

    The picture shows the last runs; one that was made before comes back to it when its settings are chosen again.

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
        self.runs: dict[Setting, History] = {}
        self.last: Setting = (1.0, config.epoch)
        self._placing = False
        if interactive:
            self._make()

    def run(self, alpha: float, epochs: int) -> History:
        """All rounds with these shards and this many local epochs; a run that was made is not made again."""
        key = (alpha, epochs)
        if key not in self.runs:
            config = self.config.replace(epoch=epochs)
            self.runs[key] = simulate(config, self.deal(alpha), self.test)
        self._show(key)
        return self.runs[key]

    def html(self) -> str:
        return f"<p><strong>Skew lab</strong></p>{self._said(self.last)}{self._pictures()}"

    def text(self) -> str:
        lines = [f"  {name}: {h.accuracies[-1]:.1%}" for name, h in self._named().items()]
        return "\n".join(["Skew lab: accuracy after the last round", *(lines or ["  no run yet"])])

    def _make(self) -> None:
        slider, look = ipywidgets.SelectionSlider, fitted("320px")
        alphas, epochs = [0.1, 0.2, 0.5, 1.0, 2.0, 10.0, 100.0], [1, 2, 5, 10, 20]
        self.alpha = slider(options=alphas, description="alpha", **look)
        self.epochs = slider(options=epochs, description="local epochs", **look)
        self._place(self.last)
        for moved in (self.alpha, self.epochs):
            moved.observe(lambda _: self._moved(), "value")
        self.go = button("Run", self._press, "play", kind="primary")
        self.clear = button("Clear", self._forget, "eraser")
        self.head, self.status, self.body = (ipywidgets.HTML() for _ in range(3))
        sliders = row(self.alpha, self.epochs, self.go, self.clear)
        self.open([self.head, sliders, self.status, self.body], name="fk-skew-lab")

    def paint(self) -> None:
        self.head.value = heading("Skew lab")
        self.status.value = note(self._said(self._chosen()), role="status")
        self.body.value = self._pictures()

    def _chosen(self) -> Setting:
        return self.alpha.value, self.epochs.value

    def _show(self, key: Setting) -> None:
        """Put a run that was made into the picture, and the sliders where it was made."""
        self.last = key
        if self.box is not None:
            self._place(key)
        self.repaint()

    def _place(self, key: Setting) -> None:
        self._placing = True  # between the two sliders lies a setting that nobody has chosen
        for slider, value in zip((self.alpha, self.epochs), key, strict=True):
            if value not in slider.options:
                slider.options = sorted({*slider.options, value})
            slider.value = value
        self._placing = False

    def _moved(self) -> None:
        if self._placing:
            return
        if self._chosen() in self.runs:
            self._show(self._chosen())
        else:
            self.status.value = note(self._said(self._chosen()), role="status")

    def _press(self) -> None:
        self.go.disabled = True
        self.status.value = note(
            f"▶ training {how_many(self.config.rounds, 'round')} …", role="status"
        )
        try:
            self.run(*self._chosen())
        except FedkitError as error:
            self.status.value = note(f"✗ {esc(str(error))}", "bad", "alert")
        finally:
            self.go.disabled = False

    def _forget(self) -> None:
        self.runs.clear()
        self.repaint()

    def _named(self) -> dict[str, History]:
        """The curves of the picture by their names, in the order of their runs, so that each keeps its colour."""
        kept = list(self.runs)[-_CURVES:]
        if self.last in self.runs and self.last not in kept:
            kept[0] = self.last
        return {f"alpha {a:g}, {how_many(e, 'epoch')}": self.runs[a, e] for a, e in kept}

    def _said(self, setting: Setting) -> str:
        if not self.runs:
            return "○ No run yet: choose alpha and the local epochs, and press Run."
        alpha, epochs = setting
        if setting not in self.runs:
            return f"○ alpha {alpha:g}, local epochs {epochs}: no run yet, press Run. Below are runs made before."
        measure = heterogeneity(self.deal(alpha))
        return (
            f"● alpha {alpha:g}, local epochs {epochs}: heterogeneity {measure:.2f}, accuracy "
            f"{self.runs[setting].accuracies[-1]:.1%} after {how_many(self.config.rounds, 'round')}"
        )

    def _pictures(self) -> str:
        if not self.runs:
            return ""
        shards = self.deal(self.last[0])
        held = dict(zip(self.config.participants, (y for _, y in shards), strict=True))
        title = f"Who holds what at alpha {self.last[0]:g}"
        curves = self._named()
        alt = "; ".join(f"{name}: {h.accuracies[-1]:.0%}" for name, h in curves.items())
        said = f"Accuracy by round, at the end: {alt}"
        bars, lines = label_bars(held, title=title), accuracy_by_round(curves)
        return figure_html(bars, title) + figure_html(lines, said)
