"""From a file of one's own to a federated model by two commands."""

import json
from pathlib import Path

import pytest
import torch

from fedkit.config.fl_config import FLConfig
from fedkit.config.task import Statistics, Task
from fedkit.data.folder import write_data_folder
from fedkit.data.shards import write_shard
from fedkit.data.standardise import stated
from fedkit.rounds.history import History
from fedkit.rounds.simulation import simulate
from tests.support.cli import fedkit
from tests.support.helpers import ALICE, BOB, tutorial
from tests.support.tasks import KINDS


def csv(folder: Path, name: str = "a table", participant: bool = True) -> Path:
    kind = KINDS[name]
    lines = [",".join([f"f{n}" for n in range(30)] + ["whose", "label"])]
    for number, (row, label) in enumerate(zip(kind.samples, kind.labels, strict=True)):
        whose = [ALICE, BOB][number % 2] if participant else "x"
        lines.append(",".join([f"{float(value):.6f}" for value in row] + [whose, f"{label:g}"]))
    (folder / "table.csv").write_text("\n".join(lines))
    return folder / "table.csv"


def config(folder: Path, model: str, **changes: object) -> Path:
    values = tutorial(participants=[ALICE, BOB], rounds=2, epoch=1, **changes)
    (folder / "fl_config.json").write_text(json.dumps(values))
    (folder / values["model_arch"]).write_text(model)
    return folder / "fl_config.json"


