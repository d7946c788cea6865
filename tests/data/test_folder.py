"""A data folder comes back as it was written, and what is wrong in one is named."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.config.task import DIGITS, Task
from fedkit.data.folder import DataFolder, read_data_folder, write_data_folder
from tests.support import helpers
from tests.support.kills import Killed, cut_off
from tests.support.tasks import KINDS


def write(folder: Path, name: str = "a table") -> Path:
    kind = KINDS[name]
    shards = dict(zip(["hospital B", "hospital A"], kind.shards, strict=True))
    write_data_folder(folder, kind.task, shards, kind.test)
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_it_comes_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    data = read_data_folder(write(tmp_path / "d", name))
    assert data.task == kind.task
    assert list(data.shards) == ["hospital A", "hospital B"]
    assert torch.equal(data.shards["hospital B"][0], kind.shards[0][0])
    assert torch.equal(data.test[1], kind.test[1])


def test_digits_are_written_as_the_real_client_reads_them(tmp_path: Path) -> None:
    write_data_folder(
        tmp_path, DIGITS, {"a@example.org": helpers.shard([1, 2])}, helpers.held_out()
    )
    names = sorted(p.name for p in (tmp_path / "shards" / "a@example.org").iterdir())
    assert names == ["mnist_label_1.pt", "mnist_label_2.pt"]
    (tmp_path / "task.json").unlink()
    assert read_data_folder(tmp_path).task == DIGITS


def test_the_digest_tells_a_changed_file(tmp_path: Path) -> None:
    one, same = (read_data_folder(write(tmp_path / name)).digest for name in ("a", "b"))
    assert one == same
    path = tmp_path / "b" / "shards" / "hospital A" / "shard.pt"
    samples, labels = torch.load(path)
    torch.save((samples * 2, labels), path)
    assert read_data_folder(tmp_path / "b").digest != one


def rewrite(change: Callable[[dict], object]) -> Callable[[Path], object]:
    def do(folder: Path) -> None:
        values = json.loads((folder / "task.json").read_text())
        change(values)
        (folder / "task.json").write_text(json.dumps(values))

    return do


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no test set": (lambda d: (d / "test.pt").unlink(), "test.pt: is not there"),
    "no shards": (lambda d: (d / "shards").rename(d / "shard"), "holds no participant's folder"),
    "an empty participant": (lambda d: (d / "shards" / "x").mkdir(), "holds no shard.pt"),
    "a task of another shape": (rewrite(lambda t: t.update(shape=[29])), "not [N,29]"),
    "a task that is none": (rewrite(lambda t: t.update(loss="nope")), "task.json"),
    "half a task": (lambda d: (d / "task.json").write_text("{"), "task.json"),
    "a torn shard": (
        lambda d: (d / "shards" / "hospital A" / "shard.pt").write_bytes(b"PK"),
        "shard.pt",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_is_named(tmp_path: Path, kind: str) -> None:
    change, says = BROKEN[kind]
    change(write(tmp_path / "d"))
    with pytest.raises(FedkitError) as caught:
        read_data_folder(tmp_path / "d")
    assert says in str(caught.value)
    assert caught.value.remedy


def test_a_folder_that_is_none_and_a_task_that_differs(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="is no folder"):
        read_data_folder(tmp_path / "nowhere")
    with pytest.raises(FedkitError, match="something else than the config's task"):
        read_data_folder(write(tmp_path / "d"), DIGITS)


@pytest.mark.parametrize("name", ["..", "a/b", ".hidden", "con", "x.", "", "a\nb"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    kind = KINDS["a table"]
    with pytest.raises(FedkitError) as caught:
        write_data_folder(tmp_path / "d", kind.task, {name: kind.shards[0]}, kind.test)
    assert caught.value.field == "participant"
    assert list(tmp_path.rglob("*.pt")) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    write(tmp_path / "d")
    with pytest.raises(FedkitError, match="is not empty"):
        write(tmp_path / "d")
    assert isinstance(read_data_folder(tmp_path / "d"), DataFolder)
    assert isinstance(Task(), Task)


def test_names_that_one_folder_would_hold_on_some_disks_are_refused(tmp_path: Path) -> None:
    kind = KINDS["a table"]
    with pytest.raises(FedkitError, match="upper and lower case only"):
        write_data_folder(
            tmp_path / "d", kind.task, dict.fromkeys(["Ann", "ann"], kind.test), kind.test
        )
    assert not (tmp_path / "d").exists()


def test_a_folder_whose_writer_was_killed_is_none_and_is_written_again(tmp_path: Path) -> None:
    """Before every change of the disk."""
    for last in range(100):
        folder, changes = tmp_path / str(last), itertools.count()
        folder.mkdir()
        try:
            with cut_off(lambda _, changes=changes, last=last: next(changes) == last):  # type: ignore[misc]
                write(folder)
            break
        except Killed:
            assert not folder.exists() or not any(folder.iterdir())
            write(folder)
        whole = read_data_folder(folder)
        assert list(whole.shards) == ["hospital A", "hospital B"]
        assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []
    assert last > 8
