"""Leave networks behind as a version of fedkit makes them, in the middle of their work, as one small zip.

Run it with the version that is to be kept: `python make.py NAME.zip`. `test_what_exists_goes_on.py` then lets today's code
finish them. It uses public names alone, which every version has.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fedkit as fk

ANA, ALICE, BOB, CAROL = (f"{name}@example.org" for name in ("ana", "alice", "bob", "carol"))
MODEL = """import torch
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 10)

    def forward(self, images):
        return self.fc(nn.functional.avg_pool2d(images, 7).flatten(1))
"""
ROOT = "@ROOT@"
"""Stands for the folder in which a network lay."""

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaffold": {"strategy": {"name": "scaffold"}},
    "masks": {"secure_aggregation": {"threshold": 2}},
    "quorum": {"min_participants": 2, "participants_per_round": 2},
    "noise": {
        "dp": {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5},
    },
}


def shard(number: int) -> tuple[Tensor, Tensor]:
    """Six images of large blocks, which take little room in a zip."""
    generator = torch.Generator().manual_seed(number)
    blocks = (torch.rand(6, 1, 4, 4, generator=generator) * 255).round() / 255
    images = blocks.repeat_interleave(7, 2).repeat_interleave(7, 3)
    return images, torch.randint(10, (6,), generator=generator)


def network(root: Path, **more: Any) -> fk.Network:
    """Three participants with data, and a project of three rounds that is launched."""
    people = [ALICE, BOB, CAROL]
    net = fk.Network.create(root, aggregator=ANA, participants=people, workers=1)
    for number, email in enumerate(people):
        net.give_data(email, shard(number))
    net.give_test(*shard(9))
    config = {
        "model_arch": "model.py",
        "model_weight": "weights.pt",
        "rounds": 3,
        "epoch": 2,
        "learning_rate": 0.1,
        "batch_size": 3,
        **more,
    }
    net.launch(
        fk.FLConfig(project_name="OLDER", aggregator=ANA, participants=people, **config), MODEL
    )
    return net


def leave(root: Path, kind: str) -> None:
    """Stop in the middle of round 2: the first participant has trained, the second is at it."""
    net = network(root, **KINDS[kind])
    net.run(approve=fk.approve_all, until_round=1)
    epochs = [0]

    def count(*_: object) -> None:
        epochs[0] += 1

    net.run(on_epoch=count, stop=lambda: epochs[0] >= 3)


def main() -> None:
    """Write the zip: each content once, by its hash, and which file has which."""
    contents, files = dict[str, bytes](), dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for kind in KINDS:
            leave(root / kind, kind)
        done = network(root / "done")
        done.run(approve=fk.approve_all)
        asked = network(root / "asked")
        asked.run()
        fk.approve(asked[ALICE], "OLDER")
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix != ".lock":
                data = path.read_bytes().replace(str(root).encode(), ROOT.encode())
                digest = hashlib.sha256(data).hexdigest()[:16]
                contents[digest] = data
                files[path.relative_to(root).as_posix()] = digest
            elif path.is_dir() and not any(path.iterdir()):
                files[path.relative_to(root).as_posix() + "/"] = ""
    with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("files.json", json.dumps({"version": fk.__version__, "files": files}))
        for digest, data in contents.items():
            archive.writestr(digest, data)


if __name__ == "__main__":
    main()
