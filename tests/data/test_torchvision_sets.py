"""torchvision's data sets, small and on the disk: read where they are what they should be, and never fetched."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from fedkit.base.errors import FedkitError
from fedkit.data import torchvision_sets
from fedkit.data.importing import deal_out
from fedkit.data.torchvision_sets import import_torchvision


def idx(root: Path, name: str, train: int = 20, test: int = 10) -> Path:
    """The four raw files of MNIST's family, small; the k-th image is all k, its class k % 10."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for prefix, count in (("train", train), ("t10k", test)):
        images = np.repeat(np.arange(count, dtype=np.uint8), 784).tobytes()
        head = b"".join(n.to_bytes(4, "big") for n in (0x803, count, 28, 28))
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + images)
        labels = bytes(k % 10 for k in range(count))
        head = b"".join(n.to_bytes(4, "big") for n in (0x801, count))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(head + labels)
    return folder


@pytest.mark.parametrize("name", ["FashionMNIST", "KMNIST", "MNIST"])
def test_a_data_set_of_torchvision_brings_its_test_set_and_its_classes(
    tmp_path: Path, name: str
) -> None:
    idx(tmp_path, name)
    data = import_torchvision(name, tmp_path)
    assert data.samples.shape == (20, 1, 28, 28)
    assert torch.equal(data.samples[:, 0, 0, 0], torch.arange(20) / 255)
    assert data.labels.tolist() == [k % 10 for k in range(20)]
    assert len(data.task.names) == 10
    assert name != "FashionMNIST" or data.task.names[0] == "T-shirt/top"
    shards, test = deal_out(data, participants=3)
    assert sum(len(labels) for _, labels in shards.values()) == 20
    assert len(test[1]) == 10
    with pytest.raises(FedkitError, match="has its own"):
        deal_out(data, test=0.3)
    small = import_torchvision(name, tmp_path, size=(8, 6))
    assert small.task.shape == (1, 8, 6)


def cifar(root: Path, monkeypatch: pytest.MonkeyPatch | None) -> Path:
    """CIFAR10's files, small; with `monkeypatch` torchvision takes their checksums for the right ones."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    cls = datasets.CIFAR10
    for name, _ in [*cls.train_list, *cls.test_list]:
        pixels = np.full((4, 3072), 51, np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [0, 1, 2, 9]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    if monkeypatch is not None:
        for part in ("train_list", "test_list"):
            listed = [(n, _md5(folder / n)) for n, _ in getattr(cls, part)]
            monkeypatch.setattr(cls, part, listed)
        monkeypatch.setattr(cls, "meta", cls.meta | {"md5": _md5(folder / "batches.meta")})
    return root


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_colour_images_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = import_torchvision("CIFAR10", cifar(tmp_path, monkeypatch))
    assert data.task.names == tuple("abcdefghij")
    assert (data.samples.shape, len(data.test[1])) == ((20, 3, 32, 32), 4)  # type: ignore[index]
    assert torch.equal(data.samples, torch.full((20, 3, 32, 32), 0.2))


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("opened"),)


def test_pickles_that_are_not_the_known_ones_are_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cifar(tmp_path, None)
    for path in (tmp_path / "cifar-10-batches-py").iterdir():
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(FedkitError, match="not found or corrupted"):
        import_torchvision("CIFAR10", tmp_path)
    assert not Path("opened").exists()


@pytest.mark.parametrize("name", ["FashionMNIST", "CIFAR100", "SVHN", "STL10"])
def test_files_that_are_missing_are_not_fetched(tmp_path: Path, name: str) -> None:
    with pytest.raises(FedkitError, match=f"no {name} that can be read") as caught:
        import_torchvision(name, tmp_path)
    assert "nothing is downloaded" in str(caught.value.remedy)
    assert "download=True" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Nothing", "FakeData", "VOCDetection", "__name__", "PCAM"])
def test_other_data_sets_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FedkitError, match="not among") as caught:
        import_torchvision(name, tmp_path)
    assert "CIFAR10" in str(caught.value.remedy)


@pytest.mark.parametrize("damage", [b"", b"\0" * 20, b"short"])
def test_raw_files_that_are_cut_off_are_named(tmp_path: Path, damage: bytes) -> None:
    (idx(tmp_path, "FashionMNIST") / "t10k-images-idx3-ubyte").write_bytes(damage)
    with pytest.raises(FedkitError, match="no FashionMNIST that can be read"):
        import_torchvision("FashionMNIST", tmp_path)


def test_too_large_a_data_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idx(tmp_path, "FashionMNIST")
    monkeypatch.setattr(
        torchvision_sets, "MOST_BYTES", 20_000
    )  # its files have 16 kB, its images 82 kB
    with pytest.raises(FedkitError, match="more than 20,000 pixels"):
        import_torchvision("FashionMNIST", tmp_path, size=(64, 64))
    monkeypatch.setattr(torchvision_sets, "MOST_BYTES", 100)
    with pytest.raises(FedkitError, match="larger than any"):
        import_torchvision("FashionMNIST", tmp_path)


def test_an_image_folder_is_one_of_them(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4), (51, 0, 0)).save(tmp_path / name / "1.png")
    assert import_torchvision("ImageFolder", tmp_path).task.names == ("cat", "dog")
