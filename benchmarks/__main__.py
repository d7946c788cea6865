"""Run the benchmarks: all but some, or those named on the command line (`python -m benchmarks tutorial`)."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import benchmarks

SHARED = {"common", "processes"}
ONLY_BY_NAME = {"field": "it downloads other frameworks", "paper": "it takes an hour or more"}


def main() -> int:
    """Print each benchmark's table; 1 if a name is unknown."""
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name[0] != "_")
    known = [name for name in known if name not in SHARED]
    wanted = sys.argv[1:] or [name for name in known if name not in ONLY_BY_NAME]
    for name in wanted:
        if name not in known:
            print(f"no benchmark {name!r}; there are: {', '.join(known)}", file=sys.stderr)
            return 1
    if len(wanted) == 1:
        importlib.import_module(f"benchmarks.{wanted[0]}").main()
        return 0
    # each in a process of its own: no part is measured in what another one has left
    for name in wanted:
        sys.stdout.flush()
        if subprocess.run([sys.executable, "-m", "benchmarks", name]).returncode:
            return 1
    if not sys.argv[1:]:
        for name, reason in ONLY_BY_NAME.items():
            print(f"Not run, since {reason}: python -m benchmarks {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
