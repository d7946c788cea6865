"""fedkit: learn federated learning by running it, between datasites that are folders.

`import fedkit as fk` gives the whole vocabulary; each name's own module says more. A name is loaded when it is first used,
so that `fedkit --help` does not wait for torch, and `fedkit doctor` starts without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedkit import check, plots, privacy
    from fedkit.approval import (
        Review,
        approve,
        approve_all,
        approve_none,
        decline,
        pending_requests,
        review,
    )
    from fedkit.config import FLConfig
    from fedkit.course.record import record, recorded
    from fedkit.course.workspace import workspace
    from fedkit.data import (
        MNIST,
        Shard,
        as_float,
        by_digits,
        iid,
        load_mnist,
        read_shard,
        take,
        write_samples,
        write_shard,
    )
    from fedkit.data.shift import heterogeneity, label_counts, shift_features
    from fedkit.data.skew import (
        split_dirichlet,
        split_groups,
        split_labels_each,
        split_shards,
        split_sizes,
    )
    from fedkit.datasite import Datasite
    from fedkit.errors import FedkitError
    from fedkit.events import Event, render
    from fedkit.files import read_json, read_state, write_json, write_state
    from fedkit.models import (
        SAMPLE_MODEL,
        StateDict,
        check_state,
        flatten,
        load_model,
        seed_weights,
        state_of,
    )
    from fedkit.network import Network
    from fedkit.node import ProjectStatus, advance, status
    from fedkit.permissions import Permissions, write_permissions
    from fedkit.pictures import show
    from fedkit.plan import RoundPlan, change_settings
    from fedkit.poison import flip_labels, poisoned
    from fedkit.records import Contribution, History, LedgerEntry, RoundRecord, Update
    from fedkit.rewinding import rewind
    from fedkit.seeds import derive, generator
    from fedkit.settings import ClientConfig, read_env
    from fedkit.simulation import numbered_participants, simulate
    from fedkit.strategies import STRATEGIES, fedavg, make_strategy, mixing_weights
    from fedkit.training import evaluate, sgd_epoch, train

__version__ = "0.1.0"

_HOME: dict[str, str] = {
    "Review": "approval",
    "approve": "approval",
    "approve_all": "approval",
    "approve_none": "approval",
    "decline": "approval",
    "pending_requests": "approval",
    "review": "approval",
    "FLConfig": "config",
    "record": "course.record",
    "recorded": "course.record",
    "workspace": "course.workspace",
    "MNIST": "data",
    "Shard": "data",
    "as_float": "data",
    "by_digits": "data",
    "iid": "data",
    "load_mnist": "data",
    "read_shard": "data",
    "take": "data",
    "write_samples": "data",
    "write_shard": "data",
    "Datasite": "datasite",
    "FedkitError": "errors",
    "Event": "events",
    "render": "events",
    "read_json": "files",
    "read_state": "files",
    "write_json": "files",
    "write_state": "files",
    "SAMPLE_MODEL": "models",
    "StateDict": "models",
    "check_state": "models",
    "flatten": "models",
    "load_model": "models",
    "seed_weights": "models",
    "state_of": "models",
    "Network": "network",
    "ProjectStatus": "node",
    "advance": "node",
    "status": "node",
    "Permissions": "permissions",
    "write_permissions": "permissions",
    "show": "pictures",
    "RoundPlan": "plan",
    "change_settings": "plan",
    "flip_labels": "poison",
    "poisoned": "poison",
    "Contribution": "records",
    "History": "records",
    "LedgerEntry": "records",
    "RoundRecord": "records",
    "Update": "records",
    "rewind": "rewinding",
    "simulate": "simulation",
    "numbered_participants": "simulation",
    "heterogeneity": "data.shift",
    "label_counts": "data.shift",
    "shift_features": "data.shift",
    "split_dirichlet": "data.skew",
    "split_groups": "data.skew",
    "split_labels_each": "data.skew",
    "split_shards": "data.skew",
    "split_sizes": "data.skew",
    "STRATEGIES": "strategies",
    "make_strategy": "strategies",
    "derive": "seeds",
    "generator": "seeds",
    "ClientConfig": "settings",
    "read_env": "settings",
    "fedavg": "strategies",
    "mixing_weights": "strategies",
    "evaluate": "training",
    "sgd_epoch": "training",
    "train": "training",
}

_PACKAGES = ("check", "plots", "privacy", "widgets")

__all__ = [
    "MNIST",
    "SAMPLE_MODEL",
    "STRATEGIES",
    "ClientConfig",
    "Contribution",
    "Datasite",
    "Event",
    "FLConfig",
    "FedkitError",
    "History",
    "LedgerEntry",
    "Network",
    "Permissions",
    "ProjectStatus",
    "Review",
    "RoundPlan",
    "RoundRecord",
    "Shard",
    "StateDict",
    "Update",
    "advance",
    "approve",
    "approve_all",
    "approve_none",
    "as_float",
    "by_digits",
    "change_settings",
    "check",
    "check_state",
    "decline",
    "derive",
    "evaluate",
    "fedavg",
    "flatten",
    "flip_labels",
    "generator",
    "heterogeneity",
    "iid",
    "label_counts",
    "load_mnist",
    "load_model",
    "make_strategy",
    "mixing_weights",
    "numbered_participants",
    "pending_requests",
    "plots",
    "poisoned",
    "privacy",
    "read_env",
    "read_json",
    "read_shard",
    "read_state",
    "record",
    "recorded",
    "render",
    "review",
    "rewind",
    "seed_weights",
    "sgd_epoch",
    "shift_features",
    "show",
    "simulate",
    "split_dirichlet",
    "split_groups",
    "split_labels_each",
    "split_shards",
    "split_sizes",
    "state_of",
    "status",
    "take",
    "train",
    "workspace",
    "write_json",
    "write_permissions",
    "write_samples",
    "write_shard",
    "write_state",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"fedkit.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'fedkit' has no attribute {name!r}")
    value = getattr(import_module(f"fedkit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
