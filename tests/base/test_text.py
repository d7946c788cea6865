"""A stranger's text made visible: no sign of it is hidden, moves the cursor or turns the line around."""

from __future__ import annotations

import pytest

from fedkit.base.text import visible


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
