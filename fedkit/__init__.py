"""fedkit: learn federated learning by running it, between datasites that are folders.

`import fedkit as fk` gives the whole vocabulary; each name's own module says more. A name is loaded when it is first used,
so that `fedkit --help` does not wait for torch, and `fedkit doctor` starts without it.
"""

from importlib import import_module
from sys import modules as _modules
from typing import TYPE_CHECKING, Any

from fedkit.base.distribution import VERSION

if TYPE_CHECKING:
    from fedkit import privacy
    from fedkit.base.errors import FedkitError
    from fedkit.base.events import Event, render
    from fedkit.base.files import read_json, read_state, write_json, write_state
    from fedkit.base.seeds import derive, generator
    from fedkit.config.client_config import ClientConfig, read_env
    from fedkit.config.fl_config import FLConfig
    from fedkit.data.array_files import import_arrays
    from fedkit.data.feature_shift import heterogeneity, label_counts, shift_features
    from fedkit.data.folder import DataFolder, read_data_folder, write_data_folder
    from fedkit.data.importing import deal_out, import_images, import_table
    from fedkit.data.label_skew import (
        deal_dirichlet,
        split_dirichlet,
        split_groups,
        split_labels_each,
        split_shards,
        split_sizes,
    )
    from fedkit.data.mnist import MNIST, load_mnist
    from fedkit.data.partition import by_digits, iid, take
    from fedkit.data.shards import Shard, as_float, read_shard, write_shard
    from fedkit.data.standardise import standardised
    from fedkit.datasite.datasite import Datasite
    from fedkit.datasite.permissions import Permissions, write_permissions
    from fedkit.datasite.round_plan import RoundPlan, change_settings
    from fedkit.experiments.notebooks import recorded
    from fedkit.experiments.sweep import sweep
    from fedkit.experiments.table import results
    from fedkit.federation import roads
    from fedkit.federation.ledger import LedgerEntry
    from fedkit.federation.network import Network
    from fedkit.federation.report_facts import privacy_report
    from fedkit.federation.rewind import rewind
    from fedkit.learning.geometry import agreement, principal_plane
    from fedkit.learning.models import (
        SAMPLE_MODEL,
        StateDict,
        check_state,
        flatten,
        load_model,
        seed_weights,
        state_of,
    )
    from fedkit.learning.strategies.arithmetic import mixing_weights
    from fedkit.learning.strategies.fedavg import fedavg
    from fedkit.learning.strategies.registry import STRATEGIES, make_strategy
    from fedkit.learning.training import evaluate, sgd_epoch, train
    from fedkit.learning.update import Update
    from fedkit.protocol.advance import ProjectStatus, advance, status
    from fedkit.protocol.approval import (
        Review,
        approve,
        approve_all,
        approve_none,
        decline,
        declined_requests,
        pending_requests,
        review,
        take_back,
    )
    from fedkit.rounds.history import Contribution, History, RoundRecord
    from fedkit.rounds.hostile import flip_labels, poisoned
    from fedkit.rounds.personal import FineTuned, fine_tune, hold_out
    from fedkit.rounds.rounds_to_target import rounds_to_reach, tuned
    from fedkit.rounds.simulation import numbered_participants, simulate
    from fedkit.rounds.starting_point import write_samples
    from fedkit.teaching import check, plots
    from fedkit.teaching.cards import model_card, privacy_card
    from fedkit.teaching.notebook import alt, caption, record, show
    from fedkit.teaching.widgets.playground import playground
    from fedkit.teaching.widgets.quiz import quiz
    from fedkit.teaching.workspace import workspace

__version__ = VERSION

