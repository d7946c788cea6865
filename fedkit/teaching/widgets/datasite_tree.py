"""The data dirs as a panel: a tree of folders, what the last step changed, who may read what, and a file at a click.

How a line of the tree reads, as the text and the classes of its button, stands below the panel.
"""

from __future__ import annotations

from functools import partial

import ipywidgets

from fedkit.federation.network import Network
from fedkit.teaching.control.control import Control
from fedkit.teaching.notebook import figure_html
from fedkit.teaching.plots.datasite import SIGNS, changed, shortened
from fedkit.teaching.plots.style import size_text
from fedkit.teaching.widgets.file_view import FileView, view_file
from fedkit.teaching.widgets.pager import Pager, rest
from fedkit.teaching.widgets.panel import Panel, breakable, button, esc, fitted, row, table
from fedkit.teaching.widgets.tree_model import Line, TreeModel

__all__ = ["HEAD", "DatasiteTree", "row_class", "row_text"]


PAGE, TWIN_ROWS = 200, 60  # lines at a time
_MORE = "the panel turns the pages with interactive=True"
NAME = 42  # letters of indent and name
CLASSES = {"+": "fk-new", "~": "fk-rewritten", "-": "fk-gone"}

HEAD = f"<pre>  {'in the data dir':<{NAME + 2}}{'size':>9}  who else may read it</pre>"
HINT = '<p class="fk-soft">Press a file to see what is in it, a folder to open or fold it.</p>'


class DatasiteTree(Panel):
    """The data dir of one person in a network, as a tree that opens where something changed.

    machine : whose data dir at first (default: the first participant's). interactive : live; a press on a folder opens or
    folds it, on a file shows it. Without, a table of the moment: what changed is counted since it was displayed last.
    """

    def __init__(
        self, network: Network, machine: str | None = None, interactive: bool = True
    ) -> None:
        super().__init__(interactive)
        self.network = network
        self.model = TreeModel(network, machine)
        self.file: FileView | None = None
        self.pager = Pager(PAGE, "lines", self.repaint)
        self._busy = False
        self._rows: list[ipywidgets.Button] = []  # made once, for whatever line stands there
        self._lines: list[Line] = []
        self._drawn: object = None
        if interactive:
            self._live()

    def select(self, path: str) -> None:
        """What a press on a line does. path : relative to the data dir, with "/"; a trailing "/" is a line "… more"."""
        with self._painting:
            line = next((line for line in self.model.lines() if line.path == path), None)
            if line is not None and line.folder:
                self.model.toggle(path)
            else:
                self.file = view_file(self.network[self.model.machine].data_dir, path)
            self.repaint()

    def choose(self, machine: str) -> None:
        """Look at this person's data dir. Raises FedkitError if nobody here has that e-mail."""
        with self._painting:
            self.model.choose(machine)
            self.file, self.pager.page = None, 0
            self.repaint()

    def summary(self) -> str:
        """Whose data dir, and what the last step changed there and at everybody's."""
        here, all_of_them = self.model.changes(self.model.machine), self.model.changes()
        text = f"{self.model.machine}: {changed(here) or 'nothing has changed'}"
        return f"{text} (everybody together: {changed(all_of_them) or 'nothing'})"

    def html(self) -> str:
        if self.box is None:
            self.model.look()
        rows = [_twin_row(line) for line in self.model.lines()[:TWIN_ROWS]]
        left = rest(len(rows), len(self.model.lines()), "lines", _MORE)
        more = f"<p>{left}</p>" if left else ""
        head = ("", "in the data dir", "bytes", "who else may read it")
        summary = f"<p><b>Datasites.</b> {esc(self.summary())}</p>"
        return summary + table(head, rows, numbers=(2,), wide=False) + more + self._shown()

    def text(self) -> str:
        lines = [line for line in self.model.lines() if line.sign]
        said = [f"  {line.sign} {line.path}" for line in lines[:TWIN_ROWS]]
        left = rest(len(said), len(lines), "lines that changed", _MORE)
        return "\n".join([f"Datasites: {self.summary()}", *said, *([f"  {left}"] if left else [])])

    def paint(self) -> None:
        busy = Control.of(self.network).now.busy
        if busy and not self._busy:
            self.model.begin()
        self.model.look(new_step=not (busy or self._busy))
        self._busy = busy
        self._summary.value = f"<span>{esc(self.summary())}</span>"
        self._paint_rows()
        drawn = (self.model.machine, self.file)
        if drawn != self._drawn:  # a picture is large: send it once
            self._drawn = drawn
            self._pane.value = self._shown() or HINT

    def _paint_rows(self) -> None:
        lines = self.model.lines()
        self._lines = lines[self.pager.window(len(lines))]
        while len(self._rows) < len(self._lines):
            self._rows.append(button("", partial(self._pressed, len(self._rows))))
        here = self.file.path if self.file is not None else None
        for press, line in zip(self._rows, self._lines, strict=False):
            press.description = row_text(line)
            press.tooltip = line.path
            press._dom_classes = row_class(line, line.path == here)
        shown = tuple(self._rows[: len(self._lines)])
        if self._tree.children != shown:
            self._tree.children = shown

    def _pressed(self, position: int) -> None:
        if position < len(self._lines):
            self.select(self._lines[position].path)

    def _live(self) -> None:
        self._summary, self._pane = ipywidgets.HTML(), ipywidgets.HTML()
        self._tree, side = ipywidgets.VBox(), ipywidgets.VBox([self._pane])
        left = ipywidgets.VBox([ipywidgets.HTML(HEAD), self._tree, self.pager.live()])
        left.add_class("fk-left")
        self._tree.add_class("fk-tree")
        side.add_class("fk-file")
        who = ipywidgets.Dropdown(
            options=list(self.network.sites),
            value=self.model.machine,
            description="data dir of",
            **fitted("auto", "260px"),
        )
        who.observe(lambda change: self.choose(change["new"]), "value")
        again = button("Look again", self.repaint, tooltip="After you changed files by hand")
        title = '<div class="fk-title">Datasites: what lies where, and who may read it</div>'
        head = [ipywidgets.HTML(title), row(who, again), self._summary]
        both = row(left, side, name="fk-split")
        self.open([*head, both], [Control.of(self.network)], "fk-datasite-tree")

    def _shown(self) -> str:
        """The file that is looked at: its name, facts, who may do what with it, and what is in it; "" for none."""
        model, file = self.model, self.file
        if file is None:
            return ""
        path = file.path
        rights = [
            f"who else may {right}: {model.in_words(model.who_may(right, path), path)}"
            for right in ("read", "write")
        ]
        facts = "".join(f"<li>{esc(fact)}</li>" for fact in (*file.facts, *rights))
        content = f'<pre class="fk-code">{esc(file.text)}</pre>' if file.text else ""
        if file.figure is not None:
            content = figure_html(file.figure, file.alt)
        return f"<p><b><code>{breakable(path)}</code></b></p><ul>{facts}</ul>{content}"


