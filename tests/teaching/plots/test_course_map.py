"""The map of the course: every lesson once, by its own title."""

import pytest

from fedkit.base.errors import FedkitError
from fedkit.teaching import plots
from fedkit.teaching.plots.course_map import LESSONS
from tests.support import ROOT
from tests.support.pictures import title, words


def test_course_map_names_every_lesson_once() -> None:
    fig = plots.course_map(here=3)
    shown = [word.replace("\n", " ") for word in words(fig)]
    assert [n for n in shown if n.isdigit()] == [f"{n:02d}" for n in range(14)]
    assert set(LESSONS) <= set(shown)
    assert "03" in title(fig)
    assert "you are" not in title(plots.course_map(None))
    with pytest.raises(FedkitError):
        plots.course_map(14)


def test_course_map_agrees_with_the_lessons() -> None:
    for source in sorted((ROOT / "notebooks" / "src").glob("[0-9][0-9]_*.py")):
        found = [
            line for line in source.read_text(encoding="utf-8").splitlines() if line[:4] == "# # "
        ]
        assert found == [f"# # {LESSONS[int(source.name[:2])]}"], source.name
