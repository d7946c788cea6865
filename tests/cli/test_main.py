"""The command itself: its help, its version, and a start without a script."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer

from fedkit.cli.main import COMMANDS, app
from tests.support.cli import fedkit


def test_help_names_every_command_and_says_what_it_does() -> None:
    output = fedkit("--help")
    for name in ("client", "approve", "status", "run", "data", "course", "doctor"):
        assert name in output
        assert "Usage" in fedkit(name, "--help")
    assert fedkit("--version").startswith("fedkit ")
    assert "The request's name." in fedkit("approve", "--help"), "an argument says what it is"


def test_the_command_is_there_without_its_script() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fedkit", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("fedkit ")


def test_the_help_says_of_every_command_what_the_command_says_of_itself() -> None:
    group = typer.main.get_command(app)
    context = typer.Context(group)
    assert list(group.commands) == list(COMMANDS)
    for name, (_, text) in COMMANDS.items():
        assert group.commands[name].help == text
        _, command, _ = group.resolve_command(context, [name])
        assert " ".join((command.help or "").partition("\n\n")[0].split()) == text
        assert command.params or command.commands, name  # the command itself, not its stand-in


def test_the_shell_completes_a_command_of_a_command() -> None:
    asked = {
        "_FEDKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": "fedkit course up",
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv = ['fedkit']; from fedkit.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | asked,
    )
    assert done.stdout.split() == ["update"]


HEAVY = {"torch", "matplotlib", "pandas", "papermill", "jupytext"}


@pytest.mark.parametrize(
    "words", ["--help", "course list", "course --help", "doctor", "data --help", "sweep --help"]
)
def test_what_computes_nothing_loads_nothing_heavy(words: str) -> None:
    code = f"""
import sys
from fedkit.cli.main import main
sys.argv = ["fedkit", *{words.split()}]
try:
    main()
finally:
    sys.stderr.write(f"heavy: {{sorted({HEAVY} & set(sys.modules))}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("heavy: []"), done.stderr
    assert done.stdout
