"""An exported job, simulated on this machine or written as the folder that NVFlare's server takes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from fedkit.base.distribution import need
from fedkit.base.errors import FedkitError
from fedkit.federation.roads.exported import ExportedApp
from fedkit.federation.roads.nvflare import APP, job_name, site_of

__all__ = ["job_of", "main", "need_nvflare", "simulate_job"]


def need_nvflare() -> None:
    """Raises FedkitError, with the line that installs it, where NVFlare is not there."""
    need("a job for NVFlare", "nvflare")


def job_of(
    folder: Path, out: Path, test_set: Path, *, data: Path | None = None, timeout: int = 600
) -> Any:
    """The FedJob of an exported folder. out, test_set : paths at the server. data : in a simulation, the data dirs."""
    need_nvflare()
    from nvflare.app_common.widgets.decomposer_reg import DecomposerRegister
    from nvflare.client.config import ExchangeFormat
    from nvflare.job_config.api import FedJob
    from nvflare.job_config.script_runner import ScriptRunner

    from fedkit.federation.roads.nvflare_app import FedkitController

    app = ExportedApp(folder / APP)
    job = FedJob(name=job_name(app.config), min_clients=len(app.config.participants))
    controller = FedkitController(str(out), str(test_set), timeout=timeout)
    job.to_server(controller)
    tensors = ["nvflare.app_opt.pt.decomposers.TensorDecomposer"]
    job.to_server(DecomposerRegister(tensors), id="decomposer_reg")
    files = sorted(p for p in (folder / APP).iterdir() if p.is_file() and p.name != "client.py")
    for file in files:
        job.add_file_to_server(str(file))
    for who in app.config.participants:
        words = ["--data", str(data)] if data is not None else []
        runner = ScriptRunner(
            script=str(folder / APP / "client.py"),
            script_args=" ".join(words),
            server_expected_format=ExchangeFormat.PYTORCH,
        )
        job.to(runner, site_of(who))
        job.to(DecomposerRegister(tensors), site_of(who), id="decomposer_reg")
        for file in files:
            job.add_file_to(str(file), site_of(who))
    return job


def simulate_job(
    folder: Path, data: Path, test_set: Path, out: Path, *, workspace: Path | None = None
) -> None:
    """Run the job on this machine by NVFlare's simulator. Raises FedkitError where it did not complete.

    data : a folder with a data dir for each participant, as `fedkit run --out DIR` makes it in DIR/network.
    """
    need_nvflare()
    from nvflare.recipe.sim_env import SimEnv

    config = ExportedApp(folder / APP).config
    out, test_set, data = out.absolute(), test_set.absolute(), data.absolute()
    job = job_of(folder, out, test_set, data=data)
    with tempfile.TemporaryDirectory() as scratch:
        place = str(workspace or scratch)
        env = SimEnv(clients=[site_of(who) for who in config.participants], workspace_root=place)
        try:
            env.deploy(job)
        except RuntimeError as error:
            raise FedkitError(
                "the simulation failed", field="nvflare", why=str(error), remedy="look at its logs"
            ) from error
    last = out / f"agg_model_round_{config.rounds}.pt"
    if not last.is_file():
        raise FedkitError(
            f"the simulation has ended without the model of round {config.rounds}",
            file=last,
            remedy="look at what was said above: a site or the controller gave the reason",
        )


def main(folder: Path) -> None:
    """What an exported job.py does: `python job.py --help`."""
    parser = argparse.ArgumentParser(description="Simulate this job, or write it for a server.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    simulated = kinds.add_parser("simulate", help="all sites on this machine")
    simulated.add_argument(
        "--data", metavar="FOLDER", required=True, type=Path, help="with a data dir each"
    )
    written = kinds.add_parser("write", help="the folder for `nvflare job submit -j`")
    written.add_argument("job", metavar="JOB", type=Path)
    for part in (simulated, written):
        part.add_argument(
            "--test-set", metavar="FILE", required=True, type=Path, help="at the server"
        )
        part.add_argument("--out", metavar="DIR", required=True, type=Path, help="at the server")
    written.add_argument("--timeout", metavar="S", type=int, default=600)
    asked = parser.parse_args()
    try:
        if asked.kind == "simulate":
            simulate_job(folder, asked.data, asked.test_set, asked.out)
        else:
            job = job_of(folder, asked.out, asked.test_set, timeout=asked.timeout)
            asked.job.mkdir(parents=True, exist_ok=True)
            job.export_job(str(asked.job.absolute()))
    except FedkitError as error:
        sys.exit(f"error: {error}")
