"""A project as a Flower app: `fedkit export flower DIR` writes it, `flwr run DIR` gives the global models of `fedkit run`.

What is written is config, model and seed weights, and two files of three lines that call `flower_app.py`. The app names no
dependency on fedkit: on PyPI that name is somebody else's project, and a SuperLink that installs dependencies would take
that one.
"""

from __future__ import annotations

import re
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.federation.roads.export import beside, seed_text, why_not_exported, write_app

__all__ = ["export_flower", "why_not_flower"]


_LARGEST_FILE = 2**20  # flwr 1.42: a larger one is refused when the app is built

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
# at the server: seconds in which all participants' SuperNodes have to come
meet = 600
"""
_SIDE = '''"""The {side} of this app; what it does is fedkit's."""

from pathlib import Path

from fedkit.federation.roads.flower_app import {name}

app = {name}(Path(__file__).parent)
'''
_RUN = '''"""Runs this app and ends with 0 only where it completed: `python run.py --help`."""

from pathlib import Path

from fedkit.federation.roads.flower_run import main

if __name__ == "__main__":
    main(Path(__file__).parent)
'''
_README = """# {project} as a Flower app

`flwr run` gives the global models that `fedkit run` gives, to the last bit (one kind of processor, one build of torch).

On each machine: the wheel of fedkit-course that you have, which brings torch (on PyPI, fedkit is another project's name),
then `pip install "flwr[simulation]>=1.42,<1.43"`, and, so that nothing is sent or installed unasked,

    export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1

All on one machine, simulated by Ray on loopback, with the data dirs that `fedkit run --out FOLDER` has made:

    python run.py --simulate FOLDER/network --test-set /path/to/{test_set} --out models

On real machines: at the server a SuperLink; at each participant a SuperNode that says who it is and where its samples lie:

    flower-superlink --ssl-ca-certfile ca.pem --ssl-certfile server.pem --ssl-keyfile server.key --enable-supernode-auth
    flower-supernode --superlink SERVER:9092 --root-certificates ca.pem --auth-supernode-private-key alice.key \\
      --node-config 'email="{first}" data="/path/to/private/fl_client"'

Keys are made by `ssh-keygen -t ecdsa -b 384`, and each participant's public key is let in at the server by
`flwr supernode register alice.key.pub CONNECTION`. Whoever has a registered key can say that they are any participant;
two who say the same e-mail end the run. Without certificates (`--insecure`) anybody in between reads all. Then

    python run.py --connection CONNECTION --test-set /path/to/{test_set} --out /path/to/a/folder

with a connection's name in Flower's `config.toml`; the two paths are the server's. `flwr run --stream` alone ends with 0
even where the run has failed: `run.py` asks the SuperLink how it ended, and says why. A SuperNode that dies is waited for
until Flower notices or `--timeout` is up; the round then goes on with the others, or ends with a sentence where they are
fewer than the project's quorum of {quorum}. Whoever runs the SuperLink sees every update.
{weights}"""
_BY_PATH = """
The seed weights are too large to travel in the app: they lie in {file}; give the server its path: `--weights /path/to/it`.
"""


def why_not_flower(config: FLConfig) -> FedkitError | None:
    """Why this project does not go to Flower, None where it does."""
    return why_not_exported(config, "Flower")


def export_flower(config: FLConfig, source: bytes, weights: bytes, out: Path) -> list[Path]:
    """Write the app into `out`, a new or an empty folder; returns its files.

    source : the text of model.py. weights : a state dict as `torch.save` writes it; beyond 1 MiB they are put beside `out`,
    and the server reads them by path. Raises FedkitError where the project does not go to Flower, or `out` holds something.
    """
    refused = why_not_flower(config)
    if refused is not None:
        raise refused
    name = re.sub(r"[^a-z0-9]+", "-", config.project_name.lower()).strip("-")[:32] or "project"
    package = f"fl_{name.replace('-', '_')}"
    far = len(seed_text(weights)) >= _LARGEST_FILE
    texts = {
        "pyproject.toml": _PYPROJECT.format(
            name=name, package=package, project=config.project_name
        ),
        "README.md": _README.format(
            project=config.project_name,
            first=config.participants[0],
            test_set=config.test_dataset,
            quorum=config.quorum,
            weights=_BY_PATH.format(file=beside(out, config).name) if far else "",
        ),
        "run.py": _RUN,
        f"{package}/__init__.py": "",
        f"{package}/client_app.py": _SIDE.format(side="participant", name="client_app"),
        f"{package}/server_app.py": _SIDE.format(side="aggregator", name="server_app"),
    }
    return write_app(
        out, config, source, weights, package=package, texts=texts, largest=_LARGEST_FILE
    )
