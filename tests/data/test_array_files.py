"""Arrays in an `.npz` become shards; what is none of numbers is refused with a line that puts it right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedkit.base.errors import FedkitError
from fedkit.data.array_files import import_arrays


def arrays(folder: Path, **given: Any) -> Path:
    np.savez(folder / "a.npz", **given)
    return folder / "a.npz"


def test_arrays_of_each_kind(tmp_path: Path) -> None:
    x, y = np.arange(24.0).reshape(6, 4), np.array([0, 1, 2, 0, 1, 2])
    data = import_arrays(arrays(tmp_path, x=x, y=y, participant=list("aabbcc")))
    assert (data.task.samples, data.task.outputs) == ("vectors", 3)
    assert data.owners == list("aabbcc")
    assert import_arrays(arrays(tmp_path, x=x, y=y / 2)).task.loss == "mse"
    bytes_ = (np.arange(6 * 3 * 2 * 2) % 256).astype(np.uint8).reshape(6, 3, 2, 2)
    images = import_arrays(arrays(tmp_path, x=bytes_, y=y))
    assert images.task.range == (0, 1)
    assert float(images.samples.max()) <= 1
    tokens = import_arrays(arrays(tmp_path, x=x.astype(int), y=y))
    assert (tokens.task.samples, tokens.task.vocabulary) == ("tokens", 24)


@pytest.mark.parametrize(
    "given",
    [
        {"x": np.zeros(3)},
        {"x": np.zeros((3, 2)), "y": np.zeros(2)},
        {"x": np.zeros((0, 2)), "y": np.zeros(0)},
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(FedkitError) as caught:
        import_arrays(arrays(tmp_path, **given))
    assert caught.value.remedy


def test_more_classes_than_a_task_takes_are_named(tmp_path: Path) -> None:
    with pytest.raises(FedkitError) as caught:
        import_arrays(arrays(tmp_path, x=np.zeros((2, 2)), y=np.array([0, 10**9])))
    assert caught.value.field == "outputs"


def test_no_object_in_an_npz_is_unpickled(tmp_path: Path) -> None:
    evil = np.array([object()], dtype=object)
    with pytest.raises(FedkitError, match="holds no arrays"):
        import_arrays(arrays(tmp_path, x=evil, y=np.zeros(1)))


X, Y = np.arange(24.0).reshape(6, 4), np.array([0, 1, 2, 0, 1, 2])
UNFIT: list[tuple[dict[str, Any], str | None, str]] = [
    ({"y": np.array(["cat", "dog", "emu"] * 2)}, None, "numpy.unique"),
    ({"y": 3}, None, "a y for each"),
    ({"y": Y - 1}, None, "number the classes from 0"),
    ({"y": np.eye(3, dtype=int)[Y]}, None, "y.argmax(1)"),
    ({"y": Y / 2}, "cross_entropy", "whole numbers"),
    ({"y": np.zeros((6, 2, 2))}, None, "[N, outputs]"),
    ({"y": Y * 1e300}, None, "float32"),
    ({"x": X.astype(str)}, None, "give numbers"),
    ({"x": X.astype(complex)}, None, "give numbers"),
    ({"x": X.astype(int) - 9}, None, "no tokens"),
    ({"x": X * 1e300}, None, "float32"),
    ({"x": np.zeros((6, 8, 8, 3))}, None, "x.transpose(0, 3, 1, 2)"),
    ({"participant": np.array(["a", "b"])}, None, "for each sample"),
    ({"participant": np.zeros((6, 2), int)}, None, "for each sample"),
    ({"participant": np.array(["a", " "] * 3)}, None, "empty name"),
]


@pytest.mark.parametrize(("given", "loss", "says"), UNFIT)
def test_what_would_train_wrongly_is_refused(
    tmp_path: Path, given: dict[str, Any], loss: str | None, says: str
) -> None:
    with pytest.raises(FedkitError) as caught:
        import_arrays(arrays(tmp_path, **{"x": X, "y": Y, **given}), loss=loss)
    assert says in str(caught.value)


def test_labels_of_each_kind(tmp_path: Path) -> None:
    for y, loss, kind in [
        (Y[:, None], None, "classes"),
        (Y == 1, None, "binary"),
        (Y % 2, "bce_with_logits", "binary"),
        (np.eye(3)[Y], "bce_with_logits", "binary"),
        (Y, "mse", "numbers"),
    ]:
        data = import_arrays(arrays(tmp_path, x=X, y=y), loss=loss)
        assert data.task.labels == kind
        assert data.labels.dtype.is_floating_point == (kind != "classes")
    owners = import_arrays(arrays(tmp_path, x=X, y=Y, participant=np.array([b"a", b"b"] * 3)))
    assert owners.owners == ["a", "b"] * 3


def test_what_is_no_npz_or_a_broken_one(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    whole = arrays(tmp_path, x=X, y=Y).read_bytes()
    flipped = bytearray(whole)
    flipped[180] ^= 255
    for content in (b"", b"text", whole[:300], bytes(flipped), (tmp_path / "x.npy").read_bytes()):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(FedkitError, match="holds no arrays"):
            import_arrays(tmp_path / "a.npz")
