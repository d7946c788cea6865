"""The same project on other engines: one module a road, whose packages are imported only where it is taken.

`runs` has what each road cost in a real run, and `disks` finds out who could read what on it.
"""

from fedkit.federation.roads.disks import (
    Thing,
    could_open,
    count_kinds,
    traces_of,
    traces_of_states,
    watched,
)
from fedkit.federation.roads.runs import (
    INSTALL,
    Death,
    Machine,
    RoadRun,
    missing,
    project_digest,
    record,
    recorded,
    this_machine,
)

__all__ = [
    "INSTALL",
    "Death",
    "Machine",
    "RoadRun",
    "Thing",
    "could_open",
    "count_kinds",
    "missing",
    "project_digest",
    "record",
    "recorded",
    "this_machine",
    "traces_of",
    "traces_of_states",
    "watched",
]
