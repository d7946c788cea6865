"""Run the benchmarks: all but some, or those named on the command line (`python -m benchmarks tutorial`).

What comes after `field` or `roads` is handed on: `python -m benchmarks field --model cnn`, `roads --only own,flower`.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from itertools import takewhile

import benchmarks

SHARED = {"common", "kernels", "processes"}
ONLY_BY_NAME = {
    "field": "it downloads other frameworks",
    "paper": "it takes an hour or more",
    "roads": "it needs other engines, and downloads SyftBox",
}
TAKE_OPTIONS = ("field", "roads")


def main() -> int:
    """Print each benchmark's table; 1 if a name is unknown."""
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name[0] != "_")
    known = [name for name in known if name not in SHARED]
    named = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    options = sys.argv[1 + len(named) :]
    wanted = named or [name for name in known if name not in ONLY_BY_NAME]
    for name in wanted:
        if name not in known:
            print(f"no benchmark {name!r}; there are: {', '.join(known)}", file=sys.stderr)
            return 1
    if options and (len(wanted) != 1 or wanted[0] not in TAKE_OPTIONS):
        print(f"{' '.join(options)}: only {', '.join(TAKE_OPTIONS)} take options", file=sys.stderr)
        return 1
    if len(wanted) == 1:
        importlib.import_module(f"benchmarks.{wanted[0]}").main(*filter(None, [options]))
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
