"""Hatchling's hook: a wheel carries the course, in `fedkit/course`, as a clone has it at its top.

An editable install carries nothing: there the course is the clone's own.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def course(root: Path, patterns: list[str]) -> dict[str, str]:
    """File below `root` -> its place in the wheel. Raises FileNotFoundError where a pattern finds nothing."""
    found = {}
    for pattern in patterns:
        paths = sorted(path for path in root.glob(pattern) if path.is_file())
        if not paths:
            raise FileNotFoundError(f"{root / pattern}: the wheel needs it")
        for path in paths:
            found[str(path)] = f"fedkit/course/{path.relative_to(root).as_posix()}"
    return found


class CourseHook(BuildHookInterface):
    """Adds the course to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling calls it before it builds; `version` is "standard" or "editable"."""
        if version != "editable":
            build_data["force_include"].update(course(Path(self.root), self.config["course"]))
