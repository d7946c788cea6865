"""A stranger's text, made visible: no sign in it moves the cursor, colours, hides or reorders what stands beside it."""

from __future__ import annotations

import unicodedata

__all__ = ["visible"]


def visible(text: str) -> str:
    """Text for a terminal: what would move the cursor, colour, hide or reorder other text is shown as an escape."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c if c in "\n\t" or not _hides(c) else ascii(c)[1:-1] for c in text)


def _hides(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
