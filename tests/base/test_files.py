"""The only door for bytes: whole or not at all, no link followed, nothing that hangs or fills the memory."""

import errno
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedkit.base import files
from fedkit.base.errors import FedkitError, Unreadable
from tests.support import helpers
from tests.support.helpers import Code, posix, recompressed, saved, sparse_file
from tests.support.kills import Killed


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".tmp"))


# ------------------------------------------------------------------------------------- writing
def test_folders_are_made_and_no_scratch_file_stays(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a" / "b" / "x", b"1")
    files.write_bytes(tmp_path / "a" / "b" / "x", b"22")
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"22"
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["x"]


@pytest.mark.parametrize("moment", ["open", "replace"])
def test_a_write_that_is_cut_off_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "x"
    files.write_bytes(path, b"old")

    def cut(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, moment, cut)
        with pytest.raises(Killed):
            files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    files.write_bytes(path, b"new")  # what the killed process left is no obstacle
    assert path.read_bytes() == b"new"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "writable"),
        (errno.EACCES, "writable"),
        (errno.EIO, "put that right"),
    ],
)
def test_a_disk_that_refuses_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    path = tmp_path / "x"
    files.write_bytes(path, b"old")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(FedkitError) as caught:
            files.write_bytes(path, b"new")
    assert caught.value.file == path
    assert remedy in str(caught.value.remedy)
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    with helpers.disk(tmp_path / "disk", "64k") as folder:
        files.write_bytes(folder / "x", b"old")
        with pytest.raises(FedkitError, match="No space left") as caught:
            files.write_bytes(folder / "x", b"n" * 200_000)
        assert "free some space" in str(caught.value.remedy)
        assert (folder / "x").read_bytes() == b"old"
        assert leftovers(folder) == []


def test_a_disk_that_is_really_read_only(tmp_path: Path) -> None:
    with helpers.disk(tmp_path / "disk", "64k") as folder:
        files.write_bytes(folder / "x", b"old")
        helpers.make_read_only(folder)
        for action in (
            lambda: files.write_bytes(folder / "x", b"new"),
            lambda: files.write_bytes(folder / "new" / "x", b"new"),
            lambda: files.remove(folder / "x"),
        ):
            with pytest.raises(FedkitError, match="Read-only") as caught:
                action()
            assert "writable" in str(caught.value.remedy)
        assert (folder / "x").read_bytes() == b"old"


@posix
def test_what_somebody_planted_for_the_scratch_file_is_not_written_to(tmp_path: Path) -> None:
    """A pipe would hang us, a hard or soft link would send our bytes into another file."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    os.mkfifo(tmp_path / ".pipe.tmp")
    (tmp_path / ".hard.tmp").hardlink_to(victim)
    (tmp_path / ".soft.tmp").symlink_to(victim)
    for name in ("pipe", "hard", "soft"):
        files.write_bytes(tmp_path / name, b"mine")
        assert (tmp_path / name).read_bytes() == b"mine"
        assert files.is_file(tmp_path / name)
    assert victim.read_bytes() == b"precious"


def test_a_folder_in_the_way_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for path in (tmp_path / "x", tmp_path / "y" / "z"):
        (tmp_path / "y").write_bytes(b"a file, no folder")
        with pytest.raises(FedkitError) as caught:
            files.write_bytes(path, b"")
        assert caught.value.file == path
        assert caught.value.remedy


def test_a_name_with_nul_is_an_error_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(FedkitError):
        files.write_bytes(tmp_path / "a\0b", b"")
    with pytest.raises(FedkitError):
        files.read_bytes(tmp_path / "a\0b")


# ------------------------------------------------------------------------------ links and the rest
@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a secret, beside the root `tmp_path / "root"`."""
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_bytes(b"secret")
    return tmp_path / "out"


@posix
def test_a_link_to_a_file_is_not_followed(tmp_path: Path, outside: Path) -> None:
    link = tmp_path / "root" / "in" / "x"
    link.symlink_to(outside / "x")
    assert not files.is_file(link)
    with pytest.raises(Unreadable, match="link") as caught:
        files.read_bytes(link)
    assert caught.value.file == link
    assert caught.value.remedy
    files.write_bytes(link, b"mine")  # replaces the link, not what it leads to
    assert (outside / "x").read_bytes() == b"secret"
    assert link.read_bytes() == b"mine"
    assert not link.is_symlink()


