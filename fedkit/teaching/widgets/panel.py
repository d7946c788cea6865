"""What all panels share: one look, a static twin for where nobody can press a button, and a tidy end.

A panel is alive in a notebook with a front end, and a picture of the moment in batch. With `interactive=True` a cell shows
both, one below the other, and the live panel hides its picture. Where the panel is not alive, in a page, a mail, or a
notebook of yesterday that was opened again, nothing hides the picture, and a line says which cells bring the buttons back.
With `interactive=False` no widget is made at all, because papermill would store it and show it dead afterwards.

Threads: a panel starts none. Its `paint` runs in whichever thread has news and sets traits, nothing else: what a thread
prints or displays would land under another cell, or nowhere.

A live panel has one style sheet, on JupyterLab's colours, light and dark. Its static twin has not, so every piece of HTML
here also reads well without it.
"""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import ipywidgets

from fedkit.teaching.notebook import WORDS, publish, running_cell

__all__ = [
    "STYLE",
    "Followed",
    "Panel",
    "breakable",
    "button",
    "code",
    "esc",
    "fitted",
    "heading",
    "note",
    "row",
    "stacked",
    "table",
]


STYLE = f"{WORDS}<style>{Path(__file__).with_name('panel.css').read_text(encoding='utf-8')}</style>"
VIEW = "application/vnd.jupyter.widget-view+json"
SAVED = (
    "This picture was saved with the notebook. For buttons that work, run this cell again, after the cells above it "
    "(in JupyterLab: Run, “Run All Above Selected Cell”)."
)
_DEAD = (  # where the panel would be, and says "model not found": nothing, as its picture follows
    ".jp-OutputArea-child:not(:has(.fk-panel)):has(+ .jp-OutputArea-child .fk-twin){display:none}"
)


class Followed(Protocol):
    """What tells its listeners whenever something has changed, and says how to end that: `Control`, or a test's own."""

    def subscribe(self, listener: Callable[[Any], None]) -> Callable[[], None]: ...


class Panel:
    """The base of every panel. A panel's `__init__` keeps its model, makes its widgets and ends with `self.open(...)`.

    interactive : live, with widgets; else only `html()` and `text()`, the static twin.
    """

    def __init__(self, interactive: bool = True) -> None:
        self.interactive = interactive
        self.box: ipywidgets.VBox | None = None
        self._painting = threading.RLock()
        self._ends: list[Callable[[], None]] = []

    def html(self) -> str:
        """The static twin: a table or a picture of the moment. It needs no style sheet, since Lab drops one from a
        notebook that it does not trust; images as `<img>` with an alt text."""
        raise NotImplementedError

    def text(self) -> str:
        """The same in a few lines of plain text."""
        raise NotImplementedError

    def paint(self) -> None:
        """Bring the live widgets up to date, by setting traits."""
        raise NotImplementedError

    def open(
        self,
        children: Sequence[ipywidgets.Widget],
        follows: Sequence[Followed] = (),
        name: str = "",
    ) -> None:
        """Put the widgets into a frame, paint them, and paint again with all news of what is followed.

        name : a class name of the frame, for tests and styles. A panel that an earlier run of the same cell has made is
        closed.
        """
        style = ipywidgets.HTML(STYLE, layout=ipywidgets.Layout(display="none"))
        self.box = ipywidgets.VBox([style, *children])
        twin = f".fk-twin-{self.box.model_id}"
        hides = "{display:none}"
        style.value += (
            f"<style>{twin}{hides}</style><style>.jp-OutputArea-child:has({twin}){hides}</style>"
        )
        self.box.add_class("fk-panel")
        if name:
            self.box.add_class(name)
        self._ends += [followed.subscribe(lambda _: self.repaint()) for followed in follows]
        self.repaint()
        _replaces_those_of_an_earlier_run(self)

    def repaint(self) -> None:
        """`paint`, one thread at a time; nothing where the panel is closed or static."""
        with self._painting:
            if self.box is not None:
                self.paint()

    def close(self) -> None:
        """Take the panel away. Where it was the last one that followed a network, what runs there is paused, so that no
        thread is left behind."""
        with self._painting:
            box, self.box = self.box, None
        for end in self._ends:
            end()
        self._ends.clear()
        if box is not None:
            _close_all(box)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/html": self.html(), "text/plain": self.text()}
        if self.box is not None:
            bundle[VIEW] = self.box._repr_mimebundle_()[VIEW]
        return bundle

    def _ipython_display_(self) -> None:
        """What a cell that ends with a panel shows: the live panel, and its picture for where that is not alive."""
        bundle, box = self._repr_mimebundle_(), self.box
        if box is not None:
            text = bundle["text/plain"]
            publish({VIEW: bundle.pop(VIEW), "text/plain": text.partition("\n")[0]})
            bundle["text/html"] = (
                f'<div class="fk-twin fk-twin-{box.model_id}"><style>{_DEAD}</style><p><em>{SAVED}</em></p>'
                f"{bundle['text/html']}</div>"
            )
        publish(bundle)


