"""A simulation's state on disk: written every few rounds, whole or not at all, and gone on from, to the same bits.

In memory: the participants' part of a strategy, as their datasites play it file by file.

Most strategies have none, and then nothing is kept. SCAFFOLD's participants each remember a control variate: then memory
grows with everybody who has taken part, not with the participants of one round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_json, read_state, remove, write_json, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.learning.models import StateDict
from fedkit.learning.strategies.base import LocalRun, LocalTerms, ServerState, pack, unpack
from fedkit.learning.strategies.registry import make_strategy
from fedkit.learning.training import local_steps
from fedkit.learning.update import Update
from fedkit.rounds.history import RoundRecord

__all__ = ["Memories", "resume", "save_checkpoint"]


def save_checkpoint(
    folder: Path,
    config: FLConfig,
    server: ServerState,
    records: Sequence[RoundRecord],
    memories: Memories,
) -> None:
    """The state of round n first, then what says that n is reached, then the older state goes."""
    name = f"state_{len(records)}.pt"
    write_state(folder / name, pack({"model": dict(server.model), **server.memory}))
    values = {"config": config.to_json(), "memories": memories.save(folder, len(records))}
    rounds = [asdict(record) for record in records]
    write_json(folder / "checkpoint.json", {**values, "rounds": rounds})
    memories.tidy(folder)
    for path in folder.glob("state_*.pt"):
        if path.name != name:
            remove(path)


def resume(
    folder: Path, config: FLConfig, server: ServerState, memories: Memories
) -> tuple[ServerState, list[RoundRecord]]:
    """What `save_checkpoint` wrote, or `server` and no record; fills `memories`.

    Raises FedkitError if it belongs to another config.
    """
    values = read_json(folder / "checkpoint.json")
    if not isinstance(values, dict):
        return server, []
    if values.get("config") != config.to_json():
        raise FedkitError(
            "belongs to another config",
            file=folder / "checkpoint.json",
            remedy="choose another folder",
        )
    records = [RoundRecord.from_dict(record) for record in values["rounds"]]
    memory = unpack(read_state(folder / f"state_{len(records)}.pt"))
    model = memory.pop("model")
    memories.load(folder, values.get("memories", {}))
    return ServerState(model, memory), records


class Memories:
    """What the strategy's part at each participant remembers.

    A round is `begin`, then `terms` and `finished` for each participant, in any thread, then `end`.
    """

    def __init__(self, config: FLConfig, trained: Sequence[str]) -> None:
        """trained : the names of the model's trained parameters."""
        self._config = config
        self._trained = trained
        self._strategy = make_strategy(config)
        self._kept: dict[str, StateDict] = {}
        self._fresh: dict[str, StateDict] = {}
        self._unsaved: set[str] = set()
        self._files: dict[str, str] = {}
        self._nothing: StateDict = {}
        self._received: StateDict = {}

    def begin(self, server: ServerState) -> None:
        """A round begins: what the participants are sent."""
        self._fresh = {}
        if self._strategy.two_sided:
            self._nothing = self._strategy.beside(server.model)
            self._received = self._strategy.broadcast(server)

    def terms(self, email: str) -> LocalTerms:
        """What this participant adds to its gradients."""
        return self._strategy.terms(self._received, self._kept.get(email, self._nothing))

    def finished(self, update: Update, start: Mapping[str, Tensor], epochs: int) -> Update:
        """The update as its participant sends it: with its number of steps, and with what the strategy sends beside it."""
        config, who = self._config, update.participant
        steps = local_steps(update.num_samples or 0, epochs, config.batch_size)
        if not self._strategy.two_sided:
            return replace(update, steps=steps)
        memory = self._kept.get(who, self._nothing)
        first, last = ({k: s[k] for k in self._trained} for s in (start, update.state))
        run = LocalRun(first, last, steps, config.learning_rate, self._received, memory)
        extra, self._fresh[who] = self._strategy.report(run)
        return replace(update, steps=steps, extra=extra)

    def end(self, arrived: Sequence[Update]) -> None:
        """A round ends: who was not counted remembers what it remembered before."""
        for update in arrived:
            if update.participant in self._fresh:
                self._kept[update.participant] = self._fresh[update.participant]
                self._unsaved.add(update.participant)

    def save(self, folder: Path, n: int) -> dict[str, str]:
        """Write what has changed since the last time; returns the file names, which `load` needs."""
        for email in sorted(self._unsaved):
            self._files[email] = f"memory_{n}_{email}.pt"
            write_state(folder / self._files[email], self._kept[email])
        self._unsaved = set()
        return dict(self._files)

    def load(self, folder: Path, files: Mapping[str, Any]) -> None:
        """What `save` wrote. Raises FileNotFoundError or FedkitError."""
        self._files = {email: str(name) for email, name in files.items()}
        self._kept = {email: read_state(folder / name) for email, name in self._files.items()}

    def tidy(self, folder: Path) -> None:
        """Remove the files of earlier times."""
        for path in folder.glob("memory_*.pt"):
            if path.name not in self._files.values():
                remove(path)
