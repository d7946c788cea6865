"""The map of the course: every lesson that there is, once, by its own title."""

import json
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import about, hours, lesson_paths
from fedkit.teaching import plots
from tests.support import ROOT
from tests.support.pictures import title, words


def numbers(fig: Figure) -> list[str]:
    return [word for word in words(fig) if word.isdigit()]


def names(fig: Figure) -> set[str]:
    return {word.replace("\n", " ") for word in words(fig)}


def test_course_map_names_every_lesson_once() -> None:
    paths = lesson_paths(ROOT / "notebooks")
    fig = plots.course_map(here=3)
    assert numbers(fig) == [path.stem[:2] for path in paths]
    assert {about(path).title for path in paths} <= names(fig)
    minutes = {path.stem[:2]: about(path).minutes for path in paths}
    assert [word for word in words(fig) if word.endswith("′")] == [
        f"{n}′" for n in minutes.values()
    ]
    privacy = sum(minutes[number] for number in ("08", "09", "10"))
    assert hours(privacy) in words(fig)
    assert f"{len(paths)} lessons" in title(fig)
    assert "03" in title(fig)
    assert "you are" not in title(plots.course_map(None))
    with pytest.raises(FedkitError, match="no lesson 99"):
        plots.course_map(99)


def test_the_lessons_that_are_built_are_those_that_are_written() -> None:
    written = sorted((ROOT / "notebooks" / "src").glob("[0-9][0-9]_*.py"))
    assert [path.stem for path in lesson_paths(ROOT / "notebooks")] == [p.stem for p in written]
    for source in written:
        lines = source.read_text(encoding="utf-8").splitlines()
        heads = [line.removeprefix("# # ") for line in lines if line.startswith("# # ")]
        assert heads == [about(ROOT / "notebooks" / f"{source.stem}.ipynb").title], source.name


def test_a_lesson_that_is_added_is_on_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name, said in (("00_start", "Start"), ("07_late", "Late"), ("14_own", "Your own data")):
        kept = {"metadata": {"fedkit": {"title": said}}}
        (folder / f"{name}.ipynb").write_text(json.dumps(kept), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    fig = plots.course_map(here=14)
    assert numbers(fig) == ["00", "07", "14"]
    assert {"Start", "Late", "Your own data", "The tutorial", "Your own"} <= names(fig)
    assert {"Privacy", "At scale"} & names(fig) == set()
    assert title(fig) == "The course: 3 lessons in 3 stretches; you are at 14"
    with pytest.raises(FedkitError, match="use 0, 7, 14, or None"):
        plots.course_map(13)


def test_the_readme_lists_the_lessons_with_their_titles_and_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\d) \| \[(.+?)\]\((.+?)\) \| (\d+) \|", text, re.MULTILINE)
    assert rows == [
        (path.stem[:2], about(path).title, f"notebooks/{path.name}", str(about(path).minutes))
        for path in lesson_paths(ROOT / "notebooks")
    ]
