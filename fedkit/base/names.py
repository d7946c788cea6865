"""Names that become paths: checked before they do, for every operating system that a datasite may lie on."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from email_validator import EmailNotValidError, validate_email

__all__ = [
    "DATA_FILE",
    "PERMISSION_FILES",
    "check_email",
    "check_file_name",
    "check_name",
    "folded",
    "names_permission_file",
    "unfit",
]

DATA_FILE = re.compile(r"(mnist_label_[0-9]|shard[0-9A-Za-z_-]{0,60})\.pt")
"""Matches (with fullmatch) the names of data: `mnist_label_0.pt` to `_9.pt`, which the real client reads too, and
`shard.pt`, `shard_2024.pt`, ... of other tasks."""

PERMISSION_FILES = ("syft.pub.yaml", "syftperm.yaml", "_.syftperm")
"""Who may do what in a folder: today's SyftBox, SyftBox 0.3 and 0.4, the oldest apps."""


MAX_NAME = 64
MAX_EMAIL = 128
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*")
_EMAIL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._%+'&=-]*@[A-Za-z0-9.-]+")
_SHORT_OF_OURS = re.compile(r"(sy[a-z0-9]*|_)~[0-9]+\.(yam|syf)")
_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"
}
_SHORT = re.compile(r"(?=[^.]{3,8}(\.|$))[^.]{1,6}~[0-9]{1,6}(\.[^.]{0,3})?")
"""Windows' second, short name of some other file, such as SYFTPU~1.YAM."""

_SKIPPED = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)
"""Signs without a look that an old Mac's file system does not see in a name."""

MOST_BYTES = 255
"""Of a name, on most file systems."""


def folded(name: str) -> str:
    """What two names, or paths, have in common that are one file on some system: where upper and lower case do not count,
    nor the two ways to write an accent, nor signs without a look."""
    if name.isascii():
        return name.lower()
    decomposed = unicodedata.normalize("NFD", name.translate(_SKIPPED)).casefold()
    return unicodedata.normalize("NFC", decomposed)


@lru_cache(maxsize=4096)
def unfit(name: str) -> str | None:
    """Why a file or folder can't have this name on every system, as the end of a sentence; None where it can."""
    if any("\ud800" <= sign <= "\udfff" for sign in name):
        return "is no UTF-8"
    if any(sign in '\\/:*?"<>|' or unicodedata.category(sign) == "Cc" for sign in name):
        return "has a sign that Windows allows in no name"
    if not name or name[-1] in ". ":
        return "ends in a dot or a space, which Windows takes away"
    if name.split(".")[0].rstrip().casefold() in _RESERVED:
        return "is one that Windows reserves"
    if _SHORT.fullmatch(name):
        return "is what Windows calls another file, in short"
    if len(name.encode()) > MOST_BYTES:
        return f"has more than {MOST_BYTES} bytes"
    return None


def check_name(value: Any) -> str:
    """A project's name: 1 to 64 of A-Z a-z 0-9 space . _ + -, not one that Windows reserves. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"must be a text, not {value!r:.80}; write a name in quotes")
    if len(value) > MAX_NAME:
        raise ValueError(f"has {len(value)} characters; use at most {MAX_NAME}")
    if not _PLAIN.fullmatch(value) or ".." in value or value[-1] in ". ":
        raise ValueError(
            f"{value!r} can't be a file name on every machine; "
            "use letters, digits, - and _ , starting with a letter or digit"
        )
    if value.casefold().endswith(".tmp") or ".syftrejected" in value.casefold():
        raise ValueError(f"{value!r} is a name that no sync carries; choose another ending")
    return _not_reserved(value)


def check_file_name(value: Any, endings: tuple[str, ...]) -> str:
    """A bare file name with one of the endings (no folder). Raises ValueError."""
    name = check_name(value)
    if not name.endswith(endings):
        raise ValueError(f"{value!r} must end in {' or '.join(endings)}; rename the file")
    return name


def check_email(value: Any) -> str:
    """An e-mail that SyftBox accepts and that can be a folder's name. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"must be an e-mail, not {value!r:.80}; write it in quotes")
    return _email(value)


@lru_cache(maxsize=4096)
def _email(value: str) -> str:
    """Each of a hundred participants reads all hundred in its config, many times."""
    if len(value) > MAX_EMAIL:
        raise ValueError(f"has {len(value)} characters; use an e-mail of at most {MAX_EMAIL}")
    remedy = "use one such as alice@example.org"
    if not _EMAIL.fullmatch(value) or ".." in value:
        odd = "".join(dict.fromkeys(re.sub(r"[A-Za-z0-9._%+'&=@-]", "", value)))
        why = (
            f" because of {odd!r}, though SyftBox may take it"
            if odd and value.count("@") == 1
            else ""
        )
        raise ValueError(f"{value!r} is no e-mail that can name a folder{why}; {remedy}")
    try:
        validate_email(value, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(f"{value!r} is no valid e-mail ({error}); {remedy}") from error
    if value.casefold().endswith(".tmp") or ".syftrejected" in value.casefold():
        raise ValueError(f"{value!r} names a folder that no sync carries; {remedy}")
    return _not_reserved(value)


def names_permission_file(name: str) -> bool:
    """Would some system open a permission file by this name, or an engine take it for one?

    Case does not count on macOS and Windows, nor signs without a look on macOS; Windows drops blanks and dots at the end,
    takes a backslash for a slash and what follows a colon for a part of the file (`syft.pub.yaml::$DATA`), and has short
    names (`SYFTPU~1.YAM`). To the engines it is enough that a name ends so.
    """
    parts = [part.rstrip(". ") for part in re.split(r"[:\\]", folded(name))]
    return any(part.endswith(PERMISSION_FILES) or _SHORT_OF_OURS.fullmatch(part) for part in parts)


def _not_reserved(value: str) -> str:
    """Windows looks at what stands before the first dot: `nul.pt` and `nul.alice@example.org` are devices there."""
    if value.split(".")[0].rstrip().casefold() in _RESERVED:
        raise ValueError(f"{value!r} is a name that Windows reserves; choose another one")
    return value
