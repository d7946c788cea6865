"""The command `fedkit`: what people type. Exit codes: 0 done, 1 an error, 2 wrong usage, 3 waiting for somebody."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand
from typer.models import ParameterInfo
from typer.utils import get_params_from_function

from fedkit.base.distribution import VERSION
from fedkit.cli.output import FAILED, Commands, path

__all__ = ["COMMANDS", "app", "main"]


COMMANDS = {
    "start": (
        "start:start",
        "Put the course into a folder and open JupyterLab on its first lesson; your own work there stays as it is.",
    ),
    "client": (
        "client:client",
        "Make a datasite if there is none, then move its projects: watch its folders and serve public/ until Ctrl-C.",
    ),
    "approve": (
        "approve:approve_command",
        "Show a request's config and code with their hashes, ask, and approve exactly what was shown.",
    ),
    "syftbox": ("syftbox:app", "fedkit as an app of SyftBox: install."),
    "keys": (
        "keys:keys",
        "Show the fingerprints of the keys that masked rounds are signed with; accept a new one.",
    ),
    "status": (
        "client:status",
        "Show where each project of the datasite stands, and who must do what next.",
    ),
    "run": (
        "run:run",
        "Run an experiment between datasites on this machine; the same command goes on after an interruption.",
    ),
    "sweep": (
        "sweep:sweep",
        "Run every combination of parameters and seeds; the same command goes on after an interruption.",
    ),
    "doctor": (
        "doctor:doctor",
        "Look for what fedkit needs on this machine: a line a check, with the remedy.",
    ),
    "data": (
        "data:app",
        "Sample files for the tutorial, shards of your own data, and the full MNIST.",
    ),
    "export": ("export:app", "The same project for another engine: flower, nvflare."),
    "class": ("class_:app", "A room of learners: open, seats, join."),
    "playground": (
        "playground:playground",
        "Federated learning to play with in a browser, without a line of code.",
    ),
    "course": (
        "course:app",
        "The course's notebooks: run, list, copy, update, grade, slides, export.",
    ),
}
"""Name -> where its function lies, and what `fedkit --help` says of it without loading that (a test compares)."""


class _Fedkit(Commands):
    """Loads a command when it is called: the help waits for nothing, and `doctor` starts where torch is broken."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, text) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=text))

    def make_context(self, *args: Any, **words: Any) -> Any:
        """Read the command line; `--install-completion` writes into the home already here, which may not be one's own."""
        try:
            return super().make_context(*args, **words)
        except OSError as error:
            told = f"Error: {error.filename or 'the home folder'}: {error.strerror or error}"
            typer.echo(f"{told} -> name a HOME that you may write in, or use --show-completion")
            raise typer.Exit(FAILED) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS:
            self.add_command(_loaded(args[0]))
        return super().resolve_command(ctx, args)


def _loaded(name: str) -> Any:
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"fedkit.cli.{module}"), attribute)
    alone = typer.Typer()
    for function in _functions(found):
        _read_paths(function)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return _with_help(typer.main.get_group(alone).commands[name])


def _with_help(command: Any) -> Any:
    """What arguments say of themselves, which typer before 0.21 (Flower has it so) loses beside click 8.5."""
    for below in getattr(command, "commands", {}).values():
        _with_help(below)
    lost = [p for p in command.params if isinstance(p, TyperArgument) and not p.help]
    if lost:
        said = get_params_from_function(inspect.unwrap(command.callback))
        for argument in lost:
            argument.help = getattr(said[argument.name].default, "help", None)
    return command


def _functions(found: Any) -> Iterator[Callable[..., Any]]:
    """A command's function, or those of all commands below it."""
    if not isinstance(found, typer.Typer):
        yield found
        return
    yield from (each.callback for each in found.registered_commands if each.callback)
    for group in found.registered_groups:
        yield from _functions(group.typer_instance)


def _read_paths(function: Callable[..., Any]) -> None:
    """Every file and folder on the command line is read by `output.path`."""
    hints = get_type_hints(function, include_extras=True)
    for hint in hints.values():
        kind, *more = get_args(hint) or (hint,)
        if Path in (kind, *get_args(kind)):
            for info in more:
                if isinstance(info, ParameterInfo):
                    info.parser = path
    function.__annotations__ = hints


app = typer.Typer(
    cls=_Fedkit,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedkit {VERSION}")
        raise typer.Exit


@app.callback()
def fedkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it, then end.")
    ] = False,
) -> None:
    """Federated learning between datasites that are folders."""


def main() -> None:
    """The entry point of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an old console may not know every character
    app()


if __name__ == "__main__":
    main()
