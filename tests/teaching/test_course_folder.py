"""The course in a folder: it comes, it is brought up to date, and nobody's work is written over."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

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
    """Every file but fedkit's own memory, and what it has replaced."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
        and path.name != course_folder.STATE
        and course_folder.BEFORE not in path.parts
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


def notebook(*sources: str, **more: object) -> bytes:
    """As the build writes one."""
    cells = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": [s]}
        for s in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4} | more, indent=1).encode()


def opened_in_lab(data: bytes) -> bytes:
    """What JupyterLab saves by itself where somebody has only looked: its order, a kernel's name, marks of its panels."""
    told = json.loads(data)
    told["metadata"]["language_info"] = {"name": "python", "version": "3.11.7"}
    for cell in told["cells"]:
        cell["source"] = "".join(cell["source"])
        cell["metadata"] = {"scrolled": True}
        cell["id"] = "4f3a"
    return json.dumps(told, indent=1, sort_keys=True).encode() + b"\n"


@pytest.mark.parametrize("how", [opened_in_lab, lambda data: data.replace(b"\n", b"\r\n")])
def test_a_lesson_that_was_only_opened_is_no_work(
    how: Callable[[bytes], bytes], tmp_path: Path, release: Path
) -> None:
    (release / LESSON).write_bytes(notebook("a = 1\n"))
    (release / "GLOSSARY.md").write_bytes(b"one\ntwo\n")
    mine = tmp_path / "mine"
    put_course(mine)
    saved = how((mine / LESSON).read_bytes())
    (mine / LESSON).write_bytes(saved)
    (mine / "GLOSSARY.md").write_bytes(b"one\r\ntwo\r\n")
    assert changes(mine) == {}
    assert (mine / LESSON).read_bytes() == saved  # Lab may have it open
    (release / LESSON).write_bytes(notebook("a = 2\n"))
    (release / "GLOSSARY.md").write_bytes(b"three\n")
    assert changes(mine) == {LESSON: "replaced", "GLOSSARY.md": "replaced"}
    assert (mine / LESSON).read_bytes() == notebook("a = 2\n")
    kept = {path.read_bytes() for path in (mine / course_folder.BEFORE).iterdir()}
    assert kept == {saved, b"one\r\ntwo\r\n"}


@pytest.mark.parametrize("what", ["source", "outputs", "execution_count", "attachments", "cell"])
def test_whatever_a_learner_does_in_a_cell_is_work(
    what: str, tmp_path: Path, release: Path
) -> None:
    (release / LESSON).write_bytes(notebook("a = 1\n"))
    mine = tmp_path / "mine"
    put_course(mine)
    told = json.loads(opened_in_lab((mine / LESSON).read_bytes()))
    if what == "cell":
        told["cells"].append(told["cells"][0])
    else:
        told["cells"][0][what] = {"source": "a = 3", "execution_count": 1}.get(what, {"x": "y"})
    (mine / LESSON).write_text(json.dumps(told))
    (release / LESSON).write_bytes(notebook("a = 2\n"))
    assert changes(mine) == {"03_train (new).ipynb": "beside"}
    assert json.loads((mine / LESSON).read_bytes()) == told


@pytest.mark.parametrize(
    "data",
    [b"", b"[1]", b'{"cells": 1}', b'{"cells": [{}]}', b'{"cells": [{"cell_type": 1, "source": [2]}]}',
     b'{"cells": ' + b"[" * 100_000, b'{"cells": [{"cell_type": 1, "source": {"a": 1}, "outputs": NaN}]}'],
)  # fmt: skip
def test_what_is_no_notebook_is_work_too(data: bytes, tmp_path: Path, release: Path) -> None:
    put_course(tmp_path / "mine")
    (tmp_path / "mine" / LESSON).write_bytes(data)
    (release / LESSON).write_text("two")
    assert changes(tmp_path / "mine") == {"03_train (new).ipynb": "beside"}
    assert (tmp_path / "mine" / LESSON).read_bytes() == data


@pytest.mark.parametrize("key", ["put", "placing"])
def test_a_memory_that_lies_costs_nobody_their_work(
    key: str, tmp_path: Path, release: Path
) -> None:
    """It calls a learner's lesson fedkit's own: a newer one takes its place, and the work lies in `.fedkit-before`."""
    mine = tmp_path / "mine"
    put_course(mine)
    told = json.loads((mine / course_folder.STATE).read_text())
    for number in range(3):
        work = f"my work {number}"
        (mine / LESSON).write_text(work)
        digest = course_folder.sha256_bytes(work.encode())
        lie = {key: {LESSON: digest if key == "put" else [digest]}}
        (mine / course_folder.STATE).write_text(json.dumps(told | lie))
        (release / LESSON).write_text(f"release {number}")
        assert changes(mine)[LESSON] == "replaced"
    kept = sorted(path.read_text() for path in (mine / course_folder.BEFORE).iterdir())
    assert [text for text in kept if "my work" in text] == [f"my work {n}" for n in range(3)]


