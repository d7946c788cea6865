"""The local page of a datasite: its `public/` folder and the dashboard of its projects, for this machine's browser only.

What is public is public to people, not to every page that a browser has open: only the loopback address is bound, and a
request that names another host is refused (a page of a stranger's could point its own name at 127.0.0.1).

The dashboard's page is static (`dashboard/`) and comes from the package: nothing of it lies in a datasite, where it would
be synced to everybody. Every second it asks which projects there are and which of their files changed; what it shows are
the three public files of each project, which notebook 04 opens by hand.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from socket import socket
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes
from fedkit.base.names import names_permission_file
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import folder_names, scan

__all__ = ["PAGES", "Server", "application", "projects", "public_file", "servable"]


ADDRESS = "127.0.0.1"
HOSTS = ("localhost", ADDRESS)
MAX_FILE_BYTES = 2**28

_SHOWN = {
    "text/css": ".css",
    "text/csv": ".csv",
    "text/html": ".htm .html",
    "text/javascript": ".js",
    "text/plain": ".jsonl .md .py .txt .yaml",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "image/jpeg": ".jpeg .jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/x-icon": ".ico",
}
TYPES = {
    end: f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
    for kind, ends in _SHOWN.items()
    for end in ends.split()
}
"""Everything else is a download. Python's own table depends on the machine."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server:
    """Serves one datasite's page in a thread of its own, between `start()` and `stop()` (or in a `with` block).

    port : 0 takes any free one; after `start()`, `port` is the one that is bound.
    """

    def __init__(self, site: Datasite, port: int) -> None:
        self.site, self.port = site, port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """Where the page is, for a browser on this machine."""
        return f"http://localhost:{self.port}/"

    def start(self) -> Self:
        """Bind the port and serve. Raises FedkitError if the port is taken or not allowed."""
        try:
            sockets = bind_sockets(self.port, address=ADDRESS)
        except OSError as error:
            raise FedkitError(
                f"port {self.port} can't be used ({error.strerror or error})",
                why="Another program, perhaps another `fedkit client`, may be using it",
                remedy="stop that program, or choose another port with --port",
            ) from error
        self.port = sockets[0].getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(sockets, ready)), name="serve", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Close the port and every connection; does nothing if the server is not running."""
        if self._thread is None or self._loop is None or self._over is None:
            return
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(2.0)
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _serve(self, sockets: Sequence[socket], ready: threading.Event) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = HTTPServer(
            application(self.site),
            max_body_size=2**16,
            max_header_size=2**14,
            idle_connection_timeout=30,
            body_timeout=10,
        )
        server.add_sockets(sockets)
        ready.set()
        await self._over.wait()
        server.stop()
        await server.close_all_connections()


def application(site: Datasite) -> Application:
    """The page as a tornado application: the dashboard, then the files of `public/` under their own paths."""
    mine = {"site": site}
    return Application(
        [*((re.escape(path), _Dashboard, mine) for path in PAGES), ("/.*", _File, mine)],
        default_handler_class=_File,
        default_handler_args=mine,
        log_function=lambda _: None,  # a line for each refused request would worry the learner
    )


def public_file(public: Path, url_path: str) -> Path:
    """The file below `public` that a URL's path (still percent-encoded) names. Raises OSError if it may not be served.

    Not served: hidden files, permission files, links and whatever lies behind one, and every name that could mean
    another place on some operating system.
    """
    path = public
    for part in url_path.removeprefix("/").split("/"):
        name = unquote_to_bytes(part).decode("utf-8", errors="replace")
        if not servable(name):
            raise FileNotFoundError(name)
        path = path / name
        if names_permission_file(name) or path.is_symlink():
            raise FileNotFoundError(name)
    return path


class _Page(RequestHandler):
    """What both kinds of page have in common: headers, hosts, methods, errors as plain text."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def initialize(self, site: Datasite) -> None:
        self.site = site

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        name, _, port = self.request.headers.get("Host", "").partition(":")
        if name.lower() not in HOSTS or (port and not port.isdecimal()):
            raise HTTPError(403, reason="Forbidden")

    def compute_etag(self) -> None:
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", ", ".join(_Page.SUPPORTED_METHODS))
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {self._reason}\n")


