"""`fedkit class`: a teacher opens a room and watches its seats; a learner sits down with one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, write_bytes
from fedkit.base.text import how_long, how_many, visible
from fedkit.cli.client import client, load_site, take_road
from fedkit.cli.output import Commands, ConfigPath, say, show_table, usage_error
from fedkit.cli.roads import Drive, Token
from fedkit.config.client_config import DEFAULT_PORT
from fedkit.datasite.datasite import Datasite
from fedkit.federation.invitations import invitation_of
from fedkit.federation.roads.pysyft import check_installed
from fedkit.federation.roads.syftbox import read_config
from fedkit.federation.seats import by_need, codes_of, look, open_room, take_seat

__all__ = ["app"]


_TAKES = {
    "syftbox": {"--syftbox"},
    "pysyft": {"--data-dir", "--token", "--drive"},
    "synced": {"--data-dir"},
}
"""Road -> what a learner says about it."""

app = typer.Typer(cls=Commands, no_args_is_help=True, help="A room of learners: open, seats, join.")


@app.callback()
def class_() -> None:
    """A room of learners: open, seats, join."""


@app.command("open")
def open_(
    name: Annotated[str, typer.Option("--name", metavar="ROOM", help="The room's name.")],
    project: Annotated[str, typer.Option("--project", help="What the room will work on.")],
    seats: Annotated[
        int, typer.Option("--seats", min=1, max=500, metavar="N", help="How many.")
    ] = 30,
    people: Annotated[
        Path | None,
        typer.Option(
            "--people",
            metavar="FILE",
            help="Whose seats, an e-mail a line; default: seat-01@example.org, seat-02@...",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Default: a folder named ROOM.")
    ] = None,
    config_path: ConfigPath = None,
) -> None:
    """Make an invitation for each seat, a file each: send it to its learner alone."""
    site = load_site(config_path, None)
    emails = [f"seat-{n:02d}@example.org" for n in range(1, seats + 1)]
    if people is not None:
        emails = _people(people)
    made = open_room(site, name, project, emails)
    folder = out or Path(name)
    for invitation, text in made:
        write_bytes(folder / f"seat-{invitation.seat:02d}.txt", f"{text}\n".encode(), mode=0o600)
    say(f"{how_many(len(made), 'invitation')} in {folder}: each for one learner, by mail or chat.")
    codes = codes_of(site, name)
    if codes:
        lines = "".join(f"{email} {code}\n" for email, code in codes.items())
        write_bytes(folder / "codes.txt", lines.encode(), mode=0o600)
        say(
            "Or, once a learner has the room's folder as DIR/datasites, a code from codes.txt to type:"
        )
        say("  fedkit class join CODE --data-dir DIR")
    say(f"On the board: the key of {site.email} is {made[0][0].fingerprint}", "bold")
    say(
        f"participants in fl_config.json: the {how_many(len(made), 'seat')}; then launch {project} as always."
    )
    say(f"Who waits for what: fedkit class seats {name}")


def _people(path: Path) -> list[str]:
    data = read_bytes(path, max_bytes=2**20, absent="check the path, or leave out --people")
    try:
        return data.decode("utf-8-sig").split()
    except UnicodeDecodeError as error:
        raise FedkitError(
            "is no text", file=path, why=str(error), remedy="write an e-mail a line, as UTF-8"
        ) from error


@app.command()
def seats(
    room: Annotated[str, typer.Argument(metavar="ROOM", help="As it was opened.")],
    config_path: ConfigPath = None,
) -> None:
    """Show each seat, who needs help first: who must do what, and since when (by this machine's clock)."""
    site = load_site(config_path, None)
    table = Table("seat", "who", "state", "waits for", "to", "since", box=None, pad_edge=False)
    for seat in by_need(look(site, room)):
        whom, what = visible(seat.whom), visible(seat.what)
        since = how_long(seat.since)
        table.add_row(str(seat.number), seat.email, seat.state, whom, what, since)
    show_table(table)


@app.command()
def join(
    invitation: Annotated[
        str, typer.Argument(metavar="INVITATION", help="Its file, its text in quotes, or a code.")
    ],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", "--data_dir", metavar="DIR", help="Default: ROOM-SEAT in this folder."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="For the local page; default: 8080, over SyftBox any free one.",
        ),
    ] = None,
    syftbox: Annotated[
        Path | None,
        typer.Option("--syftbox", metavar="CONFIG", help="Over SyftBox: its client's config.json."),
    ] = None,
    token: Token = None,
    drive: Drive = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="The fingerprint is right.")] = False,
    once: Annotated[bool, typer.Option("--once", help="As for `fedkit client`.")] = False,
) -> None:
    """Sit down: datasite, road and client in one command. What the project runs is asked for later: `fedkit approve`."""
    asked = invitation_of(invitation, data_dir)
    given = {"--data-dir": data_dir, "--syftbox": syftbox, "--token": token, "--drive": drive}
    for option, value in given.items():
        if value is not None and option not in _TAKES[asked.road]:
            usage_error(
                f"{option} is for another road than this room's, {asked.road!r} -> leave it out"
            )
    if asked.road == "pysyft":
        check_installed()  # before anything is made
    say(f"Seat {asked.seat} of {asked.room}: {asked.email}, for {asked.project}.")
    say(f"{asked.aggregator} leads it, with the key {asked.fingerprint}", "bold")
    if not yes and not (sys.stdin.isatty() and typer.confirm("Is that what the board says?")):
        raise FedkitError(
            "is not confirmed; nothing was made",
            field=asked.room,
            remedy="compare the fingerprint with the board, then give --yes",
        )
    if asked.road == "syftbox":
        if syftbox is None:
            raise FedkitError(
                "works over SyftBox",
                field=asked.room,
                remedy="start its client, give --syftbox CONFIG",
            )
        theirs = read_config(syftbox)
        take_seat(Datasite(theirs.data_dir.absolute(), theirs.email), asked)
        client(syftbox=syftbox, port=port, once=once)
        return
    folder = (data_dir or Path(f"{asked.room}-{asked.seat:02d}")).expanduser().absolute()
    take_road(folder, asked.email, asked.road)
    take_seat(Datasite.create(folder, asked.email), asked)
    config = folder / "config.json"
    if asked.road == "synced":
        say(f"Share {folder / 'datasites'} with the room, that folder and no other.")
    client(
        email=asked.email,
        data_dir=str(folder),
        config_path=str(config),
        port=port or DEFAULT_PORT,
        synced=asked.road == "synced",
        transport="pysyft" if asked.road == "pysyft" else None,
        token=token,
        drive=drive,
        peer=[asked.aggregator] if asked.road == "pysyft" else None,
        once=once,
    )
