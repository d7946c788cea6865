"""What a name hangs on, read off the text."""

import time

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


def test_a_line_that_ends_in_a_question_mark_stays_where_it_is_python() -> None:
    (only,) = statements(1, "size = 4 * 101_770  # is that all?\n")
    assert only.text == "size = 4 * 101_770  # is that all?"
    (long,) = statements(1, "told = '%s' \\\n% 'x'")
    assert long.binds == {"told"}
    (one,) = statements(1, "%time\n!pip install x\n?print\ntorch.zeros??\nx = 1  # mine?\n")
    assert one.text == "x = 1  # mine?"


def test_lines_are_counted_as_python_counts_them() -> None:
    texts_ = [s.text for s in statements(1, "a = '\x0c\u2028'\r\nb = 2\rc = 3")]
    assert texts_ == ["a = '\x0c\u2028'", "b = 2", "c = 3"]


def test_time_grows_with_the_length() -> None:
    """Each of these took minutes once: empty lines without end, many short statements, a chain from the end."""
    begun = time.process_time()
    assert statements(1, "!x" + "\n" * (MAX_SOURCE - 10)) == []
    with pytest.raises(SyntaxError, match="statements is no answer"):
        statements(1, "a\n" * (MAX_SOURCE // 2))
    chain = [
        s for n in range(5, 0, -1) for s in statements(n, "\n".join(
            f"x{900 * n + k} = x{900 * n + k + 1}" for k in range(900)))
    ]  # fmt: skip
    assert len(needed(chain, ["x900"])) == len(chain) == 4_500
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    "source", ["def f(:", "(" * 5_000, "x" * (MAX_SOURCE + 1), "\0", "-" * 50_000 + "1"]
)
def test_what_is_no_python_is_one_kind_of_error(source: str) -> None:
    with pytest.raises(SyntaxError):
        statements(1, source)
