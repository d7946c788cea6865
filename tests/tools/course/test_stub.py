"""The learner's stub: each of its lines is one of the solution, or dots."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tools.course.stub import solved, strange_lines, stub

line = st.sampled_from(["x = 1", "y = x", "", "    return y", "x[..., 0]", "# a comment", "f(x)"])
marked = st.one_of(
    line.map(lambda text: ([text], [])),
    line.filter(str.strip).map(lambda text: ([f"{text}  # solution"], [text])),
    st.lists(line, min_size=1, max_size=4)
    .filter(lambda lines: any(map(str.strip, lines)))
    .map(lambda lines: (["    # solution begin", *lines, "    # solution end"], lines)),
)


@given(st.lists(marked, max_size=8))
@settings(max_examples=150, deadline=None)
def test_each_line_of_a_stub_is_one_of_the_solution_or_dots(parts):
    source = "\n".join(text for lines, _ in parts for text in lines)
    hidden = [solution for _, solution in parts if solution]
    short, full = stub(source).split("\n"), solved(source).split("\n")
    assert strange_lines("\n".join(short), "\n".join(full)) == []
    assert all("# solution" not in text for text in short + full)
    assert sum(text.strip() == "..." for text in short) == len(hidden)
    shown = [text for text in short if text.strip() not in ("", "...")]
    visible = [text for lines, solution in parts if not solution for text in lines]
    assert shown == [text for text in visible if text.strip()]


def test_a_stub_with_another_line_is_strange():
    assert strange_lines("def f():\n    ...\n    return 2", "def f():\n    return 1") == [
        "    return 2"
    ]
