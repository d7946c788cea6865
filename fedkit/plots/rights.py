"""Who may read which path, asked of the same permission files that the sync enforces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedkit.datasite.permissions import Permissions, Right
from fedkit.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["permission_matrix"]

MAY, MAY_NOT = style.BLUE, "#f6d9c6"
LETTERS = 42  # of a path in one line


def permission_matrix(
    datasites: Path | str,
    emails: Sequence[str],
    paths: Sequence[str],
    right: Right = "read",
    *,
    title: str | None = None,
) -> Figure:
    """Who may do what, as the permission files say: one row a path, one column a person, in the cells ✓ or –.

    datasites : the folder with one folder per e-mail. paths : relative to it, with "/", the first part an e-mail.
    right : "read", "create", "write" or "admin". Raises FedkitError if there is nobody, or no path.
    """
    from matplotlib.colors import ListedColormap

    style.need(emails, "emails")
    style.need(paths, "paths")
    permissions = Permissions(Path(datasites))
    table = [[permissions.may(email, right, path) for email in emails] for path in paths]
    rows = [_broken(str(path)) for path in paths]
    height = 1.0 + 0.3 * len(paths) + 0.16 * sum(row.count("\n") for row in rows)
    fig, ax = style.figure(title or f"Who may {right} what: ✓ may, – may not", height=height)
    colours = ListedColormap([MAY_NOT, MAY])
    ax.imshow([[int(may) for may in row] for row in table], colours, aspect="auto", vmin=0, vmax=1)
    for y, row in enumerate(table):
        for x, may in enumerate(row):
            owner = str(paths[y]).split("/")[0] == emails[x]
            text = ("✓ own" if owner else "✓") if may else "–"
            ink = style.PAPER if may else style.INK
            ax.text(x, y, text, ha="center", va="center", color=ink, fontsize=style.TEXT)
    for edge in range(1, len(paths)):
        ax.axhline(edge - 0.5, color=style.PAPER, linewidth=2)
    for edge in range(1, len(emails)):
        ax.axvline(edge - 0.5, color=style.PAPER, linewidth=2)
    names = style.short(emails)
    ax.xaxis.tick_top()
    style.dress(ax, "", "", grid="")
    ax.set_xticks(range(len(emails)), [names[email] for email in emails])
    ax.set_yticks(range(len(rows)), rows, family=style.MONO, fontsize=style.SMALL)
    style.no_frame(ax)
    return fig


def _broken(path: str) -> str:
    """A path in as many lines as it needs, broken after a "/"."""
    lines = [""]
    for part in path.replace("/", "/\0").split("\0"):
        if lines[-1] and len(lines[-1] + part) > LETTERS:
            lines.append("  ")
        lines[-1] += part
    return style.plain("\n".join(lines))
