"""The quiz in the page: a press answers at once, the twin needs no press, and what was chosen stays in the notebook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

import fedkit as fk
import fedkit.teaching.widgets.quiz as module
from fedkit.experiments.notebooks import run
from fedkit.teaching.quiz import LETTERS, read_quiz
from fedkit.teaching.widgets.quiz import quiz
from tests.support.lessons import notebook, quiz_records

KEY = "".join(question.answer for question in read_quiz("03"))


def test_a_press_answers_at_once() -> None:
    panel = quiz("03", interactive=True)
    wrong = (LETTERS.index(KEY[0]) + 1) % 3
    panel.choices[0].index = wrong
    option = panel.answers.questions[0].options[wrong]
    assert "Try again" in panel.replies[0].value
    assert option.reply.split(".")[0][:20] in re.sub("<[^>]+>", "", panel.replies[0].value)
    panel.choices[0].index = LETTERS.index(KEY[0])
    assert "Right" in panel.replies[0].value
    assert "1 of 5 right, 4 still open" in panel.head.value
    panel.choose(2, KEY[1])
    assert panel.choices[1].index == LETTERS.index(KEY[1])
    assert "2 of 5 right" in panel.head.value
    panel.close()


def test_the_twin_asks_and_answers_without_a_press() -> None:
    panel = quiz("03", f"{KEY[0]}----", interactive=False)
    page = panel.html()
    assert page.count("<details>") == 4  # the first is answered
    assert "✓" in page
    for question in panel.answers.questions:
        assert question.asks.split("`")[0].split("'")[0][:30] in page
    assert "1 of 5 right" in panel.text()
    assert panel.text().count("a) ") == 5


def test_what_was_chosen_stays_in_the_notebook(tmp_path: Path) -> None:
    """By letters in batch, and by presses after the cell has run: an output of its own is brought up to date."""
    made = notebook(
        tmp_path,
        "03_x",
        "import fedkit as fk",
        f'fk.quiz("03", "{KEY[:4]}-")',
        'again = fk.quiz("04", interactive=True)\nagain',
        'again.choose(1, "a")\nagain.choose(1, "b")',
    )
    (result,) = run([made], tmp_path / "out")
    assert result.status == "done", result
    records = quiz_records(result.output)
    assert records["03"]["states"] == {**dict.fromkeys("1234", "right"), "5": "not yet"}
    assert records["04"]["tries"]["1"] == "ab"
    outputs = [o for cell in nbformat.read(result.output, 4).cells for o in cell.get("outputs", [])]
    assert not any("error" in output.output_type for output in outputs)


def test_a_cell_that_runs_again_goes_on_and_a_new_kernel_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run All twice: the same cell, in the kernel in which its presses were; tests/browser/test_lab.py does it for real."""
    cells = iter(range(1, 9))
    monkeypatch.setattr(module, "running_cell", lambda: ("a", next(cells)))
    monkeypatch.setattr(module, "_KEPT", {})
    first = quiz("04", interactive=True)
    assert "goes on" not in first.foot.value
    first.choices[0].index = 0
    first.choices[0].index = 1
    again = quiz("04", interactive=True)
    assert [choice.index for choice in again.choices[:2]] == [1, None]
    assert again.replies[0].value == first.replies[0].value != ""
    assert again.answers.record()["tries"]["1"] == "ab"
    assert "It goes on from what you chose before." in again.foot.value
    by_letters = quiz("04", "b----", interactive=False)
    assert by_letters.answers.record()["tries"]["1"] == "ab", "the same choice is no new attempt"
    assert quiz("03", interactive=False).answers.tries == {}, "another quiz"
    monkeypatch.setattr(module, "_KEPT", {})  # what a new kernel knows
    anew = quiz("04", interactive=True)
    assert anew.answers.tries == {}
    assert all("after a restart the quiz begins anew" in q.foot.value for q in (first, again, anew))
    for panel in (first, again, anew):
        panel.close()


def test_outside_a_notebook_every_call_begins_anew() -> None:
    quiz("04", "b----", interactive=False)
    assert quiz("04", interactive=False).answers.tries == {}


def test_face() -> None:
    assert fk.quiz is quiz


def test_outside_a_notebook_nothing_is_shown(capsys: Any) -> None:
    quiz("03", KEY, interactive=False)._ipython_display_()
    assert capsys.readouterr().out == ""


def test_letters_that_do_not_fit_are_refused_with_the_form() -> None:
    with pytest.raises(fk.FedkitError, match="has 2 letters for 5 questions"):
        quiz("03", "ab")
