"""What a person should look at before approving a request, from all that can be known of it without running anything.

One list and one wording, for the desk and for `fedkit approve`: what stands out in the code (`code_review.py`), what the
config asks for that fedkit does not know, and who else reads what is sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedkit.base.text import how_many, one_line
from fedkit.datasite.datasite import Datasite
from fedkit.protocol.approval import Review
from fedkit.protocol.code_review import DISCLAIMER, Finding, review_code
from fedkit.protocol.project import unmasked

__all__ = ["find", "in_words"]


def find(site: Datasite, asked: Review) -> list[Finding]:
    """All findings of a request at a datasite: those about the whole first, then line by line of its code."""
    config, found = asked.config, list[Finding]()
    if site.road.others_read and config.secure_aggregation is None:
        found.append(Finding(0, f"Not under masks: {unmasked(site.road)}"))
    for key in config.unknown:
        what = f"asks for {one_line(key)}, a key that fedkit does not know: ask what it is for"
        found.append(Finding(0, f"fl_config.json {what}"))
    return found + review_code(asked.source, config.model_class_name)


def in_words(found: Sequence[Finding]) -> tuple[str, list[str]]:
    """The findings as text: a line that says how many there are and what they are worth, and a line for each."""
    said = f"{how_many(len(found), 'thing')} to look at." if found else "nothing stands out."
    lines = [f"line {f.line}: {f.what}" if f.line else f.what for f in found]
    return f"Before you answer: {said} {DISCLAIMER}", lines
