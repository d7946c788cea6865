"""How a line of the tree reads, as the text and the classes of a button, and the style sheet of the tree."""

from __future__ import annotations

from fedkit.plots.style import size_text
from fedkit.treeview import Line

__all__ = ["CSS", "HEAD", "changed", "row_class", "row_text"]

NAME = 50  # letters of indent and name
SIGNS = {"+": "new", "~": "rewritten", "-": "gone"}
CLASSES = {"+": "fk-new", "~": "fk-rewritten", "-": "fk-gone"}

HEAD = f"<pre>  {'in the data dir':<{NAME + 2}}{'size':>9}  who else may read it</pre>"

CSS = """<style>
.fk-left { flex: 3 1 560px; min-width: 0; overflow: hidden; }
.fk-tree { max-height: 460px; overflow: auto; display: block; border: 1px solid var(--fk-line);
  border-radius: 4px; padding: 4px 0; }
.fk-panel .fk-left pre { margin: 0 0 2px; padding: 0 12px; color: var(--fk-soft); overflow: hidden;
  white-space: pre; font-family: var(--jp-code-font-family, ui-monospace, monospace); font-size: 12px; }
.fk-file { flex: 2 1 320px; min-width: 0; max-height: 470px; overflow: auto; }
.fk-file ul { margin: 4px 0; padding-left: 20px; }
.fk-file p { margin: 0 0 4px; overflow-wrap: anywhere; }
.fk-panel .fk-tree .jupyter-button { display: block; width: max-content; min-width: 100%; height: 21px;
  line-height: 21px; margin: 0; padding: 0 8px; border-left: 3px solid transparent; border-radius: 0;
  background: none; box-shadow: none; color: var(--fk-ink); text-align: left; white-space: pre;
  font-family: var(--jp-code-font-family, ui-monospace, monospace); font-size: 12px; }
.fk-panel .fk-tree .jupyter-button:hover, .fk-panel .fk-tree .fk-here { background: var(--fk-shade); }
.fk-panel .fk-tree .jupyter-button:focus-visible { outline-offset: -2px; }
.fk-panel .fk-tree .fk-new { border-left-color: var(--fk-green); color: var(--fk-green); font-weight: 600; }
.fk-panel .fk-tree .fk-rewritten { border-left-color: var(--fk-blue); color: var(--fk-blue); font-weight: 600; }
.fk-panel .fk-tree .fk-gone { border-left-color: var(--fk-red); color: var(--fk-red);
  text-decoration: line-through; }
</style>"""


def changed(counts: tuple[int, int, int]) -> str:
    """(new, rewritten, gone) in words with their signs; "" where nothing has changed."""
    return ", ".join(
        f"{n} {word} ({sign})" for n, (sign, word) in zip(counts, SIGNS.items(), strict=True) if n
    )


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
    if len(name) > room:
        name = f"{name[: room // 2]}…{name[-(room - room // 2 - 1) :]}"
    size = "" if line.open else size_text(line.size) if line.files else "empty"
    who = f"  {line.may_read}" if line.may_read and not line.open else ""
    return f"{sign} {indent}{mark}{name:<{room}}{size:>9}{who}"


def row_class(line: Line, here: bool) -> tuple[str, ...]:
    """The classes of a line's button."""
    names = [CLASSES[line.sign]] if line.sign else []
    return (*names, "fk-here") if here else tuple(names)
