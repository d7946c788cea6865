"""The guided experiments on the playground: choose one, say what you expect, and see what comes out with this seed."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.teaching.playground.experiments import EXPERIMENTS, Experiment, experiment
from fedkit.teaching.playground.settings import Settings
from fedkit.teaching.quiz import LETTERS
from fedkit.teaching.widgets.panel import button, esc, note
from fedkit.teaching.widgets.playground_parts import put

__all__ = ["Guide"]


class Stage(Protocol):
    """What a guide needs of the playground."""

    settings: Settings

    def reset(self, **changes: Any) -> None:
        """Back to round 0, with other settings."""

    def repaint(self) -> None:
        """Bring the live widgets up to date."""

    def pause(self) -> None:
        """Stop after the round that runs."""


class Guide:
    """Which experiment is chosen, what the learner expects, and what came out."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.chosen: Experiment | None = None
        self.answer = self.revealed = ""
        self._placing = False

    def choose(self, number: int | None, run: str | None = None) -> None:
        """Set up an experiment, None for none. Raises FedkitError for one, or a run, that there is not."""
        if number is None:
            self.chosen = None
            self.stage.repaint()
            return
        chosen = experiment(number)
        settings = chosen.settings(run or next(iter(chosen.runs)), self.stage.settings.seed)
        if chosen is not self.chosen:
            self.answer = self.revealed = ""
        self.chosen = chosen
        self.stage.reset(**settings.model_dump())

    def predict(self, letter: str) -> None:
        """Choose an option by its letter. Raises FedkitError where there is none."""
        if self.chosen is None or letter not in LETTERS[: len(self.chosen.options)]:
            remedy = "choose an experiment first, then one of its letters"
            raise FedkitError(f"{letter!r:.20} is no option", field="letter", remedy=remedy)
        self.answer = letter
        self.stage.repaint()

    def reveal(self) -> str:
        """Run all runs of the experiment, and say what came out; the prediction comes first."""
        if self.chosen is None or not self.answer:
            self.revealed = "Choose what you expect first."
        else:
            self.revealed = _told(self.chosen, self.answer, self.stage.settings.seed)
        self.stage.repaint()
        return self.revealed

    def html(self) -> str:
        """The question, its options and the reply, for where nobody can press anything."""
        if self.chosen is None:
            return ""
        options = "".join(f"<li>{esc(option)}</li>" for option in self.chosen.options)
        said = f"<p>{esc(self.revealed)}</p>" if self.revealed else ""
        asks = f"<p><strong>Predict.</strong> {esc(self.chosen.asks)}</p>"
        return f'{asks}<ol type="a">{options}</ol>{said}'

    def make(self) -> list[ipywidgets.Widget]:
        """The live ones."""
        names = [(f"{n} · {each.title}", n) for n, each in enumerate(EXPERIMENTS, 1)]
        self.chooser = ipywidgets.Dropdown(
            options=[("none: play freely", 0), *names],
            description="guided experiment",
            layout={"width": "480px", "max_width": "100%"},
            style={"description_width": "initial"},
        )
        self.chooser.observe(
            lambda change: self._pressed(self.choose, change["new"] or None), "value"
        )
        self.question, self.reply = ipywidgets.HTML(), ipywidgets.HTML()
        self.options = ipywidgets.RadioButtons(options=[], layout={"width": "auto"})
        self.options.observe(lambda change: self._pressed(self._expect, change["new"]), "index")
        self.variants = ipywidgets.HBox()
        self.variants.add_class("fk-row")
        self.show_it = button("Reveal", self._reveal, "eye", "Run it to the end with this seed")
        self.block = ipywidgets.VBox([self.question, self.options, self.variants, self.reply])
        return [self.chooser, self.block]

    def paint(self) -> None:
        """Bring the live ones up to date."""
        self._placing, chosen = True, self.chosen
        self.block.layout.display = "none" if chosen is None else ""
        self.chooser.value = 0 if chosen is None else EXPERIMENTS.index(chosen) + 1
        if chosen is not None:
            options = tuple(f"{a}) {o}" for a, o in zip(LETTERS, chosen.options, strict=False))
            if self.options.options != options:
                self.options.options = options
                runs = [button(name, partial(self._set_up, name)) for name in chosen.runs]
                for each in runs:
                    each.layout.width = "auto"
                self.variants.children = [ipywidgets.HTML("Set up:"), *runs, self.show_it]
            self.options.index = LETTERS.index(self.answer) if self.answer else None
            put(self.question, f"<strong>Predict.</strong> {esc(chosen.asks)}")
            put(self.reply, note(esc(self.revealed), role="status") if self.revealed else "")
        self._placing = False

    def _pressed(self, do: Any, value: Any) -> None:
        if not self._placing:
            do(value)

    def _expect(self, index: int | None) -> None:
        if index is not None:
            self.predict(LETTERS[index])

    def _set_up(self, run: str) -> None:
        if self.chosen is not None:
            self.choose(EXPERIMENTS.index(self.chosen) + 1, run)

    def _reveal(self) -> None:
        self.stage.pause()
        if self.answer:
            put(self.reply, note("▶ runs it to the end …", role="status"))
        self.reveal()


def _told(chosen: Experiment, answer: str, seed: int) -> str:
    """What was measured, what it means for the prediction, and what to learn from it."""
    outcomes = chosen.outcomes(seed)
    right = chosen.options[LETTERS.index(chosen.answer)]
    if not chosen.holds(outcomes):
        return (
            f"{chosen.measured(outcomes)} This seed is an exception: with seeds 0 to 4 it was "
            f"{chosen.answer}) {right} {chosen.why}"
        )
    yours = "as you said" if answer == chosen.answer else f"you said {answer})"
    return f"{chosen.measured(outcomes)} It is {chosen.answer}) {right} ({yours}). {chosen.why}"
