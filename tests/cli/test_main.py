"""The command itself: its help, its version, and a start without a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer

from fedkit.cli import main
from fedkit.cli.main import COMMANDS, app
from fedkit.cli.output import path
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


def commands(group: Any, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words, loaded."""
    for name in group.commands:
        _, found, _ = group.resolve_command(typer.Context(group), [name])
        if hasattr(found, "commands"):
            yield from commands(found, *before, name)
        else:
            yield (*before, name), found


def test_every_file_and_folder_is_read_in_one_way() -> None:
    """Whatever a command takes as a Path goes through `output.path`."""
    seen = 0
    for words, command in commands(typer.main.get_command(app)):
        told = vars(command.callback).get("__wrapped__", command.callback)
        for name, hint in get_type_hints(told, include_extras=True).items():
            kind, *more = get_args(hint) or (hint,)
            if Path in (kind, *get_args(kind)):
                assert [info.parser for info in more] == [path], (words, name)
                seen += 1
    assert seen > 30


@pytest.mark.parametrize(
    "words",
    [
        ["start", ""],
        ["course", "update", ""],
        ["course", "copy", "3", "--to", ""],
        ["course", "copy", "3", "--to="],
        ["run", "--out", ""],
        ["data", "samples", "--out", ""],
        ["status", "--config_path", ""],
        ["export", "flower", ""],
        ["data", "statistics", ""],
    ],
)
def test_an_empty_name_fills_no_folder(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a variable that nobody has set: `fedkit start "$DIR"`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert "is empty" in fedkit(*words, code=2)
    assert list(tmp_path.iterdir()) == []


def test_the_home_is_found_where_no_shell_has_looked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In quotes, or at Windows' prompt, `~` comes as it is typed; only a name that begins with it is a name."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    assert path("~") == home
    fedkit("course", "copy", "3", "--to", "~/course")
    assert [each.name for each in (home / "course").iterdir()] == ["03_train.ipynb"]
    fedkit("course", "copy", "3", "--to", "~x")
    assert [each.name for each in here.iterdir()] == ["~x"]

    def nobody(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.raises(typer.BadParameter, match="name the folder itself"):
        path("~/x")


BROKEN = [
    (ModuleNotFoundError("No module named 'scipy'", name="scipy"), "No module named 'scipy'"),
    (ImportError("libcudart.so.13: cannot open\nmore"), "libcudart.so.13: cannot open ->"),
    (ImportError(), "ImportError ->"),
]


@pytest.mark.parametrize(("error", "said"), BROKEN, ids=range(len(BROKEN)))
def test_a_package_that_is_broken_is_one_line(
    error: ImportError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise error

    monkeypatch.setattr(main, "import_module", broken)
    (line,) = fedkit("run", "--out", "x", code=1).splitlines()
    assert re.search(said, line)
    assert line.endswith("-> look what is missing: fedkit doctor")


def test_our_own_mistake_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("cannot import name 'x' from 'fedkit.base'", name="fedkit.base")

    monkeypatch.setattr(main, "import_module", broken)
    with pytest.raises(ImportError, match="cannot import name"):
        fedkit("run", "--out", "x", code=1)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_where_the_home_can_not_be_written_to(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a shell reads is printed all the same, and a line says what to do."""
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: (shell, shell))
    (tmp_path / "file").touch()
    for variable in ("HOME", "USERPROFILE", "ZDOTDIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "file"))
    assert f"COMPLETE=complete_{shell}" in fedkit("--show-completion")
    (line,) = fedkit("--install-completion", code=1).splitlines()
    assert line.startswith("Error: ")
    assert line.endswith("-> name a HOME that you may write in, or use --show-completion")


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