@posix
@pytest.mark.parametrize("target", ["../out", "../root/in", "link", "nowhere", "in/.."])
def test_nothing_is_read_written_or_removed_behind_a_linked_folder(
    tmp_path: Path, outside: Path, target: str
) -> None:
    """Wherever it leads: out of the root, inside it, to itself, nowhere."""
    root = tmp_path / "root"
    (root / "in" / "x").write_bytes(b"other")
    (root / "link").symlink_to(target)
    before = helpers.snapshot(tmp_path)
    for path in (root / "link" / "x", root / "link" / "deeper" / "x"):
        for action in (
            lambda path=path: files.read_bytes(path, root=root),
            lambda path=path: files.write_bytes(path, b"mine", root=root),
            lambda path=path: files.remove(path, root=root),
        ):
            with pytest.raises(Unreadable, match="link") as caught:
                action()
            assert caught.value.file == root / "link"
        assert files.read_json(path, root=root) is None
    assert helpers.snapshot(tmp_path) == before


@posix
def test_the_root_itself_may_lie_behind_a_link(tmp_path: Path) -> None:
    """A home on another disk is the person's own affair."""
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    files.write_bytes(tmp_path / "root" / "a" / "x", b"1", root=tmp_path / "root")
    assert files.read_bytes(tmp_path / "root" / "a" / "x", root=tmp_path / "root") == b"1"


@posix
def test_what_is_no_file_never_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(Unreadable, match="regular file"):
            files.read_bytes(tmp_path / name)
        assert not files.is_file(tmp_path / name)
        assert files.read_json(tmp_path / name) is None


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing lists our open files here")
def test_refusals_leave_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    sparse_file(tmp_path / "large", 100)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        for name in ("folder", "large"):
            with pytest.raises(Unreadable):
                files.read_bytes(tmp_path / name, max_bytes=10)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "x", tmp_path / "x" / "y", tmp_path / "file" / "y"):
        with pytest.raises(FileNotFoundError):
            files.read_bytes(path)
        assert files.read_json(path) is None
        files.remove(path)


def test_a_folder_is_not_removed_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FedkitError) as caught:
        files.remove(tmp_path / "folder")
    assert caught.value.file == tmp_path / "folder"


@pytest.mark.parametrize("read", [files.read_bytes, files.read_state, files.read_dataset])
def test_two_gigabytes_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any]
) -> None:
    path = sparse_file(tmp_path / "x.pt", 2**31 + 1)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(Unreadable, match="2,147,483,649 bytes") as caught:
        read(path)
    assert caught.value.file == path


# ------------------------------------------------------------------------------------------- JSON
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_half_a_surrogate_survives(tmp_path: Path) -> None:
    """JSON can spell it, so a stranger can send it; what we write of it must be readable too."""
    text = json.loads('"\\ud800"')
    files.write_json(tmp_path / "x.json", [text])
    assert files.read_json(tmp_path / "x.json") == [text]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [-float("inf")]}])
def test_json_has_no_nan(tmp_path: Path, value: Any) -> None:
    files.write_json(tmp_path / "x.json", 1)
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"a": 1', b"\xff\xfe", b"[" * 100_000, b'"\x00', b"1" * 10_000, b"nope", b"{}x"],
)
def test_unreadable_json_is_not_there_yet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert files.read_json(tmp_path / "x.json") is None


def test_enormous_json_is_not_read(tmp_path: Path) -> None:
    assert files.read_json(sparse_file(tmp_path / "x.json", 2**31)) is None


# ----------------------------------------------------------------------------------------- tensors
DTYPES = [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool]
TENSORS = st.builds(
    lambda shape, dtype, seed: torch.randint(
        0, 2, shape, generator=torch.Generator().manual_seed(seed)
    ).to(dtype),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from(DTYPES),
    st.integers(0, 1000),
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), TENSORS, max_size=4))
def test_a_state_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Tensor]
) -> None:
    path = tmp_path_factory.getbasetemp() / "state.pt"
    written = files.write_state(path, state)
    assert path.read_bytes() == written
    back = files.read_state(path)
    assert list(back) == list(state)
    for name, value in state.items():
        assert back[name].dtype == value.dtype
        assert torch.equal(back[name], value)


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    """A view into a large tensor, a parameter, another name of the file: the same content, the same hash."""
    values = torch.arange(6.0)
    large = torch.arange(60.0)[:6]
    one = files.write_state(tmp_path / "one.pt", {"w": values})
    assert files.write_state(tmp_path / "other.pt", {"w": large}) == one
    assert files.write_state(tmp_path / "third.pt", {"w": torch.nn.Parameter(values)}) == one
    assert files.write_state(tmp_path / "four.pt", {"w": values + 1}) != one


