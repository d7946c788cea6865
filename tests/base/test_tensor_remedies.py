"""What is usually given in place of weights or samples is named, and the line that helps does so when it is run."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from fedkit.base.errors import Unreadable
from fedkit.base.files import read_dataset, read_state
from fedkit.base.tensors import inspect_state
from tests.support.digits import seeded

MODEL = nn.Linear(3, 2)
STATE = MODEL.state_dict()
ADAM = torch.optim.Adam(MODEL.parameters())
MODEL(torch.ones(1, 3)).sum().backward()
ADAM.step()
X, Y = torch.rand(4, 1, 28, 28, generator=seeded(0)), torch.tensor([3, 1, 0, 9])


def line_of(error: Unreadable) -> str:
    assert error.remedy is not None
    return error.remedy.rpartition(": ")[2]


CHECKPOINTS: dict[str, dict[str, Any]] = {
    "model and optimiser": {
        "model": MODEL.state_dict(),
        "optimizer": ADAM.state_dict(),
        "epoch": 3,
    },
    "state_dict": {"epoch": 3, "state_dict": MODEL.state_dict(), "lr": 0.1},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_line_takes_the_weights_out_of_a_checkpoint(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(CHECKPOINTS[name], path)
    with pytest.raises(Unreadable, match="it is a checkpoint") as caught:
        read_state(path)
    exec(line_of(caught.value), {"torch": torch, "path": path})
    state = read_state(path)
    assert all(torch.equal(state[k], v) for k, v in MODEL.state_dict().items())


@pytest.mark.parametrize("kind", [lambda: MODEL, lambda: ADAM], ids=["a module", "an optimiser"])
def test_a_whole_object_is_told_what_to_save(tmp_path: Path, kind: Callable[[], object]) -> None:
    path = tmp_path / "weights.pt"
    torch.save(kind(), path)
    with pytest.raises(Unreadable, match=r"torch.save\(model.state_dict\(\), path\)"):
        read_state(path)


def as_safetensors(state: dict[str, torch.Tensor]) -> bytes:
    """As its description says: length of the header, the header, the numbers."""
    header, body = {}, b""
    for name, value in state.items():
        data = value.numpy().tobytes()
        ends = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": ends}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_a_safetensors_file_is_named(tmp_path: Path) -> None:
    data, path = as_safetensors({k: v.detach() for k, v in STATE.items()}), tmp_path / "weights.pt"
    with pytest.raises(Unreadable, match=r"safetensors file.*load_file\(path\), path\)") as caught:
        inspect_state(data, path)
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")
    assert safetensors
    path.write_bytes(data)
    exec(line_of(caught.value), {"torch": torch, "path": path})
    assert all(torch.equal(read_state(path)[k], v) for k, v in STATE.items())


PAIRS: dict[str, object] = {
    "a dict": {"images": X, "labels": Y},
    "a list of images, each with its digit": [(x, int(y)) for x, y in zip(X, Y, strict=True)],
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_line_makes_a_pair(tmp_path: Path, name: str) -> None:
    path = tmp_path / "shard.pt"
    torch.save(PAIRS[name], path)
    with pytest.raises(Unreadable, match="not a pair of tensors") as caught:
        read_dataset(path)
    exec(line_of(caught.value), {"torch": torch, "path": path})
    images, labels = read_dataset(path)
    assert torch.equal(images, X)
    assert torch.equal(labels, Y)


@pytest.mark.parametrize(
    "kind",
    [lambda: TensorDataset(X, Y), lambda: (X.numpy(), Y.numpy())],
    ids=["a TensorDataset", "arrays"],
)
def test_what_could_run_code_is_told_how_to_become_two_tensors(
    tmp_path: Path, kind: Callable[[], object]
) -> None:
    path = tmp_path / "shard.pt"
    torch.save(kind(), path)
    with pytest.raises(Unreadable, match=r"dataset\.tensors.*torch\.from_numpy\(array\)") as caught:
        read_dataset(path)
    assert "state_dict" not in str(caught.value)
