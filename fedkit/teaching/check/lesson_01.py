"""Checks of notebook 01: who may read a file, and a rule of one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedkit.datasite.permissions import Permissions, Right, write_permissions
from fedkit.teaching.check.base import Wrong, check

ALICE, BOB = "alice@example.org", "bob@example.org"
AGGREGATOR, STRANGER = "aggregator@example.org", "mallory@example.org"

# (the list, who stands in it, who asks, may they?) -> what is wrong with another answer
_READING = {
    ("read", BOB, BOB, True): "Bob stands in the read list, and your function refuses him.",
    (
        "read",
        BOB,
        STRANGER,
        False,
    ): "The rule names Bob alone, and your function lets Mallory read.",
    ("read", "*", STRANGER, True): (
        "The read list holds *, which stands for everybody, and your function refuses Mallory."
    ),
    ("write", BOB, BOB, True): (
        "Bob stands in the write list, and your function does not let him read. Writing includes reading."
    ),
    ("write", "*", STRANGER, True): (
        "The write list holds *, as in Alice's request folder, and your function does not let Mallory read."
    ),
    ("write", BOB, STRANGER, False): "Only Bob may write, and your function lets Mallory read.",
    ("admin", ALICE, ALICE, True): (
        "Alice is an admin of the folder, and your function refuses her. An admin may do everything."
    ),
    ("admin", ALICE, STRANGER, False): "Only Alice is named, and your function lets Mallory read.",
    ("read", "joann@example.org", "ann@example.org", False): (
        "joann@example.org may read, and your function takes ann@example.org for her. Compare whole e-mails."
    ),
}


@check(
    hint="Replace the dots: True if the e-mail, or the sign for everybody, stands in a list that allows reading. "
    "More than one of the three lists does."
)
def may_read(attempt: Callable[[dict[str, list[str]], str], object]) -> str:
    """Who may read."""
    nobody: dict[str, list[str]] = {"admin": [], "write": [], "read": []}
    for (name, listed, email, answer), wrong in _READING.items():
        got = attempt({**nobody, name: [listed]}, email)
        if not isinstance(got, bool | np.bool_):
            raise Wrong(
                f"The answer should be True or False; yours is of type {type(got).__name__}."
            )
        if bool(got) is not answer:
            raise Wrong(wrong)
    return "A list that allows more also allows reading, and * stands for everybody: the sync decides the same way."


# (who, what, may they?, what is wrong with another answer)
_NOTES: tuple[tuple[str, Right, bool, str], ...] = (
    (BOB, "create", True, "Under your rule Bob can't put a new note into the folder."),
    (BOB, "write", True, "Under your rule Bob can't change his note."),
    (BOB, "read", True, "Under your rule Bob can't read the notes."),
    (AGGREGATOR, "read", True, "Under your rule the aggregator can't read the notes."),
    (STRANGER, "read", False, "Under your rule Mallory, who was given nothing, reads the notes."),
    (STRANGER, "create", False, "Under your rule Mallory, who was given nothing, leaves notes."),
    (AGGREGATOR, "create", False, "Under your rule the aggregator writes notes of its own."),
)


@check(hint="Two lists of e-mails. Ask of each person: nothing, reading, or writing?")
def open_folder(rule: Mapping[str, Any]) -> str:
    """A rule for one folder."""
    if not isinstance(rule, Mapping) or set(rule) != {"read", "write"}:
        raise Wrong("The rule should be a dict with the keys read and write, and no other.")
    for name, emails in rule.items():
        if isinstance(emails, str) or not all(isinstance(email, str) for email in emails):
            raise Wrong(f"{name} should be a list of e-mails, even if it holds only one.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / ALICE / "notes"
        write_permissions(folder, ALICE, read=list(rule["read"]), write=list(rule["write"]))
        permissions = Permissions(Path(name))
        for email, right, answer, wrong in _NOTES:
            if permissions.may(email, right, f"{ALICE}/notes/monday.txt") is not answer:
                raise Wrong(wrong)
    return "Each person may do what they need and no more. Whoever is not named may do nothing."
