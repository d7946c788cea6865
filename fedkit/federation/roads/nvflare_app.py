"""What an exported job does under NVFlare: fedkit's round, its seeds and its rule; NVFlare's tasks carry the weights.

Needs nvflare 2.9. A site is a participant by its name (`site_of`); its samples are read where they lie.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from nvflare import client as flare
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.workflows.model_controller import ModelController
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.federation.roads.export import TOLD
from fedkit.federation.roads.exported import ExportedApp, Rounds
from fedkit.federation.roads.nvflare import site_of
from fedkit.learning.update import Update

__all__ = ["FedkitController", "train"]


class FedkitController(ModelController):  # type: ignore[misc]
    """The aggregator's side: all rounds, each global model and history.json into `out`.

    out, test_set, weights : paths at the server. timeout : seconds after which a round goes on without the rest.
    """

    def __init__(self, out: str, test_set: str, weights: str = "", timeout: int = 600) -> None:
        # a site that fails is refused by name here, and the quorum decides
        super().__init__(ignore_result_error=True)
        self.out, self.test_set, self.weights, self.timeout = out, test_set, weights, timeout

    def run(self) -> None:
        """Called by NVFlare, once."""
        torch.set_num_threads(1)
        try:
            self._run()
        except Exception as error:
            self.panic(str(error))
            raise

    def _run(self) -> None:
        app = ExportedApp(Path(self.get_app_dir()) / "custom")
        rounds = Rounds(app, Path(self.out), Path(self.test_set), self.weights)
        there = {client.name for client in self.engine.get_clients()}
        sites = {site_of(who): who for who in app.config.participants}
        if missing := [who for site, who in sites.items() if site not in there]:
            raise FedkitError(
                f"no site of {', '.join(missing)} is there: there are {', '.join(sorted(there))}",
                remedy=f"call the sites {', '.join(sites)}",
            )
        for n in range(1, app.config.rounds + 1):
            plan = rounds.plan(n)
            model = FLModel(
                params=dict(rounds.state.model),
                params_type=ParamsType.FULL,
                current_round=n - 1,
                total_rounds=app.config.rounds,
            )
            answers = dict[str, Update | str]()
            # as many as there are: whoever is late is absent, and the quorum decides
            for result in self.send_model_and_wait(
                data=model,
                targets=[site_of(who) for who in plan.participants],
                timeout=self.timeout,
            ):
                who = sites[str(result.meta["client_name"])]
                try:
                    said = {**(result.metrics or {}), **result.meta}
                    told = {key: said[key] for key in TOLD & {*said}}
                    answers[who] = rounds.read(plan, who, _tensors(result.params), told)
                except (KeyError, TypeError, ValueError) as error:
                    answers[who] = f"can't be read ({error!s:.200})"
            rounds.end(plan, answers)


def train(folder: Path) -> None:
    """A site's side: trains whatever it is asked to, until NVFlare says that the job is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="")
    data = parser.parse_known_args()[0].data
    torch.set_num_threads(1)
    app = ExportedApp(folder)
    flare.init()
    site = flare.get_site_name()
    who = app.checked(next((w for w in app.config.participants if site_of(w) == site), site))
    own = os.environ.get("FEDKIT_SAMPLES", "")
    samples = Path(data) / who / "private" / "fl_client" if data else Path(own)
    if not data and not own:
        raise FedkitError(
            "is not set",
            field="FEDKIT_SAMPLES",
            remedy="let it name the folder with this site's samples",
        )
    while flare.is_running():
        asked = flare.receive()
        if asked is None:
            break
        update = app.train(who, asked.current_round + 1, _tensors(asked.params), samples)
        said = {"num_samples": update.num_samples, "steps": update.steps, "loss": update.loss}
        flare.send(
            FLModel(
                params=dict(update.state),
                params_type=ParamsType.FULL,
                meta={key: value for key, value in said.items() if value is not None},
            )
        )


def _tensors(params: Mapping[str, Any] | None) -> dict[str, Tensor]:
    if not params:
        raise TypeError("no weights")
    return {name: torch.as_tensor(value).contiguous() for name, value in params.items()}
