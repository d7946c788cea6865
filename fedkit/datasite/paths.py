"""The folders of the two apps: which file of a project lies where, on the participant's and on the aggregator's side.

A box is an app's mailbox in one datasite; a project is a folder in it, which moves from `running/` to `done/`. On a road
where others can write into a datasite, its own projects are at home in a private folder, and only what crosses lies in
the mailbox: so nothing that anybody else could touch is taken for an approval, for a launch, or for what one remembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedkit.base.files import is_file

__all__ = ["AggregatorBox", "AggregatorProject", "Box", "ClientBox", "ClientProject"]


@dataclass(frozen=True)
class _Project:
    """What both sides have. wire : where what crosses lies, if that is another folder."""

    path: Path
    wire: Path | None = None

    @property
    def shared(self) -> Path:
        """The folder of what crosses."""
        return self.wire or self.path

    @property
    def config(self) -> Path:
        """The project's `fl_config.json`."""
        return self.path / "fl_config.json"

    @property
    def agg_weights(self) -> Path:
        """Global models, and nothing else at the aggregator: the real one counts the entries. At a participant they arrive
        here, and its permission file is the ready signal."""
        return self.path / "agg_weights"

    def global_model(self, round_number: int) -> Path:
        """Global model after `round_number` rounds (0: the seed weights)."""
        return self.agg_weights / f"agg_model_round_{round_number}.pt"


@dataclass(frozen=True)
class Box:
    """What both mailboxes have. home : the private folder of this datasite's own projects, if that is another one."""

    path: Path
    home: Path | None = None

    @property
    def running(self) -> Path:
        """Projects under way; at a participant, approved ones."""
        return (self.home or self.path) / "running"

    @property
    def done(self) -> Path:
        """Finished projects."""
        return (self.home or self.path) / "done"

    def _wire(self, name: str, folder: str) -> Path | None:
        return self.path / folder / name if self.home is not None else None


class ClientProject(_Project):
    """One project in a client's mailbox: `running/P`, `done/P` or `request/P`."""

    @property
    def agg_weights(self) -> Path:
        """Where global models arrive; its permission file is the ready signal."""
        return self.shared / "agg_weights"

    @property
    def state(self) -> Path:
        """What the aggregator may know: data there or not, progress, number of samples."""
        return self.shared / "state" / "state.json"

    def round_settings(self, round_number: int) -> Path:
        """What round `round_number` asks for where it differs from the config; comes with the model before it."""
        return self.agg_weights / f"round_{round_number}.json"

    def extra_for(self, round_number: int) -> Path:
        """What the strategy sends for a round beside the global model, if anything. The real apps ignore it."""
        return self.agg_weights / f"extra_round_{round_number}.bin"

    def extra(self, round_number: int) -> Path:
        """The participant's own copy of what goes beside its update."""
        return self.path / "memory" / f"extra_round_{round_number}.bin"

    def memory(self, round_number: int) -> Path:
        """What the strategy's part at this participant remembers after a round; nobody else reads it."""
        return self.path / "memory" / f"memory_{round_number}.pt"

    def start(self, round_number: int) -> Path:
        """Where files are signed: SHA-256 of the global model that a round was trained from."""
        return self.path / "memory" / f"start_{round_number}.txt"

    def secure_list(self, round_number: int, name: str) -> Path:
        """In secure aggregation: what the aggregator tells of a round, such as its roster."""
        return self.agg_weights / f"secagg_{round_number}_{name}.json"

    def trained(self, round_number: int) -> Path:
        """The participant's own copy of its update."""
        return self.path / "round_weights" / f"trained_model_round_{round_number}.pt"

    def training_log(self, round_number: int) -> Path:
        """A line a local epoch, for people."""
        return self.path / "logs" / f"training_logs_round_{round_number}.txt"


class ClientBox(Box):
    """The mailbox of the `fl_client` app in one datasite."""

    @property
    def request(self) -> Path:
        """Where aggregators put requests."""
        return self.path / "request"

    def declined(self, name: str) -> Path:
        """The participant's no to a project, with its reason; not in `request/`, where anybody may write."""
        return self.path / "declined" / name / "declined.json"

    def own_no(self, name: str) -> Path:
        """The same for the participant itself, where nobody else can have written it."""
        return (self.home or self.path) / "declined" / name / "declined.json"

    def project(self, name: str, folder: str = "running") -> ClientProject:
        """A project's folder under `running`, `request` or `done`."""
        if folder == "request":
            return ClientProject(self.request / name)
        home = self.running if folder == "running" else self.done
        return ClientProject(home / name, self._wire(name, folder))


class AggregatorProject(_Project):
    """One project at the aggregator: `running/P` or `done/P`."""

    def inbox(self, email: str) -> Path:
        """Where this participant puts its updates, and nobody else may."""
        return self.shared / "fl_clients" / email

    def update(self, email: str, round_number: int) -> Path:
        """A participant's update of a round."""
        return self.inbox(email) / f"trained_model_round_{round_number}.pt"

    def update_info(self, email: str, round_number: int) -> Path:
        """What a fedkit client says about its update: samples, steps, loss, seconds, as far as the project's privacy
        lets it. The real apps ignore it."""
        return self.inbox(email) / f"trained_model_round_{round_number}.json"

    def message(self, email: str, round_number: int, step: str) -> Path:
        """In secure aggregation: a participant's message in a step of a round."""
        return self.inbox(email) / f"secagg_{round_number}_{step}.msg"

    def has_update(self, email: str, round_number: int) -> bool:
        """Has a participant sent its update of a round, plain or masked?"""
        masked = self.message(email, round_number, "masked")
        return is_file(self.update(email, round_number)) or is_file(masked)

    def extra(self, email: str, round_number: int) -> Path:
        """What the strategy sends beside an update, if anything. The real apps ignore it."""
        return self.inbox(email) / f"extra_round_{round_number}.bin"

    def plan(self, round_number: int) -> Path:
        """What a round asks for, fixed when it begins."""
        return self.path / "rounds" / f"plan_{round_number}.json"

    @property
    def stopped(self) -> Path:
        """There where the project ended before its last round: after which, and who left."""
        return self.path / "stopped.json"

    @property
    def settings(self) -> Path:
        """What a person wants from the next round on, where it differs from the config."""
        return self.path / "settings.json"

    def memory(self, round_number: int) -> Path:
        """What the strategy remembers after a round, for strategies that remember."""
        return self.path / "rounds" / f"memory_{round_number}.pt"

    def record(self, round_number: int) -> Path:
        """Who took part in a round and what came out: the aggregator's own memory."""
        return self.path / "rounds" / f"round_{round_number}.json"


class AggregatorBox(Box):
    """The mailbox of the `fl_aggregator` app in one datasite."""

    @property
    def launch(self) -> Path:
        """A person puts config, model and seed weights here."""
        return (self.home or self.path) / "launch"

    def project(self, name: str, folder: str = "running") -> AggregatorProject:
        """A project's folder under `running` or `done`."""
        home = self.running if folder == "running" else self.done
        return AggregatorProject(home / name, self._wire(name, folder))