@pytest.mark.parametrize(
    ("name", "more", "metrics"),
    [
        ("a table", [], {"balanced_accuracy", "auc"}),
        ("a regression", ["--loss", "mse"], {"mae", "r2"}),
    ],
)
def test_a_table_becomes_a_federated_model(
    tmp_path: Path, name: str, more: list[str], metrics: set[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    source = csv(tmp_path, name)
    how = ["--target", "label", "--participant", "whose", "--out", data, *more]
    told = fedkit("data", "import", source, *how)
    assert f"{ALICE}: " in told
    assert "test set: 18 samples" in told
    file = config(tmp_path, KINDS[name].model)
    told = fedkit("run", file, "--data", data, "--out", out)
    assert all(metric in told for metric in metrics)
    history = History.load(out / "history.json")
    assert history.done
    assert set(history.metrics) == metrics
    assert fedkit("run", file, "--data", data, "--out", out)  # it is this run's
    path = data / "shards" / ALICE / "shard.pt"
    samples, labels = torch.load(path)
    torch.save((samples + 1, labels), path)
    told = fedkit("run", file, "--data", data, "--out", out, code=1)
    assert "data_sha256" in told
    assert "another run" in told


def test_dealt_out_where_nobody_says_whose_a_row_is(tmp_path: Path) -> None:
    source = csv(tmp_path, participant=False)
    how = ["--target", "label", "--drop", "whose", "--participants", 3, "--out", tmp_path / "d"]
    told = fedkit("data", "import", source, *how)
    assert told.count("24 samples") == 3
    assert "carol@example.org" in told


def test_what_does_not_go_together_is_said_in_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    how = ["--target", "label", "--participant", "whose", "--out", data]
    fedkit("data", "import", csv(tmp_path), *how)
    bad = csv(tmp_path)
    bad.write_text(bad.read_text().replace("\n", "\nx", 1))
    told = fedkit("data", "import", bad, *how[:4], "--out", tmp_path / "e", code=1)
    assert "row 2, column 'f0'" in told
    assert not (tmp_path / "e").exists()
    gone = tmp_path / "gone.csv"
    assert "gone.csv: is not there" in fedkit("data", "import", gone, "--out", data, code=1)
    assert "is needed for a table" in fedkit("data", "import", bad, "--out", data, code=1)
    digits = KINDS["nine classes of grey images"].model
    told = fedkit("run", config(tmp_path, digits), "--data", data, "--out", tmp_path / "o", code=1)
    assert "can't take vectors [2,30]" in told
    three = config(tmp_path, KINDS["a table"].model, project_name="P")
    values = json.loads(three.read_text())
    three.write_text(json.dumps(values | {"participants": [ALICE]}))
    told = fedkit("run", three, "--data", data, "--out", tmp_path / "o", code=1)
    assert "there is data of 2" in told
    assert not (tmp_path / "o").exists()


def test_statistics_of_other_people_s_datasites_become_a_line_of_the_config(tmp_path: Path) -> None:
    kind = KINDS["a table"]
    written = {**kind.written, "standardise": "federated"}
    (tmp_path / "task.json").write_text(json.dumps(written))
    (tmp_path / "fl_config.json").write_text(kind.config(task=written).to_json())
    for name, about, shard in zip("ab", ("task.json", "fl_config.json"), kind.shards, strict=True):
        write_shard(tmp_path / name, shard, kind.task)
        told = fedkit("data", "statistics", tmp_path / name, "--task", tmp_path / about)
        assert set(json.loads(told)) == {"n", "sums", "squares"}  # and no sample
        (tmp_path / f"{name}.json").write_text(told)
    told = fedkit("data", "combine", tmp_path / "b.json", tmp_path / "a.json")
    line = json.loads("{" + told + "}")
    by_hand = kind.config(task={**kind.written, **line})
    assert by_hand == stated(kind.config(task=written), kind.shards)
    (tmp_path / "a.json").write_text('{"n": 1}')
    told = fedkit("data", "combine", tmp_path / "a.json", code=1)
    assert "sums" in told


def test_run_writes_the_numbers_that_federated_stands_for(tmp_path: Path) -> None:
    kind = KINDS["a table"]
    task = Task.model_validate({**kind.written, "standardise": "federated"})
    shards = dict(zip((ALICE, BOB), kind.shards, strict=True))
    write_data_folder(tmp_path / "data", task, shards, kind.test)
    file = config(tmp_path, kind.model)
    command = ["run", file, "--data", tmp_path / "data", "--out", tmp_path / "out"]
    fedkit(*command)
    found = FLConfig.load(tmp_path / "out" / "fl_config.json")
    assert isinstance(found.task.standardise, Statistics)
    history = History.load(tmp_path / "out" / "history.json")
    again = simulate(
        FLConfig.load(file).replace(task=task.model_dump(mode="json")),
        *(kind.shards, kind.test),
        model=kind.model,
        exact=True,
    )
    assert [r.loss for r in history] == [r.loss for r in again]
    assert "holds this run already" in fedkit(*command)


def test_a_data_set_of_torchvision_becomes_a_federated_model(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for prefix, count in (("train", 40), ("t10k", 10)):
        for kind, code, shape in (("images-idx3", 0x803, [28, 28]), ("labels-idx1", 0x801, [])):
            head = b"".join(n.to_bytes(4, "big") for n in (code, count, *shape))
            each = bytes(784) if shape else b""
            body = b"".join(each or bytes([k % 10]) for k in range(count))
            (folder / f"{prefix}-{kind}-ubyte").write_bytes(head + body)
    data = tmp_path / "data"
    how = ["--torchvision", "FashionMNIST", "--participants", "4", "--out", data]
    told = fedkit("data", "import", tmp_path / "root", *how)
    assert "test set: 10 samples" in told
    assert fedkit(
        "run", "--data", data, "--out", tmp_path / "out", "--set", "rounds=1", "--set", "epoch=1"
    )
    told = fedkit(
        "data", "import", tmp_path / "root", "--torchvision", "CIFAR11", "--out", data, code=1
    )
    assert "CIFAR10" in told


@pytest.mark.parametrize(
    ("source", "option"),
    [
        ("grey", ["--loss", "mse"]),
        ("grey", ["--target", "y"]),
        ("a.npz", ["--drop", "x"]),
        ("a.npz", ["--size", "2", "2"]),
        ("t.csv", ["--size", "2", "2"]),
    ],
)
def test_an_option_of_another_kind_of_source_is_refused(
    tmp_path: Path, source: str, option: list[str]
) -> None:
    path = tmp_path / source
    if path.suffix:
        path.touch()
    else:
        path.mkdir()
    said = fedkit("data", "import", path, "--out", tmp_path / "o", *option, code=1)
    assert f"{option[0]}: says nothing of" in said


def test_a_table_of_unlike_columns_is_told_what_puts_it_right(tmp_path: Path) -> None:
    rows = "\n".join(f"{n * 1000},{n / 7},{n % 2}" for n in range(40))
    (tmp_path / "table.csv").write_text("income,rate,label\n" + rows)
    words = ("data", "import", tmp_path / "table.csv", "--target", "label", "--participants", 2)
    said = fedkit(*words, "--out", tmp_path / "out")
    assert '"standardise": "federated"' in said
    (tmp_path / "table.csv").write_text("income,rate,label\n" + rows.replace("000,", ","))
    assert "standardise" not in fedkit(*words, "--out", tmp_path / "like")
