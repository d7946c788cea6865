"""`fedkit keys`: whose messages of secure aggregation are signed with which key, to be compared by another way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table

from fedkit.base.text import visible
from fedkit.cli.client import load_site
from fedkit.cli.output import AppDataOption, ConfigPath, say, show_table
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import folder_names
from fedkit.protocol.signing_keys import COMPARE, fingerprint, known_keys, told_keys, trust

__all__ = ["keys", "show_keys"]


def keys(
    config_path: ConfigPath = None,
    trusted: Annotated[
        str | None,
        typer.Option(
            "--trust", metavar="EMAIL", help="From now on, take the key that EMAIL publishes now."
        ),
    ] = None,
    app_data: AppDataOption = None,
) -> None:
    """Show the fingerprints of the keys that masked rounds are signed with; accept a new one."""
    site = load_site(config_path, app_data)
    if trusted is not None:
        say(f"{trusted} is now known by {fingerprint(trust(site, trusted))}.", "green")
        return
    people = sorted({*folder_names(site.datasites), *known_keys(site)})
    if not show_keys(site, people):
        say("Nobody here has published a key yet: that comes with the first masked round.")


def show_keys(site: Datasite, people: Iterable[str]) -> bool:
    """Print a table of these people's keys. Returns whether there is any."""
    rows, table = (
        told_keys(site, people),
        Table("", "", "", box=None, pad_edge=False, show_header=False),
    )
    for who, digits, state in rows:
        table.add_row(visible(who), digits, state)
    if rows:
        say(COMPARE)
        show_table(table)
    return bool(rows)
