"""The first page of the local server: the projects that this datasite has published. The dashboard grows here."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fedkit.datasite import Datasite
from fedkit.files import is_file, read_json

__all__ = ["index_html"]

_FILES = ("accuracy_metrics.json", "participants.json", "history.json")


def index_html(site: Datasite) -> str:
    """One HTML page, without scripts: each project under `public/fl/` with its rounds and its files."""
    folder = site.public / "fl"
    title = html.escape(f"Datasite of {site.email}")
    body = "\n".join(_project(path) for path in _folders(folder))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<h1>{title}</h1>\n{body or '<p>No project has published anything here yet.</p>'}\n</html>\n"
    )


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())
    except OSError:
        return []


def _project(folder: Path) -> str:
    history = read_json(folder / "history.json", root=folder.parent)
    history = history if isinstance(history, dict) else {}
    found = history.get("history")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    links = ", ".join(
        f'<a href="/fl/{quote(folder.name)}/{name}">{name}</a>'
        for name in _FILES
        if is_file(folder / name)
    )
    return (
        f"<h2>{html.escape(folder.name)}</h2>\n"
        f"<p>{len(rows)} of {html.escape(str(history.get('rounds', '?')))} rounds</p>\n"
        f"{_table(rows)}<p>{links}</p>"
    )


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td>{html.escape(str(row.get('round')))}</td><td>{_percent(row.get('accuracy'))}</td></tr>\n"
        for row in rows
    )
    return f"<table>\n<tr><th>round</th><th>accuracy</th></tr>\n{lines}</table>\n"


def _percent(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, int | float) else "not known"
