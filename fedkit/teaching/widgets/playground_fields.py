"""The playground's controls: one for each setting, by name, in three columns and a line below them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from fedkit.learning.strategies.registry import STRATEGIES
from fedkit.rounds.clustered import COMPARED
from fedkit.teaching.playground.settings import (
    ATTACKS,
    DATA,
    SKEWS,
    STRENGTHS,
    UNITS,
    Settings,
)
from fedkit.teaching.widgets.panel import row

__all__ = ["Fields"]

_DEFAULT = -1.0
"""What a control has for None, which ipywidgets takes for "nothing is chosen"."""
GROUPS: dict[str, dict[str, tuple[str, Any]]] = {
    "Data": {
        "data": ("data", [(name, name) for name in DATA if name != "own"]),
        "participants": ("participants", range(2, 55)),
        "samples": ("samples each", [1, 2, 5, 10, 20, 40, 100, 200, 400]),
        "spread": ("noise of points", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5]),
        "skew": (
            "dealt out",
            [
                ("evenly", SKEWS[0]),
                ("labels by alpha", SKEWS[1]),
                ("one label each", SKEWS[2]),
                ("sizes by alpha", SKEWS[3]),
                ("half swap labels", SKEWS[4]),
            ],
        ),
        "alpha": ("alpha", [0.05, 0.1, 0.3, 0.5, 1.0, 3.0, 10.0, 100.0]),
    },
    "Training": {
        "strategy": ("strategy", [(name, name) for name in STRATEGIES]),
        "strength": ("its parameter", [_DEFAULT, 0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0, 2.0]),
        "epoch": ("local epochs", [1, 2, 3, 5, 10, 20, 50]),
        "learning_rate": ("learning rate", [0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
        "batch_size": ("batch size", [1, 2, 4, 8, 16, 32, 64, 400]),
        "hidden": ("hidden units", [2, 4, 8, 16, 32, 64, 128]),
        "layers": ("hidden layers", range(1, 4)),
        "rounds": ("rounds", [1, 5, 10, 20, 30, 40, 60, 100, 200]),
    },
    "Trouble": {
        "per_round": ("drawn a round", range(55)),
        "drop_out": ("drop-outs", [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9]),
        "hostile": ("hostile ones", range(11)),
        "attack": (
            "what they do",
            [
                ("flip the update", ATTACKS[0]),
                ("flip it, ten times", ATTACKS[1]),
                ("flip their labels", ATTACKS[2]),
            ],
        ),
        "noise": ("noise (sigma)", [0.0, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0]),
        "clip": ("clipping norm", [0.01, 0.1, 0.3, 0.5, 1.0, 3.0, 10.0]),
        "unit": ("noise protects", [("a participant", UNITS[0]), ("one example", UNITS[1])]),
    },
    "Groups, each with a model of its own": {
        "groups": ("groups", range(1, 5)),
        "compare": ("alike by", [("direction (cosine)", COMPARED[0]), ("distance", COMPARED[1])]),
        "split": ("part after", [1, 2, 3, 5, 10, 20, 40]),
    },
}
"""Group -> setting -> (what it is called, what can be chosen)."""

_HELP = {
    "strength": "mu, momentum, the server's rate, beta, how many hostile ones or the clip, as the strategy has it",
    "per_round": "participants drawn in each round; 0 stands for all",
    "drop_out": "how likely an update gets lost",
    "samples": "on average",
    "groups": "1: one model for all",
    "compare": "which updates count as alike, when participants part",
    "split": "the round after which each group trains a model of its own",
    "noise": "standard deviation of the noise, in clipping norms; 0 promises nothing",
}


class Fields:
    """A control a setting. wish : called with {setting: value} when a person has chosen another value. part : a button
    beside those of the groups."""

    def __init__(
        self,
        wish: Callable[[dict[str, Any]], None],
        part: ipywidgets.Widget,
        own: bool = False,
    ) -> None:
        self._wish, self._placing = wish, False
        self.by_name: dict[str, Any] = {}
        self._numbers: set[str] = set()
        columns = []
        for group, fields in GROUPS.items():
            made = [self._made(name, *field, own) for name, field in fields.items()]
            title = ipywidgets.HTML(f"<strong>{group}</strong>")
            beside = "groups" in fields  # a line below the columns
            inside = [row(*made, part)] if beside else made
            column = ipywidgets.VBox([title, *inside])
            column.layout.flex = "1 1 100%" if beside else "1 1 235px"
            columns.append(column)
        self.columns = columns

    def _made(self, name: str, said: str, choices: Any, own: bool) -> Any:
        look: dict[str, Any] = {
            "description": said,
            "style": {"description_width": "98px"},
            "layout": {"width": "245px", "max_width": "100%"},
            "tooltip": _HELP.get(name, said),
        }
        if isinstance(choices, range):
            made = ipywidgets.IntSlider(
                min=choices[0], max=choices[-1], continuous_update=False, **look
            )
        elif isinstance(choices[0], tuple):
            more = [("my own folder", "own")] if own and name == "data" else []
            made = ipywidgets.Dropdown(options=[*choices, *more], **look)
        else:
            made = ipywidgets.SelectionSlider(
                options=_named(choices), continuous_update=False, **look
            )
            self._numbers.add(name)
        made.observe(lambda change: self._moved(name, change["new"]), "value")
        self.by_name[name] = made
        return made

    def _moved(self, name: str, value: Any) -> None:
        if not self._placing:
            self._wish({name: None if value == _DEFAULT and name == "strength" else value})

    def show(self, settings: Settings) -> None:
        """Put every control where the settings are; a value that a slider does not have is added to it."""
        self._placing = True
        try:
            for name, field in self.by_name.items():
                value = getattr(settings, name)
                value = _DEFAULT if value is None else value
                if name in self._numbers:
                    there = [choice for _, choice in field.options]
                    if value not in there:
                        field.options = _named(sorted([*there, value]))
                if field.value != value:
                    field.value = value
            self.by_name["strength"].disabled = settings.strategy not in STRENGTHS
            self.by_name["alpha"].disabled = settings.skew in ("even", "single", "swapped")
            self.by_name["spread"].disabled = settings.data in ("digits", "own")
            for name in ("participants", "samples", "skew"):
                self.by_name[name].disabled = settings.data == "own"
            self.by_name["attack"].disabled = not settings.hostile
            for name in ("clip", "unit"):
                self.by_name[name].disabled = not settings.noise
            for name in ("compare", "split"):
                self.by_name[name].disabled = settings.groups == 1
        finally:
            self._placing = False


def _named(choices: list[Any]) -> list[tuple[str, Any]]:
    return [("default" if choice == _DEFAULT else f"{choice:g}", choice) for choice in choices]
