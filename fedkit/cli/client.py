"""`fedkit client`, `approve` and `status`: one datasite, from its creation to a finished project."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Problem, ProjectDone, Waiting
from fedkit.base.text import visible
from fedkit.cli.output import (
    DONE,
    FAILED,
    WAITING,
    AppDataOption,
    ConfigPath,
    DeviceOption,
    Reporter,
    end_now,
    say,
    show_table,
    stopping,
    usage_error,
)
from fedkit.cli.roads import Carrier, Drive, Peers, Token, Transport, carrying, open_road
from fedkit.config.client_config import ClientConfig, read_env
from fedkit.datasite.datasite import AppData, Datasite
from fedkit.datasite.road import ROADS, road_of, write_road
from fedkit.datasite.tree import folder_names
from fedkit.federation.roads.pysyft import check_installed
from fedkit.federation.roads.syftbox import read_config
from fedkit.federation.roads.synced import refuse_unfit
from fedkit.federation.watch import advance_in_turn, watch
from fedkit.protocol import advance as node

__all__ = ["client", "load_site", "status", "take_road"]


_PATIENCE_S = 60.0
_LOOKS = 20


def client(
    email: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="Whose datasite it is.")
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option("--data-dir", "--data_dir", metavar="DIR", help="Where the datasite lies."),
    ] = None,
    config_path: Annotated[
        str | None,
        typer.Option(
            "--config_path", "--config-path", metavar="FILE", help="The config.json to write."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, metavar="PORT", help="For the local page.")
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file",
            "--env_file",
            metavar="FILE",
            help="EMAIL, DATA_DIR, CONFIG_PATH and PORT, a line each; options win over it.",
        ),
    ] = None,
    app_data: AppDataOption = None,
    device: DeviceOption = "cpu",
    synced: Annotated[
        bool,
        typer.Option(
            "--synced",
            help="Its datasites/ is a synced or shared folder, in which others can write too; it stays so.",
        ),
    ] = False,
    syftbox: Annotated[
        Path | None,
        typer.Option(
            "--syftbox",
            metavar="CONFIG",
            help="The config.json of a SyftBox client: for its e-mail and in its data dir, on any free port.",
        ),
    ] = None,
    transport: Transport = None,
    token: Token = None,
    drive: Drive = None,
    peer: Peers = None,
    once: Annotated[
        bool, typer.Option("--once", help="Do what can be done now, then end; don't watch.")
    ] = False,
    parent: Annotated[
        int | None, typer.Option("--parent", metavar="PID", hidden=True, help="Ends with it.")
    ] = None,
) -> None:
    """Make a datasite if there is none, then move its projects: watch its folders and serve public/ until Ctrl-C.

    With --once: exit code 0 if nothing is left to do, 1 if something must be put right, 3 if somebody must act.
    """
    given = {"EMAIL": email, "DATA_DIR": data_dir, "CONFIG_PATH": config_path, "PORT": port}
    wanted = {k: str(v) for k, v in given.items() if v is not None}
    if syftbox is None:
        settings = _settings(wanted, env_file)
    elif synced or transport or env_file is not None or wanted.keys() - {"PORT"}:
        usage_error("--syftbox names e-mail, data dir and config.json -> leave out what else does")
    if synced and transport:
        usage_error("--synced and --transport are two roads -> take one")
    if transport is None and (token or drive or peer):
        usage_error("--token, --drive and --peer belong to --transport pysyft -> add it")
    if transport is not None:
        check_installed()
    if device != "cpu":
        from fedkit.learning.device import (
            find_device,  # and so torch, before it has something to train
        )

        find_device(device)
    if syftbox is not None:
        theirs, path, port = read_config(syftbox), syftbox, port or 0
        take_road(theirs.data_dir.absolute(), theirs.email, "syftbox")
        site = _datasite(theirs.data_dir.absolute(), theirs.email, app_data)
    else:
        place = Path(settings["DATA_DIR"]).expanduser().absolute()
        if synced or transport:
            take_road(place, settings["EMAIL"], "synced" if synced else "pysyft")
        elif road_of(place).name == "synced":
            refuse_unfit(place, settings["EMAIL"])  # it stays so
        site, path = _make(settings, app_data)
        port = int(settings["PORT"])
    site = replace(site, device=device)
    carry = open_road(site, token, drive, peer or ()) if transport else None
    if once:
        raise typer.Exit(_once(site, carry))
    _watch(site, port, path, parent, carry)


def status(
    config_path: ConfigPath = None,
    app_data: AppDataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show where each project of the datasite stands, and who must do what next.

    --json prints {"email", "data_dir", "app_data", "road", "others_can_write",
    "projects": [{"project", "role", "state", "waits_for", "text"}]}:
    role is "aggregator" or "participant"; state is "launch", "request", "running", "problem" or "done"; waits_for is a
    list of e-mails, empty if nobody needs to act; text says it in words.
    """
    site = load_site(config_path, app_data)
    rows = node.status(site)
    if as_json:
        projects = [
            vars(row) | {"waits_for": row.waits_for.split(", ") if row.waits_for else []}
            for row in rows
        ]
        head = {
            "email": site.email,
            "data_dir": str(site.data_dir),
            "app_data": site.app_data,
            "road": site.road.name,
            "others_can_write": site.road.others_can_write,
        }
        typer.echo(json.dumps(head | {"projects": projects}, indent=2))
        return
    say(f"{site.email} in {site.data_dir}")
    if site.road.others_can_write:
        say(f"Others can write here ({site.road.why}): only `fedkit approve` approves.", "yellow")
    if not rows:
        say(_how_to_begin(site))
        return
    table = Table("project", "as", "state", "what next", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(visible(cell) for cell in (row.project, row.role, row.state, row.text)))
    show_table(table)


