"""The teacher's panel, in front of the class: who is stuck, since when, and on what; who needs help stands first.

The seats are other machines, so nothing here tells of news by itself: the panel looks every few seconds while no cell
runs, and when its button is pressed or `look()` is called. Times are the aggregator's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_long, how_many, visible
from fedkit.datasite.datasite import Datasite
from fedkit.federation.seats import Seat, by_need, look
from fedkit.teaching.widgets.pager import Pager, rest
from fedkit.teaching.widgets.panel import (
    Panel,
    breakable,
    button,
    esc,
    heading,
    note,
    row,
    stacked,
    table,
)

__all__ = ["ClassRoom"]


PAGE = 40  # seats
EVERY_S = 5.0
_SIGNS = {"needs help": "✗", "must act": "▸", "waits": "·", "done": "✓"}
_LOOKS = {"needs help": "fk-bad", "done": "fk-good"}


class ClassRoom(Panel):
    """A room that was opened at this datasite with `fedkit class open`.

    interactive : False in batch; then it is a picture of the moment at which it is displayed. every_s : seconds from one
    look to the next; 0: only when the button is pressed.
    """

    def __init__(
        self, datasite: Datasite, room: str, interactive: bool = True, every_s: float = EVERY_S
    ) -> None:
        super().__init__(interactive)
        self.datasite, self.room, self.every_s = datasite, room, every_s
        self.seats: list[Seat] = by_need(look(datasite, room))
        self.pager = Pager(PAGE, "seats", self.repaint)
        if interactive:
            self.head, self.rows, self.what = (ipywidgets.HTML() for _ in range(3))
            self.said = ipywidgets.HTML()
            self.again = button("Look", self.look, "refresh", "Look at every seat now")
            top = row(self.again, self.said)
            parts = [self.head, top, self.what, self.rows, self.pager.live()]
            self.open(parts, name="fk-class-room")
            self._later()

    def look(self) -> None:
        """Look at every seat now."""
        said = ""
        try:
            self.seats = by_need(look(self.datasite, self.room))
        except FedkitError as error:
            said = note(f"✗ {esc(str(error))}", "bad", "status")
        if self.interactive:
            self.said.value = said
        self.repaint()

    def html(self) -> str:
        self.look()
        left = rest(PAGE, len(self.seats), "seats", "`fedkit class seats` lists them all")
        return (
            f"<p><strong>Room {esc(self.room)}</strong> · {esc(self._short())}</p>{self._summary()}"
            f"{self._table(slice(PAGE))}<p>{esc(left)}</p>"
        )

    def text(self) -> str:
        self.look()
        return "\n".join([f"Room {self.room} · {self._short()}", *map(_line, self.seats)])

    def paint(self) -> None:
        self.head.value = heading(f"Room {esc(self.room)}", esc(self._short()))
        self.what.value = self._summary()
        self.rows.value = self._table(self.pager.window(len(self.seats)))

    def _later(self) -> None:
        """Look again after a while, in the kernel's own loop, as long as the panel is open."""
        if self.every_s <= 0 or self.box is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no notebook: nobody sits in front of it
            return
        loop.call_later(self.every_s, self._look_again)

    def _look_again(self) -> None:
        if self.box is not None:
            self.look()
            self._later()

    def _short(self) -> str:
        states = Counter(seat.state for seat in self.seats)
        told = [
            f"{states[state]} {said[states[state] > 1]}"
            for state, said in _SAID.items()
            if states[state]
        ]
        return f"{how_many(len(self.seats), 'seat')}: {', '.join(told)}"

    def _summary(self) -> str:
        """On what people are: how many seats must do the same."""
        on = Counter(seat.what.partition(":")[0] for seat in self.seats if seat.acts)
        said = [f"{number} × {esc(visible(what))}" for what, number in on.most_common()]
        return f"<p>To do at the seats: {'; '.join(said) or 'nothing'}.</p>"

    def _table(self, page: slice) -> str:
        cells = []
        for seat in self.seats[page]:
            state = f'<span class="{_LOOKS.get(seat.state, "")}">{_SIGNS[seat.state]} {seat.state}</span>'
            others = [] if seat.acts or not seat.whom else [seat.whom]
            waits = [f"waits for {breakable(visible(whom))}" for whom in others]
            must = stacked(breakable(visible(seat.what)), *waits)
            cells.append(
                [str(seat.number), breakable(seat.email), state, must, esc(how_long(seat.since))]
            )
        names = ["seat", "who", "state", "what is to be done", "since"]
        return table(
            names, cells, wrap=[1, 3], caption="Who needs help first, by this machine's clock"
        )


_SAID = {
    "needs help": ("needs help", "need help"),
    "must act": ("must act", "must act"),
    "waits": ("waits", "wait"),
    "done": ("is done", "are done"),
}


def _line(seat: Seat) -> str:
    whom = "" if seat.acts else f" (waits for {visible(seat.whom)})" if seat.whom else ""
    told = f"{_SIGNS[seat.state]} {seat.state}, {visible(seat.what)}{whom}"
    return f"  {seat.number:2d} {seat.email}: {told}, for {how_long(seat.since)}"