class _File(_Page):
    """A file of `public/`. Tornado's own handler follows links, answers in ranges and takes the types of files from the
    machine: to forbid it all that would take more lines than these."""

    def get(self) -> None:
        public = self.site.public
        try:
            path = public_file(public, self.request.path)
            content = read_bytes(path, root=public, max_bytes=MAX_FILE_BYTES)
        except (OSError, FedkitError):  # not there or not to be served, a folder, too large
            raise HTTPError(404) from None
        self.set_header("Content-Type", TYPES.get(path.suffix.lower(), "application/octet-stream"))
        self.write(content)

    head = get


class _Dashboard(_Page):
    """What the browser shows first: a static page of the package's, and what it asks for."""

    def get(self) -> None:
        path = self.request.path
        name = PAGES[path]
        self.set_header("Content-Type", TYPES[Path(name or path).suffix])
        self.write(_PAGE.joinpath(name).read_bytes() if name else json.dumps(projects(self.site)))

    head = get


_PAGE = resources.files("fedkit").joinpath("cli", "dashboard")

PAGES = {
    "/": "index.html",
    **{f"/dashboard{end}": f"dashboard{end}" for end in (".css", ".js", ".svg")},
    **{f"/dashboard-{part}.js": f"dashboard-{part}.js" for part in ("charts", "state", "view")},
    "/favicon.ico": "dashboard.svg",  # browsers ask for it beside files that are no pages
    "/dashboard.json": "",
}
"""Path in the URL -> file of the package; the last one is made from the datasite. They win over files in `public/`."""

FILES = ("accuracy_metrics.json", "participants.json", "history.json")


def servable(name: str) -> bool:
    """May a file or folder of this name be served: not hidden, and no name that means another place anywhere?"""
    odd = any(c in '/\\:"<>|?*\ufffd' or ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in name)
    return bool(name) and name[0] != "." and name[-1] not in ". " and not odd


def projects(site: Datasite) -> dict[str, Any]:
    """{"email", "projects": [{"name", "changed", "files": {file name: version}, "times": {what: when}}]}, by name.

    changed : when one of the files was written last, in seconds since 1970. version : another one whenever the file is.
    times : when, in the same seconds, people were "asked", the "round" under way began, the last one "ended", and the
    "people" were heard of last; what nobody knows is left out. Only names and times are looked at. Links are not followed;
    folders that are not served or hold none of the files are left out.
    """
    parent, found = site.public / "fl", []
    for name in [] if parent.is_symlink() else filter(servable, folder_names(parent)):
        tree = {} if (parent / name).is_symlink() else scan(parent / name)
        files = {file: tree[file] for file in FILES if file in tree}
        if files:
            changed = max(ns for _, ns, _ in files.values()) / 1e9
            versions = {file: f"{ns}-{size}-{number}" for file, (size, ns, number) in files.items()}
            times = _times(site, name, {file: ns / 1e9 for file, (_, ns, _) in files.items()})
            found.append({"name": name, "changed": changed, "files": versions, "times": times})
    return {"email": site.email, "projects": found}


def _times(site: Datasite, name: str, written: Mapping[str, float]) -> dict[str, float]:
    """When what began, from when files were written: the public ones, and the aggregator's own of this project."""
    metrics, people = FILES[0], FILES[1]
    public = {"ended": written.get(metrics), "people": written.get(people)}
    place = site.aggregator().project(name)
    tree = {} if place.path.is_symlink() else scan(place.path)
    begun = [ns / 1e9 for path, (_, ns, _) in tree.items() if path.startswith("rounds/plan_")]
    config = tree.get(place.config.relative_to(place.path).as_posix())
    own = {"asked": config[1] / 1e9 if config else None, "round": max(begun, default=None)}
    return {what: when for what, when in (public | own).items() if when is not None}
