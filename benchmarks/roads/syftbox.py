"""SyftBox 0.4.0: its server and a client for each datasite, on loopback, in an environment of its own.

The first time, that environment is made under `runs/`, which downloads SyftBox.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.roads.measure import Result, between, measured, read_project
from fedkit.cli.main import app
from fedkit.datasite.datasite import Datasite

ENGINE = "SyftBox 0.4.0"
PARTIES = {"its server": "server"}
SEES = "SyftBox's server: every file; of the others the aggregator alone every update"


def missing() -> str | None:
    """Why SyftBox can't be run here."""
    if sys.platform == "win32":
        return "SyftBox 0.4.0 is run on Linux and macOS only"
    try:
        from tests.support.syftbox_network import syftbox_python

        syftbox_python(network=True)
    except BaseException as error:  # pytest's skip is none of Exception
        return f"SyftBox 0.4.0 can't be installed: {error!s:.200}"
    return None


def run_on_syftbox(project_dir: Path, out: Path) -> Result:
    """The project between SyftBox's datasites; each is moved by fedkit in this process."""
    from typer.testing import CliRunner

    from tests.support.syftbox_network import SyftBoxNetwork  # and so pytest

    project = read_project(project_dir)
    config = project.config
    people = list(dict.fromkeys([config.aggregator, *config.participants]))
    out.mkdir(parents=True)
    with measured() as cost, SyftBoxNetwork(out, people) as net:
        for email in people:
            said = CliRunner().invoke(
                app, ["client", "--syftbox", str(net.configs[email]), "--once"]
            )
            if said.exit_code:
                raise RuntimeError(said.output)
        sites = {email: Datasite.load(path) for email, path in net.configs.items()}
        move, done = between(project, sites)
        net.wait(done, "the project is done", move)
    place = sites[config.aggregator].aggregator().project(config.project_name, "done")
    return cost.result([place.global_model(n) for n in range(config.rounds + 1)])
