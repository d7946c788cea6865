"""The teacher's notes reach the slides that they are about."""

from __future__ import annotations

from fedkit.teaching.slides.deck import deck
from fedkit.teaching.slides.notes import give_notes
from tests.support import ROOT
from tests.support.slides import executed
from tests.teaching.slides.test_deck import LEARNER

NOTES = """# 03: for the teacher

One idea: adding.

## Time

| section | minutes | in class |
|---|---|---|
| How much is it? | 5 | run it together |
| Not there | 1 | |

With 90 minutes: more.

## What a wrong choice reveals

| choice | it reveals | ask |
|---|---|---|
| P1 b | Adding is mixed up | "How much?" |
| Q2 b | Haste | "Again?" |
| `double` | Dots | "Which?" |
| P9 a | nobody | "?" |

## To discuss

1. *Why add?*
"""


def test_each_line_goes_where_it_belongs() -> None:
    slides = deck(executed(), LEARNER)
    give_notes(slides, NOTES)
    notes = {(slide.about, slide.key, slide.section): "\n".join(slide.notes) for slide in slides}
    assert notes["section", "", "How much is it?"] == "**5 minutes.** run it together"
    assert notes["predict", "1", "How much is it?"] == '**P1 b** Adding is mixed up · "How much?"'
    assert notes["quiz", "2", "Quiz"] == '**Q2 b** Haste · "Again?"'
    assert notes["exercise", "double", "How much is it?"] == '**`double`** Dots · "Which?"'
    assert notes["section", "", "Recap"] == "1. *Why add?*"
    first = notes["title", "", "A title"]
    assert "One idea: adding." in first
    assert "With 90 minutes: more." in first
    assert "* **P9 a**: nobody" in first
    assert "Not there" not in "".join(notes.values())


def test_the_minutes_of_the_capstone_find_their_sections() -> None:
    import json

    (path,) = (ROOT / "notebooks").glob("13*.ipynb")
    slides = deck(json.loads(path.read_text("utf-8")))
    give_notes(slides, (ROOT / "notebooks" / "teaching" / "13.md").read_text("utf-8"))
    timed = [slide for slide in slides if any("minutes.**" in note for note in slide.notes)]
    assert len(timed) >= 6
    assert all(slide.opens for slide in timed)
