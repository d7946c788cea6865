"""`python -m fedkit.data --rebuild IDX_DIR` makes the sample anew from MNIST's raw files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedkit.base.errors import FedkitError
from fedkit.data.mnist import SAMPLE_SHA256
from fedkit.data.rebuild import rebuild


def main(
    folder: Annotated[
        Path,
        typer.Option(
            "--rebuild", metavar="IDX_DIR", help="folder of MNIST's four raw files, plain or .gz"
        ),
    ],
) -> None:
    """Make data/mnist_12k.npz from MNIST's raw IDX files, byte for byte."""
    try:
        path = rebuild(folder)
    except FedkitError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {SAMPLE_SHA256}")


if __name__ == "__main__":
    typer.run(main)
