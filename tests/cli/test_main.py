"""The command itself: its help, its version, and a start without a script."""

from __future__ import annotations

import subprocess
import sys

from tests.support.cli import fedkit


def test_help_names_every_command_and_says_what_it_does() -> None:
    output = fedkit("--help")
    for name in ("client", "approve", "status", "run", "data", "course", "doctor"):
        assert name in output
        assert "Usage" in fedkit(name, "--help")
    assert fedkit("--version").startswith("fedkit ")


def test_the_command_is_there_without_its_script() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fedkit", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("fedkit ")
