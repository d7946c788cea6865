"""A stranger's text made visible: no sign of it is hidden, moves the cursor or turns the line around."""

from __future__ import annotations

import re

import pytest

from fedkit.base.events import DataFound, ProjectLaunched, render
from fedkit.base.text import how_many, visible
from tests.support import ROOT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 数字 – …\n\tx", "plain äöü 数字 – …\n\tx"),
        ("a\x1bb\x00c\x7f", r"a\x1bb\x00c\x7f"),
        ("a\u200bb\u2028c\ufeff", r"a\u200bb\u2028c\ufeff"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\U000e0041", r"a\U000e0041"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_how_many() -> None:
    said = [how_many(n, "sound update") for n in (0, 1, 2, 12_000)]
    assert said == ["no sound updates", "1 sound update", "2 sound updates", "12,000 sound updates"]
    launched = render(ProjectLaunched("a@x.org", "P", ("b@x.org",), 1))
    assert "launched: 1 round with" in launched
    assert render(DataFound("a@x.org", "P", 1)).endswith("found: 1 sample")
    assert render(DataFound("a@x.org", "P", 6000)).endswith("found: 6,000 samples")


THINGS = "updates|rounds|participants|seats|files|samples|invitations|runs|others|entries"
BEFORE = "".join(f"(?<!{words} )" for words in ("of", "at least", "at most", "of the", "more than"))
COUNTED = re.compile(BEFORE + r"\{len\([^{}]*\)(?::,)?\} (?:[a-z]+ )?(?:" + THINGS + r")\b")
ABOUT_MORE = (
    "flower_app.py",
    "check/",
)  # "more than the project's N", and answers to N fixed things


def test_no_sentence_says_1_updates() -> None:
    """Where a list may hold one thing, its length is said by `how_many`."""
    found = []
    for path in sorted((ROOT / "fedkit").rglob("*.py")):
        if not any(part in path.as_posix() for part in ABOUT_MORE):
            lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            found += [
                f"{path.name}:{n}: {line.strip()}" for n, line in lines if COUNTED.search(line)
            ]
    assert found == []
