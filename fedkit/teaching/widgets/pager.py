"""Turning the pages of a list that is too long for one look: which part is shown, of how many, and four buttons.

A list that is cut says so in its panel, in the picture of it and in its text: how many entries there are, and how to see
the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets

from fedkit.teaching.widgets.panel import button, row

__all__ = ["Pager", "position", "rest"]


class Pager:
    """Pages of `size` entries. turned : called after a button was pressed. follow : the last page is shown first, and
    whoever stands on it moves on with the list; else it begins with the first page.

    `widget` is None until `live()` has made the buttons.
    """

    def __init__(
        self, size: int, things: str, turned: Callable[[], object], follow: bool = False
    ) -> None:
        self.size, self.things, self.turned, self.follow = size, things, turned, follow
        self.page, self.total = 0, 0
        self.widget: ipywidgets.HBox | None = None

    def live(self) -> ipywidgets.HBox:
        """The buttons, and where one is."""
        self.where = ipywidgets.HTML()
        self.buttons = {
            "First": button("First", lambda: self.turn(0), "step-backward"),
            "Previous": button("Previous", lambda: self.turn(self.page - 1), "chevron-left"),
            "Next": button("Next", lambda: self.turn(self.page + 1), "chevron-right"),
            "Last": button("Last", lambda: self.turn(self.pages - 1), "step-forward"),
        }
        for each in self.buttons.values():
            each.layout.width = "104px"
        self.widget = row(*self.buttons.values(), self.where)
        self.widget.add_class("fk-pager")
        return self.widget

    @property
    def pages(self) -> int:
        """How many there are; one where there is nothing."""
        return max(1, -(-self.total // self.size))

    def turn(self, page: int) -> None:
        """Go to a page, counted from 0, and let the panel be painted."""
        self.page = page
        self.turned()

    def window(self, total: int) -> slice:
        """What of a list of so many entries is on the page; brings the buttons up to date."""
        at_the_end = self.page >= self.pages - 1
        self.total = total
        if self.follow and at_the_end:
            self.page = self.pages - 1
        self.page = min(max(self.page, 0), self.pages - 1)
        start = self.page * self.size
        if self.widget is not None:
            self.widget.layout.display = "none" if self.pages == 1 else None
            self.where.value = position(start, min(start + self.size, total), total, self.things)
            for name, each in self.buttons.items():
                back = name in ("First", "Previous")
                each.disabled = self.page == (0 if back else self.pages - 1)
        return slice(start, min(start + self.size, total))


def position(start: int, end: int, total: int, things: str) -> str:
    """Where one is: "entries 26 to 50 of 152". start : from 0, as of a slice."""
    return f"{things} {start + 1:,} to {end:,} of {total:,}"


def rest(shown: int, total: int, things: str, how: str) -> str:
    """What a picture or a text leaves out, and how to see it; "" where it leaves nothing out."""
    left = total - shown
    if left <= 0:
        return ""
    return f"{shown:,} of {total:,} {things} are shown here; {left:,} more: {how}."
