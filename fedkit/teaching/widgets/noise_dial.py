"""A dial for noise: turn it, and see what an attacker would see."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets
from torch import Tensor

from fedkit.teaching.notebook import figure_html
from fedkit.teaching.plots.pixels import digit_row
from fedkit.teaching.widgets.panel import Panel, heading

__all__ = ["NoiseDial"]


class NoiseDial(Panel):
    """Pictures by amount of noise: one at a time with a slider, or all in a row where nobody can turn it.

    pictures : caption -> 28 x 28 numbers, in the order of the dial. interactive : False in batch; then `html()` has all.
    """

    def __init__(self, pictures: Mapping[str, Tensor], interactive: bool = True) -> None:
        super().__init__(interactive)
        self.pictures = dict(pictures)
        self._drawn: dict[str, str] = {}
        if interactive:
            self.dial = ipywidgets.SelectionSlider(
                options=list(self.pictures),
                description="noise",
                continuous_update=True,
                layout=ipywidgets.Layout(width="32em"),
            )
            self.picture = ipywidgets.HTML()
            self.dial.observe(lambda _: self.repaint(), "value")
            head = ipywidgets.HTML(heading("Noise dial"))
            self.open([head, self.dial, self.picture], name="fk-noise-dial")

    def turn(self, caption: str) -> None:
        """What moving the slider does."""
        self.dial.value = caption

    def paint(self) -> None:
        chosen = str(self.dial.value)
        if chosen not in self._drawn:
            figure = digit_row({chosen: self.pictures[chosen]}, title="What the attack rebuilds")
            self._drawn[chosen] = figure_html(figure, f"The rebuilt picture with {chosen}")
        self.picture.value = self._drawn[chosen]

    def html(self) -> str:
        figure = digit_row(self.pictures, title="What the attack rebuilds, by amount of noise")
        alt = f"The rebuilt picture with {', '.join(self.pictures)}: the more noise, the less of it is left"
        return f"<div><strong>Noise dial</strong></div>{figure_html(figure, alt)}"

    def text(self) -> str:
        return f"Noise dial: {', '.join(self.pictures)}"
