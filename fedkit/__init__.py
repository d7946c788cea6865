"""fedkit: learn federated learning by running it, between datasites that are folders.

`import fedkit as fk` gives the whole vocabulary; each name's own module says more.
"""

from fedkit import check, plots
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
    write_shard,
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
from fedkit.plan import RoundPlan, change_settings
from fedkit.records import Contribution, History, LedgerEntry, RoundRecord, Update
from fedkit.seeds import derive, generator
from fedkit.settings import ClientConfig, read_env
from fedkit.show import show
from fedkit.strategies import fedavg, mixing_weights
from fedkit.training import evaluate, sgd_epoch, train

__version__ = "0.1.0"

__all__ = [
    "MNIST",
    "SAMPLE_MODEL",
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
    "generator",
    "iid",
    "load_mnist",
    "load_model",
    "mixing_weights",
    "pending_requests",
    "plots",
    "read_env",
    "read_json",
    "read_shard",
    "read_state",
    "record",
    "recorded",
    "render",
    "review",
    "seed_weights",
    "sgd_epoch",
    "show",
    "state_of",
    "status",
    "take",
    "train",
    "workspace",
    "write_json",
    "write_permissions",
    "write_shard",
    "write_state",
]