def test_a_dataset_comes_back_as_it_was(tmp_path: Path) -> None:
    images, labels = helpers.shard([3, 7])
    files.write_dataset(tmp_path / "d.pt", images, labels)
    back = files.read_dataset(tmp_path / "d.pt")
    assert torch.equal(back[0], images)
    assert torch.equal(back[1], labels)
    assert isinstance(torch.load(tmp_path / "d.pt", weights_only=True), tuple)


def other_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/hello", "x")
    return buffer.getvalue()


GOOD = {"w": torch.zeros(3), "b": torch.ones(2)}
BAD_STATES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda m: b"", "can't be read as tensors"),
    "text": (lambda m: b"version https://git-lfs.example/spec/v1\n", "can't be read as tensors"),
    "noise": (lambda m: bytes(range(256)) * 9, "can't be read as tensors"),
    "another zip": (lambda m: other_zip(), "can't be read as tensors"),
    "truncated": (lambda m: saved(GOOD)[:-20], "can't be read as tensors"),
    "truncated, old format": (
        lambda m: saved(GOOD, _use_new_zipfile_serialization=False)[:-5],
        "can't be read as tensors",
    ),
    "code": (lambda m: saved({"w": Code(m)}), "nothing in it was run"),
    "code, old format": (
        lambda m: saved({"w": Code(m)}, _use_new_zipfile_serialization=False),
        "nothing in it was run",
    ),
    "code, plain pickle": (lambda m: pickle.dumps(Code(m)), "nothing in it was run"),
    "a whole model": (lambda m: saved(torch.nn.Linear(2, 2)), "nothing in it was run"),
    "a list": (lambda m: saved([torch.zeros(2)]), "holds a list"),
    "a tensor": (lambda m: saved(torch.zeros(2)), "holds a Tensor"),
    "numbers": (lambda m: saved({"w": 3.0}), "holds a dict"),
    "no names": (lambda m: saved({0: torch.zeros(2)}), "holds a dict"),
    "nested": (lambda m: saved({"state_dict": GOOD}), "holds a dict"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", BAD_STATES)
def test_what_is_no_state_is_refused_and_never_run(tmp_path: Path, kind: str) -> None:
    make, says = BAD_STATES[kind]
    marker, path = tmp_path / "marker", tmp_path / "x.pt"
    path.write_bytes(make(marker))
    with pytest.raises(Unreadable) as caught:
        files.read_state(path)
    assert says in caught.value.what
    assert caught.value.file == path
    assert caught.value.remedy
    assert "weights_only=False" not in str(caught.value)  # torch's own advice would run the code
    assert not marker.exists()
    with pytest.raises(Unreadable):
        files.read_dataset(path)
    assert not marker.exists()


def test_the_marker_would_appear(tmp_path: Path) -> None:
    """The bait of these tests works: an unpickler without care takes it."""
    pickle.loads(pickle.dumps(Code(tmp_path / "marker"))).close()
    assert (tmp_path / "marker").exists()


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"w": torch.zeros(4 * 2**20)}  # 16 MiB
    bomb = recompressed(saved(state))
    assert len(bomb) < 2**16
    (tmp_path / "x.pt").write_bytes(bomb)
    taken = torch.load(tmp_path / "x.pt", weights_only=True)
    assert torch.equal(taken["w"], state["w"])  # torch takes it
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(Unreadable, match="unpacks to"):
        files.read_state(tmp_path / "x.pt", max_bytes=2**20)
    with pytest.raises(Unreadable, match="compressed"):  # however much would be allowed
        files.read_state(tmp_path / "x.pt")


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(st.data())
def test_damaged_bytes_are_unreadable_or_tensors(data: st.DataObject) -> None:
    """Cut off or flipped anywhere, they never raise anything that a caller does not expect."""
    old = data.draw(st.booleans())
    content = bytearray(saved(GOOD, _use_new_zipfile_serialization=not old))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        state = files.load_state(bytes(content), Path("x.pt"), max_bytes=2**20)
    except Unreadable:
        return
    assert all(isinstance(value, Tensor) for value in state.values())


def test_json_of_ones_own_may_be_longer_than_that_of_others(tmp_path: Path) -> None:
    values = {f"k{n}": "x" * 100 for n in range(20_000)}  # more than 2 MiB
    files.write_json(tmp_path / "mine.json", values)
    assert files.read_object(tmp_path / "mine.json") == values
    most = files.MAX_STRANGERS_JSON_BYTES
    assert files.read_object(tmp_path / "mine.json", max_bytes=most) == {}
