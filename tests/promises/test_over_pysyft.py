"""The same projects at home and over PySyft 0.10, and what a hostile peer can't do there: PySyft itself is asked.

It needs packages that fedkit does without, so that an interpreter of its own runs `pysyft_cases.py`.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support import ROOT
from tests.support.helpers import posix
from tests.support.pysyft_network import pysyft_python

pytestmark = posix


def run_cases(*chosen: str) -> None:
    command = [pysyft_python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FEDKIT_FUZZ": "20"}
    done = subprocess.run(
        [*command, "tests/promises/pysyft_cases.py"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_with_pysyft_itself() -> None:
    run_cases("-m", "not slow")


@pytest.mark.slow
def test_masked_and_two_sided_with_pysyft_itself() -> None:
    run_cases("-m", "slow")
