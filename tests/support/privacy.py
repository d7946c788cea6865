"""Promises of privacy of every kind, datasites that demand them, and reports of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedkit.base.files import write_json
from fedkit.datasite.datasite import Datasite
from fedkit.federation.network import Network
from fedkit.federation.report_facts import privacy_report
from fedkit.learning.models import StateDict, load_model, state_of
from fedkit.privacy.report_page import PrivacyReport
from fedkit.protocol.approval import pending_requests
from fedkit.rounds.history import Contribution, History, RoundRecord
from tests.support.helpers import ALICE, LINEAR, PROJECT, launched, small

EXAMPLE = {"unit": "example", "noise_multiplier": 2.0, "delta": 1e-3, "clip": 0.5}
PARTICIPANT = {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5}
SHARES = PARTICIPANT | {"noise_at": "participants"}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "masked": {"secure_aggregation": {"threshold": 2}},
    "example": {"dp": EXAMPLE},
    "secure": {"dp": EXAMPLE | {"secure_noise": True}},
    "central": {"dp": PARTICIPANT, "weighting": "equal"},
    "sampled": {"dp": PARTICIPANT, "weighting": "equal", "participants_per_round": 1},
    "shares": {"dp": SHARES, "weighting": "equal"},
    "masked shares": {"dp": SHARES, "weighting": "equal", "secure_aggregation": {"threshold": 2}},
}
POLICY = {"unit": "example", "epsilon": 8.0, "delta": 1e-2, "secure_noise": False}


def demand(site: Datasite, **changes: Any) -> None:
    write_json(site.private_client / "policy.json", POLICY | changes)


def asked(folder: Path, **changes: Any) -> Network:
    """A network in which the request has arrived, and nobody has answered."""
    net = launched(folder, **changes)
    net.sync()
    net.advance()
    assert pending_requests(net[ALICE]) == [PROJECT]
    return net


def datasite(folder: Path) -> Datasite:
    site = Datasite.create(folder, ALICE)
    site.private_client.mkdir(parents=True, exist_ok=True)
    return site


class Every:
    """A source of chance that takes every image into every step, and adds no noise."""

    def uniform(self, count: int) -> Tensor:
        return torch.zeros(count, dtype=torch.float64)

    def normal(self, shape: Any, std: float) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64)


def linear_state() -> StateDict:
    return state_of(load_model(LINEAR))


def report_of(kind: str, **changes: Any) -> PrivacyReport:
    """The report of two rounds in which everybody took part."""
    config = small(**KINDS[kind], **changes)
    parts = tuple(Contribution(e, 0.5, 6, None, 0.1, "") for e in config.participants)
    rounds = tuple(RoundRecord(n, parts) for n in (1, 2))
    return privacy_report(History(config.project_name, rounds, config.rounds), config)
