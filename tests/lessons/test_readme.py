"""The README lists every lesson once, as the lesson names itself; the map draws the same ones."""

import re

from fedkit.experiments.lessons import about, lesson_paths
from fedkit.teaching import plots
from tests.support import ROOT
from tests.support.pictures import words

ROW = re.compile(r"^\| (\d\d) \| \[(.+?)\]\(notebooks/(\w+)\.ipynb\) \| (\d+) \|", re.MULTILINE)


def test_every_lesson_stands_once_in_the_readme_and_on_the_map() -> None:
    lessons = {path.stem: about(path) for path in lesson_paths(ROOT / "notebooks")}
    listed = ROW.findall((ROOT / "README.md").read_text("utf-8"))
    assert listed == [(name[:2], it.title, name, str(it.minutes)) for name, it in lessons.items()]
    shown = words(plots.course_map(None))
    assert [text for text in shown if re.fullmatch(r"\d\d", text)] == [name[:2] for name in lessons]
