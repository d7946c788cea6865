"""`fedkit approve`: a person looks at what would run on their data, and says yes to exactly these bytes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.syntax import Syntax
from rich.table import Table

from fedkit.base.distribution import need_privacy
from fedkit.base.errors import FedkitError
from fedkit.base.events import render
from fedkit.base.text import visible
from fedkit.cli.client import load_site
from fedkit.cli.keys import show_keys
from fedkit.cli.output import (
    FAILED,
    AppDataOption,
    ConfigPath,
    console,
    say,
    show_table,
    usage_error,
)
from fedkit.config.fl_config import TUTORIAL_KEYS
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import folder_names
from fedkit.privacy.guarantees import in_short
from fedkit.protocol.approval import Review, approve, pending_requests, review
from fedkit.protocol.findings import find, in_words
from fedkit.protocol.signing_keys import signers

__all__ = ["approve_command"]


def approve_command(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The request's name.")],
    config_path: ConfigPath = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    app_data: AppDataOption = None,
) -> None:
    """Show a request's config and code with their hashes, ask, and approve exactly what was shown."""
    site = load_site(config_path, app_data)
    _must_be_open(site, project)
    shown = review(site, project)
    _show(site, shown)
    if shown.config.dp is not None:  # the door: without it, the first round would fail
        need_privacy()
    if not yes and not _ask(shown):
        say("Not approved. Nothing was changed, and the request stays where it is.")
        raise typer.Exit(FAILED)
    say(render(approve(site, shown)), "green")
    say("A running `fedkit client` goes on by itself; else start it now.")


def _show(site: Datasite, shown: Review) -> None:
    say(f"{shown.aggregator} asks {shown.participant} to take part in {shown.project}.")
    say()
    values: dict[str, Any] = shown.config.model_dump(mode="json")
    written = shown.config.model_fields_set | set(shown.config.unknown)
    keys = [*TUTORIAL_KEYS, *(key for key in values if key not in TUTORIAL_KEYS)]
    table = Table("fl_config.json", "", box=None, pad_edge=False)
    for key in (key for key in keys if key in written):
        value = values[key]
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        note = "  (fedkit does not know this key)" if key in shown.config.unknown else ""
        table.add_row(visible(key), visible(text) + note)
    show_table(table)
    say()
    for line in in_short(shown.config):
        say(f"Differential privacy {line}.")
    if shown.config.dp is not None:
        say()
    say(f"{shown.config.model_arch}, the code that would run here with your rights:", "bold")
    code = visible(shown.source)
    if console.is_terminal:
        console.print(Syntax(code, "python", line_numbers=True, word_wrap=True))
    else:
        say(code.rstrip())
    if code != shown.source.replace("\r\n", "\n"):
        say("It holds characters that a terminal hides; they are shown as \\x.., \\u....", "red")
    say()
    head, lines = in_words(find(site, shown))
    say(head, "bold")
    for line in lines:
        say(f"  {visible(line)}", "yellow")
    say()
    for name, digest in shown.hashes.items():
        say(f"sha256 {digest}  {name}")
    if signers(shown.config):
        say()
        show_keys(site, signers(shown.config))


def _ask(shown: Review) -> bool:
    if not _is_there_a_terminal():
        usage_error(
            "there is no terminal to ask on; nothing was approved -> "
            f"look at the above, then run `fedkit approve {shown.project} --yes`"
        )
    try:
        return typer.confirm(f"\nRun this code on the data of {shown.participant}?", default=False)
    except typer.Abort:
        usage_error("no answer; nothing was approved -> answer y or n, or give --yes")


def _is_there_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _must_be_open(site: Datasite, project: str) -> None:
    """Raises FedkitError, with the names that are pending, unless `project` is a request that can be approved."""
    box = site.client()
    for state, folder in (("under way", box.running), ("done", box.done)):
        if project in folder_names(folder):
            raise FedkitError(
                f"{project!r} was approved before and is {state}",
                file=folder,
                remedy="nothing is left to approve: see `fedkit status`",
            )
    if project not in folder_names(box.request):
        names = ", ".join(pending_requests(site))
        nothing = "none waits for an answer; run `fedkit client` on both sides, then look again"
        raise FedkitError(
            f"there is no request {project!r}",
            file=box.request,
            remedy=f"waiting for an answer: {names}" if names else nothing,
        )