def _close_all(widget: ipywidgets.Widget) -> None:
    parts = [getattr(widget, name, None) for name in ("layout", "style")]
    for part in (*getattr(widget, "children", ()), *parts):
        if isinstance(part, ipywidgets.Widget):
            _close_all(part)
    widget.close()


_MADE: dict[str, tuple[int | None, list[Panel]]] = {}


def _replaces_those_of_an_earlier_run(panel: Panel) -> None:
    """A front end takes the output of a cell away when it runs again; nobody tells the kernel, so this finds out."""
    cell, run = running_cell()
    if cell is None:
        return
    earlier, panels = _MADE.get(cell, (run, []))
    if earlier != run:
        for old in panels:
            old.close()
        panels = []
    _MADE[cell] = (run, [*panels, panel])


# ---------------------------------------------------------------------------------------- widgets
def row(*widgets: ipywidgets.Widget, name: str = "fk-row") -> ipywidgets.HBox:
    """Widgets side by side, as many in a line as there is room for. name : "fk-row", or "fk-split" for large ones."""
    box = ipywidgets.HBox(list(widgets))
    box.add_class(name)
    return box


def button(
    text: str, do: Callable[[], object], icon: str = "", tooltip: str | None = None, kind: str = ""
) -> ipywidgets.Button:
    """A button that does this. kind : "primary", "success", "warning" or "danger"."""
    made = ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, button_style=kind)
    made.on_click(lambda _: do())
    return made


def fitted(width: str, at_least: str | None = None) -> dict[str, Any]:
    """The look of a field so wide, whose description has all the room that it needs."""
    layout = {"width": width, "min_width": at_least}
    return {"style": {"description_width": "initial"}, "layout": layout}


# ------------------------------------------------------------------------------------------- HTML
esc = html.escape


_PIECES = re.compile(r"[^@./_-]{1,40}[@./_-]*|[@./_-]+")


def breakable(text: str) -> str:
    """An e-mail, a path, a person's words as HTML: where there is no room, it breaks after a sign or after 40 letters."""
    return re.sub(r"\S+", lambda word: "<wbr>".join(map(esc, _PIECES.findall(word[0]))), text)


def stacked(first: str, *below: str) -> str:
    """Two or more things in one cell, or in the head of a column, one below the other; all HTML."""
    soft = "".join(f'<br><span class="fk-soft">{text}</span>' for text in below)
    return f"{first}{soft}"


def heading(text: str, more: str = "") -> str:
    """The name of a panel, and beside it what it is about, both HTML."""
    about = f' <span class="fk-soft">{more}</span>' if more else ""
    return f'<span class="fk-title">{text}</span>{about}'


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    wrap: Sequence[int] = (),
    caption: str = "",
    wide: bool = True,
) -> str:
    """A table; the first cell of a row names it. Cells are HTML: escape what people wrote. So are the heads.

    numbers : columns that are aligned to the right. wrap : columns whose text may break into lines, between words and
    where `breakable` says so.
    """

    def cell(position: int, content: str, names: str = "") -> str:
        right = position in numbers
        classes = " ".join(["fk-n"] * right + ["fk-wrap"] * (position in wrap))
        look = f'class="{classes}" style="text-align: {"right" if right else "left"}; padding: 4px 10px"'
        return (
            f'<th scope="{names}" {look}>{content}</th>' if names else f"<td {look}>{content}</td>"
        )

    def line(cells: Sequence[str]) -> str:
        return "".join(cell(i, content, "" if i else "row") for i, content in enumerate(cells))

    top = "".join(cell(i, name, "col") for i, name in enumerate(head))
    body = "".join(f"<tr>{line(cells)}</tr>" for cells in rows)
    title = f'<caption style="text-align: left">{esc(caption)}</caption>' if caption else ""
    kind = ' class="fk-wide"' if wide else ""
    return (
        f'<div class="fk-scroll"><table{kind}>{title}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def note(text: str, kind: str = "", role: str = "") -> str:
    """A line that stands out; kind "", "good" or "bad". The text is HTML, and says by itself what the colour says."""
    says = f' role="{role}"' if role else ""
    return f'<div class="fk-note {kind}"{says}>{text}</div>'


def code(text: str) -> str:
    """A piece of text in the typewriter's face."""
    return f"<code>{esc(text)}</code>"
