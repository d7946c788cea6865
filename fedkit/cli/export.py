"""`fedkit export`: the same project for another engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.cli.output import Commands, say
from fedkit.cli.run import assignment
from fedkit.config.fl_config import FLConfig
from fedkit.federation.roads.flower import export_flower, why_not_flower
from fedkit.federation.roads.nvflare import export_nvflare, why_not_nvflare

__all__ = ["app"]


app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The same project for another engine: flower, nvflare."
)


@app.callback()
def export() -> None:
    """The same project for another engine: flower, nvflare."""


Out = Annotated[Path, typer.Argument(metavar="DIR", help="New or empty: the app goes there.")]
Config = Annotated[
    Path | None,
    typer.Argument(metavar="[fl_config.json]", help="Default: the tutorial's experiment."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config; repeatable."),
]


@app.command()
def flower(out: Out, config: Config = None, changes: Changes = None) -> None:
    """Write a Flower app that gives the global models of `fedkit run`, to the last bit."""
    _export(out, config, changes, why_not_flower, export_flower)


@app.command()
def nvflare(out: Out, config: Config = None, changes: Changes = None) -> None:
    """Write an NVFlare job that gives the global models of `fedkit run`, to the last bit."""
    _export(out, config, changes, why_not_nvflare, export_nvflare)


def _export(
    out: Path,
    config: Path | None,
    changes: list[str] | None,
    why_not: Callable[[FLConfig], FedkitError | None],
    write: Callable[[FLConfig, bytes, bytes, Path], list[Path]],
) -> None:
    from fedkit.base.tensors import state_bytes
    from fedkit.rounds.starting_point import read_experiment  # and so torch

    values = dict(map(assignment, changes or []))
    experiment = read_experiment(
        config, participants=None, changes=values, partition=None, full=False
    )
    refused = why_not(experiment.config)
    if refused is not None:
        raise refused
    source, weights = experiment.model.encode(), state_bytes(experiment.weights)
    written = write(experiment.config, source, weights, out.absolute())
    say(
        f"Wrote {how_many(len(written), 'file')} into {out}; its README.md says how to run it.",
        "green",
    )