# ------------------------------------------------------------------------------- how a line reads
def _twin_row(line: Line) -> list[str]:
    indent = "&nbsp;" * (3 * line.depth)
    if line.more:
        return ["", f"{indent}… {line.more} more", "", ""]
    name = f"{esc(line.name)}/" if line.folder else esc(line.name)
    said = esc(changed(line.changes)) if line.folder and not line.open else ""
    folded = f" … {said}" if line.folder and not line.open and line.files else ""
    return [line.sign, f"{indent}{name}{folded}", _size(line), esc(line.may_read)]


def _size(line: Line) -> str:
    return "" if line.open else size_text(line.size) if line.files else "empty"


def row_text(line: Line) -> str:
    """One line of the tree in letters of equal width: sign, name, size, who else may read it."""
    indent = "  " * line.depth
    if line.more:
        return f"  {indent}… {line.more} more: press to see them"
    sign = line.sign or " "
    mark = ("▾ " if line.open else "▸ ") if line.folder else "  "
    name = f"{line.name}/" if line.folder else line.name
    if line.folder and not line.open and any(line.changes):
        name += "".join(f" {s}{n}" for s, n in zip(SIGNS, line.changes, strict=True) if n)
    room = NAME - len(indent)
    who = f"  {line.may_read}" if line.may_read and not line.open else ""
    return f"{sign} {indent}{mark}{shortened(name, room):<{room}}{_size(line):>9}{who}"


def row_class(line: Line, here: bool) -> tuple[str, ...]:
    """The classes of a line's button."""
    names = [CLASSES[line.sign]] if line.sign else []
    return (*names, "fk-here") if here else tuple(names)
