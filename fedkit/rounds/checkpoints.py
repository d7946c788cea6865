"""A simulation's state on disk: written every few rounds, whole or not at all, and gone on from, to the same bits.

Most strategies remember nothing at the participants. SCAFFOLD's each remember a control variate: then memory grows with
everybody who has taken part, not with the participants of one round, and only what has changed is written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_json, read_state, remove, write_json, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.learning.models import StateDict
from fedkit.learning.strategies.base import ServerState, pack, unpack
from fedkit.rounds.history import RoundRecord

__all__ = ["Checkpoint"]


class Checkpoint:
    """A folder with the state after some round, and which file holds what each participant remembers."""

    def __init__(self, folder: Path, config: FLConfig) -> None:
        self.folder = folder
        self._config = config
        self._files: dict[str, str] = {}
        self._written: dict[str, StateDict] = {}

    def save(
        self, server: ServerState, records: Sequence[RoundRecord], memories: dict[str, StateDict]
    ) -> None:
        """The state of round n first, then what says that n is reached, then the older state goes."""
        folder, n = self.folder, len(records)
        name = f"state_{n}.pt"
        write_state(folder / name, pack({"model": dict(server.model), **server.memory}))
        for email in sorted(memories):
            if self._written.get(email) is not memories[email]:
                self._files[email] = f"memory_{n}_{email}.pt"
                write_state(folder / self._files[email], memories[email])
        self._written = dict(memories)
        values = {"config": self._config.to_json(), "memories": self._files}
        rounds = [record.to_dict() for record in records]
        write_json(folder / "checkpoint.json", {**values, "rounds": rounds})
        wanted = {name, *self._files.values()}
        for path in [*folder.glob("memory_*.pt"), *folder.glob("state_*.pt")]:
            if path.name not in wanted:
                remove(path)

    def resume(self) -> tuple[ServerState, list[RoundRecord], dict[str, StateDict]] | None:
        """What `save` wrote: state, records, and what each participant remembers; None where there is nothing.

        Raises FedkitError if it belongs to another config.
        """
        values = read_json(self.folder / "checkpoint.json")
        if not isinstance(values, dict):
            return None
        if values.get("config") != self._config.to_json():
            raise FedkitError(
                "belongs to another config",
                file=self.folder / "checkpoint.json",
                remedy="choose another folder",
            )
        records = [RoundRecord.from_dict(record) for record in values["rounds"]]
        memory = unpack(read_state(self.folder / f"state_{len(records)}.pt"))
        model = memory.pop("model")
        self._files = {email: str(name) for email, name in values.get("memories", {}).items()}
        self._written = {e: read_state(self.folder / name) for e, name in self._files.items()}
        return ServerState(model, memory), records, dict(self._written)
