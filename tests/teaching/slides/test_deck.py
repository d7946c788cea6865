"""How an executed lesson is cut into slides."""

from __future__ import annotations

import json

import pytest

from fedkit.teaching.quiz import read_quiz
from fedkit.teaching.slides.deck import OUTPUT_LINES, deck
from tests.support import ROOT
from tests.support.slides import code, drawn, executed, prose, said, texts

LEARNER = {"cells": [code("fk.check.double(\n    ...\n)", name="e", exercise=True)]}
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_one_idea_a_slide() -> None:
    slides = deck(executed(), LEARNER)
    assert [(slide.about, slide.key, slide.opens) for slide in slides] == [
        ("title", "", True),
        ("section", "", True),
        ("", "", False),
        ("", "", False),
        ("predict", "1", False),
        ("", "", False),
        ("", "", False),
        ("exercise", "double", False),
        ("", "", False),
        ("quiz", "1", True),  # below the heading, which alone would be no idea
        *[("quiz", str(n), False) for n in range(2, 6)],
        ("section", "", True),
    ]
    shown = [texts(slide) for slide in slides]
    assert "import torch" not in "".join(shown)
    assert "Previous" not in shown[0]
    assert "see there and [far](https://example.org)" in shown[1]
    assert shown[3] == "**Alice, participant**"
    # the question stands before its answer, and an exercise is shown open before it is solved
    assert "Predict" in shown[4]
    assert shown[5] == "show(figure)"
    assert "Double it" in shown[7]
    assert "..." in shown[7]
    assert "4" in shown[8]
    assert slides[8].cells[0]["outputs"]
    question = read_quiz("03")[0]
    above, asked, answer = slides[9].cells
    assert "## Quiz" in above["source"]
    assert question.asks.replace("`", "") in asked["source"].replace("`", "").replace("\\", "")
    assert answer["metadata"]["tags"] == ["later"]
    assert answer["source"].startswith(f"**{question.answer})**")


def test_a_record_is_no_result_and_long_print_goes_on() -> None:
    long = "".join(f"{n}\n" for n in range(2 * OUTPUT_LINES + 1))
    given = code("interactive = False")
    given["metadata"]["tags"] = ["injected-parameters"]  # by papermill, for a run in batch
    notebook = executed() | {"cells": [prose("# T"), given, code("go()", said(long), drawn())]}
    _, *pages = deck(notebook)
    assert [len(page.cells[0]["outputs"]) for page in pages] == [1, 1, 2]
    assert "".join(page.cells[0]["outputs"][0]["text"] for page in pages) == long
    assert [page.cells[0]["source"] for page in pages] == ["go()", "", ""]


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_nothing_of_a_lesson_is_lost(path) -> None:
    """Each line of the solved edition is on some slide; imports and the ways to neighbours are not."""
    done = json.loads((path.parent / "solutions" / path.name).read_text("utf-8"))
    slides = deck(done, json.loads(path.read_text("utf-8")))
    there = "\n".join(texts(slide) for slide in slides)
    for cell in done["cells"]:
        source = "".join(cell["source"])
        lines = [line for line in source.splitlines() if "](" not in line and line.strip("> ")]
        imports = source.startswith(("import ", "from "))
        quiz = source.startswith(("fk.quiz(", "fk.record("))
        assert imports or quiz or all(line in there for line in lines), source
    assert there.count("**Predict.**") == sum(
        "**Predict.**" in "".join(c["source"]) for c in done["cells"]
    )
    assert len({slide.section for slide in slides if slide.opens}) >= 5
