"""`fedkit syftbox`: fedkit as an app of a SyftBox client."""

from __future__ import annotations

import typer

from fedkit.cli.output import Commands, ConfigPath, say
from fedkit.federation.roads.syftbox import install as install_app
from fedkit.federation.roads.syftbox import read_config

__all__ = ["app"]


app = typer.Typer(cls=Commands, no_args_is_help=True, help="fedkit as an app of SyftBox: install.")


@app.callback()
def syftbox() -> None:
    """fedkit as an app of SyftBox: install."""


@app.command()
def install(config_path: ConfigPath = None) -> None:
    """Put an app into the SyftBox client's data dir: the client then runs fedkit for as long as itself."""
    config = read_config(config_path)
    say(f"{install_app(config)}: the SyftBox client of {config.email} starts it within seconds.")
    say("What it says lies in fedkit.log there; remove the folder to uninstall it.")
