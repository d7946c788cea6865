"""The teacher's panel: every seat of a room, who must act there, what is waited for and since when.

The seats are other machines, so nothing here tells of news by itself: the panel looks when its button is pressed, or when
`look()` is called. Times are the aggregator's own.
"""

from __future__ import annotations

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.datasite.datasite import Datasite
from fedkit.federation.seats import Seat, look
from fedkit.teaching.widgets.panel import Panel, button, esc, heading, note, row, table

__all__ = ["ClassRoom"]


class ClassRoom(Panel):
    """A room that was opened at this datasite with `fedkit class open`.

    interactive : False in batch; then it is a picture of the moment at which it is displayed.
    """

    def __init__(self, datasite: Datasite, room: str, interactive: bool = True) -> None:
        super().__init__(interactive)
        self.datasite, self.room = datasite, room
        self.seats: list[Seat] = look(datasite, room)
        if interactive:
            self.head, self.rows = ipywidgets.HTML(), ipywidgets.HTML()
            self.said = ipywidgets.HTML()
            self.again = button("Look", self.look, "refresh", "Look at every seat now")
            self.open([self.head, row(self.again), self.said, self.rows], name="fk-class-room")

    def look(self) -> None:
        """Look at every seat now."""
        said = ""
        try:
            self.seats = look(self.datasite, self.room)
        except FedkitError as error:
            said = note(f"✗ {esc(str(error))}", "bad", "status")
        if self.interactive:
            self.said.value = said
        self.repaint()

    def html(self) -> str:
        self.look()
        return (
            f"<p><strong>Room {esc(self.room)}</strong> · {esc(self._short())}</p>{self._table()}"
        )

    def text(self) -> str:
        self.look()
        lines = [f"Room {self.room} · {self._short()}"]
        lines += [
            f"  {seat.number:2d} {seat.email}: {seat.whom or 'nobody'} must {seat.what}, "
            f"for {seat.since:.0f} s"
            for seat in self.seats
        ]
        return "\n".join(lines)

    def paint(self) -> None:
        self.head.value = heading(f"Room {esc(self.room)}", esc(self._short()))
        self.rows.value = self._table()

    def _short(self) -> str:
        own = sum(seat.whom == seat.email for seat in self.seats)
        wrong = sum(seat.problem for seat in self.seats)
        told = f"{how_many(len(self.seats), 'seat')}, {own} of which must act"
        return told + (f", {wrong} with a problem" if wrong else "")

    def _table(self) -> str:
        cells = [
            [
                str(seat.number),
                esc(seat.email),
                "✗" if seat.problem else "▸" if seat.whom == seat.email else "·",
                esc(seat.whom or "nobody"),
                esc(seat.what),
                f"{seat.since:.0f} s",
            ]
            for seat in self.seats
        ]
        names = ["seat", "who", "", "waits for", "to", "since"]
        return table(names, cells, wrap=[4], caption="Who waits for what, by this machine's clock")
