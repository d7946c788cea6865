"""The name of a run: a hash of all that decides its result. What has a result under its name is not run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedkit.base.files import read_bytes

__all__ = ["code_version", "run_id"]

PACKAGE = Path(__file__).resolve().parents[1]


def code_version(package: Path = PACKAGE) -> str:
    """SHA-256, in hex, over the names and contents of all Python sources of a package, as they lie on the disk now.

    That is what workers and kernels will run, whatever the calling process has loaded.
    """
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = read_bytes(path).replace(b"\r\n", b"\n")
        total.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


def run_id(target: str, values: Mapping[str, Any], code: str, fingerprint: str) -> str:
    """SHA-256, in hex, of what is run, its parameters (in any order), the package and the notebook."""
    parts = [target, sorted(values.items()), code, fingerprint]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
