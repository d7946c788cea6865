"""Roads on which the client itself carries the files: PySyft's, beside the watching, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Protocol

import typer

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Problem
from fedkit.cli.output import usage_error
from fedkit.datasite.datasite import Datasite
from fedkit.federation.roads.pysyft import check_installed, find_drive, keep_people

__all__ = ["Carrier", "Drive", "Peers", "Token", "Transport", "carrying", "open_road"]


class Carrier(Protocol):
    """One pass a call; returns what was refused or is wrong. moved : something was carried. pause_s : to the next pass, at
    most."""

    moved: bool
    pause_s: float

    def __call__(self) -> list[Event]:
        """Carry what is there now."""


Transport = Annotated[
    Literal["pysyft"] | None,
    typer.Option(
        "--transport", help="Carry the files too: pysyft, over each person's Google Drive."
    ),
]
Token = Annotated[
    Path | None,
    typer.Option(
        "--token",
        metavar="FILE",
        help="With --transport: where the token of the Google Drive lies; default: as the last time, or $SYFT_TOKEN_PATH.",
    ),
]
Drive = Annotated[
    Path | None,
    typer.Option(
        "--drive",
        metavar="FOLDER",
        help="With --transport: a folder that plays the drive; it is remembered.",
    ),
]
Peers = Annotated[
    list[str] | None,
    typer.Option(
        "--peer",
        metavar="EMAIL",
        help="With --transport: whom this datasite meets, besides those of its projects; it is remembered.",
    ),
]

_AT_ONCE_S = 0.1


def open_road(
    site: Datasite, token: Path | None, drive: Path | None, peers: Sequence[str]
) -> Carrier:
    """PySyft's road for this datasite. Raises FedkitError where it can't be taken, with the reason."""
    check_installed()
    if token is not None and drive is not None:
        usage_error("--drive plays the drive, and needs no token -> leave out --token")
    keep_people(site, peers)
    folder, found = find_drive(site, drive, token)
    from fedkit.federation.roads.pysyft_drive import FolderDrive  # and so PySyft, in seconds
    from fedkit.federation.roads.pysyft_sync import PySyftSync

    return PySyftSync(site, store=None if folder is None else FolderDrive(folder), token=found)


@contextmanager
def carrying(
    site: Datasite, carry: Carrier | None, stop: threading.Event, on_event: Callable[[Event], None]
) -> Iterator[None]:
    """While the block runs, files are carried; whatever goes wrong is said, and tried again."""
    if carry is None:
        yield
        return
    thread = threading.Thread(
        target=_carry, args=(site, carry, stop, on_event), name=f"carry {site.email}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(1)


def _carry(
    site: Datasite, carry: Carrier, stop: threading.Event, on_event: Callable[[Event], None]
) -> None:
    pause, told = _AT_ONCE_S, ""
    while not stop.is_set():
        try:
            for event in carry():
                on_event(event)
        except Exception as caught:  # whatever PySyft and Google's packages raise, it goes on
            error = caught if isinstance(caught, FedkitError) else FedkitError(f"{caught!r:.300}")
            carry.moved = False
            if str(error) != told:
                on_event(Problem(site.email, "", "sync", error))
            told = str(error)
        pause = _AT_ONCE_S if carry.moved else min(2 * pause, carry.pause_s)
        stop.wait(pause)
