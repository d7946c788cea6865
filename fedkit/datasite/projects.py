"""Which projects lie at an aggregator, running and done."""

from __future__ import annotations

from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import is_file
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.tree import entries

__all__ = ["find_project", "launched_projects"]


def launched_projects(site: Datasite) -> list[str]:
    """Names of the projects at this aggregator, running or done, the one launched last at the end."""
    box = site.aggregator()
    found: list[Path] = []
    for folder in (box.done, box.running):
        found += (p for p in entries(folder) if is_file(p / "fl_config.json"))
    return [p.name for p in sorted(found, key=_launched)]


def find_project(site: Datasite, project: str | None = None) -> AggregatorProject:
    """The folder of a project (default: the one launched last). Raises FedkitError if there is none."""
    names = launched_projects(site)
    if not names or (project is not None and project not in names):
        what = f"no project {project!r} was launched" if project else "no project was launched"
        known = f"one of {', '.join(names)}" if names else "call network.launch(config) first"
        raise FedkitError(what, file=site.aggregator().launch, remedy=known)
    name, box = project or names[-1], site.aggregator()
    running = box.project(name)
    return running if running.path.is_dir() else box.project(name, "done")


def _launched(project: Path) -> tuple[int, str]:
    for name in ("launch.json", "fl_config.json"):
        if is_file(project / name):
            return (project / name).stat().st_mtime_ns, project.name
    return 0, project.name
