"""A lesson's quiz as its author writes it: five questions, options to choose from, and why each is right or wrong.

`quizzes/NN.yaml` is a list of questions. An option has a `reply`, which says what is wrong with it; the right one has
`right` in its place, which says why it is:

    - asks: How many steps does Carol take?
      options:
        - says: Ten
          right: Her 10 images fit into one batch, so an epoch is one step.
        - says: One hundred
          reply: That would be a step for each image and epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from fedkit.base.errors import FedkitError

__all__ = ["LETTERS", "Answers", "Option", "Question", "read_quiz"]


LETTERS = "abcdefgh"


@dataclass(frozen=True)
class Option:
    """What may be chosen: what it `says`, whether it is `right`, and the `reply` to whoever chooses it."""

    says: str
    right: bool
    reply: str


@dataclass(frozen=True)
class Question:
    """What it `asks`, and the `options`, of which exactly one is right."""

    asks: str
    options: tuple[Option, ...]

    @property
    def answer(self) -> str:
        """The letter of the right option."""
        return next(letter for letter, option in self.lettered() if option.right)

    def lettered(self) -> list[tuple[str, Option]]:
        """The options, each with its letter: a, b, c ..."""
        return list(zip(LETTERS, self.options, strict=False))


@cache
def read_quiz(name: str) -> tuple[Question, ...]:
    """The questions of a lesson, named by its two digits. Raises FedkitError where there is none."""
    folder = files(__package__) / "quizzes"
    there = sorted(path.name.removesuffix(".yaml") for path in folder.iterdir())
    if name not in there:
        raise FedkitError(
            f"there is no quiz {name!r}",
            field="name",
            remedy=f"name a lesson by its two digits, one of {', '.join(there)}",
        )
    return parse_quiz((folder / f"{name}.yaml").read_text(encoding="utf-8"))


def parse_quiz(text: str) -> tuple[Question, ...]:
    """The questions in the text of a quiz. Raises ValueError where it has another form: authors read that."""
    return tuple(_question(number, raw) for number, raw in enumerate(yaml.safe_load(text), 1))


def _question(number: int, raw: Mapping[str, Any]) -> Question:
    if set(raw) != {"asks", "options"}:
        raise ValueError(f"question {number} needs `asks` and `options`, and has {', '.join(raw)}")
    options = tuple(_option(number, option) for option in raw["options"])
    if not 3 <= len(options) <= len(LETTERS) or sum(option.right for option in options) != 1:
        raise ValueError(f"question {number} needs three options or more, and one that is right")
    return Question(str(raw["asks"]), options)


def _option(number: int, raw: Mapping[str, Any]) -> Option:
    if set(raw) not in ({"says", "right"}, {"says", "reply"}):
        raise ValueError(f"an option of question {number} needs `says`, and `right` or `reply`")
    says, reply = raw["says"], raw.get("right", raw.get("reply"))
    if not isinstance(says, str) or not isinstance(reply, str):
        raise ValueError(  # YAML's own No is False
            f"an option of question {number} is read as {says!r}, {reply!r}: put texts such as No and 4 into quotes"
        )
    return Option(says, "right" in raw, reply)


class Answers:
    """What somebody has chosen so far: of each question the letters, the first attempt first."""

    def __init__(self, name: str, questions: Sequence[Question]) -> None:
        self.name = name
        self.questions = tuple(questions)
        self.tries: dict[int, str] = {}

    def choose(self, number: int, letter: str) -> Option:
        """Choose for the question of this number, from 1; choosing the same again is no new attempt.

        Raises FedkitError for a letter that stands at no option.
        """
        options = dict(self.questions[number - 1].lettered())
        if letter not in options:
            raise FedkitError(
                f"question {number} has no option {letter!r}",
                field="answers",
                remedy=f"choose one of {', '.join(options)}, or - to leave it open",
            )
        before = self.tries.get(number, "")
        self.tries[number] = before if before.endswith(letter) else before + letter
        return options[letter]

    def choose_all(self, letters: str) -> None:
        """Choose for all questions in one word, such as "ba-dc". Raises FedkitError where it does not fit."""
        given = (
            f"{len(letters)} letters" if isinstance(letters, str) else f"a {type(letters).__name__}"
        )
        if given != f"{len(self.questions)} letters":
            raise FedkitError(
                f"has {given} for {len(self.questions)} questions",
                field="answers",
                remedy='give one letter a question, - for an open one: fk.quiz("03", "ba-dc")',
            )
        for number, letter in enumerate(letters.lower(), 1):
            if letter != "-":
                self.choose(number, letter)

    def chosen(self, number: int) -> Option | None:
        """The last choice for this question; None while it is open."""
        letters = self.tries.get(number)
        return dict(self.questions[number - 1].lettered())[letters[-1]] if letters else None

    def state(self, number: int) -> str:
        """The state of a question, in the words of a check: "not yet", "try again", "right"."""
        option = self.chosen(number)
        return "not yet" if option is None else "right" if option.right else "try again"

    def record(self) -> dict[str, Any]:
        """What stays in the notebook: of each question its state, and all that was tried."""
        numbers = range(1, len(self.questions) + 1)
        return {
            "name": self.name,
            "states": {str(n): self.state(n) for n in numbers},
            "tries": {str(n): self.tries.get(n, "") for n in numbers},
        }

    def __str__(self) -> str:
        states = [self.state(n) for n in range(1, len(self.questions) + 1)]
        open_ones = states.count("not yet")
        more = f", {open_ones} still open" if open_ones else ""
        return f"Quiz {self.name}: {states.count('right')} of {len(states)} right{more}"
