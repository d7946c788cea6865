"""The quizzes as their authors wrote them: each lesson's own, one right option a question, and a reply to each choice."""

from __future__ import annotations

from collections import Counter

import pytest

from fedkit.base.errors import FedkitError
from fedkit.teaching.quiz import LETTERS, Answers, parse_quiz, read_quiz
from tests.support.helpers import ROOT

LESSONS = sorted(path.name[:2] for path in (ROOT / "notebooks" / "src").glob("[0-9]*.py"))
QUIZZES = [name for name in LESSONS if name != "00"]
ONE = """
- asks: How many?
  options:
    - {says: one, reply: Count again.}
    - {says: two, right: Both hands.}
    - {says: three, reply: You have two.}
"""


@pytest.mark.parametrize("name", QUIZZES)
def test_each_lesson_has_five_questions_whose_every_option_is_answered(name: str) -> None:
    questions = read_quiz(name)
    assert len(questions) == 5
    for question in questions:
        assert question.asks.rstrip("`.").endswith(("?", ")")) or "?" in question.asks, question
        assert [option.right for option in question.options].count(True) == 1
        said = [option.says for option in question.options]
        assert len(set(said)) == len(said), question
        for option in question.options:
            assert option.reply.rstrip("`").endswith((".", "?", "!", ")")), option
            assert len(option.says) < 90, option
            assert len(option.reply) < 200, option


def test_letters_tell_nothing() -> None:
    """No letter is right much more often than another, and no lesson's answers are all alike."""
    keys = ["".join(question.answer for question in read_quiz(name)) for name in QUIZZES]
    counts = Counter("".join(keys))
    assert max(counts[letter] for letter in "abc") < 2 * min(counts[letter] for letter in "abc")
    assert all(len(set(key)) > 1 for key in keys)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("right: Both hands.", "reply: No.", "one that is right"),
        ("reply: Count again.", "right: Yes.", "one that is right"),
        ("    - {says: one, reply: Count again.}\n", "", "three options"),
        ("reply: Count again.", "because: No.", "`right` or `reply`"),
        ("asks:", "ask:", "`asks` and `options`"),
        ("says: one,", "says: No,", "False.*into quotes"),
    ],
)
def test_an_author_who_errs_is_told(old: str, new: str, says: str) -> None:
    assert parse_quiz(ONE)[0].answer == "b"
    with pytest.raises(ValueError, match=says):
        parse_quiz(ONE.replace(old, new))


def test_a_lesson_without_a_quiz_is_named() -> None:
    with pytest.raises(FedkitError, match="no quiz '99'"):
        read_quiz("99")
    with pytest.raises(FedkitError, match="no quiz"):
        read_quiz("../quizzes/01")


def test_every_attempt_stays_in_the_record() -> None:
    answers = Answers("03", read_quiz("03"))
    right = answers.questions[0].answer
    wrong = next(letter for letter in LETTERS if letter != right)
    assert answers.state(1) == "not yet"
    assert not answers.choose(1, wrong).right
    answers.choose(1, wrong)  # pressed twice
    assert answers.state(1) == "try again"
    assert answers.choose(1, right).right
    record = answers.record()
    assert record["states"] == {
        "1": "right",
        "2": "not yet",
        "3": "not yet",
        "4": "not yet",
        "5": "not yet",
    }
    assert record["tries"]["1"] == wrong + right
    assert str(answers) == "Quiz 03: 1 of 5 right, 4 still open"


def test_letters_in_one_word() -> None:
    answers = Answers("03", read_quiz("03"))
    key = "".join(question.answer for question in answers.questions)
    answers.choose_all("-" + key[1:].upper())
    assert str(answers) == "Quiz 03: 4 of 5 right, 1 still open"
    with pytest.raises(FedkitError, match="a int for 5 questions"):
        answers.choose_all(12345)  # type: ignore[arg-type]
    for letters, says in [
        ("abc", "3 letters for 5"),
        ("abcxa", "no option 'x'"),
        (" bcab", "no option"),
    ]:
        with pytest.raises(FedkitError, match=says):
            answers.choose_all(letters)
