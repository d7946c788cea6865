"""Who can read what on a road, read off the disk: which updates, models and images lie open in a party's folder.

Nobody is asked what an engine does. A *trace* is a piece of the bytes of something that should be secret, such as 16
weights of Bob's update as they lie in memory. Files, databases and messages keep such numbers as they are, so whoever has a
trace on the disk can open what it comes from; under encryption or masks it is not there. Since a project has the same bits
on every road, the traces of one run are looked for on all of them. Notebook 12 builds `could_open`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.files import read_bytes, read_dataset, read_state

if TYPE_CHECKING:
    from fedkit.federation.network import Network
    from fedkit.learning.models import StateDict

__all__ = ["Thing", "could_open", "count_kinds", "traces_of", "traces_of_states", "watched"]


_BYTES = 64
_LOOK_S = 0.3


class Thing(NamedTuple):
    """What a trace comes from. kind : "update", "global model", "masked update" or "images". who : an e-mail, or "".

    round : 0 where it has none.
    """

    kind: str
    who: str
    round: int


def could_open(folder: Path, traces: Mapping[Thing, bytes]) -> set[Thing]:
    """What lies open in some file of a folder: the things of which a piece is there as it is."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found |= {thing for thing, piece in traces.items() if piece in content}
    return found


def count_kinds(things: set[Thing] | Mapping[Thing, bytes]) -> dict[str, int]:
    """How many there are of each kind."""
    kinds = [thing.kind for thing in things]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(sorted(kinds))}


def traces_of(network: Network, project: str) -> dict[Thing, bytes]:
    """Traces of all updates, global models, masked updates and private images of a network whose project is done.

    The network is a lesson's or a benchmark's own, whose every folder may be opened. Raises FedkitError where it is not
    done, or two of its states can't be told apart.
    """
    place = network[network.aggregator].aggregator().project(project, "done")
    masked = sorted(place.shared.glob("fl_clients/*/secagg_*_masked.msg"))
    states: dict[Thing, StateDict] = {}
    for path in sorted(place.agg_weights.glob("agg_model_round_*.pt")):
        states[Thing("global model", "", _number(path))] = read_state(path)
    if not states:
        remedy = "run it to its end first"
        raise FedkitError(f"{project} is not done", file=place.path, remedy=remedy)
    for email in network.participants:
        own = network[email].client().project(project, "done").trained(1).parent
        for path in sorted(own.glob("trained_model_round_*.pt")):
            states[Thing("update", email, _number(path))] = read_state(path)
    found = traces_of_states(states)
    for path in masked:
        content = read_bytes(path)
        middle = len(content) // 2
        thing = Thing("masked update", path.parent.name, int(path.name.split("_")[1]))
        found[thing] = content[middle : middle + _BYTES]
    with_data = [email for email in network.participants if network[email].data_files]
    for email in with_data:
        samples, _ = read_dataset(network[email].data_files[0])
        whole = samples[0].numpy().tobytes()
        # eight rows in the middle of a digit: its edges are as empty as any other's
        found[Thing("images", email, 0)] = whole[len(whole) // 3 : 2 * len(whole) // 3]
    return found


def traces_of_states(states: Mapping[Thing, StateDict]) -> dict[Thing, bytes]:
    """For each state the bytes of the same 16 weights, at a place where no two states are alike.

    Weights of pixels that are always black never change, so not every place will do. Raises FedkitError if none does.
    """
    for name in reversed(list(next(iter(states.values())))):
        rows = {
            thing: state[name].detach().contiguous().numpy().tobytes()
            for thing, state in states.items()
        }
        length = min(map(len, rows.values()))
        for start in range(0, length - _BYTES + 1, _BYTES):
            pieces = {thing: row[start : start + _BYTES] for thing, row in rows.items()}
            if len(set(pieces.values())) == len(pieces):
                return pieces
    raise FedkitError(
        "at no place do all of these models differ",
        field="traces",
        remedy="train for longer, or with other data at each participant",
    )


@contextmanager
def watched(
    parties: Mapping[str, Path], traces: Mapping[Thing, bytes]
) -> Iterator[dict[str, set[Thing]]]:
    """Look into folders again and again while something runs: who has a thing for a moment could keep it for good.

    parties : who -> the folder of its disk. Gives who -> what lay open there at some moment; complete after the block.
    """
    seen: dict[str, set[Thing]] = {who: set() for who in parties}
    stamps: dict[Path, tuple[int, int]] = {}
    ended = threading.Event()

    def look() -> None:
        for who, folder in parties.items():
            for path in _files(folder):
                try:
                    about = path.stat()
                    stamp = about.st_size, about.st_mtime_ns
                    if stamps.get(path) != stamp:
                        stamps[path] = stamp
                        content = read_bytes(path)
                        seen[who] |= {t for t, piece in traces.items() if piece in content}
                except (OSError, Unreadable):  # it moved away while we looked
                    continue

    def keep_looking() -> None:
        while not ended.wait(_LOOK_S):
            look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        look()


def _files(folder: Path) -> Iterator[Path]:
    """All files below it; folders that move away meanwhile have none."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _number(path: Path) -> int:
    return int(path.stem.rsplit("_", 1)[1])