def test_a_folder_of_an_earlier_version_goes_on(tmp_path: Path, release: Path) -> None:
    """Its memory has the SHA-256 of whole files: what is as it was is replaced, and work is not given again."""
    (release / LESSON).write_bytes(notebook("a = 1\n"))
    mine = tmp_path / "mine"
    put_course(mine)
    put = {name: course_folder.sha256_bytes(text.encode()) for name, text in there(mine).items()}
    told = json.dumps({"fedkit": "0.2.0", "put": put, "offered": {}})
    (mine / course_folder.STATE).write_text(told)
    (mine / LESSON).write_bytes(notebook("a = 3\n"))
    assert changes(mine) == {LESSON: "kept"}
    (mine / course_folder.STATE).write_text(told)
    (mine / LESSON).write_bytes(notebook("a = 1\n"))
    (release / LESSON).write_bytes(notebook("a = 2\n"))
    assert changes(mine) == {LESSON: "replaced"}


def test_nothing_that_is_replaced_is_kept_behind_a_link(tmp_path: Path, release: Path) -> None:
    mine, outside = tmp_path / "mine", tmp_path / "outside"
    put_course(mine)
    outside.mkdir()
    (mine / course_folder.BEFORE).symlink_to(outside)
    (release / LESSON).write_text("two")
    with pytest.raises(FedkitError, match="link"):
        put_course(mine)
    assert there(mine)[LESSON] == f"one {LESSON}"
    assert list(outside.iterdir()) == []


def test_stopped_in_between_then_by_another_release(
    tmp_path: Path, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any write of an update: what the update had placed already is no work to the next one."""
    real = course_folder.write_bytes

    class KilledError(BaseException):
        pass

    for stop in range(1, 6):
        mine = tmp_path / str(stop)
        for name in ("00_start_here.ipynb", LESSON):
            (release / name).write_text(f"one {name}")
        put_course(mine)
        (mine / "solutions" / LESSON).write_text("my work")
        left = [stop]

        def dying(*args: Any, left: list[int] = left, **words: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            real(*args, **words)

        for name in ("00_start_here.ipynb", LESSON):
            (release / name).write_text(f"two {name}")
        with monkeypatch.context() as patch:
            patch.setattr(course_folder, "write_bytes", dying)
            patch.setattr(course_folder._Memory, "write", Once())
            with suppress(KilledError):
                put_course(mine)
        for name in ("00_start_here.ipynb", LESSON):
            (release / name).write_text(f"three {name}")
        put_course(mine)
        assert there(mine) == there(release) | {f"solutions/{LESSON}": "my work"}
        assert "placing" not in json.loads((mine / course_folder.STATE).read_text())


class Once:
    """Writes the memory the first time; whoever is killed writes it no second time."""

    def __init__(self) -> None:
        self.real, self.done = course_folder._Memory.write, False

    def __get__(self, memory: Any, _: Any = None) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            if not self.done:
                self.done = True
                self.real(memory, folder)

        return write


def test_a_course_that_is_as_it_should_be_is_not_written_to(
    tmp_path: Path, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in which nobody may write, as on a hub, can be looked at; so can one with work in it."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "00_start_here.ipynb").write_text("mine before")
    put_course(mine)
    (mine / LESSON).write_text("my work")

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise FedkitError("can't be written", file=path)

    monkeypatch.setattr(course_folder, "write_bytes", refuse)
    monkeypatch.setattr(course_folder, "write_json", refuse)
    assert changes(mine) == {"00_start_here.ipynb": "kept", LESSON: "kept"}
    (release / LESSON).write_text("two")
    with pytest.raises(FedkitError):
        put_course(mine)


def test_a_full_disk_is_told_of_the_lesson_that_had_no_place(
    tmp_path: Path, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what came before it is known, though the memory finds no place either."""
    mine = tmp_path / "mine"
    real = course_folder.write_bytes

    def none_left(path: Path, *_: Any, **__: Any) -> None:
        raise FedkitError("can't be written (No space left on device)", file=path)

    def full(path: Path, *args: Any, **words: Any) -> None:
        if path.name == LESSON:
            monkeypatch.setattr(course_folder, "write_json", none_left)
            none_left(path)
        real(path, *args, **words)

    monkeypatch.setattr(course_folder, "write_bytes", full)
    with pytest.raises(FedkitError, match=f"{LESSON}: can't be written"):
        put_course(mine)
    monkeypatch.undo()
    monkeypatch.setattr(course_folder, "course_files", lambda: release.parent)
    (release / "00_start_here.ipynb").write_text("two")
    assert changes(mine)["00_start_here.ipynb"] == "replaced"


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
    odd = "50 % ü\n$HOME"
    put_course(tmp_path / odd)
    (line,) = fedkit("course", "update", tmp_path / odd).splitlines()
    assert line == rf"The course is in {tmp_path}/50 % ü\n$HOME: nothing has changed."
    fedkit("course", "copy", "03", "--edition", "both", code=2)
