"""The tutorial's walk-through word for word, with either spelling of its folders and either way to approve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fedkit.base.files import read_dataset, write_dataset
from tests.support.cli import fedkit, write_env
from tests.support.helpers import ALICE, PROJECT, tutorial


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `fedkit data samples` writes, with 60 images a digit in the place of 800."""
    out = tmp_path_factory.mktemp("samples")
    fedkit("data", "samples", "--out", out)
    for path in out.glob("mnist_label_*.pt"):
        images, labels = read_dataset(path)
        write_dataset(path, images[:60], labels[:60])
    return out


# ------------------------------------------------------------------------------------ walk-through
@pytest.mark.parametrize("app_data", ["api_data", "app_data"])
def test_the_walk_through_word_for_word(tmp_path: Path, samples: Path, app_data: str) -> None:
    env = write_env(tmp_path)
    client = ["client", "--env-file", env, "--once"]

    said = fedkit(*client, "--app-data", app_data)
    assert "Nothing to do now" in said
    config_path = tmp_path / "settings" / "config.json"
    assert json.loads(config_path.read_text()) == {
        "data_dir": str(tmp_path / "data"),
        "email": ALICE,
        "server_url": "https://syftbox.openmined.org",
        "client_url": "http://localhost:8080",
    }
    data, own = tmp_path / "data", tmp_path / "data" / "datasites" / ALICE
    assert (data / ("apis" if app_data == "api_data" else "apps")).is_dir()
    mailbox, aggregator = own / app_data / "fl_client", own / app_data / "fl_aggregator"
    for folder in [mailbox / n for n in ("request", "running", "done")]:
        assert folder.is_dir()
    for folder in [aggregator / n for n in ("launch", "running", "done")]:
        assert folder.is_dir()
    for folder in (own, own / "public", mailbox / "request"):
        assert (folder / "syft.pub.yaml").is_file()
        assert (folder / "syftperm.yaml").is_file()

    for path in samples.glob("mnist_label_*.pt"):
        shutil.copy(path, data / "private" / "fl_client")
    shutil.copy(samples / "mnist_test_dataset.pt", data / "private" / "fl_aggregator")

    eight = tutorial(aggregator=ALICE, participants=[ALICE])
    assert len(eight) == 8
    for name in ("model.py", "global_model_weight.pt"):
        shutil.copy(samples / name, aggregator / "launch")
    (aggregator / "launch" / "fl_config.json").write_text(json.dumps(eight))

    # the other spelling is not given again: the folders say which one it is
    said = fedkit(*client, code=3)
    assert "fedkit approve MNIST_FL" in said
    assert (mailbox / "request" / PROJECT / "model.py").is_file()

    if app_data == "api_data":
        shutil.copytree(mailbox / "request" / PROJECT, mailbox / "running" / PROJECT)  # cp -r
    else:
        fedkit("approve", PROJECT, "--config_path", config_path, "--yes")

    said = fedkit(*client)
    assert said.splitlines()[-1] == "Done: MNIST_FL."
    assert (aggregator / "done" / PROJECT).is_dir()
    assert (mailbox / "done" / PROJECT).is_dir()
    assert not (aggregator / "running" / PROJECT).exists()
    assert not (mailbox / "running" / PROJECT).exists()
    metrics = json.loads((own / "public/fl/MNIST_FL/accuracy_metrics.json").read_text())
    assert [entry["round"] for entry in metrics] == [0, 1, 2, 3]
    assert metrics[3]["accuracy"] > 0.75  # 600 images of all digits; a guess has 0.1
    (row,) = json.loads((own / "public/fl/MNIST_FL/participants.json").read_text())
    assert row["Email"] == ALICE
    assert row["Round (current/total)"] == "3/3"
    assert row["Training Progress"] == "Training Completed for Round 3"
    log = (mailbox / "done" / PROJECT / "logs" / "training_logs_round_3.txt").read_text()
    assert log.count("Epoch") == 10
    assert f"{PROJECT}  aggregator   done" in fedkit("status", "--config_path", config_path)
    assert "Nothing to do now" in fedkit(*client)
