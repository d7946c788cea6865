"""A simulation's state on disk: written every few rounds, whole or not at all, and gone on from, to the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_json, read_state, remove, write_json, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.learning.strategies.base import ServerState, pack, unpack
from fedkit.memories import Memories
from fedkit.records import RoundRecord

__all__ = ["resume", "save_checkpoint"]


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
