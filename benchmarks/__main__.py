"""Run the benchmarks: all but the long ones, or those named on the command line (`python -m benchmarks tutorial`)."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks

LONG = ("paper",)  # an hour or more: only where it is named


def main() -> int:
    """Print each benchmark's table; 1 if a name is unknown."""
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name[0] != "_")
    known = [name for name in known if name != "common"]  # what the others share
    wanted = sys.argv[1:] or [name for name in known if name not in LONG]
    for name in wanted:
        if name not in known:
            print(f"no benchmark {name!r}; there are: {', '.join(known)}", file=sys.stderr)
            return 1
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
