"""The teacher's notes of a lesson (`notebooks/teaching/NN.md`), dealt out to the slides that they are about.

A row of the table below `## Time` goes to the slide that opens its section. A row of another table goes to the Predict box
(`P1 a`), the quiz question (`Q3 b`) or the exercise (`` `its_check` ``) that its first column names. The text of a `##`
section that is named as a section of the lesson goes there, `To discuss` to the recap, and all the rest to the first slide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fedkit.teaching.slides.deck import Slide

__all__ = ["give_notes"]

RECAP, DISCUSS = "Recap", "To discuss"


def give_notes(slides: Sequence[Slide], text: str) -> None:
    """Add what the notes say to the slides that they are about, as Markdown."""
    opening = {slide.section: slide for slide in reversed(slides) if slide.opens}
    first = slides[0]
    for title, body in _sections(text):
        target = opening.get(title) or (opening.get(RECAP) if title == DISCUSS else None)
        rows, rest = _parted(body)
        for cells in rows:
            found = _about(slides, opening, cells[0])
            said = " · ".join(cell for cell in cells[1:] if cell)
            if found is not None:
                minutes, _, more = said.partition(" · ")
                timed = f"**{minutes} minutes.** {more}".strip()
                found.notes.append(timed if title == "Time" else f"**{cells[0]}** {said}")
            elif title != "Time":
                rest += f"\n* **{cells[0]}**: {said}"
        if rest.strip():
            headed = f"### {title}\n\n{rest.strip()}" if title and target is None else rest.strip()
            (target or first).notes.append(headed)


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """(heading, text) of each `##` section; "" is what stands before the first, without the title."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    yield "", re.sub(r"\A# .+$", "", parts[0], flags=re.MULTILINE)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        yield title.strip(), body


def _parted(body: str) -> tuple[list[list[str]], str]:
    """The rows of the tables in a text, cell by cell, without their heads; and the rest of it."""
    rows: list[list[str]] = []
    rest: list[str] = []
    lines = body.splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("|"):
            rest.append(line)
        elif not set(line) <= set("|-: "):
            after = lines[number + 1] if number + 1 < len(lines) else ""
            if not (after.startswith("|") and set(after) <= set("|-: ")):
                rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows, "\n".join(rest)


def _about(slides: Sequence[Slide], opening: dict[str, Slide], what: str) -> Slide | None:
    box = re.match(r"([PQ])(\d+)\b", what)
    if box is not None:
        wanted = ({"P": "predict", "Q": "quiz"}[box[1]], box[2])
    else:
        wanted = ("exercise", what.strip("`"))
    found = next((s for s in slides if (s.about, s.key) == wanted), None)
    return found or opening.get(what)
