"""Tensors without code: they come back as they were, and a stranger's file is numbers or refused, never run."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedkit.base import files
from fedkit.base.errors import Unreadable
from tests.support import helpers
from tests.support.helpers import Code, recompressed, saved

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
    assert torch.equal(files.read_state(tmp_path / "x.pt")["w"], state["w"])  # torch takes it
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(Unreadable, match="unpacks to"):
        files.read_state(tmp_path / "x.pt", max_bytes=2**20)


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
