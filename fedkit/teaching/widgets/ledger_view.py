"""The ledger as a panel: every file that crossed, filtered by participant, round and kind, and how many bytes that is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ipywidgets

from fedkit.base.text import how_many
from fedkit.federation.ledger import Crossing, Filter, by_kind, crossings, select, total_bytes
from fedkit.federation.network import Network
from fedkit.teaching.control.control import Control
from fedkit.teaching.plots.style import size_text
from fedkit.teaching.widgets.pager import Pager, rest
from fedkit.teaching.widgets.panel import Panel, breakable, esc, fitted, row, stacked, table

__all__ = ["LedgerView"]


PAGE = 25  # entries on a page, the newest first
_EVERYTHING = ("all", "")  # ipywidgets shows a choice whose value is None as an empty menu


class LedgerView(Panel):
    """Every file that crossed between the data dirs of a network, the newest first, with totals.

    interactive : live, with three filters and pages; else a static table of the first page of what `wanted` lets through.
    wanted : what is to be seen at first, a `fedkit.federation.ledger.Filter`.
    """

    def __init__(
        self, network: Network, interactive: bool = True, wanted: Filter | None = None
    ) -> None:
        super().__init__(interactive)
        self.network = network
        self.wanted = wanted or Filter()
        self.pager = Pager(PAGE, "entries", self.repaint)
        self._all: list[Crossing] = []
        self.read()
        if interactive:
            self._live()

    def read(self) -> list[Crossing]:
        """Read the ledger again; returns what passes the filter, oldest first."""
        self._all = crossings(self.network.ledger())
        return self.shown

    @property
    def shown(self) -> list[Crossing]:
        """What passes the filter, of what was read last."""
        return select(self._all, self.wanted)

    def summary(self) -> str:
        """Files and bytes in one line, and what the filter is."""
        shown, wanted = self.shown, self.wanted
        n = "" if wanted.round is None else f"round {wanted.round}"
        only = ", ".join(filter(None, (wanted.participant, wanted.kind, n)))
        text = f"{how_many(len(shown), 'file')} crossed, {size_text(total_bytes(shown))}"
        whole = f"of {how_many(len(self._all), 'file')}, {size_text(total_bytes(self._all))}"
        return f"{text} ({only}; {whole})" if only else text

    def html(self) -> str:
        self.read()
        return (
            f"<p><b>Ledger.</b> {esc(self.summary())}.</p>{kinds_table(self.shown)}"
            f"{rows_table(self.shown, slice(PAGE))}<p>{esc(self.rest())}</p>"
        )

    def rest(self) -> str:
        """What a picture leaves out, and how to see it."""
        how = "the panel turns the pages with interactive=True, and `network.ledger()` is the whole list"
        return rest(PAGE, len(self.shown), "entries", how)

    def text(self) -> str:
        kinds = by_kind(self.shown)
        lines = [f"  {kind}: {how_many(n, 'file')}, {size_text(size)}" for kind, n, size in kinds]
        newest = [" ".join(_line(c)) for c in reversed(self.shown[-PAGE:])]
        left = rest(PAGE, len(self.shown), "entries", "`network.ledger()` is the whole list")
        some = [f"  {line}" for line in filter(None, [*newest, left])]
        return "\n".join([f"Ledger: {self.summary()}", *lines, *some])

    def paint(self) -> None:
        self.read()
        self._offer()
        shown = self.shown
        self._totals.value = f"<b>{esc(self.summary())}</b>"
        self._kinds.value = kinds_table(shown)
        self._table.value = rows_table(shown, self.pager.window(len(shown)))

    def _live(self) -> None:
        names, look = ("participant", "round", "kind"), fitted("auto", "220px")
        self._menus = {
            name: ipywidgets.Dropdown(options=[_EVERYTHING], description=name, **look)
            for name in names
        }
        self._totals, self._kinds, self._table = (ipywidgets.HTML() for _ in range(3))
        self._offer()
        for name, menu in self._menus.items():
            wish = getattr(self.wanted, name)
            menu.value = _EVERYTHING[1] if wish is None else wish
            menu.observe(self._filter, "value")
        self._table.add_class("fk-ledger-rows")
        title = ipywidgets.HTML('<div class="fk-title">Ledger: every file that crossed</div>')
        menus = row(*self._menus.values())
        children = [title, menus, self._totals, self._kinds, self.pager.live(), self._table]
        self.open(children, [Control.of(self.network)], "fk-ledger-view")

    def _offer(self) -> None:
        """What can be chosen by now; what is chosen stays, and a menu that stays the same is left alone."""
        rounds = sorted({c.round for c in self._all if c.round is not None})
        found = {c.kind for c in self._all}
        choices: dict[str, list[tuple[str, Any]]] = {
            "participant": [(email, email) for email in self.network.sites],
            "round": [(f"{n} (seed weights)" if n == 0 else str(n), n) for n in rounds],
            "kind": [(kind, kind) for kind, _, _ in by_kind(self._all) if kind in found],
        }
        for name, some in choices.items():
            menu, options = self._menus[name], [_EVERYTHING, *some]
            if list(menu.options) != options:
                chosen = menu.value
                with menu.hold_trait_notifications():
                    menu.options = options
                    known = chosen in [value for _, value in options]
                    menu.value = chosen if known else _EVERYTHING[1]

    def _filter(self, _: Any) -> None:
        wishes = {name: menu.value for name, menu in self._menus.items()}
        self.wanted = Filter(**{n: None if v == _EVERYTHING[1] else v for n, v in wishes.items()})
        self.pager.page = 0
        self.repaint()


def kinds_table(shown: Sequence[Crossing]) -> str:
    """Files and bytes of each kind, as an HTML table with a row a kind."""
    rows = [[esc(kind), f"{n:,}", size_text(size)] for kind, n, size in by_kind(shown)]
    return table(["kind", "files", "bytes"], rows, numbers=(1, 2), wide=False)


def rows_table(shown: Sequence[Crossing], page: slice) -> str:
    """A page of the entries, the newest first, as an HTML table: two things in a cell, so that it fits."""
    found = list(reversed(shown))[page]
    rows = []
    for c in found:
        number, at, who, whom, kind, n, _, size, sha = map(esc, _line(c))
        path = f'<span title="{esc(c.entry.path)}"><code>{breakable(c.name)}</code></span>'
        about = stacked(path, f"<code>{sha}</code>")
        rows.append([stacked(number, at), stacked(who, whom), stacked(kind, n), about, size])
    heads = [stacked("no.", "time"), stacked("from", "to"), stacked("kind", "round")]
    heads += [stacked("file", "sha256"), "size"]
    caption = "The newest first" if len(shown) > len(found) else ""
    return table(heads, rows, numbers=(4,), wrap=(1, 2, 3), caption=caption)


def _line(c: Crossing) -> list[str]:
    """An entry as plain words: number, time, from, to, kind, round, file, size, sha256."""
    return [
        str(c.number),
        time.strftime("%H:%M:%S", time.localtime(c.entry.time)),
        c.entry.sender.partition("@")[0],
        c.entry.receiver.partition("@")[0],
        c.kind,
        "–" if c.round is None else str(c.round),
        c.name,
        size_text(c.entry.size),
        c.entry.sha256[:12],
    ]
