"""A project as a Flower app: `fedkit export flower DIR` writes it, `flwr run DIR` gives the global models of `fedkit run`.

What is written is config, model and seed weights, and two files of three lines that call `flower_app.py`. The app names no
dependency on fedkit: on PyPI that name is somebody else's project, and a SuperLink that installs dependencies would take
that one.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.config.fl_config import FLConfig

__all__ = ["SEED_WEIGHTS", "export_flower", "why_not_flower"]


SEED_WEIGHTS = "seed_weights.json"
"""In the app: the seed weights as text, since an app takes no other files; they travel so up to 1 MiB."""
_LARGEST_FILE = 2**20  # flwr 1.42: a larger one is refused when the app is built
_ALONE = {"fedbn"}
"""Strategies that send weights alone, and whose participants remember something."""

_PYPROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0.0"
description = "The project {project} of fedkit: the same global models, by Flower"
license = "Apache-2.0"
# fedkit and torch are installed on each machine beforehand; what is called fedkit on PyPI is another project
dependencies = ["flwr>=1.42"]

[tool.hatch.build.targets.wheel]
packages = ["{package}"]

[tool.flwr.app]
publisher = "fedkit"

[tool.flwr.app.components]
serverapp = "{package}.server_app:app"
clientapp = "{package}.client_app:app"

[tool.flwr.app.config]
# in a simulation: a folder with a data dir for each participant, as `fedkit run --out DIR` makes it in DIR/network
data = ""
# at the server: the aggregator's test set
test-set = ""
# at the server: the seed weights, where they are too large to travel in the app
weights = ""
# at the server: where global models and history.json go
out = ""
# at the server: seconds after which a round goes on without those who have not answered, if the quorum is there
timeout = 600
"""
_SIDE = '''"""The {side} of this app; what it does is fedkit's."""

from pathlib import Path

from fedkit.federation.roads.flower_app import {name}

app = {name}(Path(__file__).parent)
'''
_README = """# {project} as a Flower app

`flwr run` gives the global models that `fedkit run` gives, to the last bit (one kind of processor, one build of torch).

On each machine: fedkit and torch, from where you have them (never `pip install fedkit`: on PyPI that is another project),
`pip install "flwr[simulation]>=1.42,<1.43"`, and, so that nothing is sent or installed unasked,

    export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1

At the server a SuperLink; at each participant a SuperNode that says who it is and where its samples lie:

    flower-supernode ... --node-config 'email="{first}" data="/path/to/private/fl_client"'

Then `flwr run . --run-config 'test-set="/path/to/{test_set}" out="/path/to/a/folder"'`. The command ends with 0 even where
the run has failed: look whether `history.json` tells of all {rounds} rounds. Whoever runs the SuperLink sees every update.
{weights}"""
_BY_PATH = """
The seed weights are too large to travel in the app: they lie in {file}, and the server is told by `weights="/path/to/it"`.
"""


def why_not_flower(config: FLConfig) -> FedkitError | None:
    """Why this project does not go to Flower, None where it does."""
    name = str((config.strategy or {}).get("name", "fedavg"))
    reasons = {
        "secure_aggregation": (
            config.secure_aggregation is not None,
            "masks need five messages a round between signed identities, and Flower has a protocol of its own for that",
        ),
        "dp": (
            config.dp is not None,
            "what was spent is written down at each datasite, and its owner's policy is asked there",
        ),
        "strategy": (
            name in {"scaffold", "fednova", *_ALONE},
            f"{name} sends or remembers something beside the weights",
        ),
        "adjustable": (bool(config.adjustable), "a Flower run has one config"),
        "task.standardise": (
            config.task.standardise == "federated",
            "statistics of all are made before a launch, from the datasites' own files",
        ),
        "validation": (
            config.validation is not None,
            "its numbers travel in fedkit's own files",
        ),
    }
    for field, (refused, why) in reasons.items():
        if refused:
            return FedkitError(
                "has no place in a Flower app",
                field=field,
                why=why[0].upper() + why[1:],
                remedy="leave it out for this road, or take another one: own sync, SyftBox, a synced folder",
            )
    return None


def export_flower(config: FLConfig, source: bytes, weights: bytes, out: Path) -> list[Path]:
    """Write the app into `out`, a new or an empty folder; returns its files.

    source : the text of model.py. weights : a state dict as `torch.save` writes it; beyond 1 MiB they are put beside `out`,
    and the server reads them by path. Raises FedkitError where the project does not go to Flower, or `out` holds something.
    """
    refused = why_not_flower(config)
    if refused is not None:
        raise refused
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FedkitError("is not empty", file=out, remedy="name a new or an empty folder")
    name = re.sub(r"[^a-z0-9]+", "-", config.project_name.lower()).strip("-")[:32] or "project"
    package = f"fl_{name.replace('-', '_')}"
    text = json.dumps({"torch.save": base64.b64encode(weights).decode()})
    beside, told = out.with_name(f"{out.name}-{config.model_weight}"), ""
    files = {f"{package}/{config.model_arch}": source}
    if len(text) < _LARGEST_FILE:
        files[f"{package}/{SEED_WEIGHTS}"] = text.encode()
    else:
        told = _BY_PATH.format(file=beside.name)
        write_bytes(beside, weights)
    texts = {
        "pyproject.toml": _PYPROJECT.format(
            name=name, package=package, project=config.project_name
        ),
        "README.md": _README.format(
            project=config.project_name,
            first=config.participants[0],
            test_set=config.test_dataset,
            rounds=config.rounds,
            weights=told,
        ),
        f"{package}/__init__.py": "",
        f"{package}/client_app.py": _SIDE.format(side="participant", name="client_app"),
        f"{package}/server_app.py": _SIDE.format(side="aggregator", name="server_app"),
        f"{package}/fl_config.json": config.to_json(),
    }
    files |= {path: content.encode() for path, content in texts.items()}
    for path, content in files.items():
        write_bytes(out / path, content)
    return sorted(out / path for path in files)
