"""Names that become paths: checked before they do, for every operating system that a datasite may lie on."""

from __future__ import annotations

import re
from typing import Any

from email_validator import EmailNotValidError, validate_email

__all__ = ["DATA_FILE", "check_email", "check_file_name", "check_name"]

DATA_FILE = re.compile(r"mnist_label_[0-9]\.pt")
"""Matches (with fullmatch) the names that the real client takes for data; digits inside are free."""


MAX_NAME = 64
MAX_EMAIL = 128
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*")
_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9.-]+")
_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789"
}


def check_name(value: Any) -> str:
    """A project's name: 1 to 64 of A-Z a-z 0-9 space . _ + -, not one that Windows reserves. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"must be a text, not {value!r}; write a name in quotes")
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
        raise ValueError(f"must be an e-mail, not {value!r}; write it in quotes")
    if len(value) > MAX_EMAIL:
        raise ValueError(f"has {len(value)} characters; use an e-mail of at most {MAX_EMAIL}")
    remedy = "use one such as alice@example.org"
    if not _EMAIL.fullmatch(value) or ".." in value:
        raise ValueError(f"{value!r} is no e-mail that can name a folder; {remedy}")
    try:
        validate_email(value, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(f"{value!r} is no valid e-mail ({error}); {remedy}") from error
    return _not_reserved(value)


def _not_reserved(value: str) -> str:
    """Windows looks at what stands before the first dot: `nul.pt` and `nul.alice@example.org` are devices there."""
    if value.split(".")[0].rstrip().casefold() in _RESERVED:
        raise ValueError(f"{value!r} is a name that Windows reserves; choose another one")
    return value
