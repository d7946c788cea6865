"""Syncthing: an instance for each datasite, on loopback, all of which share the folder `datasites`."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.roads.measure import Result, between, measured, read_project
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road

PARTIES = {"any member": "people/alice@example.org/datasites"}
SEES = "everybody every update, and may write everywhere; signatures say whose a file is, masks hide updates"


def missing() -> str | None:
    """Why Syncthing can't be run here."""
    return None if shutil.which("syncthing") else "no syncthing in PATH: `make syncthing`"


def run_on_syncthing(project_dir: Path, out: Path) -> Result:
    """The project between datasites that Syncthing keeps alike; each is moved by fedkit in this process."""
    from tests.support.syncthing_network import SyncthingNetwork  # and so pytest

    project = read_project(project_dir)
    config = project.config
    people = list(dict.fromkeys([config.aggregator, *config.participants]))
    out.mkdir(parents=True)
    with measured() as cost, SyncthingNetwork(out, people) as net:
        for email in people:
            write_road(net.dirs[email], "synced", email)
        sites = {email: Datasite.create(net.dirs[email], email) for email in people}
        move, done = between(project, sites)
        net.wait(done, "the project is done", move)
        crossed = net.carried_bytes()
    place = sites[config.aggregator].aggregator().project(config.project_name, "done")
    return cost.result([place.global_model(n) for n in range(config.rounds + 1)], crossed)
