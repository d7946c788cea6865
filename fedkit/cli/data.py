"""`fedkit data`: sample files for the tutorial, and the full MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedkit.config.tutorial import AGGREGATOR, PARTICIPANTS

__all__ = ["app"]


app = typer.Typer(no_args_is_help=True, help="Sample files for the tutorial, and the full MNIST.")


@app.command()
def samples(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder to write into")],
    aggregator: Annotated[
        str, typer.Option("--aggregator", metavar="EMAIL", help="for fl_config.json")
    ] = AGGREGATOR,
    participant: Annotated[
        list[str] | None,
        typer.Option(
            "--participant",
            metavar="EMAIL",
            help=f"for fl_config.json; repeat it for several (default: {', '.join(PARTICIPANTS)})",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="write over files that differ")] = False,
) -> None:
    """Write sample digits, a test set, model.py, its first weights and fl_config.json."""
    from fedkit.rounds.starting_point import write_samples

    participants = participant or PARTICIPANTS
    written = write_samples(out, aggregator=aggregator, participants=participants, force=force)
    for path in written:
        typer.echo(f"wrote {path} ({path.stat().st_size:,} bytes)")
    if not written:
        typer.echo(f"{out}: all files are there already, nothing to write")


@app.command()
def full(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="folder that holds MNIST's four raw files, plain or .gz; without it they are downloaded",
        ),
    ] = None,
) -> None:
    """Put the full MNIST (60,000 + 10,000 images) where load_mnist(full=True) finds it."""
    from fedkit.data.mnist import install_full

    folder = install_full(source)[0].parent
    typer.echo(f"{folder}: the full MNIST is there, 60,000 training and 10,000 test images")
