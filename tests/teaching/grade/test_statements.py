"""What a name hangs on, read off the text."""

import pytest

from fedkit.teaching.grade.statements import MAX_SOURCE, calls_of, needed, statements

NOTEBOOK = """
%matplotlib inline
import hashlib
import torch
base = 3
other = 4
rule = {}
rule["read"] = base
for step in range(2):
    rule.update({step: 1})
finish(rule)
print(rule)

@decorated
def digest(x):
    inner = x
    return hashlib.sha256(inner)

inner = torch.zeros(10**9)
answer = digest
fk.check.digest(answer, [1])
"""


def texts(*names: str) -> list[str]:
    return [s.text.splitlines()[0] for s in needed(statements(1, NOTEBOOK), names)]


def test_what_a_name_hangs_on() -> None:
    assert texts("other") == ["other = 4"]
    assert texts("answer") == ["import hashlib", "@decorated", "answer = digest"]
    # what is done to it counts, what is shown of it does not
    wanted = [
        "base = 3",
        "rule = {}",
        'rule["read"] = base',
        "for step in range(2):",
        "finish(rule)",
    ]
    assert texts("rule") == wanted
    # a module is not changed by calling its functions
    assert texts("torch") == ["import torch"]


def test_comments_stay_and_two_on_a_line_are_two() -> None:
    kept, one, two = statements(1, "def f():  # mine\n    return 1  # one\na = 1; b = 2\n")
    assert kept.text == "def f():  # mine\n    return 1  # one"
    assert (one.text, two.text) == ("a = 1", "b = 2")
    assert kept.plain == "def f():\n    return 1"


def test_checks_that_are_called() -> None:
    assert calls_of("x = fk.check.one(a, {1: b})") == [("one", ["a", "{1: b}"])]
    assert calls_of("fk.check(a)") == []


@pytest.mark.parametrize(
    "source", ["def f(:", "(" * 5_000, "x" * (MAX_SOURCE + 1), "\0", "-" * 50_000 + "1"]
)
def test_what_is_no_python_is_one_kind_of_error(source: str) -> None:
    with pytest.raises(SyntaxError):
        statements(1, source)
