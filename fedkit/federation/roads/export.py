"""What every exported app shares: which projects can be exported, and the files of config, model and seed weights."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.config.fl_config import FLConfig

__all__ = ["SEED_WEIGHTS", "TOLD", "why_not_exported", "write_app"]


SEED_WEIGHTS = "seed_weights.json"
"""In the app: the seed weights as text, since a Flower app takes no other files."""

TOLD = {"num_samples", "steps", "loss"}
"""What an update says about itself."""

_BESIDE = {
    "scaffold": "sends control variates beside the weights",
    "fednova": "sends normalised steps in the place of weights",
    "fedbn": "keeps layers of its own at each participant between rounds",
}


def why_not_exported(config: FLConfig, engine: str) -> FedkitError | None:
    """Why this project does not go to an engine, None where it does."""
    name = str((config.strategy or {}).get("name", "fedavg"))
    reasons = {
        "secure_aggregation": (
            config.secure_aggregation is not None,
            f"masks need five messages a round between signed identities, and {engine} has a protocol of its own for that: "
            "under fedkit's name it would promise what nobody checks",
        ),
        "dp": (
            config.dp is not None,
            "what was spent is written down at each datasite, in private/, and its owner's policy is asked before every "
            f"round; {engine} hands samples and code to each other without asking",
        ),
        "strategy": (name in _BESIDE, f"{name} {_BESIDE.get(name)}"),
        "adjustable": (
            bool(config.adjustable),
            f"rounds are adjusted in files of the aggregator, and a run of {engine} has one config",
        ),
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
                f"has no place in an app for {engine}",
                field=field,
                why=why[0].upper() + why[1:],
                remedy="leave it out for this road, or take another one: own sync, SyftBox, a synced folder",
            )
    return None


def write_app(
    out: Path,
    config: FLConfig,
    source: bytes,
    weights: bytes,
    *,
    package: str,
    texts: Mapping[str, str],
    largest: int | None = None,
) -> list[Path]:
    """Write an app into `out`, a new or an empty folder; returns its files.

    source : the text of model.py. weights : a state dict as `torch.save` writes it. package : the folder, inside `out`, of
    config, model and weights. texts : the other files. largest : bytes of a file; larger weights are put beside `out`, as
    `OUT-NAME`. Raises FedkitError where `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FedkitError("is not empty", file=out, remedy="name a new or an empty folder")
    text = seed_text(weights)
    inside = Path(package)
    files = {
        inside / config.model_arch: source,
        inside / "fl_config.json": config.to_json().encode(),
    }
    if largest is None or len(text) < largest:
        files[inside / SEED_WEIGHTS] = text
    else:
        write_bytes(beside(out, config), weights)
    files |= {Path(path): content.encode() for path, content in texts.items()}
    for path, content in files.items():
        write_bytes(out / path, content)
    return sorted(out / path for path in files)


def seed_text(weights: bytes) -> bytes:
    """Seed weights as they stand in an app."""
    return json.dumps({"torch.save": base64.b64encode(weights).decode()}).encode()


def beside(out: Path, config: FLConfig) -> Path:
    """Where weights lie that are too large to travel in the app."""
    return out.with_name(f"{out.name}-{config.model_weight}")
