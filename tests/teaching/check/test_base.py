"""The checks of the exercises: three answers, in words, whatever a learner hands in."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

import fedkit.teaching.check
from fedkit.teaching.check.answers import near, number, tensor
from fedkit.teaching.check.attempt import Wrong, unfinished
from fedkit.teaching.check.base import REGISTRY, box, check


@check(hint="Multiply by two.")
def _twice(attempt):
    """Doubling a number."""
    near(attempt(3.0), 6.0, within=1e-6, wrong="Three should become six.")
    return "Twice is x + x."


@check(hint="Look at both groups.")
def _total(answer, unit):
    """Counting samples."""
    near(answer, 1600, within=0.5, wrong=f"Not every {unit} is counted.")
    return "800 and 800."


@check(hint="Touch the dictionary.", returns=False)
def _touch(attempt):
    """Changing a dictionary in place."""
    state = {}
    attempt(state)
    if "w" not in state:
        raise Wrong("There is no w.")
    return "In place means: no return."


def right(x):
    return 2 * x


def indexed(x):
    return torch.tensor([2 * x])[..., 0]


def stub_body(x): ...


def stub_before_return(x):
    ...  # noqa: PIE790
    return doubled  # noqa: F821


def stub_inside_call(x):
    return float(...)


def stub_returned(x):
    return ...


def stub_in_tuple(x):
    return (x, ...)


def not_implemented(x):
    raise NotImplementedError


def no_return(x):
    2 * x


def wrong(x):
    return x


def right_beside_a_gap(x):
    ...  # noqa: PIE790
    return 2 * x


def word(x):
    return "six"


def infinite(x):
    return float("inf")


def crash(x):
    names = {"fc1": x}
    return names["fc2"]


def wants_two(x, y):
    return x * y


CASES = [
    (right, "right", "Twice is"),
    (indexed, "right", "Twice is"),
    (right_beside_a_gap, "right", "Twice is"),
    (functools.partial(torch.mul, torch.tensor(2.0)), "right", "Twice is"),
    (lambda x: x + x, "right", "Twice is"),
    (..., "not yet", "Multiply"),
    (None, "not yet", "Multiply"),
    (stub_body, "not yet", "Multiply"),
    (stub_before_return, "not yet", "Multiply"),
    (stub_inside_call, "not yet", "Multiply"),
    (stub_returned, "not yet", "Multiply"),
    (stub_in_tuple, "not yet", "Multiply"),
    (not_implemented, "not yet", "Multiply"),
    (no_return, "try again", "return"),
    (wrong, "try again", "Three should become six."),
    (word, "try again", "number"),
    (infinite, "try again", "finite"),
    (crash, "try again", 'line 3 of crash: return names["fc2"]'),
    (wants_two, "try again", "TypeError"),
    (7, "try again", "TypeError"),
    (torch.nn.Linear, "try again", "TypeError"),
]


@pytest.mark.parametrize(("answer", "state", "says"), CASES)
def test_every_answer_gets_one_of_three_states(answer, state, says):
    result = _twice(answer)
    assert result.state == state
    assert says in result.message


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (1600, "right"),
        (1600.0, "right"),
        (torch.tensor(1600), "right"),
        (1599, "try again"),
        (True, "try again"),
        ("1600", "try again"),
        (torch.ones(2), "try again"),
        ([1600, ...], "not yet"),
        ({"n": ...}, "not yet"),
    ],
)
def test_values_are_checked_with_a_margin(answer, state):
    assert _total(answer, "sample").state == state


def test_a_second_answer_that_is_open_keeps_the_exercise_open():
    assert _total(1600, ...).state == "not yet"


def test_a_function_that_returns_nothing_on_purpose():
    def fill(state):
        state["w"] = 1

    def idle(state):
        state["v"] = 1

    def open_exercise(state): ...

    assert _touch(fill).state == "right"
    assert _touch(idle).state == "try again"
    assert _touch(open_exercise).state == "not yet"


def test_a_wrong_answer_never_sees_the_hint_and_an_open_one_never_the_verdict():
    assert "Multiply" not in _twice(wrong).message
    assert "Three" not in _twice(stub_body).message


def test_the_box_says_the_state_in_words_and_escapes_the_learner():
    html = box("x", "A <b>title</b>", "try again", "KeyError: '<script>'")
    assert "Try again" in html
    assert 'role="status"' in html
    assert 'aria-label="Check x: Try again"' in html
    assert "<script>" not in html
    assert "<b>" not in html
    assert "write <code>a &lt; b</code>." in box("x", "A title", "not yet", "write `a < b`.")


def test_outside_a_notebook_a_check_prints_nothing(capsys):
    assert str(_twice(right)).endswith("Twice is x + x.")
    assert capsys.readouterr().out == ""


def test_checks_are_found_by_name_and_a_typo_names_the_nearest():
    assert REGISTRY["_twice"].title == "Doubling a number"
    REGISTRY["doubling"] = REGISTRY["_twice"]
    try:
        assert fedkit.teaching.check.doubling(right).state == "right"
        assert "doubling" in fedkit.teaching.check.names()
        assert "doubling" in dir(fedkit.teaching.check)
        with pytest.raises(AttributeError, match=r"did you mean fk\.check\.doubling"):
            _ = fedkit.teaching.check.dubling
    finally:
        del REGISTRY["doubling"]


def test_two_notebooks_cannot_have_a_check_of_the_same_name():
    def _twice(attempt):
        return "other"

    _twice.__module__ = "fedkit.teaching.check.nb99"
    with pytest.raises(ValueError, match="_twice"):
        check(hint="?")(_twice)


def test_every_check_of_the_course_is_open_for_an_open_answer():
    for name in fedkit.teaching.check.names():
        result = REGISTRY[name](...)
        assert result.state == "not yet", name
        assert result.message.strip(), name
        assert result.title.strip(), name


@pytest.mark.parametrize("value", [0, 0.0, False, "", [], {}, torch.zeros(1), {"loss": 0.0}])
def test_falsy_answers_are_answers(value):
    assert not unfinished(value)


@pytest.mark.parametrize(
    "value",
    [torch.tensor([1, 2]), np.array([1, 2]), np.array([2, 1])[::-1], [1, 2], (np.int64(1), 2)],
)
def test_a_tensor_may_come_as_an_array_or_a_list(value):
    assert torch.equal(tensor(value, wrong="?"), torch.tensor([1, 2]))


@pytest.mark.parametrize(
    "value", [3, "12", {1, 2}, {0: 1}, ["a"], [[1], [1, 2]], [None], np.array(["a"]), object()]
)
def test_what_holds_no_numbers_is_no_tensor(value):
    with pytest.raises(Wrong, match="as a list"):
        tensor(value, wrong="It should come as a list.")


def test_number_refuses_what_is_no_number():
    for value in ["3", True, [3], torch.ones(3), float("nan"), object()]:
        with pytest.raises(Wrong):
            number(value)
    assert number(torch.tensor(0.25)) == 0.25