def load_site(config_path: Path | None, app_data: AppData | None) -> Datasite:
    """The datasite of a `config.json`. Raises FedkitError if it is not there (any more)."""
    site = Datasite.load(config_path, app_data)
    if not site.client().path.is_dir():
        raise FedkitError(
            f"holds no datasite of {site.email} with {site.app_data}",
            file=site.data_dir,
            remedy="run `fedkit client` once: it makes it; or check --app-data",
        )
    return site


def take_road(data_dir: Path, email: str, road: str) -> None:
    """Write down on which road this datasite is. Raises FedkitError while projects are under way on another one."""
    before = Datasite(data_dir, email)
    under_way = [
        box.running for box in (before.client(), before.aggregator()) if folder_names(box.running)
    ]
    if before.road.others_can_write != ROADS[road].others_can_write and under_way:
        raise FedkitError(
            f"has projects under way on the road {before.road.name!r}",
            file=under_way[0],
            why=f"On the road {road!r} they are at home in another folder",
            remedy="let them end, or take a data dir of its own for this road",
        )
    if road == "synced":
        refuse_unfit(data_dir, email)
    write_road(data_dir, road, email if road == "synced" else None)


def _settings(given: dict[str, str], env_file: Path | None) -> dict[str, str]:
    """The four settings: options first, then the .env file. Ends with exit code 2 if one is missing."""
    values = (read_env(env_file) if env_file else {}) | given
    wanted = ("EMAIL", "DATA_DIR", "CONFIG_PATH", "PORT")
    # an unset shell variable makes the next option the value of this one
    missing = [key for key in wanted if not values.get(key) or values[key].startswith("--")]
    if missing:
        options = ", ".join("--" + key.lower().replace("_", "-") for key in missing)
        usage_error(
            f"missing: {', '.join(missing)} -> give {options}, or --env-file with a .env that has it"
        )
    number = values["PORT"]
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 65535):
        raise FedkitError(
            f"{number!r} is no port",
            file=env_file,
            field="PORT",
            remedy="write a number from 1 to 65535, such as 8080",
        )
    return values


def _same_folder(one: Path, other: Path) -> bool:
    """Do two paths lead to one folder, however they are spelled?"""
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return one.resolve() == other.resolve()