_NAMES = {
    "base.errors": "FedkitError",
    "base.events": "Event render",
    "base.files": "read_json read_state write_json write_state",
    "base.seeds": "derive generator",
    "config.client_config": "ClientConfig read_env",
    "config.fl_config": "FLConfig",
    "data.array_files": "import_arrays",
    "data.feature_shift": "heterogeneity label_counts shift_features",
    "data.folder": "DataFolder read_data_folder write_data_folder",
    "data.importing": "deal_out import_images import_table",
    "data.label_skew": (
        "deal_dirichlet split_dirichlet split_groups split_labels_each split_shards split_sizes"
    ),
    "data.mnist": "MNIST load_mnist",
    "data.partition": "by_digits iid take",
    "data.shards": "Shard as_float read_shard write_shard",
    "data.standardise": "standardised",
    "datasite.datasite": "Datasite",
    "datasite.permissions": "Permissions write_permissions",
    "datasite.round_plan": "RoundPlan change_settings",
    "experiments.notebooks": "recorded",
    "experiments.sweep": "sweep",
    "experiments.table": "results",
    "federation.ledger": "LedgerEntry",
    "federation.network": "Network",
    "federation.report_facts": "privacy_report",
    "federation.rewind": "rewind",
    "learning.geometry": "agreement principal_plane",
    "learning.models": "SAMPLE_MODEL StateDict check_state flatten load_model seed_weights state_of",
    "learning.strategies.arithmetic": "mixing_weights",
    "learning.strategies.fedavg": "fedavg",
    "learning.strategies.registry": "STRATEGIES make_strategy",
    "learning.training": "evaluate sgd_epoch train",
    "learning.update": "Update",
    "protocol.advance": "ProjectStatus advance status",
    "protocol.approval": "Review approve approve_all approve_none decline declined_requests pending_requests "
    "review take_back",
    "rounds.history": "Contribution History RoundRecord",
    "rounds.hostile": "flip_labels poisoned",
    "rounds.personal": "FineTuned fine_tune hold_out",
    "rounds.rounds_to_target": "rounds_to_reach tuned",
    "rounds.simulation": "numbered_participants simulate",
    "rounds.starting_point": "write_samples",
    "teaching.cards": "model_card privacy_card",
    "teaching.notebook": "alt caption record show",
    "teaching.widgets.playground": "playground",
    "teaching.widgets.quiz": "quiz",
    "teaching.workspace": "workspace",
}
"""Module -> the names that it gives."""
_HOME: dict[str, str] = {name: home for home, names in _NAMES.items() for name in names.split()}

_PACKAGES = {
    "check": "teaching.check",
    "plots": "teaching.plots",
    "privacy": "privacy",
    "roads": "federation.roads",
    "widgets": "teaching.widgets",
}
"""Name -> the package that it stands for."""

__all__ = [
    "MNIST",
    "SAMPLE_MODEL",
    "STRATEGIES",
    "ClientConfig",
    "Contribution",
    "DataFolder",
    "Datasite",
    "Event",
    "FLConfig",
    "FedkitError",
    "FineTuned",
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
    "agreement",
    "alt",
    "approve",
    "approve_all",
    "approve_none",
    "as_float",
    "by_digits",
    "caption",
    "change_settings",
    "check",
    "check_state",
    "deal_dirichlet",
    "deal_out",
    "decline",
    "declined_requests",
    "derive",
    "evaluate",
    "fedavg",
    "fine_tune",
    "flatten",
    "flip_labels",
    "generator",
    "heterogeneity",
    "hold_out",
    "iid",
    "import_arrays",
    "import_images",
    "import_table",
    "label_counts",
    "load_mnist",
    "load_model",
    "make_strategy",
    "mixing_weights",
    "model_card",
    "numbered_participants",
    "pending_requests",
    "playground",
    "plots",
    "poisoned",
    "principal_plane",
    "privacy",
    "privacy_card",
    "privacy_report",
    "quiz",
    "read_data_folder",
    "read_env",
    "read_json",
    "read_shard",
    "read_state",
    "record",
    "recorded",
    "render",
    "results",
    "review",
    "rewind",
    "roads",
    "rounds_to_reach",
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
    "standardised",
    "state_of",
    "status",
    "sweep",
    "take",
    "take_back",
    "train",
    "tuned",
    "workspace",
    "write_data_folder",
    "write_json",
    "write_permissions",
    "write_samples",
    "write_shard",
    "write_state",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return _module(_PACKAGES[name], name)
    if name not in _HOME:
        raise AttributeError(f"module 'fedkit' has no attribute {name!r}")
    value = getattr(_module(_HOME[name], name), name)
    globals()[name] = value
    return value


def _module(home: str, name: str) -> Any:
    try:
        return import_module(f"fedkit.{home}")
    except ModuleNotFoundError as error:
        from fedkit.base.distribution import missing_extra

        missing = missing_extra(error, f"fk.{name}")
        if missing is None:
            raise
        raise missing from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if (
    "IPython" in _modules
):  # a notebook: where a cell looks in vain for what another makes, a line says so
    import_module("fedkit.teaching.out_of_order").speak()
