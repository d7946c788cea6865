"""Formulas of the lessons as pictures."""

from __future__ import annotations

import html
import json
import re

from fedkit.teaching.slides.formula import with_pictures
from tests.support import ROOT


def test_a_formula_is_a_picture_that_says_itself() -> None:
    made = with_pictures("a $w_k$ b `$HOME` $$x \\le y$$ costs 5$")
    assert re.sub(r"base64,[\w+/=]+", "", made).count("<img") == 2
    assert 'alt="w_k"' in made
    assert 'alt="x \\le y"' in made
    assert "`$HOME`" in made
    assert made.endswith(" costs 5$")
    assert with_pictures("a $w_k$") == with_pictures("a $w_k$")
    assert with_pictures(r"$\nonsense{$") == r"`\nonsense{`"


def test_every_formula_of_the_course_can_be_drawn() -> None:
    found = 0
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "markdown" and "$" in "".join(cell["source"]):
                made = with_pictures("".join(cell["source"]))
                assert "$" not in re.sub(r"`[^`]*`", "", html.unescape(made)), made
                found += made.count("<img")
    assert found > 30
