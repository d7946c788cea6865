"""`fedkit export`: the same project for another engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedkit.cli.output import Commands, say
from fedkit.cli.run import assignment
from fedkit.federation.roads.flower import export_flower, why_not_flower

__all__ = ["app"]


app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The same project for another engine: flower."
)


@app.callback()
def export() -> None:
    """The same project for another engine: flower."""


@app.command()
def flower(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty: the app goes there.")],
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[fl_config.json]", help="Default: the tutorial's experiment."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config; repeatable."),
    ] = None,
) -> None:
    """Write a Flower app that gives the global models of `fedkit run`, to the last bit."""
    from fedkit.base.tensors import state_bytes
    from fedkit.rounds.starting_point import read_experiment  # and so torch

    values = dict(map(assignment, changes or []))
    experiment = read_experiment(
        config, participants=None, changes=values, partition=None, full=False
    )
    refused = why_not_flower(experiment.config)
    if refused is not None:
        raise refused
    source, weights = experiment.model.encode(), state_bytes(experiment.weights)
    written = export_flower(experiment.config, source, weights, out.absolute())
    say(f"Wrote {len(written)} files into {out}; its README.md says how to run it.", "green")
