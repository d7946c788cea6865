"""Any two features of a config go together through `fedkit run`, or are refused in one line that says why."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from fedkit.cli.main import app
from fedkit.data.folder import write_data_folder
from fedkit.privacy.report_page import PrivacyReport
from tests.support.helpers import ALICE, BOB, CAROL
from tests.support.mutations import EXAMPLES
from tests.support.tasks import KINDS

FEATURES: dict[str, dict[str, Any]] = {
    "masks": {"secure_aggregation": {"threshold": 2}},
    "dp for examples": {
        "dp": {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 1.0}
    },
    "dp for participants": {
        "dp": {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 1.0},
        "weighting": "equal",
    },
    "noise at the participants": {
        "dp": {
            "unit": "participant",
            "noise_multiplier": 1.0,
            "delta": 1e-3,
            "clip": 1.0,
            "noise_at": "participants",
        },
        "weighting": "equal",
    },
    "scaffold": {"strategy": {"name": "scaffold"}},
    "fedprox": {"strategy": {"name": "fedprox", "mu": 0.1}},
    "fedadam": {"strategy": {"name": "fedadam"}},
    "fednova": {"strategy": {"name": "fednova"}},
    "fedbn": {"strategy": {"name": "fedbn"}},
    "median": {"strategy": {"name": "median"}},
    "a quorum": {"min_participants": 2, "round_timeout_s": 5.0},
    "approval by a quorum": {"min_participants": 2, "approval": "quorum"},
    "some a round": {"participants_per_round": 2},
    "equal weights": {"weighting": "equal"},
    "a cap on samples": {"max_samples": 10},
    "a cap on norms": {"max_update_norm": 100.0},
    "adjustable": {"adjustable": ["learning_rate", "epoch"]},
    "adam": {"optimizer": {"name": "adam"}},
    "momentum": {"optimizer": {"name": "sgd", "momentum": 0.9, "clip_norm": 1.0}},
    "a schedule": {"schedule": {"name": "cosine"}},
    "signed files": {"signed": True},
    "validation": {"validation": {"share": 0.2, "patience": 1}, "epoch": 2},
}
PAIRS = [
    (one, other)
    for one, other in combinations(FEATURES, 2)
    if not {"strategy", "dp"} & FEATURES[one].keys() & FEATURES[other].keys()
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three participants with thirty rows each of a table, and a linear model."""
    folder, kind = tmp_path_factory.mktemp("features"), KINDS["a table"]
    parts = {
        who: (kind.samples[k : k + 30], kind.labels[k : k + 30])
        for who, k in zip((ALICE, BOB, CAROL), (0, 30, 60), strict=True)
    }
    write_data_folder(folder / "data", kind.task, parts, kind.test)
    config = kind.config(participants=[ALICE, BOB, CAROL], rounds=1)
    (folder / config.model_arch).write_text(kind.model)
    values = json.loads(config.to_json())
    del values["task"]
    (folder / "fl_config.json").write_text(json.dumps(values))
    return folder


def run(data: Path, out: Path, *features: str) -> None:
    """Run it to its end, or have it refused before anything is written."""
    changes = {key: value for name in features for key, value in FEATURES[name].items()}
    words = ["run", str(data / "fl_config.json"), "--data", str(data / "data"), "--out", str(out)]
    for key, value in changes.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    result = CliRunner().invoke(app, words)
    said = f"{features}: {result.output}{result.stderr}"
    if result.exit_code == 0:
        assert (out / "privacy_report.html").is_file(), said
        page = json.loads((out / "privacy_report.json").read_text())
        jsonschema.validate(page, PrivacyReport.schema())
        assert page["rounds"]["ran"] == page["rounds"]["planned"], said
        assert (out / "history.json").is_file(), said
        return
    assert result.exit_code == 1, said
    assert isinstance(result.exception, SystemExit), said
    (line,) = (line for line in result.stderr.splitlines() if line.strip())
    assert line.startswith("Error: "), said
    assert " -> " in line, said
    assert not out.exists(), said


@pytest.mark.parametrize("name", FEATURES)
def test_each_feature_runs_or_is_refused_in_one_line(data: Path, tmp_path: Path, name: str) -> None:
    run(data, tmp_path / "out", name)


@pytest.mark.parametrize("first", [name for name in FEATURES if EXAMPLES > 1 or name == "masks"])
def test_any_two_features_run_or_are_refused_in_one_line(
    data: Path, tmp_path: Path, first: str
) -> None:
    """All pairs in `make test-all`; here every fourth one of those with masks, where most can't be seen."""
    pairs = [pair for pair in PAIRS if pair[0] == first]
    for number, pair in enumerate(pairs if EXAMPLES > 1 else pairs[::4]):
        run(data, tmp_path / str(number), *pair)
