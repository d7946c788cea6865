"""What a datasite's images have already spent: written down before the training that spends it, one small file a round.

Whoever dies in between has counted too much, never too little (a power cut is another matter: see `fedkit.base.files`).
Data sets that share an image share what was spent; budgets of projects are added up. Notebook 09.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import is_file, read_bytes, sha256_bytes, write_bytes, write_json
from fedkit.base.strict_json import parse_json_object
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.dp.mechanism import promised

if TYPE_CHECKING:
    from fedkit.data.shards import Shard

__all__ = ["Spent", "spent", "trained_again", "write_spending", "write_unbounded"]


_OLD_AGAINST = {"example": "aggregator", "participant": "participants"}
"""Against whom an entry of before there were adversaries holds for sure: then, one trusted the aggregator that adds the
noise to the mean, and nothing tells such an entry from one of shares under masks."""


@dataclass(frozen=True)
class Spent:
    """What one project has spent, or would spend, of a data set. epsilon : infinite where it promises nothing; of zero-out
    neighbours where nobody asked for others."""

    project: str
    epsilon: float
    delta: float


def spent(
    site: Datasite,
    shard: Shard | None = None,
    too_weak: Sequence[str | None] = (),
    *,
    neighbours: str = "zero-out",
    unit: str | None = None,
    secure: bool = False,
) -> list[Spent]:
    """What each project has spent of these images (default: of any), in alphabetical order.

    A promise holds against somebody. too_weak : what was promised against these (as a policy names them, None for
    nobody) counts as infinite. neighbours : of what epsilon, as for `epsilon_of`. unit : of what a total is asked, None for
    each project's own: noise made for one image covers no whole participant, and one image more or less is, for noise made
    for participants, one of them replaced by another. secure : noise that derives from a seed is none.
    Raises FedkitError if an entry can't be read: what was spent is then unknown.
    """
    mine, shared = None if shard is None else _images(shard), dict[str, bool]()
    rounds: dict[tuple[str, float, str], dict[tuple[float, float], int]] = {}
    without = set()
    for entry in _entries(site):
        data = str(entry["data"])
        if mine is not None and data not in shared:
            shared[data] = _shares(site, data, mine)
        if not shared.get(data, True):
            continue
        of = str(entry.get("unit"))
        covers = entry["mechanism"] is not None and (of, unit) != ("example", "participant")
        covers = covers and not (secure and entry.get("repeats") is not False)
        if not covers or entry.get("against", _OLD_AGAINST.get(of)) in too_weak:
            without.add(str(entry["project"]))
            continue
        rate, noise, steps = entry["mechanism"]
        by = neighbours if unit in (None, of) else "replace-one"
        group = rounds.setdefault((str(entry["project"]), float(entry["delta"]), by), {})
        group[rate, noise] = group.get((rate, noise), 0) + steps
    totals = {name: Spent(name, math.inf, 0.0) for name in without}
    for (name, delta, by), group in rounds.items():
        epsilon = sum(
            epsilon_of(Mechanism(*key, steps), delta, neighbours=by) for key, steps in group.items()
        )
        was = totals.get(name, Spent(name, 0.0, 0.0))
        totals[name] = Spent(name, was.epsilon + epsilon, was.delta + delta * len(group))
    return [totals[name] for name in sorted(totals)]


def trained_again(site: Datasite, project: str) -> int:
    """How many rounds of a project were taken back here and trained anew, so that they count twice."""
    found: dict[str, list[int]] = {}
    for entry in _entries(site):
        if entry["project"] == project and entry["mechanism"] is not None:
            found.setdefault(str(entry["data"]), []).append(entry.get("round", 0))
    return max((len(rounds) - len(set(rounds)) for rounds in found.values()), default=0)


def write_spending(
    site: Datasite,
    config: FLConfig,
    shard: Shard,
    n: int,
    attempt: str,
    mechanism: Mechanism,
    *,
    against: str | None,
) -> None:
    """Write down that round n spends `mechanism` (its steps in this round) of these images.

    against : whom the promise holds against, as a policy names them; None for nobody.
    attempt : what the training starts from. The same attempt gives the same bits, so it counts once; with secure noise
    it does not.
    """
    dp, project, data = promised(config), config.project_name, _remember(site, shard)
    entry = {
        "project": project,
        "participant": site.email,
        "round": n,
        "data": data,
        "unit": dp.unit,
        "against": against,
        "delta": dp.delta,
        "mechanism": [mechanism.sampling_rate, mechanism.noise_multiplier, mechanism.steps],
        "repeats": not dp.secure_noise,
    }
    for count in itertools.count():
        path = _folder(site) / site.email / f"{project}.{data}.{n}.{attempt}.{count}.json"
        if not is_file(path):
            return write_json(path, entry)
        if not dp.secure_noise:
            return None


def write_unbounded(site: Datasite, project: str, shard: Shard) -> None:
    """Write down that a project without differential privacy uses these images: once, until the data change."""
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in site.data_files]
    name = f"{project}.{sha256_bytes(repr(files).encode())[:12]}.json"
    path = _folder(site) / site.email / name
    if not is_file(path):
        entry = {"project": project, "data": _remember(site, shard), "mechanism": None}
        write_json(path, entry)


def _folder(site: Datasite) -> Path:
    return site.private_client / "spent"


def _entries(site: Datasite) -> Iterator[dict[str, Any]]:
    for path in sorted(_folder(site).glob("*/*.json")):
        entry = parse_json_object(read_bytes(path, root=site.data_dir, max_bytes=2**20), path)
        wrong = _wrong_in(entry)
        if wrong is not None:
            what = "is no entry of what was spent"
            raise FedkitError(what, file=path, field=wrong, remedy="restore it")
        yield entry


def _wrong_in(entry: dict[str, Any]) -> str | None:
    """The first key of an entry that does not hold what `write_spending` puts there."""
    if type(entry.get("project")) is not str or "mechanism" not in entry:
        return "project" if "mechanism" in entry else "mechanism"
    if not re.fullmatch("[0-9a-f]{12}", str(entry.get("data"))):
        return "data"
    if entry["mechanism"] is None:
        return None
    try:
        rate, noise, steps = entry["mechanism"]
        fits = 0 < rate <= 1 and 0 < noise < math.inf and 0 <= steps < math.inf
        if not fits or type(steps) is not int:
            return "mechanism"
        return None if 0 < entry["delta"] < 1 else "delta"
    except (TypeError, ValueError):
        return "mechanism"
    except KeyError:
        return "delta"


def _images(shard: Shard) -> set[bytes]:
    """A short hash of each image."""
    rows = shard[0].contiguous().flatten(1).numpy()
    return {bytes.fromhex(sha256_bytes(row.tobytes())[:16]) for row in rows}


def _remember(site: Datasite, shard: Shard) -> str:
    """The data set's name; which images are in it is kept beside the entries."""
    images = b"".join(sorted(_images(shard)))
    name = sha256_bytes(images)[:12]
    path = _folder(site) / f"{name}.images"
    if not is_file(path):
        write_bytes(path, images)
    return name


def _shares(site: Datasite, data: str, mine: set[bytes]) -> bool:
    """Is one of these images in that data set? Yes where nobody can tell any more."""
    try:
        images = read_bytes(_folder(site) / f"{data}.images", root=site.data_dir)
    except FileNotFoundError:
        return True
    return not mine.isdisjoint(images[start : start + 8] for start in range(0, len(images), 8))
