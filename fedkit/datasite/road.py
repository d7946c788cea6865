"""On which road a datasite's files reach the others, and whether others can write into it on that road.

It stands in `private/road.json`, which no sync carries: `{"road": "synced"}`. Without that file the road is fedkit's own
sync or one machine's folders, where only the owner writes into a datasite.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_object, read_own, write_json

__all__ = ["ROADS", "Road", "road_file", "road_of", "write_road"]


@dataclass(frozen=True)
class Road:
    """name : as in `private/road.json`. others_can_write : into this datasite. why : in words, for people.

    others_read : does everybody on it read every file, so that an update is hidden by masks alone?
    max_bytes : the largest file that arrives, if there is such a limit.
    """

    name: str
    others_can_write: bool
    why: str
    max_bytes: int | None = None
    others_read: bool = False


ROADS = {
    road.name: road
    for road in (
        Road(
            "own", False, "one machine's folders, or fedkit's own sync: only its owner writes here"
        ),
        Road(
            "syftbox",
            False,
            "SyftBox 0.4.0: its server enforces the permission files",
            max_bytes=10 * 2**20,
        ),
        Road(
            "pysyft",
            True,
            "PySyft 0.10: an approved peer can send a change of any file",
            max_bytes=64 * 2**20,
        ),
        Road(
            "synced",
            True,
            "a synced or shared folder: every member writes everywhere",
            others_read=True,
        ),
    )
}
"""Name -> road."""

_WHAT, _REMEDY = "road of this datasite", f"write one of {', '.join(ROADS)}, or remove the file"


def road_of(data_dir: Path) -> Road:
    """The road of the datasite in `data_dir`. Raises FedkitError if something else stands there: then nothing may run."""
    try:
        values = read_own(road_file(data_dir), _WHAT, _REMEDY)
    except FedkitError as error:
        raise FedkitError(error.what, file=error.file, field="road", remedy=_REMEDY) from error
    if values is None:
        return ROADS["own"]
    road = (
        ROADS.get(values["road"])
        if isinstance(values, dict) and isinstance(values.get("road"), str)
        else None
    )
    if road is None:
        raise FedkitError(f"is no {_WHAT}", file=road_file(data_dir), field="road", remedy=_REMEDY)
    return road


def write_road(data_dir: Path, name: str, email: str | None = None) -> Road:
    """From now on, the datasite's files take this road. email : whose data dir it then is alone, where that matters.

    Raises FedkitError if there is none of that name.
    """
    if name not in ROADS:
        raise FedkitError(f"{name!r} is no road", field="road", remedy=f"one of {', '.join(ROADS)}")
    known = read_object(road_file(data_dir)).get("email")
    if road_of(data_dir).name != name or (email is not None and email != known):
        whose = {"email": email} if email is not None else {}
        write_json(road_file(data_dir), {"road": name, **whose})
    return ROADS[name]


def road_file(data_dir: Path) -> Path:
    """Where it stands."""
    return data_dir / "private" / "road.json"
