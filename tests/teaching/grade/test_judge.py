"""What a check may read of a learner's function before it calls it."""

import inspect

from fedkit.teaching.grade.judge import _shell


def test_the_shell_of_a_function_says_what_may_be_left_out() -> None:
    made = _shell("def f(a, b=[], *, c=1, d):\n    return a", "mine", "f")
    assert made is not None
    signature = inspect.signature(made)
    assert [name for name, one in signature.parameters.items() if one.default is one.empty] == [
        "a",
        "d",
    ]
    assert _shell("def f(:", "mine", "f") is None
    assert _shell("f = lambda a: a", "mine", "f") is None
