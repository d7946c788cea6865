"""The four roads of a first project of one's own: `simulate`, a network, `fedkit run --data` and `fedkit sweep`.

Each starts from files that the test writes; the model, the data and what comes out are the same on all of them.
"""

import json
from pathlib import Path

import pytest
import torch
import yaml

import fedkit as fk
from fedkit.base.files import read_state
from fedkit.data.folder import read_data_folder, write_data_folder
from tests.promises.test_own_data import between_datasites
from tests.support.cli import fedkit
from tests.support.helpers import ALICE, BOB, final_model
from tests.support.tasks import KINDS, Kind, source

RESNET = Kind(
    {"shape": [3, 16, 16], "outputs": 4, "metrics": ["accuracy", "balanced_accuracy"]},
    torch.rand(90, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
    torch.arange(90) % 4,
    source(
        """from torchvision.models import resnet18
        self.net = resnet18(weights=None, num_classes=4)""",
        "return self.net(x)",
    ),
)
ALL = KINDS | {"ResNet-18": RESNET}


def written(folder: Path, kind: Kind, **changes: object) -> Path:
    """Data folder, model.py and config on disk; returns the config's path."""
    shards = dict(zip((ALICE, BOB), kind.shards, strict=True))
    write_data_folder(folder / "data", kind.task, shards, kind.test)
    config = kind.config(**changes)
    (folder / config.model_arch).write_text(kind.model)
    config.save(folder / "fl_config.json")
    values = json.loads((folder / "fl_config.json").read_text())
    del values["task"]  # what the data are is written beside them
    (folder / "fl_config.json").write_text(json.dumps(values))
    return folder / "fl_config.json"


@pytest.mark.parametrize("name", ALL)
def test_four_roads_from_files_to_the_same_model(tmp_path: Path, name: str) -> None:
    kind, rounds = ALL[name], 1 if name == "ResNet-18" else 2
    (files := tmp_path / "files").mkdir()
    config = written(files, kind, rounds=rounds)

    kept: list[fk.StateDict] = []
    memory = fk.simulate(
        kind.config(rounds=rounds),
        kind.shards,
        kind.test,
        model=kind.model,
        exact=True,
        on_round=lambda record, state: kept.append(state),
    )
    net = between_datasites(tmp_path / "net", kind, rounds=rounds)
    between = net.run(approve=fk.approve_all)
    (tmp_path / "model.pt").write_bytes(final_model(net))
    own = read_state(tmp_path / "model.pt")
    assert all(torch.equal(value, own[key]) for key, value in kept[-1].items())
    assert [r.metrics for r in between] == [r.metrics for r in memory]

    fedkit("run", config, "--data", files / "data", "--out", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "history.json").read_text())["rounds"]
    assert [r["loss"] for r in told] == [record.loss for record in memory]
    assert final_model(fk.Network.open(tmp_path / "out" / "network")) == final_model(net)

    spec = {
        "run": "simulate",
        "data": "data",
        "fixed": {"model": str(files / "model.py"), "rounds": rounds, "batch_size": 16},
        "seeds": 1,
    }
    (files / "sweep.yaml").write_text(yaml.safe_dump(spec))
    fedkit("sweep", files / "sweep.yaml", "--out", tmp_path / "swept")
    (row,) = fk.results(tmp_path / "swept").to_dict("records")
    assert row["status"] == "done"
    assert row["loss"] == pytest.approx(memory.rounds[-1].loss, abs=2e-2)
    for metric, values in memory.metrics.items():
        assert row[metric] == pytest.approx(values[-1], abs=0.15)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    kind = ALL["a table"]
    written(tmp_path, kind)
    data = read_data_folder(tmp_path / "data")
    assert data.task == kind.task
    assert data.participants == [ALICE, BOB]
