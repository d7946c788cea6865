"""One syntax tree: what a lesson writes in full is what the package runs, docstrings and annotations aside."""

from __future__ import annotations

import pytest

from tools.course.defines import difference


@pytest.mark.parametrize(
    ("source", "differs"),
    [
        ("def workspace(name):\n    return 1", True),
        ("from x import workspace", True),
        ("def shows(fig: int, alt) -> int:\n    pass", True),
        (
            "def show(fig, alt: str) -> 'anything':\n    # a comment\n"
            '    fk.show.publish({"text/html": fk.figure_html(fig, alt), "text/plain": alt.strip()})',
            False,
        ),
        (
            'def show(fig, alt):\n    "Doc."\n    publish({"text/html": figure_html(fig, alt), "text/plain": alt})',
            True,
        ),
    ],
)
def test_syntax_trees_are_compared_without_docstrings_and_annotations(source, differs):
    assert (difference(source, "fk.show") is not None) is differs
