"""The dashboard's own files, and what it asks for every second: which projects there are and which of their files changed.

The page itself is static (`fedkit/dashboard/`) and comes from the package: nothing of it lies in a datasite, where it would
be synced to everybody. What it shows are the three public files of each project, which notebook 04 opens by hand.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from fedkit.base.files import is_file
from fedkit.datasite.datasite import Datasite

__all__ = ["PAGES", "page", "projects", "servable"]

PAGES = {
    "/": "index.html",
    "/dashboard.css": "dashboard.css",
    "/dashboard.js": "dashboard.js",
    "/dashboard-charts.js": "dashboard-charts.js",
    "/dashboard-state.js": "dashboard-state.js",
    "/dashboard-view.js": "dashboard-view.js",
    "/dashboard.svg": "dashboard.svg",
    "/favicon.ico": "dashboard.svg",  # browsers ask for it beside files that are no pages
    "/dashboard.json": "",
}
"""Path in the URL -> file of the package; the last one is made from the datasite. They win over files in `public/`."""

FILES = ("accuracy_metrics.json", "participants.json", "history.json")


def servable(name: str) -> bool:
    """May a file or folder of this name be served: not hidden, and no name that means another place anywhere?"""
    odd = any(c in '/\\:"<>|?*\ufffd' or ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in name)
    return bool(name) and name[0] != "." and name[-1] not in ". " and not odd


def page(site: Datasite, url_path: str) -> bytes:
    """What one of `PAGES` answers."""
    name = PAGES[url_path]
    if not name:
        return json.dumps(projects(site)).encode()
    return resources.files("fedkit").joinpath("cli", "dashboard", name).read_bytes()


def projects(site: Datasite) -> dict[str, Any]:
    """{"email", "projects": [{"name", "changed", "files": {file name: version}}]}, by name.

    changed : when one of the files was written last, in seconds since 1970. version : another one whenever the file is.
    Only names and times are looked at. Links are not followed; folders that are not served or hold none of the files are
    left out.
    """
    found = [_project(folder) for folder in _folders(site.public / "fl")]
    return {"email": site.email, "projects": [project for project in found if project["files"]]}


def _folders(parent: Path) -> list[Path]:
    if parent.is_symlink():
        return []
    try:
        entries = [p for p in parent.iterdir() if p.is_dir() and not p.is_symlink()]
    except OSError:
        return []
    return sorted(p for p in entries if servable(p.name))


def _project(folder: Path) -> dict[str, Any]:
    versions, changed = {}, 0.0
    for path in (folder / name for name in FILES):
        try:
            if is_file(path):
                info = path.stat()
                versions[path.name] = f"{info.st_mtime_ns}-{info.st_size}-{info.st_ino}"
                changed = max(changed, info.st_mtime)
        except OSError:  # gone in between
            continue
    return {"name": folder.name, "changed": changed, "files": versions}
