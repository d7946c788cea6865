"""A datasite as a learner should see it: its files as a tree with what has changed, and who may do what with which path.

Rights are asked of the same permission files that the sync enforces. Notebooks 01 to 04 look at trees, 01 at rights; the
panel `DatasiteTree` says changes in the same signs and words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from fedkit.datasite.permissions import Permissions, Right
from fedkit.datasite.tree import Tree, scan, walk
from fedkit.teaching.plots import style

__all__ = ["SIGNS", "changed", "folder_tree", "permission_matrix", "shortened", "sign_of"]


SIGNS = {"+": "new", "~": "rewritten", "-": "gone"}
COLOURS = {"+": style.GREEN, "~": style.BLUE, "-": style.VERMILLION, "": style.INK}
LINE = 0.19  # inches
LETTERS = 84  # of guide and name, between the sign and the size
MAY, MAY_NOT = style.BLUE, "#f6d9c6"
RIGHTS_LETTERS = 42  # of a path in one line


class _Line(NamedTuple):
    name: str
    guide: str = ""
    sign: str = ""
    size: str = ""


def folder_tree(
    path: Path | str,
    before: Tree | None = None,
    *,
    root: str | None = None,
    hide: Collection[str] = (),
    rows: int = 48,
    title: str | None = None,
) -> Figure:
    """A folder as a tree of text with the files' sizes; hidden and unfinished files are left out.

    before : what `tree.scan(path)` gave earlier. Then a file that is new since has the sign `+`, a rewritten one
    `~`, one that is gone `-`, and a folder in which nothing has changed is folded to one line.
    root : the name at the top (default: the folder's own). hide : names of files and folders to leave out. rows : lines
    that are drawn at most; the last then counts the rest.
    """
    path, hidden = Path(path), set(hide)
    now = scan(path)
    names = [n for n in sorted({*now, *(before or {})}) if not hidden & set(n.split("/"))]
    signs = {name: sign_of(name, before, now) for name in names}
    lines = [_Line(f"{root or path.name}/")]
    below = _contents(path, signs, hidden)
    lines += _branch(".", "", below, signs, now, before is not None)
    if len(lines) > rows:
        lines = [*lines[: rows - 1], _Line(f"… and {len(lines) - rows + 1} lines more")]
    default = f"What lies in the folder: {style.count(len(signs), 'file')}"
    if before is not None:
        said = changed([list(signs.values()).count(sign) for sign in SIGNS])
        default = f"What has changed: {said}" if said else "Nothing has changed"
    return _drawn(lines, title or default)


def sign_of(name: str, before: Tree | None, now: Tree) -> str:
    """What has happened to a file: one of `SIGNS`, "" where nothing has, or nothing is known of before."""
    if before is None or before.get(name) == now.get(name):
        return ""
    if name not in before:
        return "+"
    return "~" if name in now else "-"


def changed(counts: Sequence[int]) -> str:
    """How many files are new, rewritten, gone, in words with their signs; "" where nothing has changed."""
    pairs = zip(counts, SIGNS.items(), strict=True)
    return ", ".join(f"{n} {word} ({sign})" for n, (sign, word) in pairs if n)


def shortened(name: str, room: int) -> str:
    """A name in at most so many letters, the middle left out."""
    return name if len(name) <= room else f"{name[: room // 2]}…{name[-room // 2 + 1 :]}"


def _contents(path: Path, files: Collection[str], hidden: set[str]) -> dict[str, list[str]]:
    """Folder -> what lies in it: folders first, empty ones too, then files, each in alphabetical order."""
    folders = {name for name, entry in walk(path) if entry.is_dir(follow_symlinks=False)}
    folders = {name for name in folders if not hidden & set(name.split("/"))}
    folders |= {str(parent) for name in files for parent in PurePosixPath(name).parents}
    below: dict[str, list[str]] = {folder: [] for folder in sorted(folders - {"."})}
    for name in [*below, *files]:
        below.setdefault(str(PurePosixPath(name).parent), []).append(name)
    return below


def _branch(
    folder: str,
    indent: str,
    below: Mapping[str, Sequence[str]],
    signs: Mapping[str, str],
    now: Tree,
    fold: bool,
) -> Iterator[_Line]:
    """The lines of one folder and of those in it."""
    for path in below.get(folder, ()):
        last, name = path == below[folder][-1], PurePosixPath(path).name
        guide = indent + ("└── " if last else "├── ")
        if path in signs:
            yield _Line(
                name, guide, signs[path], style.size_text(now[path][0]) if path in now else ""
            )
        elif fold and not any(s and f.startswith(f"{path}/") for f, s in signs.items()):
            yield _Line(f"{name}/{' …' if below[path] else ''}", guide)
        else:
            yield _Line(f"{name}/", guide)
            deeper = indent + ("    " if last else "│   ")
            yield from _branch(path, deeper, below, signs, now, fold)


def _drawn(lines: list[_Line], title: str) -> Figure:
    fig, ax = style.figure(title, height=0.5 + LINE * len(lines))
    ax.set(xlim=(0, 1), ylim=(len(lines), 0))
    for y, line in enumerate(lines):
        name = shortened(line.name, LETTERS - len(line.guide))
        # the name stands behind the guide's width in spaces: one letter is as wide as another
        for x, word, colour, side in (
            (0.0, line.sign, COLOURS[line.sign], "left"),
            (0.025, line.guide, style.GREY, "left"),
            (0.025, " " * len(line.guide) + name, COLOURS[line.sign], "left"),
            (1.0, line.size, style.GREY, "right"),
        ):
            ax.text(
                x,
                y + 0.5,
                style.plain(word),
                ha=side,
                va="center",
                family=style.MONO,
                fontsize=style.SMALL,
                color=colour,
                fontweight="bold" if colour in (COLOURS[sign] for sign in SIGNS) else "normal",
            )
    ax.set_axis_off()
    return fig


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
            ax.text(x, y, text, style.MIDDLE, color=style.PAPER if may else style.INK)
    style.rule_cells(ax, len(paths), len(emails), style.PAPER, 2)
    names = style.short(emails)
    style.name_cells(ax, [names[email] for email in emails], rows, above=True)
    ax.set_yticks(range(len(rows)), rows, family=style.MONO, fontsize=style.SMALL)
    return fig


def _broken(path: str) -> str:
    """A path in as many lines as it needs, broken after a "/"."""
    lines = [""]
    for part in path.replace("/", "/\0").split("\0"):
        if lines[-1] and len(lines[-1] + part) > RIGHTS_LETTERS:
            lines.append("  ")
        lines[-1] += part
    return style.plain("\n".join(lines))
