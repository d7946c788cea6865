"""A participant's private files: read back as they were written, and nothing else is taken for data."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.data.partition import by_digits, iid
from fedkit.data.shards import as_float, check_dataset, in_order, read_shard, write_shard
from tests.support.digits import seeded
from tests.support.helpers import Code, complaint, saved


# -------------------------------------------------------------------------------------- pixels
def test_as_float_is_x_over_255() -> None:
    values = torch.arange(256, dtype=torch.uint8).repeat(784)[: 28 * 28 * 256].reshape(256, 28, 28)
    floats = as_float(values)
    assert floats.shape == (256, 1, 28, 28)
    assert floats.dtype == torch.float32
    exact = values.numpy().astype(np.float64) / 255
    assert np.array_equal(floats[:, 0].numpy(), exact.astype(np.float32))


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 28, 28), torch.zeros(28, 28, dtype=torch.uint8), torch.zeros(2, 3, 3).byte()],
)
def test_as_float_refuses(images: torch.Tensor) -> None:
    assert complaint(lambda: as_float(images)).field == "images"


# --------------------------------------------------------------------------------------- shards
def numbered(n: int) -> torch.Tensor:
    """n stored images that can be told apart."""
    images = torch.zeros(n, 28, 28, dtype=torch.uint8)
    images[:, 0, 0], images[:, 0, 1] = torch.arange(n) % 256, torch.arange(n) // 256
    return images


@pytest.mark.parametrize("kind", ["iid", "by_digits"])
def test_shard_reads_back_as_it_was(kind: str, tmp_path: Path) -> None:
    labels = torch.arange(10).repeat(30)[torch.randperm(300, generator=seeded(3))]
    images = numbered(300)
    if kind == "iid":
        shards = iid(images, labels, 3, generator=seeded())
    else:
        shards = by_digits(images, labels, [[3, 1], [0, 9, 8]], 20, generator=seeded())
    for number, (pixels, held) in enumerate(shards):
        original = (pixels[:, 0, 0, 0] * 255 + pixels[:, 0, 0, 1] * 255 * 256).round().long()
        assert torch.equal(labels[original], held)  # each image kept its own label
        folder = tmp_path / str(number)
        names = [path.name for path in write_shard(folder, (pixels, held))]
        assert names == [f"mnist_label_{digit}.pt" for digit in sorted(set(held.tolist()))]
        # as the real client reads them
        for path in folder.iterdir():
            one = torch.load(path, weights_only=True)
            assert isinstance(one, tuple)
            assert set(one[1].tolist()) == {int(path.stem[-1])}
            assert path.stat().st_size < len(one[1]) * 28 * 28 * 4 * 1.2 + 4000  # no hidden rest
        read_images, read_labels = read_shard(folder)
        assert torch.equal(read_images, pixels)
        assert torch.equal(read_labels, held)


def test_only_the_real_clients_names_are_data(tmp_path: Path) -> None:
    images, labels = torch.rand(4, 1, 28, 28), torch.tensor([5, 6, 7, 5])
    torch.save((images, labels), tmp_path / "mnist_label_3.pt")  # any labels inside
    others = ["mnist_label_10.pt", "mnist_label_x.pt", "xmnist_label_1.pt", "mnist_label_1.pt.tmp"]
    for name in [*others, "mnist_label_1xpt", ".mnist_label_2.pt", ".DS_Store"]:
        (tmp_path / name).write_bytes(b"none of ours")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    assert torch.equal(read_shard(tmp_path)[1], torch.tensor([5, 5, 6, 7]))


def test_the_order_is_by_label_and_then_as_it_came_wherever_the_images_lie(tmp_path: Path) -> None:
    """In memory, in a file for each label, or all in one file: the same shard."""
    labels = torch.tensor([7, 1, 7, 0, 1, 1])
    images = as_float(numbered(6))
    mixed = [3, 1, 4, 5, 0, 2]
    wanted = (images[mixed], labels[mixed])
    write_shard(tmp_path / "each", (images, labels))
    (tmp_path / "one").mkdir()
    torch.save((images, labels), tmp_path / "one" / "mnist_label_0.pt")
    for got in (
        in_order((images, labels)),
        read_shard(tmp_path / "each"),
        read_shard(tmp_path / "one"),
    ):
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert in_order(wanted) is wanted


X, Y = torch.rand(6, 1, 28, 28, generator=seeded()), torch.tensor([0, 1, 2, 3, 4, 9])


def with_value(value: float) -> torch.Tensor:
    changed = X.clone()
    changed[3, 0, 14, 14] = value
    return changed


BAD_DATA: dict[str, tuple[Any, str | None]] = {
    "no channel": ((X[:, 0], Y), "images"),
    "three channels": ((X.repeat(1, 3, 1, 1), Y), "images"),
    "32 pixels": ((torch.rand(6, 1, 32, 32), Y), "images"),
    "flat": ((X.reshape(6, 784), Y), "images"),
    "bytes": (((X * 255).byte(), Y), "images"),
    "doubles": ((X.double(), Y), "images"),
    "halves": ((X.half(), Y), "images"),
    "complex": ((X.to(torch.complex64), Y), "images"),
    "sparse": ((X.to_sparse(), Y), "images"),
    "one number, repeated": ((torch.zeros(1).expand(2**40, 1, 28, 28), Y), "images"),
    "one label, repeated": ((X, torch.zeros(1, dtype=torch.int64).expand(6)), "labels"),
    "0..255": ((X * 255, Y), "images"),
    "normalised": (((X - 0.13) / 0.31, Y), "images"),
    "a little negative": ((with_value(-1e-6), Y), "images"),
    "NaN": ((with_value(float("nan")), Y), "images"),
    "infinite": ((with_value(float("inf")), Y), "images"),
    "minus infinite": ((with_value(float("-inf")), Y), "images"),
    "empty": ((X[:0].clone(), Y[:0].clone()), "images"),
    "fewer labels": ((X, Y[:5].clone()), "labels"),
    "no labels": ((X, Y[:0].clone()), "labels"),
    "one-hot": ((X, torch.eye(10, dtype=torch.int64)[Y]), "labels"),
    "int32 labels": ((X, Y.int()), "labels"),
    "float labels": ((X, Y.float()), "labels"),
    "scalar label": ((X, torch.tensor(3)), "labels"),
    "label 10": ((X, torch.where(Y == 9, 10, Y)), "labels"),
    "label -1": ((X, torch.where(Y == 9, -1, Y)), "labels"),
    "swapped": ((Y, X), "images"),
    "a dict": ({"images": X, "labels": Y}, None),
    "images alone": (X, None),
    "three parts": ((X, Y, Y), None),
    "list of numbers": ((X, [0, 1, 2, 3, 4, 9]), None),
    "truncated": (saved((X, Y))[:-500], None),
    "no bytes": (b"", None),
    "text": (b"not a tensor at all\n", None),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_file(case: str, tmp_path: Path) -> None:
    value, field = BAD_DATA[case]
    torch.save((X, Y), tmp_path / "mnist_label_0.pt")
    path = tmp_path / "mnist_label_1.pt"
    path.write_bytes(value if isinstance(value, bytes) else saved(value))
    error = complaint(lambda: read_shard(tmp_path))
    assert error.file == path
    assert error.field == field


def test_good_data_passes() -> None:
    for images in (X, X[:, :, :, torch.arange(27, -1, -1)], torch.zeros(6, 1, 28, 28), X.round()):
        check_dataset(images, Y, "x")
    check_dataset(X.flip(0)[::2], Y[::2], "x")  # a view whose numbers are all there
    check_dataset(X.clone().requires_grad_(), Y, "x")


def test_code_in_a_data_file_never_runs(tmp_path: Path) -> None:
    (tmp_path / "mnist_label_1.pt").write_bytes(saved((Code(tmp_path / "ran"), Y)))
    assert complaint(lambda: read_shard(tmp_path)).file == tmp_path / "mnist_label_1.pt"
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "mnist_label_1.pt", weights_only=False)  # the trap is one
    assert (tmp_path / "ran").exists()


def test_links_folders_and_nothing_are_no_data(tmp_path: Path) -> None:
    assert complaint(lambda: read_shard(tmp_path)).file == tmp_path
    assert complaint(lambda: read_shard(tmp_path / "none")).file == tmp_path / "none"
    folder = tmp_path / "folder"
    (folder / "mnist_label_2.pt").mkdir(parents=True)
    assert complaint(lambda: read_shard(folder)).file == folder / "mnist_label_2.pt"
    assert complaint(lambda: read_shard(folder / "..")).file is not None
    if os.name != "nt":
        elsewhere, linked = tmp_path / "secret.pt", tmp_path / "linked"
        torch.save((X, Y), elsewhere)
        linked.mkdir()
        (linked / "mnist_label_4.pt").symlink_to(elsewhere)
        error = complaint(lambda: read_shard(linked))
        assert error.file == linked / "mnist_label_4.pt"
        assert "link" in error.what


def test_bad_shard_is_not_written(tmp_path: Path) -> None:
    assert complaint(lambda: write_shard(tmp_path, (X * 2, Y))).field == "images"
    assert list(tmp_path.iterdir()) == []


def test_a_table_given_without_its_task_is_told_of_the_task() -> None:
    """Not that its labels, which are right, have the wrong type."""
    with pytest.raises(FedkitError, match='"task" in the config') as caught:
        check_dataset(torch.zeros(5, 30), torch.ones(5), "shard.pt")
    assert caught.value.field == "images"
