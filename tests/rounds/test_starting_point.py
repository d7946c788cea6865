"""What the tutorial starts from: sample files, the same everywhere, and nobody's own file lost."""

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fedkit.base.errors import FedkitError
from fedkit.cli.data import app
from fedkit.data.folder import write_data_folder
from fedkit.data.shards import check_dataset
from fedkit.learning.models import load_model
from fedkit.rounds.starting_point import deal, read_experiment, write_samples
from tests.support.helpers import ALICE, BOB, complaint, mnist
from tests.support.tasks import KINDS

EIGHT = {
    "project_name",
    "aggregator",
    "participants",
    "rounds",
    "model_arch",
    "model_weight",
    "epoch",
    "learning_rate",
}


FILES = {
    *(f"mnist_label_{digit}.pt" for digit in range(10)),
    *("mnist_test_dataset.pt", "model.py", "global_model_weight.pt", "fl_config.json"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def sample_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples") / "new"
    result = CliRunner().invoke(
        app,
        [
            *("samples", "--out", str(folder), "--aggregator", "me@example.org"),
            *("--participant", "me@example.org", "--participant", "you@example.org"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert all(name in result.output.replace("\n", "") for name in FILES)
    return folder


def test_sample_files(sample_files: Path) -> None:
    digits = mnist()
    assert set(contents(sample_files)) == FILES
    for digit in range(10):
        images, labels = torch.load(sample_files / f"mnist_label_{digit}.pt", weights_only=True)
        check_dataset(images, labels, "x")
        assert labels.tolist() == [digit] * 800
    images, labels = torch.load(sample_files / "mnist_test_dataset.pt", weights_only=True)
    assert torch.equal((images[:, 0] * 255).round().byte(), digits.test_images)
    assert torch.equal(labels, digits.test_labels)
    config = json.loads((sample_files / "fl_config.json").read_bytes())
    assert set(config) == EIGHT
    assert config["aggregator"] == "me@example.org"
    assert config["participants"] == ["me@example.org", "you@example.org"]
    assert (config["rounds"], config["epoch"], config["learning_rate"]) == (3, 10, 0.1)
    assert {config["model_arch"], config["model_weight"]} < FILES
    weights = torch.load(sample_files / "global_model_weight.pt", weights_only=True)
    shapes = {name: list(value.shape) for name, value in weights.items()}
    assert shapes == {
        "fc1.weight": [128, 784],
        "fc1.bias": [128],
        "fc2.weight": [10, 128],
        "fc2.bias": [10],
    }
    model = load_model((sample_files / "model.py").read_bytes())
    model.load_state_dict(weights, strict=True)
    # PyTorch's start for a Linear layer is uniform within 1/sqrt(inputs)
    assert 0.9 / 28 < weights["fc1.weight"].abs().max() <= 1 / 28


def test_sample_files_are_the_same_everywhere(sample_files: Path, tmp_path: Path) -> None:
    torch.manual_seed(123)
    state = torch.get_rng_state()
    people = {"aggregator": "me@example.org", "participants": ["me@example.org", "you@example.org"]}
    written = write_samples(tmp_path, **people)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)
    assert {path.name for path in written} == FILES
    assert contents(tmp_path) == contents(sample_files)
    assert write_samples(tmp_path, **people) == []  # type: ignore[arg-type]

    # somebody's own file is theirs, unless they say otherwise
    (tmp_path / "model.py").write_text("# mine\n")
    (tmp_path / "mnist_label_4.pt").unlink()
    before = contents(tmp_path)
    assert complaint(lambda: write_samples(tmp_path, **people)).file == tmp_path / "model.py"  # type: ignore[arg-type]
    assert contents(tmp_path) == before
    refused = CliRunner().invoke(app, ["samples", "--out", str(tmp_path)])
    assert isinstance(refused.exception, FedkitError)
    people_asked = ["--aggregator", "me@example.org", "--participant", "me@example.org"]
    forced = [*people_asked, "--participant", "you@example.org", "--force"]
    result = CliRunner().invoke(app, ["samples", "--out", str(tmp_path), *forced])
    assert len(re.findall("^wrote", result.output, re.MULTILINE)) == 2
    assert contents(tmp_path) == contents(sample_files)


def test_sample_files_with_bad_addresses(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for people, field in (
        ({"aggregator": "../me"}, "aggregator"),
        ({"participants": ["a@example.org", "A@example.org"]}, "participants"),
        ({"participants": []}, "participants"),
    ):
        error = complaint(lambda people=people: write_samples(out, **people))  # type: ignore[misc]
        assert field in str(error.field)
        assert error.file == out / "fl_config.json"
    assert not out.exists()


def test_data_of_somebody_else_are_not_dealt_to_a_participant(tmp_path: Path) -> None:
    kind = KINDS["a table"]
    config = kind.config()
    (tmp_path / "model.py").write_text(kind.model)
    config.save(tmp_path / "fl_config.json")

    def read(data: Path) -> list[torch.Tensor]:
        values = {"participants": None, "changes": {}, "partition": None, "full": False}
        found = read_experiment(tmp_path / "fl_config.json", data=data, **values)  # type: ignore[arg-type]
        return [labels for _, labels in deal(found)[0]]

    for folder, names in {"mine": (ALICE, BOB), "named": ("north", "south")}.items():
        shards = dict(zip(names, kind.shards, strict=True))
        write_data_folder(tmp_path / folder, kind.task, shards, kind.test)
        assert torch.equal(read(tmp_path / folder)[0], kind.shards[0][1])
    strangers = dict(zip((BOB, "eve@example.org"), kind.shards, strict=True))
    write_data_folder(tmp_path / "hers", kind.task, strangers, kind.test)
    with pytest.raises(FedkitError, match="does not name eve") as caught:
        read(tmp_path / "hers")
    assert caught.value.field == "participants"
