"""The command `fedkit`: what people type. Exit codes: 0 done, 1 an error, 2 wrong usage, 3 waiting for somebody."""

from __future__ import annotations

import contextlib
import io
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fedkit.base.errors import FedkitError
from fedkit.cli.doctor import examine
from fedkit.cli.output import FAILED, INTERRUPTED, say

__all__ = ["app", "main"]


class _Fedkit(TyperGroup):
    """Ends every command's errors in one way: a line that says what, where and what to do."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FedkitError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            typer.echo("Stopped. Run the same command again: it goes on where it was.", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Fedkit,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        with contextlib.suppress(metadata.PackageNotFoundError):
            typer.echo(f"fedkit {metadata.version('fedkit')}")
        raise typer.Exit


@app.callback()
def fedkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it, then end.")
    ] = False,
) -> None:
    """Federated learning between datasites that are folders."""


def doctor(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Is this one free?")] = 8080,
) -> None:
    """Look for what fedkit needs on this machine: a line a check, with the remedy."""
    findings = examine(port)
    for finding in findings:
        sign = "ok     " if finding.ok else "MISSING" if finding.essential else "note   "
        style = None if finding.ok else "red" if finding.essential else "yellow"
        say(f"{sign} {finding.what}{' -> ' + finding.remedy if finding.remedy else ''}", style)
    missing = [finding for finding in findings if not finding.ok and finding.essential]
    say(f"{len(missing)} of {len(findings)} are missing." if missing else "fedkit can run here.")
    raise typer.Exit(FAILED if missing else 0)


def _mount() -> None:
    """The commands that need torch; `doctor` must start where it is missing."""
    from fedkit.cli import course as cli_course
    from fedkit.cli import data as cli_data
    from fedkit.cli.approve import approve_command
    from fedkit.cli.client import client, status
    from fedkit.cli.run import run
    from fedkit.cli.sweep import sweep

    app.command("client")(client)
    app.command("approve")(approve_command)
    app.command("status")(status)
    app.command("run")(run)
    app.command("sweep")(sweep)
    app.add_typer(cli_data.app, name="data")
    app.add_typer(cli_course.app, name="course")


if sys.argv[1:2] != ["doctor"]:
    _mount()
app.command("doctor")(doctor)


def main() -> None:
    """The entry point of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an old console may not know every character
    app()


if __name__ == "__main__":
    main()
