"""What the dashboard is served from: its own static files, a list of projects, and nothing that is not public."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedkit.cli.serve import PAGES, Server
from fedkit.datasite.datasite import Datasite
from tests.support import ROOT
from tests.support.cli import ask
from tests.support.helpers import ALICE, PROJECT, snapshot

STATIC = ROOT / "fedkit" / "cli" / "dashboard"
FILES = {name for name in PAGES.values() if name}
METRICS = b'[{"accuracy": 0, "round": 0}, {"accuracy": 0.5, "round": 1}]'
SECRET = b"nobody else may ever see this"


def put(site: Datasite, project: str, name: str = "accuracy_metrics.json") -> Path:
    path = site.public / "fl" / project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(METRICS)
    return path


@pytest.fixture
def site(tmp_path: Path) -> Datasite:
    site = Datasite.create(tmp_path / "data", ALICE)
    put(site, PROJECT)
    (tmp_path / "outside" / "Theirs").mkdir(parents=True)
    (tmp_path / "outside" / "Theirs" / "history.json").write_bytes(SECRET)
    (site.private_aggregator / "history.json").write_bytes(SECRET)
    return site


@pytest.fixture
def server(site: Datasite) -> Iterator[Server]:
    with Server(site, 0) as running:
        yield running


def listed(server: Server) -> dict[str, Any]:
    """What `/dashboard.json` says, by project."""
    status, headers, body = ask(server, "/dashboard.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    return {project["name"]: project for project in json.loads(body)["projects"]}


# ------------------------------------------------------------------------------------ the page's own
def test_every_file_of_the_page_is_served_and_no_other() -> None:
    assert {path.name for path in STATIC.iterdir()} == FILES
    assert all(len(path.read_bytes().splitlines()) < 250 for path in STATIC.iterdir())


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard.css", "text/css; charset=utf-8"),
        ("/dashboard.js", "text/javascript; charset=utf-8"),
        ("/dashboard-state.js", "text/javascript; charset=utf-8"),
        ("/dashboard.svg", "image/svg+xml"),
    ],
)
def test_the_page_comes_from_the_package(
    server: Server, site: Datasite, path: str, kind: str
) -> None:
    # a file of that name in public/ does not take its place, and nothing is put there
    (site.public / "dashboard.js").write_bytes(SECRET)
    (site.public / "index.html").write_bytes(SECRET)
    before = snapshot(site.data_dir)
    status, headers, body = ask(server, path + "?x=1")
    assert (status, headers["content-type"]) == (200, kind)
    assert body == (STATIC / (PAGES[path])).read_bytes()
    assert snapshot(site.data_dir) == before


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """Every address in it is one of its own, and nothing in it needs more than default-src 'self'."""
    for name in FILES:
        text = (STATIC / name).read_text(encoding="utf-8")
        text = text.replace('"http://www.w3.org/2000/svg"', "")  # a name, which nobody fetches
        assert not re.search(r"https?:|[\"'(`]//|(?:data|blob):\S|@import|@font-face", text), name
        wanted = re.findall(r"""\b(?:src|href)="([^"]*)"|\bfrom "([^"]*)"|\burl\(([^)]*)\)""", text)
        assert {one for hit in wanted for one in hit if one} <= set(PAGES), name
        assert not re.search(
            r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", text
        )
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page)


@pytest.mark.parametrize("path", sorted(PAGES))
def test_the_page_is_for_this_machine_and_only_to_look_at(server: Server, path: str) -> None:
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.nip.io", ""):
        assert ask(server, path, host=host)[0] == 403
    assert ask(server, path, host=None)[0] in (400, 403)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert ask(server, path, method)[0] == 405
    got, head = ask(server, path), ask(server, path, "HEAD")
    assert (head[0], head[2]) == (200, b"")
    assert head[1]["content-length"] == str(len(got[2]))
    assert "default-src 'self'" in got[1]["content-security-policy"]
    assert got[1]["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/index.html",
        "/dashboard/",
        "/index.html",
        "/dashboard-serve.js",
        "/dashboard.js/",
        "/dashboard.js/../serve.py",
        "/dashboard.js%2f..%2f..%2fserve.py",
        "/../fedkit/cli/serve.py",
        "/dashboardXjs",
        "/dashboard%2ejs",
        "//dashboard.js",
        "/DASHBOARD.JS",
    ],
)
def test_no_other_file_of_the_package_is_served(server: Server, path: str) -> None:
    assert ask(server, path)[0] == 404


# ---------------------------------------------------------------------------------- what it asks for
def test_projects_are_listed_with_their_files(server: Server, site: Datasite) -> None:
    put(site, "With space", "participants.json")
    put(site, "With space", "history.json")
    put(site, "With space", "notes.txt")
    (site.public / "fl" / "Empty").mkdir()
    found = listed(server)
    assert list(found) == [PROJECT, "With space"]
    assert set(found[PROJECT]["files"]) == {"accuracy_metrics.json"}
    assert set(found["With space"]["files"]) == {"participants.json", "history.json"}
    assert ask(server, "/fl/With%20space/history.json")[2] == METRICS
    assert json.loads(ask(server, "/dashboard.json")[2])["email"] == ALICE


def test_a_datasite_without_projects_has_an_empty_list(tmp_path: Path) -> None:
    with Server(Datasite.create(tmp_path, ALICE), 0) as server:
        assert listed(server) == {}


def test_whatever_happens_to_a_file_shows_in_its_version(server: Server, site: Datasite) -> None:
    path = put(site, PROJECT)
    seen = [listed(server)[PROJECT]["files"][path.name]]
    assert [listed(server)[PROJECT]["files"][path.name]] == seen

    path.write_bytes(METRICS.replace(b"5", b"6"))  # in place, as the real aggregator does
    os.utime(path, ns=(1, 10**18))
    seen.append(listed(server)[PROJECT]["files"][path.name])
    assert listed(server)[PROJECT]["changed"] == pytest.approx(10**9)

    other = path.with_name(".new")
    other.write_bytes(METRICS.replace(b"5", b"7"))
    os.utime(other, ns=(1, 10**18))
    other.replace(path)  # same size, same time
    seen.append(listed(server)[PROJECT]["files"][path.name])

    path.write_bytes(METRICS + b" ")
    os.utime(path, ns=(1, 10**18))
    seen.append(listed(server)[PROJECT]["files"][path.name])
    assert len(set(seen)) == len(seen)

    path.unlink()
    assert listed(server) == {}


def test_half_a_file_stands_in_nobodys_way(server: Server, site: Datasite) -> None:
    put(site, PROJECT).write_bytes(b'[{"acc')
    put(site, "Other").write_bytes(b"\xff\x00")
    assert list(listed(server)) == [PROJECT, "Other"]
    assert ask(server, f"/fl/{PROJECT}/accuracy_metrics.json")[2] == b'[{"acc'


# ------------------------------------------------------------------------------------ only public/
def test_links_hidden_folders_and_odd_names_are_no_projects(
    server: Server, site: Datasite, tmp_path: Path
) -> None:
    folder = site.public / "fl"
    (folder / "Linked").symlink_to(tmp_path / "outside" / "Theirs")
    (folder / "Inner").symlink_to(folder / PROJECT)
    (folder / "Filed").mkdir()
    (folder / "Filed" / "history.json").symlink_to(tmp_path / "outside" / "Theirs" / "history.json")
    (folder / PROJECT / "history.json").symlink_to(site.private_aggregator / "history.json")
    put(site, ".hidden")
    put(site, "trailing.")
    if os.name != "nt":
        put(site, "a:b")
        put(site, os.fsdecode(b"bytes\xff"))
        os.mkfifo(put(site, "Pipe").with_name("history.json"))
    found = listed(server)
    assert set(found) <= {PROJECT, "Pipe"}
    assert {name for one in found.values() for name in one["files"]} == {"accuracy_metrics.json"}
    for path in ("Linked", "Inner", "Filed", PROJECT, "Pipe", ".hidden"):
        status, _, body = ask(server, f"/fl/{path}/history.json")
        assert (status, SECRET in body) == (404, False), path
    assert ask(server, f"/fl/{PROJECT}/accuracy_metrics.json")[0] == 200


def test_a_linked_folder_of_projects_lists_nothing(
    server: Server, site: Datasite, tmp_path: Path
) -> None:
    (site.public / "fl").rename(site.public / "old")
    (site.public / "fl").symlink_to(tmp_path / "outside")
    assert listed(server) == {}
    assert ask(server, "/fl/Theirs/history.json")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/fl/{project}/../../../../../private/fl_aggregator/history.json",
        "/fl/{project}/..%2f..%2f..%2f..%2f..%2fprivate%2ffl_aggregator%2fhistory.json",
        "/fl/%2e%2e/%2e%2e/%2e%2e/%2e%2e/private/fl_aggregator/history.json",
        "/fl/%252e%252e/%252e%252e/history.json",
        "/fl/..;/history.json",
        "/fl/{project}%00/history.json",
        "/fl/{project}/%5c..%5chistory.json",
        "/fl/{private}/history.json",
        "/fl/%2f{private}/history.json",
        "/dashboard.json/../../../private/fl_aggregator/history.json",
        "{private}/history.json",
        "//{private}/history.json",
        "file://{private}/history.json",
    ],
)
def test_no_way_leads_from_a_project_to_private_files(
    server: Server, site: Datasite, path: str
) -> None:
    wanted = path.format(project=PROJECT, private=site.private_aggregator)
    status, _, body = ask(server, wanted)
    assert status in (400, 404)
    assert SECRET not in body
