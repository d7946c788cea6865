"""The course in a folder: it comes, it is brought up to date, and nobody's work is written over."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.teaching import course_folder
from fedkit.teaching.course_folder import copy_lessons, is_course, put_course
from tests.support import ROOT
from tests.support.cli import fedkit
from tests.support.mutations import EXAMPLES

LESSON = "03_train.ipynb"


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small course that a test may change, as a new release would."""
    notebooks = tmp_path / "release" / "notebooks"
    for name in ("00_start_here.ipynb", LESSON, f"solutions/{LESSON}", "pictures/a.png"):
        (notebooks / name).parent.mkdir(parents=True, exist_ok=True)
        (notebooks / name).write_text(f"one {name}")
    monkeypatch.setattr(course_folder, "course_files", lambda: tmp_path / "release")
    return notebooks


def there(folder: Path) -> dict[str, str]:
    """Every file but fedkit's own memory."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != course_folder.STATE
    }


def changes(folder: Path) -> dict[str, str]:
    """What putting the course there did, without what stayed as it was."""
    return {one.path.name: one.what for one in put_course(folder) if one.what != "same"}


def test_the_whole_course_comes(tmp_path: Path) -> None:
    put_course(tmp_path / "new" / "course")
    source = ROOT / "notebooks"
    wanted = {
        path.relative_to(source): path.read_bytes()
        for folder in ("", "solutions/", "de/", "de/solutions/")
        for path in source.glob(f"{folder}*.ipynb")
    } | {
        path.relative_to(source): path.read_bytes()
        for pattern in ("*.md", "pictures/*", "teaching/*")
        for path in source.glob(pattern)
    }
    folder = tmp_path / "new" / "course"
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != course_folder.STATE]
    assert {p.relative_to(folder): p.read_bytes() for p in files} == wanted
    assert is_course(folder)
    assert changes(folder) == {}


def test_a_newer_lesson_replaces_an_untouched_one_and_lies_beside_work(
    tmp_path: Path, release: Path
) -> None:
    mine = tmp_path / "mine"
    put_course(mine)
    (mine / LESSON).write_text("my work")
    assert changes(mine) == {LESSON: "kept"}  # on this very version: nothing newer is there
    for name in ("00_start_here.ipynb", LESSON):
        (release / name).write_text(f"two {name}")
    assert changes(mine) == {"00_start_here.ipynb": "replaced", "03_train (new).ipynb": "beside"}
    assert there(mine)[LESSON] == "my work"
    assert there(mine)["03_train (new).ipynb"] == f"two {LESSON}"
    assert changes(mine) == {LESSON: "kept"}  # said and given once
    (mine / "03_train (new).ipynb").unlink()
    assert changes(mine) == {LESSON: "kept"}  # whoever removes it does not want it
    (mine / "03_train (new).ipynb").write_text("my work on the second")
    (release / LESSON).write_text("three")
    assert changes(mine) == {"03_train (new 2).ipynb": "beside"}
    (release / LESSON).write_text("four")
    assert changes(mine) == {"03_train (new 2).ipynb": "beside"}
    assert there(mine)["03_train (new 2).ipynb"] == "four"
    assert there(mine)["03_train (new).ipynb"] == "my work on the second"


def test_what_lay_there_before_stays(tmp_path: Path, release: Path) -> None:
    """Also a link, a folder of that name, and a memory that somebody has broken."""
    mine = tmp_path / "mine"
    (mine / "00_start_here.ipynb").mkdir(parents=True)
    (tmp_path / "elsewhere").write_text("elsewhere")
    (mine / LESSON).symlink_to(tmp_path / "elsewhere")
    assert changes(mine) == {
        "00_start_here (new).ipynb": "beside",
        "03_train (new).ipynb": "beside",
        LESSON: "new",  # the solved one
        "a.png": "new",
    }
    assert (tmp_path / "elsewhere").read_text() == "elsewhere"
    for broken in ("", "[]", '{"put": 1, "offered": {"x": 2}}'):
        (mine / course_folder.STATE).write_text(broken)
        (mine / "solutions" / LESSON).write_text("mine too")
        put_course(mine)
        assert there(mine)[f"solutions/{LESSON}"] == "mine too"


@pytest.mark.parametrize("memory", ["[" * 100_000, "x" * 2**24, "told"])
def test_nothing_outside_the_folder_is_touched(memory: str, tmp_path: Path, release: Path) -> None:
    """Where a folder of the course is a link, and the memory says whatever somebody wishes."""
    outside, mine = tmp_path / "outside", tmp_path / "mine"
    outside.mkdir()
    (outside / LESSON).write_text("theirs")
    put_course(mine)
    digest = course_folder.sha256_bytes(b"theirs")
    names = [f"solutions/{LESSON}", f"../outside/{LESSON}", str(outside / LESSON)]
    told = json.dumps({"put": dict.fromkeys(names, digest)})
    (mine / course_folder.STATE).write_text(told if memory == "told" else memory)
    shutil.rmtree(mine / "solutions")
    (mine / "solutions").symlink_to(outside)
    (mine / "pictures" / "a.png").unlink()
    (mine / "pictures").rmdir()
    (mine / "pictures").symlink_to(outside)
    with pytest.raises(FedkitError, match=r"link.* -> replace it"):
        put_course(mine)
    assert there(outside) == {LESSON: "theirs"}
    (tmp_path / "way").symlink_to(mine)  # a link to the folder itself is how somebody names it
    for name in ("solutions", "pictures"):
        (mine / name).unlink()
    put_course(tmp_path / "way")
    assert (mine / "pictures" / "a.png").is_file()


def test_a_file_a_folder_without_rights_and_the_course_itself(
    tmp_path: Path, release: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FedkitError, match="is a file"):
        put_course(tmp_path / "file")
    with pytest.raises(FedkitError, match="move away the file"):
        put_course(tmp_path / "file" / "below")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("loop", "nowhere", "x" * 300):
        with pytest.raises(FedkitError, match="-> name a folder"):
            put_course(tmp_path / name)
        assert not is_course(tmp_path / name)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pictures").touch()
    with pytest.raises(FedkitError, match="move away the file"):
        put_course(tmp_path / "mine")
    assert put_course(release) == []
    assert not is_course(release)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_can_not_be_written_to(tmp_path: Path, release: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(FedkitError):
        put_course(tmp_path / "theirs")


def test_a_lesson_is_copied_as_often_as_it_is_asked_for(tmp_path: Path, release: Path) -> None:
    assert [one.what for one in copy_lessons(tmp_path / "a", ["3"])] == ["new"]
    assert not is_course(tmp_path / "a")
    assert [one.what for one in copy_lessons(tmp_path / "a", ["3"])] == ["same"]
    (tmp_path / "a" / LESSON).write_text("my work")
    assert [one.path.name for one in copy_lessons(tmp_path / "a", ["03"])] == [
        "03_train (new).ipynb"
    ]
    put_course(tmp_path / "b")
    (tmp_path / "b" / LESSON).write_text("my work")
    assert [one.what for one in copy_lessons(tmp_path / "b", ["03_train"])] == ["beside"]
    put_course(tmp_path / "c")  # the solved edition does not take the place of the other
    (solved,) = copy_lessons(tmp_path / "c", ["3"], "solutions")
    assert (solved.name, solved.what) == (f"solutions/{LESSON}", "same")
    assert there(tmp_path / "c")[LESSON] == (release / LESSON).read_text()
    with pytest.raises(FedkitError, match="no lesson 7"):
        copy_lessons(tmp_path / "a", ["7"])


@pytest.mark.parametrize("seed", range(100 if EXAMPLES > 1 else 5))
def test_no_sequence_loses_work(seed: int, tmp_path: Path, release: Path) -> None:
    """Releases, work, removals, updates and copies in any order: each text that a learner wrote is in some file."""
    draw = random.Random(seed)
    mine = tmp_path / "mine"
    written: dict[str, str] = {}
    put_course(mine)
    for step in range(40):
        names = sorted(there(mine))
        match draw.choice(["release", "work", "remove", "update", "copy"]):
            case "release":
                (release / draw.choice(["00_start_here.ipynb", LESSON])).write_text(f"r{step}")
            case "work" if names:
                name = draw.choice(names)
                (mine / name).write_text(f"work {step}")
                written[name] = f"work {step}"
            case "remove" if names:
                name = draw.choice(names)
                (mine / name).unlink()
                written.pop(name, None)
            case "update":
                put_course(mine)
            case "copy":
                copy_lessons(mine, ["00", "03"])
        now = there(mine)
        assert {name: now.get(name) for name in written} == written
    put_course(mine)
    texts = there(mine)
    for name in ("00_start_here.ipynb", LESSON):
        newest = (release / name).read_text()
        gone = course_folder.read_object(mine / course_folder.STATE)["offered"].get(name)
        assert newest in texts.values() or gone  # there, or offered once and removed


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = fedkit("course", "copy", "04", "0", "--to", "some")
    assert [Path(line).name for line in said.splitlines()] == [
        "00_start_here.ipynb",
        "04_aggregate.ipynb",
    ]
    assert "fedkit start DIR" in fedkit("course", "update", "some", code=1)
    put_course(tmp_path / "course")
    (tmp_path / "course" / LESSON).write_text("my work")
    said = fedkit("course", "update", "course")
    assert f"The course is in {tmp_path / 'course'}: 1 with your work, left as they are." in said
    said = fedkit("course", "copy", "3", "--to", "course")
    assert "03_train (new).ipynb (03_train.ipynb has your work and stays)" in said
    monkeypatch.chdir(tmp_path / "course")
    assert "nothing has changed" not in fedkit("course", "update")
    fedkit("course", "copy", "03", "--edition", "both", code=2)
