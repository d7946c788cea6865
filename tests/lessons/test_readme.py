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


def test_the_readme_is_read_in_two_minutes() -> None:
    """At the 238 words a minute of `tools/course/effort.py`: one picture, one table, and what stands between them."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.count("![") == 1
    assert len(re.findall(r"^\|[-| ]+\|$", text, re.MULTILINE)) == 1
    aside = r"```.*?```|^\|[^\n]*$|<!--.*?-->|!\[[^\]]*\]\([^)]*\)|(?<=\])\([^)]*\)"
    prose = re.sub(aside, "", text, flags=re.DOTALL | re.MULTILINE)
    assert len(prose.split()) / 238 <= 2


def test_a_section_of_the_readme_that_a_lesson_names_is_there() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    named = re.compile(r"README[^.*]*\*([A-Z][^*]+)\*")
    for path in [*(ROOT / "notebooks/src").glob("*.py"), ROOT / "CONTRIBUTING.md"]:
        for section in named.findall(path.read_text("utf-8")):
            assert re.search(rf"^(?:#+ |\* \*\*){re.escape(section)}", readme, re.M), (
                path.name,
                section,
            )


def test_a_per_cent_sign_stands_at_its_number() -> None:
    """One spelling in the course, that of the pictures' own labels."""
    folders = ("notebooks/src", "notebooks/teaching", "fedkit/teaching/quizzes")
    for path in (p for folder in folders for p in (ROOT / folder).iterdir() if p.is_file()):
        lines = path.read_text("utf-8").splitlines()
        prose = [line for line in lines if path.suffix != ".py" or line.startswith("#")]
        assert not [line for line in prose if re.search(r"\d %(?!\w)", line)], path.name
