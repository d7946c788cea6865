"""A stranger's text, made visible: no sign in it moves the cursor, colours, hides or reorders what stands beside it.

A person's slip of the keyboard, guessed: did you mean ...? And numbers of things as a person says them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from difflib import get_close_matches

__all__ = ["how_long", "how_many", "is_hidden", "nearest", "one_line", "visible"]


def visible(text: str, show: Callable[[str], str] = lambda sign: ascii(sign)[1:-1]) -> str:
    """Text in which every hidden sign is spelled out, by default as an escape; line ends and tabs stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(show(c) if c not in "\n\t" and is_hidden(c) else c for c in text)


def one_line(text: object) -> str:
    """What is said of something, in one line: a stranger's line ends and hidden signs are spelled out."""
    return "".join(ascii(sign)[1:-1] if is_hidden(sign) else sign for sign in str(text))


def is_hidden(sign: str) -> bool:
    """Is it a control sign, one that turns the direction of writing, a separator of lines, or one without a look?"""
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, None where none does."""
    return next(iter(get_close_matches(name, list(known), 1)), None)


def how_many(number: int, thing: str) -> str:
    """`1 round`, `3 rounds`, `no rounds`, `1,000 files`. thing : a noun, with its adjectives; -s makes it many."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}" if number else f"no {thing}s"


def how_long(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`."""
    minutes, left = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{left} s"
