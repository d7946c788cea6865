"""Reading what an aggregator's folders say about its projects: which there are, and how their rounds went."""

from __future__ import annotations

from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.projects import find_project
from fedkit.protocol.aggregator.aggregate import read_records
from fedkit.records import History

__all__ = ["read_history"]


def read_history(site: Datasite, project: str | None = None) -> History:
    """The evaluated rounds of a project, from the aggregator's own records. Raises FedkitError if there is none."""
    place = find_project(site, project)
    config = FLConfig.load(place.config)
    records = [r for r in read_records(place, config.rounds) if r.accuracy is not None]
    return History(config.project_name, tuple(records), config.rounds)
