"""A participant's samples in its private folder: what is put there comes back, and nothing else of it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from tests.support.helpers import ALICE, BOB
from tests.support.tasks import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_what_is_put_comes_back_and_replaces_what_was_there(tmp_path: Path, name: str) -> None:
    kind, site = KINDS[name], fk.Datasite.create(tmp_path, ALICE)
    (site.private_client / "notes.txt").write_text("mine")
    site.private.put(kind.shards[1], kind.task)
    assert site.private.put(kind.shards[0], kind.task) == site.private.files == site.data_files
    samples, labels = site.private.load(kind.task)
    assert torch.equal(samples, kind.shards[0][0])
    assert torch.equal(labels, kind.shards[0][1])
    assert (site.private_client / "notes.txt").read_text() == "mine"


def test_digits_are_kept_as_the_real_client_reads_them(tmp_path: Path) -> None:
    site = fk.Datasite.create(tmp_path, ALICE)
    images, labels = torch.rand(4, 1, 28, 28), torch.tensor([7, 2, 7, 2])
    site.private.put((images, labels))
    assert [path.name for path in site.private.files] == ["mnist_label_2.pt", "mnist_label_7.pt"]
    site.private.put((images[:1], labels[:1]))
    assert [path.name for path in site.private.files] == ["mnist_label_7.pt"]
    loaded, found = site.private.load()
    assert (found.tolist(), torch.equal(loaded, images[:1])) == ([7], True)


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    kind, site = KINDS["a table"], fk.Datasite.create(tmp_path, ALICE)
    (path,) = site.private.put(kind.shards[0], kind.task)
    before = path.read_bytes()
    with pytest.raises(FedkitError, match="float64"):
        site.private.put((kind.samples.double(), kind.labels), kind.task)
    assert (site.private.files, path.read_bytes()) == ([path], before)
    with pytest.raises(FedkitError, match="holds no shard"):
        fk.Datasite.create(tmp_path / "bob", BOB).private.load(kind.task)