def _make(settings: dict[str, str], app_data: AppData | None) -> tuple[Datasite, Path]:
    """Create or complete the datasite and its config.json; never touches those of another one."""
    email, port = settings["EMAIL"], settings["PORT"]
    data_dir = Path(settings["DATA_DIR"]).expanduser().absolute()
    path = Path(settings["CONFIG_PATH"]).expanduser().absolute()
    before = ClientConfig.load(path) if path.exists() or path.is_symlink() else None
    if before is not None and (
        before.email != email or not _same_folder(before.data_dir, data_dir)
    ):
        raise FedkitError(
            f"belongs to {before.email} in {before.data_dir}",
            file=path,
            why=f"You asked for {email} in {data_dir}, and nothing was changed",
            remedy="name another --config_path, or correct --email and --data-dir",
        )
    site = _datasite(data_dir, email, app_data)
    config = before or ClientConfig(site.data_dir, email)
    url = config.client_url if before and before.port == int(port) else f"http://localhost:{port}"
    ClientConfig(site.data_dir, email, config.server_url, url).save(path)
    if before is None:
        say(f"Wrote {path}")
    return site, path


def _datasite(data_dir: Path, email: str, app_data: AppData | None) -> Datasite:
    """Create or complete a datasite, and say so where it is new."""
    old = Datasite(data_dir, email, "api_data").client().path.is_dir()
    new = Datasite(data_dir, email).client().path.is_dir()
    found: AppData = "api_data" if old and not new else "app_data"
    site = Datasite.create(data_dir, email, app_data or found)
    if not (old or new):
        say(f"Made the datasite of {email} in {site.data_dir}")
    return site


def _end_with(parent: int, stop: threading.Event) -> None:
    """Set `stop` when the process `parent` has ended.

    Not on Windows, where a signal 0 is Ctrl-C; SyftBox's `sh`, which alone names a parent, is not there either.
    """
    while not stop.wait(1):
        try:
            os.kill(parent, 0)
        except OSError:
            stop.set()


def _once(site: Datasite, carry: Carrier | None) -> int:
    events: list[Event] = []
    with closing(Reporter()) as reporter, stopping() as stop:
        for _ in range(_LOOKS):
            for event in carry() if carry is not None else ():
                reporter.event(event)
            now = advance_in_turn(
                site,
                on_event=reporter.event,
                on_epoch=reporter.epoch,
                stop=stop,
                timeout_s=_PATIENCE_S,
            )
            moved = [event for event in now if not isinstance(event, Waiting | Problem)]
            events = [e for e in events if not isinstance(e, Waiting | Problem)] + now
            if carry is None or stop.is_set() or not (carry.moved or moved):
                break
    if stop.is_set():
        raise KeyboardInterrupt
    stops = [event for event in events if isinstance(event, Waiting | Problem)]
    for event in stops:
        reporter.event(event)
    if any(isinstance(event, Problem) for event in stops):
        say("Put right what is named above, then run the same command again.")
        return FAILED
    if stops:
        say("Run the same command again when that is done.")
        return WAITING
    done = list(dict.fromkeys(e.project for e in events if isinstance(e, ProjectDone)))
    say(f"Done: {', '.join(done)}." if done else f"Nothing to do now. {_how_to_begin(site)}")
    return DONE


def _how_to_begin(site: Datasite) -> str:
    return (
        "A project begins with fl_config.json, model.py and weights in "
        f"{site.aggregator().launch}, or with another datasite's request."
    )


def _watch(
    site: Datasite, port: int, config_path: Path, parent: int | None, carry: Carrier | None
) -> None:
    from fedkit.cli.serve import Server

    with stopping() as stop, Server(site, port) as server:
        if parent is not None and os.name != "nt":
            threading.Thread(target=_end_with, args=(parent, stop), daemon=True).start()
        say(f"Serving {site.public} at {server.url}, on this machine only.")
        say(f"Watching {site.data_dir}; Ctrl-C ends it. In another terminal:")
        say(f"  fedkit status --config_path {config_path}")
        if not node.status(site):
            say(_how_to_begin(site))
        sys.stdout.flush()
        if site.road.name == "pysyft" and carry is None:
            say("Its road is PySyft's: without --transport pysyft, nothing is carried.", "yellow")
        with closing(Reporter()) as reporter, carrying(site, carry, stop, reporter.event):
            watch(site, stop, on_event=reporter.event, on_epoch=reporter.epoch)
    say("Stopped. Start it again at any time: it goes on where it was.")
    end_now(DONE)
