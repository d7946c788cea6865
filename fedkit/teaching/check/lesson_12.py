"""Checks of notebook 12: what lies open on a disk, and what a signature has to cover."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from fedkit.teaching.check.answers import listed
from fedkit.teaching.check.attempt import Wrong, code_of
from fedkit.teaching.check.base import check

_PIECES = {
    "first": b"\x01\x02\x03\x04",
    "last": b"\x09\x08\x07\x06",
    "nowhere": b"\x05\x05\x05\x05",
}
_FILES = {
    "a.pt": b"PK" + _PIECES["first"] + b"rest",
    "deep/er/b.bin": b"\x00" * 40 + _PIECES["last"],
    "deep/empty": b"",
    "c.txt": b"\x01\x02\x03\x05\x05 \x05\x05",  # pieces of pieces
}


@check(
    hint="One line is missing. `traces.items()` gives pairs of a thing and its piece; keep those things whose piece is in "
    "`content`. `found |= {...}` adds a set to a set.",
    takes="folder traces",
)
def could_open(attempt: Callable[..., object]) -> str:
    """What lies open on a disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, content in _FILES.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        got = listed(attempt(folder, dict(_PIECES)))
        nothing = listed(attempt(folder / "deep" / "er", {"first": _PIECES["first"]}))
    for found in (got, nothing):
        if not isinstance(found, set | frozenset | list | tuple):
            raise Wrong(f"The answer should be a set of things; yours is a {type(found).__name__}.")
    found, more = set(got), set(nothing)  # type: ignore[call-overload]
    if found & set(_PIECES.values()):
        raise Wrong("Yours has the pieces in it; the things that they come from are wanted.")
    if "nowhere" in found or more:
        raise Wrong("Yours finds a piece that stands in no file of the folder.")
    if not found:
        raise Wrong("Two of three pieces stand in files there, and yours finds none.")
    if found == {"first"}:
        raise Wrong("Yours misses a piece at the end of a file in a folder further down.")
    if found == {"last"}:
        raise Wrong("Yours forgets what it has found in other files.")
    if found != {"first", "last"}:
        raise Wrong(f"Two things lie open in the folder; yours are {sorted(map(str, found))}.")
    return "No name, no format and no promise was asked: what stands there as it is can be read."


_BOB, _ANA = "bob@example.org", "ana@example.org"
_CALL = ("ROADS", 1, _BOB, _ANA, b"weights")

_OTHERS: list[tuple[tuple[object, ...], str]] = [
    (("OTHER", *_CALL[1:]), "Bob's update could be handed in for another project."),
    (("roads", *_CALL[1:]), "ROADS and roads are two projects, and give the same bytes."),
    (("ROADS", 2, *_CALL[2:]), "Bob's update of round 1 could be handed in as that of round 2."),
    (
        ("ROADS", 1, "carol@example.org", _ANA, b"weights"),
        "It does not say who sends: Carol could pass it off as hers where both use one key, or claim that Bob sent it.",
    ),
    (
        ("ROADS", 1, _BOB, "eve@example.org", b"weights"),
        "What Bob sent to Ana could be handed in to Eve, who runs a project of the same name.",
    ),
    (
        ("ROADS", 1, _ANA, _BOB, b"weights"),
        "What Bob sent to Ana gives the same bytes as what Ana sent to Bob: which name stands where can't be read back.",
    ),
    ((*_CALL[:4], b"Weights"), "Other weights give the same bytes: Mallory could write her own."),
    ((*_CALL[:4], b"weights\x00"), "Longer weights give the same bytes."),
]
_SEAMS = ("", ",", ", ", " ", "|", ":", ";", "/", "-", "_", ".", "\n", "\t", "\0", '", "', "', '")


@check(
    hint="`digest` stands for the content, however long. Put project, number, sender, receiver and digest into one text "
    "from which all five can be read back, and `.encode()` it: a list as JSON has that property.",
    takes="project number sender receiver content",
)
def what_is_signed(attempt: Callable[..., object]) -> str:
    """A signature that counts in one place."""
    first, again = _bytes(attempt(*_CALL)), _bytes(attempt(*_CALL))
    if first != again:
        raise Wrong("The same update gives other bytes each time: nobody could check a signature.")
    for call, wrong in _OTHERS:
        if _bytes(attempt(*call)) == first:
            raise Wrong(wrong)
    if "hash" in getattr(code_of(attempt), "co_names", ()):
        raise Wrong(
            "Python's `hash` gives other numbers for the same text in each kernel: nobody else could check the signature."
        )
    if len({_bytes(attempt("P", n, _BOB, _ANA, b"w")) for n in range(1, 50)}) < 49:
        raise Wrong("Two rounds of one project give the same bytes.")
    if len({_bytes(attempt("P", 1, _BOB, _ANA, b"%d" % n)) for n in range(_MANY)}) < _MANY:
        raise Wrong(
            f"Of {_MANY:,} contents, two give the same bytes. What stands for the content is too short: Mallory could look "
            "for weights of her own that fit."
        )
    if _bytes(attempt("P", 11, _BOB, _ANA, b"w")) == _bytes(attempt("P1", 1, _BOB, _ANA, b"w")):
        raise Wrong('"P" in round 11 and "P1" in round 1 give the same bytes.')
    for seam in (*_SEAMS, *_seams_of(attempt)):
        pairs = ((f"bob{seam}x", "ana"), ("bob", f"x{seam}ana"))
        for sent in (pairs, [(b, a) for a, b in pairs]):  # the receiver may stand first
            one, other = (_bytes(attempt("P", 1, *people, b"w")) for people in sent)
            if one == other:
                (sender, receiver), (another, another_receiver) = sent
                raise Wrong(
                    f"A sender {sender!r} with a receiver {receiver!r}, and a sender {another!r} with a receiver "
                    f"{another_receiver!r}, give the same bytes: where one ends and the next begins can't be read back."
                )
    return "Whoever carries the signature elsewhere changes what it should have covered, and it fails there."


_MANY = 2_000


def _seams_of(attempt: Callable[..., object]) -> list[str]:
    """What the answer itself puts between a sender and a receiver, where both stand in it as they are."""
    found = []
    for one, other in (("sender", "receiver"), ("receiver", "sender")):
        made = _bytes(attempt("P", 1, "<sender>", "<receiver>", b"w"))
        parts = made.partition(f"<{one}>".encode())[2].split(f"<{other}>".encode())
        if len(parts) == 2:
            found.append(parts[0].decode("utf-8", "replace"))
    return found


def _bytes(got: object) -> bytes:
    if isinstance(got, str):
        raise Wrong("Yours is a text; keys sign bytes. `.encode()` makes bytes of a text.")
    if not isinstance(got, bytes | bytearray | memoryview):
        raise Wrong(f"The answer should be bytes; yours is of type {type(got).__name__}.")
    return bytes(got)
