"""Checks of notebook 01: who may read a file, and a rule of one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedkit.base.text import nearest
from fedkit.datasite.permissions import Permissions, Right, write_permissions
from fedkit.teaching.check.answers import listed, plain, truth
from fedkit.teaching.check.attempt import Open, Wrong, unfinished
from fedkit.teaching.check.base import check

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
    "More than one of the three lists does.",
    takes="access email",
)
def may_read(attempt: Callable[[dict[str, list[str]], str], object]) -> str:
    """Who may read."""
    for (name, named, email, answer), wrong in _READING.items():
        lists: dict[str, list[str]] = {"admin": [], "write": [], "read": []}
        said = attempt({**lists, name: [named]}, email)
        if isinstance(said, list):
            raise Wrong(
                "A list comes back, not True or False. `a in b or c` asks whether a stands in b, or whether c is empty: "
                "write `in` for each list."
            )
        if truth(said) is not answer:
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


_WANTED = {"read": [AGGREGATOR], "write": [BOB]}


@check(
    hint="Two lists of e-mails. Ask of each person: nothing, reading, or writing?",
    parts=True,
)
def open_folder(rule: Any) -> str:
    """A rule for one folder."""
    if rule is ... or rule is None:
        raise Open
    rule = plain(rule)
    if not isinstance(rule, Mapping) or set(rule) != {"read", "write"}:
        raise Wrong("The rule should be a dict with the keys read and write, and no other.")
    still_open = [name for name, emails in rule.items() if unfinished(emails)]
    if len(still_open) == len(rule):
        raise Open
    there = {name: emails for name, emails in rule.items() if name not in still_open}
    people = [ALICE, BOB, AGGREGATOR, STRANGER, "*"]
    there = {name: listed(emails) for name, emails in there.items()}
    for name, emails in there.items():
        if not isinstance(emails, list | tuple | set | frozenset) or not all(
            isinstance(email, str) for email in emails
        ):
            raise Wrong(
                f"{name} should be a list of e-mails, even if it holds only one.", sure=True
            )
        for email in emails:
            if email not in people:
                near = nearest(email, people)
                guess = f" Did you mean {near}?" if near else ""
                raise Wrong(f"{email!r:.60} in {name} is none of these people.{guess}", sure=True)
    _allows({**_WANTED, **there})
    if still_open:
        (right,) = there
        raise Open(f"The list of {right} is right; {still_open[0]} is still open.")
    return "Each person may do what they need and no more. Whoever is not named may do nothing."


def _allows(rule: Mapping[str, Any]) -> None:
    """Raises Wrong where the rule gives somebody too much or too little."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / ALICE / "notes"
        write_permissions(folder, ALICE, read=list(rule["read"]), write=list(rule["write"]))
        permissions = Permissions(Path(name))
        for email, right, answer, wrong in _NOTES:
            if permissions.may(email, right, f"{ALICE}/notes/monday.txt") is not answer:
                raise Wrong(wrong, sure=True)
