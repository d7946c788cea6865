"""What every command shares: how it prints, how it fails, how it is stopped, and the options that occur twice."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from fedkit.base.distribution import missing_extra
from fedkit.base.errors import FedkitError
from fedkit.base.events import (
    Event,
    Problem,
    ProjectDone,
    RoundEvaluated,
    RoundMeasured,
    Waiting,
    render,
)
from fedkit.base.text import one_line, visible

__all__ = [
    "AppDataOption",
    "Commands",
    "ConfigPath",
    "DeviceOption",
    "Reporter",
    "console",
    "end_now",
    "path",
    "say",
    "show_table",
    "stopping",
    "usage_error",
]


DONE, FAILED, WRONG_USAGE, WAITING, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit codes; 130 is the shell's own for Ctrl-C."""

console = Console(highlight=False, markup=False)  # what others wrote is no markup

_STYLES: dict[type[Event], str] = {
    Problem: "red",
    Waiting: "yellow",
    ProjectDone: "green",
    RoundEvaluated: "green",
    RoundMeasured: "green",
}


class Commands(TyperGroup):
    """Ends every command's errors in one way: a line that says what, where and what to do."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for; every way in which one fails ends here."""
        try:
            return super().invoke(ctx)
        except FedkitError as error:
            typer.echo(f"Error: {one_line(error)}", err=True)
            raise typer.Exit(FAILED) from None
        except ImportError as error:
            if (error.name or "").startswith("fedkit"):
                raise  # our own mistake: where it is helps whoever mends it
            typer.echo(f"Error: {one_line(_not_imported(error))}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            typer.echo("Stopped. Run the same command again: it goes on where it was.", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _not_imported(error: ImportError) -> FedkitError:
    missing = missing_extra(error, "this") if isinstance(error, ModuleNotFoundError) else None
    return missing or FedkitError(
        "a package that fedkit needs can't be imported",
        why=(str(error).splitlines() or [type(error).__name__])[0],
        remedy="look what is missing: fedkit doctor",
    )


ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config_path",
        "--config-path",
        metavar="FILE",
        help="The client's config.json; default: $SYFTBOX_CLIENT_CONFIG_PATH, else ~/.syftbox/config.json.",
    ),
]
AppDataOption = Annotated[
    Literal["app_data", "api_data"] | None,
    typer.Option(
        "--app-data",
        "--app_data",
        help="Name of the mailboxes' folder; api_data is the tutorial's. Default: the one that is there, else app_data.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", help="Where to train: cpu, cuda, cuda:1, mps."),
]


def path(text: str | Path) -> Path:
    """A file or folder as somebody types it: `~` is the home, also where no shell has said so.

    Raises typer.BadParameter for an empty text, which is a variable that nobody has set: `.` is this folder.
    """
    told = str(text)
    if not told:
        raise typer.BadParameter("is empty; name a file or a folder, and . for this folder")
    try:
        home = told == "~" or told.startswith(("~/", f"~{os.sep}"))
        return Path(told).expanduser() if home else Path(text)
    except RuntimeError as error:  # nobody's home is known
        raise typer.BadParameter(f"{told}: {error}; name the folder itself") from error


def say(text: str = "", style: str | None = None) -> None:
    """Print one line as it is: no markup, and never broken by us."""
    # a Text, as a style given to print() would colour the progress bar below it too
    console.print(Text(visible(text), style or ""), soft_wrap=True)


def show_table(table: Table) -> None:
    """Print a table: as wide as the terminal, or as wide as it needs to be where there is none."""
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(width=10_000, file=io.StringIO(), highlight=False, markup=False)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def usage_error(text: str) -> NoReturn:
    """End with exit code 2: the command line itself is not right."""
    typer.echo(f"Error: {text}", err=True)
    raise typer.Exit(WRONG_USAGE)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C, by SIGTERM, and when the terminal closes."""
    stop = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        stop.set()

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    before: dict[int, Any] = {}
    for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and scripts, ignore some
            before[number] = signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_now(code: int) -> NoReturn:
    """End the process at once: tidying up torch takes Python a second, and an interrupted step need not be waited for.

    What was finished lies on the disk, and the rest is done again.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Reporter:
    """Prints events as they come; on a terminal, a line at the bottom follows the training."""

    def __init__(self) -> None:
        self._status: Status | None = None

    def event(self, event: Event) -> None:
        """Print an event."""
        say(render(event), _STYLES.get(type(event)))

    def epoch(self, project: str, round_number: int, epoch: int, epochs: int, loss: float) -> None:
        """Follow the training: `local_round.Progress`."""
        if not console.is_terminal:
            return
        text = f"{project}: round {round_number}, local epoch {epoch}/{epochs}, loss {loss:.3f}"
        if self._status is None:
            self._status = console.status(text)
            self._status.start()
        self._status.update(text)
        if epoch == epochs:
            self.close()

    def close(self) -> None:
        """Give the bottom line back to the terminal."""
        if self._status is not None:
            self._status.stop()
            self._status = None
