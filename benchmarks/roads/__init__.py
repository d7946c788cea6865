"""One project on every road: the same global models, and what each road costs.

A project's folder holds `fl_config.json`, `model.py`, the seed weights and `data/` (`fedkit/data/folder.py`).
A road is a module `benchmarks/roads/NAME.py` with these names:

    SEES = "..."                                    who sees what on this road
    PARTIES = {"its server": "server"}              who is in the middle -> that one's disk, a folder below `out`; none
                                                    where nobody's disk is kept apart
    def missing() -> str | None                     why it can't be taken on this machine, None where it can
    def run_on_NAME(project_dir, out) -> Result     the project from launch to done; `out` is a new folder for its files

All of them at once: `python -m benchmarks roads`; with `--record`, what lesson 12 shows of them is kept with the package.
"""

from benchmarks.roads.table import main

__all__ = ["main"]
