"""The playground: federated learning to play with, on the real engine, one round a frame.

    fk.playground()                                    # in a notebook; `fedkit playground` opens the same without one
    fk.playground("data=circles&strategy=median&hostile=3", rounds=20)

Its rounds are `fk.simulate`'s. A panel starts no thread: what plays is a task of the kernel's own loop, and gives way to
the buttons between two rounds.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.teaching.playground.export import cell_of, config_json
from fedkit.teaching.playground.pictures import Painter
from fedkit.teaching.playground.play import Frame, Play
from fedkit.teaching.playground.settings import Settings
from fedkit.teaching.widgets.chart import chart, chart_image, chart_text
from fedkit.teaching.widgets.panel import Panel, button, esc, heading, note, row
from fedkit.teaching.widgets.playground_fields import Fields
from fedkit.teaching.widgets.playground_guide import Guide
from fedkit.teaching.widgets.playground_parts import (
    drift_svg,
    people_rows,
    people_table,
    put,
    rebuilt_html,
    said_of,
    stage_html,
    thinned,
)
from fedkit.teaching.workspace import ENVIRONMENT

__all__ = ["Playground", "playground"]

_PACES = [("slow", 1.0), ("normal", 0.25), ("fast", 0.0)]
_GIVE_WAY_S = 0.02
"""Between two rounds, for the buttons."""


def playground(
    link: str = "",
    rounds: int = 0,
    own: Path | str | None = None,
    interactive: bool | None = None,
) -> Playground:
    """The playground as a cell's last line.

    Parameters
    ----------
    link : settings, as the playground gives them under "Take it with you"; the defaults where it is empty.
    rounds : play so many before it is shown.
    own : a folder of data that `fedkit data import` wrote; with it, data is "own" unless the link says otherwise.
    interactive : live, with buttons; False: only the static twin. None: live but in `fedkit course run`.

    Raises FedkitError for a link that is none, or settings that do not go together.
    """
    settings = Settings.of_link(link)
    if own is not None and "data=" not in link:
        settings = settings.changed(data="own")
    live = ENVIRONMENT not in os.environ if interactive is None else interactive
    made = Playground(settings, own, live)
    made.play(rounds)
    return made


class Playground(Panel):
    """See `playground`. `step()`, `play(10)`, `reset(strategy="median")` and `try_out(2)` do what a press does."""

    def __init__(
        self,
        settings: Settings,
        own: Path | str | None = None,
        interactive: bool = True,
    ) -> None:
        super().__init__(interactive)
        self.own = own
        self.settings = settings
        self._said = ""
        self.guide = Guide(self)
        self._task: asyncio.Task[None] | None = None
        self._open(Play(settings, own))
        if interactive:
            self._make()

    @property
    def frame(self) -> Frame:
        """What is shown now."""
        return self.run.frame

    @property
    def playing(self) -> bool:
        """Does it go on by itself?"""
        return self._task is not None

    def step(self) -> Frame:
        """One round more, where there is one left."""
        self._advance()
        self.repaint()
        return self.frame

    def _advance(self) -> None:
        try:
            self.run.step()
            self._said = ""
        except FedkitError as error:
            self.pause()
            self._said = str(error)

    def play(self, rounds: int | None = None) -> Frame:
        """So many rounds more, None: all that are left; waits until they have ended, or one can't."""
        left, self._said = self.settings.rounds if rounds is None else rounds, ""
        while left > 0 and not self.run.done and not self._said:
            self.step()
            left -= 1
        return self.frame

    def pause(self) -> None:
        """Stop after the round that runs."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self.repaint()

    def reset(self, **changes: Any) -> None:
        """Back to round 0, with some settings changed. Settings that do not go together are said, and nothing changes.

        The same settings and seed give the same rounds again.
        """
        self.pause()
        try:
            settings = self.settings.changed(**changes)
            run = Play(settings, self.own)
        except FedkitError as error:
            self._said = str(error)
        else:
            self.run.close()
            self.settings, self._said = settings, ""
            self._open(run)
        self.repaint()

    def part(self, groups: int | None = None) -> None:
        """Part the participants into groups by the updates of the round that is shown; None: as many as are set, or two.

        The rounds so far are run again, to the same bits, so that the settings say all.
        """
        now = self.frame.round
        if not now or self.run.done:
            left = "Nobody has sent an update yet" if not now else "No round is left to train in"
            self.say(f"{left}: {'reset, then ' if now else ''}let some rounds run, and part.")
            return
        self.reset(groups=groups or max(2, self.settings.groups), split=now)
        while not self._said and self.frame.round < now:
            self._advance()
        self.repaint()

    def say(self, wrong: str) -> None:
        """Show what is wrong in the status line, until the next press."""
        self._said = wrong
        self.repaint()

    def open_link(self, link: str) -> None:
        """Take over the settings of a link; what is wrong with it is said, and nothing changes."""
        try:
            settings = Settings.of_link(link)
        except FedkitError as error:
            self.say(str(error))
        else:
            self.reset(**settings.model_dump())

    def try_out(self, number: int | None, run: str | None = None) -> None:
        """Set up a guided experiment, None for none, with the settings of one of its runs, by default the first."""
        self.guide.choose(number, run)

    def predict(self, letter: str) -> None:
        """Choose what you expect of the guided experiment. Raises FedkitError for a letter that stands at no option."""
        self.guide.predict(letter)

    def reveal(self) -> str:
        """Run all runs of the guided experiment with this seed, and say what came out. A prediction comes first."""
        self.pause()
        return self.guide.reveal()

    def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        super().close()
        self.run.close()

    def html(self) -> str:
        frame = self.frame
        rebuilt = next(iter(frame.rebuilt.values()), None)
        picture = None if rebuilt is None else self.painter.rebuilt(rebuilt)
        pictures = self.painter.pictures(frame.states)
        return (
            f"<p><strong>Playground</strong> · {esc(said_of(self.run))}</p>"
            f"<p>Settings: <code>{esc(self.settings.link() or 'defaults')}</code></p>"
            f"{self.guide.html()}{stage_html(frame, pictures, self.painter.kind)}"
            f"{chart_image(thinned(self.run.history))}{drift_svg(frame, live=False)}{people_table(frame)}"
            f"{rebuilt_html(rebuilt, picture, self.painter.kind)}"
        )

    def text(self) -> str:
        lines = [f"Playground · {said_of(self.run)}", chart_text(thinned(self.run.history))]
        lines += [f"  {' · '.join(cells)}" for cells in people_rows(self.frame)]
        return "\n".join([*lines, f"Settings: {self.settings.link() or 'defaults'}"])

    # ---------------------------------------------------------------------------------- the live one
    def _open(self, run: Play) -> None:
        self.run, self.painter = run, Painter(run)
        self._drawn: tuple[int, dict[str, bytes]] | None = None

    def _make(self) -> None:
        wide = ipywidgets.Layout(width="116px")
        self.go = button(
            "Play", self._toggle, "play", "Play or pause: the space bar, too", "primary"
        )
        self.one = button("Step", self._press_step, "step-forward", "One round")
        self.back = button("Reset", self.reset, "undo", "Back to round 0; the same seed again")
        for each in (self.go, self.one, self.back):
            each.layout = wide
        self.go.add_class("fk-play")
        self.seed = ipywidgets.BoundedIntText(
            max=2**31 - 1,
            description="seed",
            layout={"width": "150px"},
            style={"description_width": "40px"},
        )
        self.seed.continuous_update = False
        self.seed.observe(lambda change: self._wish({"seed": change["new"]}), "value")
        self.pace = ipywidgets.Dropdown(
            options=_PACES,
            value=0.25,
            description="pace",
            layout={"width": "150px"},
            style={"description_width": "40px"},
        )
        part = button(
            "Part now",
            self.part,
            "",
            "Into groups, by the updates of the round that is shown",
        )
        part.layout = wide
        self.fields = Fields(self._wish, part, own=self.own is not None)
        columns = row(*self.fields.columns, name="fk-split")
        self.head, self.status, self.stage, self.plots, self.table = (
            ipywidgets.HTML() for _ in range(5)
        )
        self.looked_at = ipywidgets.Dropdown(
            options=[""],
            description="rebuild from",
            layout={"width": "260px"},
            style={"description_width": "initial"},
        )
        self.looked_at.observe(lambda _: self.repaint(), "value")
        self.rebuilt, self.take = ipywidgets.HTML(), ipywidgets.HTML()
        self.link = ipywidgets.Text(
            placeholder="data=circles&seed=3, or a whole link",
            description="open a link",
            layout={"width": "480px", "max_width": "100%"},
            style={"description_width": "initial"},
        )
        open_it = button("Open", lambda: self.open_link(self.link.value), "link")
        self.open(
            [
                self.head,
                *self.guide.make(),
                row(self.go, self.one, self.back, self.seed, self.pace),
                self.status,
                self.stage,
                self.plots,
                columns,
                self.table,
                self.looked_at,
                self.rebuilt,
                row(self.link, open_it),
                self.take,
            ],
            name="fk-playground",
        )

    def paint(self) -> None:
        self._placing = True
        frame, kind = self.frame, self.painter.kind
        self.head.value = heading("Playground", "every round is fedkit’s own simulation")
        self.go.description, self.go.icon = ("Pause", "pause") if self.playing else ("Play", "play")
        said = note(f"✗ {esc(self._said)}", "bad", "alert")
        sign = "● plays: " if self.playing else "✓ done: " if self.run.done else "○ "
        put(self.status, said if self._said else note(esc(sign + said_of(self.run)), role="status"))
        if self._drawn is None or self._drawn[0] != frame.round:
            self._drawn = frame.round, self.painter.pictures(frame.states)
            self.stage.value = stage_html(frame, self._drawn[1], kind)
            plots = chart(thinned(self.run.history)), drift_svg(frame)
            self.plots.value = (
                '<div style="display: flex; flex-wrap: wrap; gap: 12px; align-items: start">'
                f'<div style="flex: 1 1 420px">{plots[0]}</div>{plots[1]}</div>'
            )
            self.table.value = people_table(frame)
        names = tuple((p.name, p.email) for p in frame.people)
        if self.looked_at.options != names:
            self.looked_at.options = names
        rebuilt = frame.rebuilt.get(str(self.looked_at.value))
        picture = None if rebuilt is None else self.painter.rebuilt(rebuilt)
        put(self.rebuilt, rebuilt_html(rebuilt, picture, kind))
        self.fields.show(self.settings)
        self.seed.value = self.settings.seed
        self.guide.paint()
        if self.playing is False:
            put(self.take, self._take_html())
        self._placing = False

    def _take_html(self) -> str:
        try:
            own = self.own if self.settings.data == "own" else None
            parts = {
                "a link of these settings": self.settings.link() or "seed=0",
                f"an fl_config.json{_no_groups(self.settings)}": config_json(self.settings, own),
                "a notebook cell that gives the same numbers": cell_of(self.settings, own),
            }
        except FedkitError as error:
            return note(f"✗ {esc(str(error))}", "bad")
        inside = "".join(
            f'<p><strong>{name}</strong></p><pre class="fk-code fk-wraps" tabindex="0">{esc(text)}</pre>'
            for name, text in parts.items()
        )
        return f"<details><summary>Take it with you: a link, a config, a cell</summary>{inside}</details>"

    def _wish(self, changes: dict[str, Any]) -> None:
        if not getattr(self, "_placing", False):
            self.reset(**changes)

    def _toggle(self) -> None:
        if self.playing:
            self.pause()
            return
        if self.run.done:
            self.reset()
        self._said = ""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop, no front end: nobody could press Pause
            self.play()
            return
        self._task = loop.create_task(self._going_on())
        self.repaint()

    async def _going_on(self) -> None:
        """Round after round, until somebody pauses or all have ended."""
        mine = self._task
        while self._task is mine and not self.run.done and not self._said:
            began = time.monotonic()
            self.step()
            await asyncio.sleep(max(_GIVE_WAY_S, self.pace.value - (time.monotonic() - began)))
        if self._task is mine:
            self._task = None
            self.repaint()

    def _press_step(self) -> None:
        self.pause()
        self.step()


def _no_groups(settings: Settings) -> str:
    """What a config can't carry."""
    if settings.groups == 1:
        return ""
    return (
        " of the rounds before the groups part: a project trains one global model, so each group then needs a project of "
        "its own, which starts from that model"
    )
