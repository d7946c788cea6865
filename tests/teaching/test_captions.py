"""Words of pictures that answer a prediction: each name in a lesson has its words, and each of the words is used."""

from __future__ import annotations

import re

import pytest
import yaml

import fedkit as fk
from tests.support.helpers import ROOT

CAPTIONS = ROOT / "fedkit" / "teaching" / "captions"
LESSONS = sorted((ROOT / "notebooks" / "src").glob("[0-9]*.py"))
CALL = re.compile(r'fk\.(caption|alt)\("(\d\d) ([^"]+)"')


def test_names_and_words_belong_together() -> None:
    used = {m.groups() for path in LESSONS for m in CALL.finditer(path.read_text("utf-8"))}
    there = {
        ("caption" if part == "title" else part, path.stem, name)
        for path in CAPTIONS.glob("*.yaml")
        for name, parts in yaml.safe_load(path.read_text("utf-8")).items()
        for part in parts
    }
    assert used == there
    assert len(used) > 40


def test_words_take_values_and_a_wrong_name_says_where_to_look() -> None:
    assert "from 40:" in fk.caption("08 one image", many_epochs=40)
    assert "\n" not in fk.alt("08 one image")
    for wrong in ("08 nothing", "99 one", "../08 one", "", 7):
        with pytest.raises(fk.FedkitError, match="captions/"):
            fk.caption(wrong)  # type: ignore[arg-type]
    with pytest.raises(fk.FedkitError, match="many_epochs"):
        fk.caption("08 one image")
