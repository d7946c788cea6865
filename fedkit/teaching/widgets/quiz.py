"""A quiz in the page: choose, and read at once whether it is right, and why."""

from __future__ import annotations

import html
import os
from types import EllipsisType
from typing import Any

import ipywidgets

from fedkit.experiments.notebooks import QUIZ_MIME
from fedkit.teaching.check.base import LOOKS, marked
from fedkit.teaching.notebook import running_cell
from fedkit.teaching.quiz import LETTERS, Answers, Question, read_quiz
from fedkit.teaching.widgets.panel import Panel, heading
from fedkit.teaching.workspace import ENVIRONMENT

__all__ = ["Quiz", "quiz"]


def quiz(name: str, answers: str | EllipsisType = "", interactive: bool | None = None) -> Quiz:
    """The quiz of a lesson: `fk.quiz("03")` as a cell's last line.

    Parameters
    ----------
    name : the lesson's two digits.
    answers : one letter a question, `-` for an open one, such as "ba-dc": the same as choosing, where nobody can press
        anything (papermill, a course that is graded in batch). The dots of an open exercise are no answer.
    interactive : live, with buttons to choose by; False: only the static twin. None: live but in `fedkit course run`.

    What is chosen stays in the notebook, as an exercise's state does. A cell that runs again goes on from there as long as
    its kernel lives; after a restart the quiz begins anew. Raises FedkitError for a lesson without a quiz and for letters
    that stand at no option.
    """
    made = Answers(name, read_quiz(name))
    if running_cell()[1] is not None:  # in a notebook
        made = _KEPT.setdefault(name, made)
    if answers and answers is not ...:
        made.choose_all(answers)
    return Quiz(
        made, interactive=ENVIRONMENT not in os.environ if interactive is None else interactive
    )


_KEPT: dict[str, Answers] = {}
"""What was chosen in this kernel, by the quiz's name."""


class Quiz(Panel):
    """Questions with options; see `quiz`. `choose(2, "b")` does what a press does."""

    def __init__(self, answers: Answers, interactive: bool = True) -> None:
        super().__init__(interactive)
        self.answers = answers
        self._kept: Any = None
        if interactive:
            self.choices = [self._choice(n, q) for n, q in enumerate(answers.questions, 1)]
            self.replies = [ipywidgets.HTML() for _ in answers.questions]
            self.head, self.foot = ipywidgets.HTML(), ipywidgets.HTML()
            self.foot.value = f'<div class="fk-soft">{_how_long(answers)}</div>'
            asked = [ipywidgets.HTML(_asked(n, q)) for n, q in enumerate(answers.questions, 1)]
            parts = zip(asked, self.choices, self.replies, strict=True)
            blocks = [ipywidgets.VBox(list(part)) for part in parts]
            self.open([self.head, *blocks, self.foot], name="fk-quiz")

    def choose(self, number: int, letter: str) -> None:
        """Choose an option of a question, both as they are numbered on the page."""
        self.answers.choose(number, letter)
        if self.interactive and self.box is not None:
            self.choices[number - 1].index = LETTERS.index(letter)
        self.repaint()
        if self._kept is not None:
            self._kept.update(self._record(), raw=True)

    def credit(self, number: int) -> int | None:
        """None where the question of this number is answered right, else 0; as `Result.credit`, for nbgrader."""
        return None if self.answers.state(number) == "right" else 0

    def paint(self) -> None:
        self.head.value = heading(
            f"Quiz {self.answers.name}", html.escape(str(self.answers).partition(": ")[2])
        )
        for number, reply in enumerate(self.replies, 1):
            said = self._reply(number)
            if reply.value != said:
                reply.value = said

    def html(self) -> str:
        blocks = []
        for number, question in enumerate(self.answers.questions, 1):
            options = "".join(
                f"<li>{letter}) {marked(option.says)}</li>"
                for letter, option in question.lettered()
            )
            right = dict(question.lettered())[question.answer]
            key = f"<details><summary>Answer</summary>{question.answer}) {marked(right.reply)}</details>"
            listed = f'<ul style="list-style: none; margin: 0.2em 0">{options}</ul>'
            blocks.append(f"{_asked(number, question)}{listed}{self._reply(number) or key}")
        return f"<div><strong>Quiz {self.answers.name}</strong></div>" + "".join(blocks)

    def text(self) -> str:
        lines = [str(self.answers)]
        for number, question in enumerate(self.answers.questions, 1):
            lines.append(f"{number}. {question.asks}")
            lines += [f"   {letter}) {option.says}" for letter, option in question.lettered()]
            if (chosen := self.answers.chosen(number)) is not None:
                lines.append(f"   {self.answers.state(number)}: {chosen.reply}")
        return "\n".join(lines)

    def _ipython_display_(self) -> None:
        if running_cell()[1] is None:
            return
        from IPython.display import display

        super()._ipython_display_()
        # An output of its own, since a panel that is displayed anew would lose the keyboard's place.
        self._kept = display(self._record(), raw=True, display_id=True)

    def _record(self) -> dict[str, Any]:
        said = str(self.answers)
        shown = f'<div role="status" style="font-size: 90%">{html.escape(said)}</div>'
        return {QUIZ_MIME: self.answers.record(), "text/html": shown, "text/plain": said}

    def _choice(self, number: int, question: Question) -> ipywidgets.RadioButtons:
        chosen = self.answers.tries.get(number)
        made = ipywidgets.RadioButtons(
            options=[
                f"{letter}) {option.says.replace('`', '')}"
                for letter, option in question.lettered()
            ],
            index=LETTERS.index(chosen[-1]) if chosen else None,
            layout=ipywidgets.Layout(width="auto"),
        )
        made.observe(lambda change: self._pressed(number, change["new"]), "index")
        return made

    def _pressed(self, number: int, index: int | None) -> None:
        if index is not None and not self.answers.tries.get(number, "").endswith(LETTERS[index]):
            self.choose(number, LETTERS[index])

    def _reply(self, number: int) -> str:
        option = self.answers.chosen(number)
        if option is None:
            return ""
        icon, words, colour = LOOKS[self.answers.state(number)]
        return (
            f'<div role="status" style="border-left: 4px solid {colour}; padding: 0.2em 0.8em; margin: 0.3em 0">'
            f'<span aria-hidden="true">{icon}</span> <strong>{words}</strong> · '
            f"{self.answers.tries[number][-1]}) {marked(option.reply)}</div>"
        )


def _how_long(answers: Answers) -> str:
    """How long what was chosen is kept."""
    begun = "It goes on from what you chose before. " if answers.tries else ""
    return f"{begun}Your choices are kept while this kernel runs; after a restart the quiz begins anew."


def _asked(number: int, question: Question) -> str:
    return (
        f'<div style="margin-top: 0.8em"><strong>{number}.</strong> {marked(question.asks)}</div>'
    )
