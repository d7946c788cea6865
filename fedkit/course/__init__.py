"""The machinery of the course: from one text source to two editions, checked and executed.

`build` makes the notebooks, `lint` holds them against the rules, `run` executes them, `record` carries results
out of them. What a notebook itself uses is light; jupytext and papermill are imported by those who build and run.
"""

from fedkit.course.record import record, recorded
from fedkit.course.workspace import workspace

__all__ = ["record", "recorded", "workspace"]
