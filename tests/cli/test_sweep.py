"""`fedkit sweep`: a dry run lists and runs nothing."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from fedkit.cli.main import app
from tests.support.sweeps import spec


def test_a_dry_run_lists_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(json.dumps(spec(seeds=2)))
    said = CliRunner().invoke(
        app, ["sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--dry-run"]
    )
    assert said.exit_code == 0
    assert said.output.count("to do") == 4
    assert "4 runs of simulate" in said.output
    assert not (tmp_path / "out").exists()
