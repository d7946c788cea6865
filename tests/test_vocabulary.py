"""`import fedkit as fk` has every name that it promises, whatever was imported before, and loads them on first use."""

import ast
import contextlib
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import fedkit as fk


def promised_to_type_checkers(face: ModuleType = fk) -> dict[str, str]:
    """Name -> module, from the imports that only type checkers run."""
    source = Path(str(face.__file__)).read_text(encoding="utf-8")
    block = next(n for n in ast.parse(source).body if isinstance(n, ast.If))
    return {
        alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != "fedkit"
    }


def test_what_type_checkers_see_is_what_runs() -> None:
    code = (
        "import importlib, json, pkgutil, sys, fedkit as fk\n"
        "promised = json.loads(sys.argv[1])\n"
        "[importlib.import_module(home) for home in promised.values()]\n"
        "from fedkit import cli\n"
        "from fedkit.teaching import control, widgets\n"
        "for name, home in promised.items():\n"
        "    assert getattr(fk, name) is getattr(importlib.import_module(home), name), name\n"
        "assert set(promised) | {'privacy'} == set(fk.__all__), set(promised) ^ set(fk.__all__)\n"
    )
    argument = json.dumps(promised_to_type_checkers())
    done = subprocess.run(
        [sys.executable, "-c", code, argument], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_type_checkers_see_of_privacy_is_what_runs() -> None:
    promised = promised_to_type_checkers(fk.privacy)
    for name, home in promised.items():
        assert getattr(fk.privacy, name) is getattr(import_module(home), name), name
    assert set(promised) == set(fk.privacy.__all__)
    assert not hasattr(fk.privacy, "no_such_name")


def test_the_bare_import_waits_for_nothing_heavy() -> None:
    code = "import sys, fedkit; print([m for m in ('torch', 'matplotlib', 'papermill') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pictures_of_folders_and_rounds_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, fedkit as fk\n"
        "fk.plots.folder_tree(sys.argv[1]), fk.plots.course_map(), fk.plots.accuracy_by_round([0.5])\n"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(fk, "no_such_name")
    assert "History" in dir(fk)


def public() -> dict[str, Any]:
    """Everything that the faces promise and a learner can call, methods included."""
    found: dict[str, Any] = {}
    for face in (fk, fk.privacy, fk.plots, fk.widgets):
        for name in face.__all__:
            thing = getattr(face, name)
            found[f"{face.__name__}.{name}"] = thing
            methods = vars(thing) if inspect.isclass(thing) else {}
            found |= {f"{face.__name__}.{name}.{m}": methods[m] for m in methods if m[0] != "_"}
    return found


def test_a_signature_shows_short_defaults_and_never_a_page_of_source() -> None:
    """`help(fk.simulate)` fits on a screen: no default is a text of its own, no type an object in memory."""
    signatures = {}
    for name, thing in public().items():
        with contextlib.suppress(TypeError, ValueError):  # a constant, or written in C
            signatures[name] = inspect.signature(thing)
    assert len(signatures) > 150
    for name, signature in signatures.items():
        for parameter in signature.parameters.values():
            assert len(repr(parameter.default)) <= 60, name
            assert " at 0x" not in str(parameter.annotation), name
        # an experiment has almost thirty keys, and a local training takes what they say of it; nothing else comes near
        longest = {"fedkit.FLConfig": 1200, "fedkit.train": 600, "fedkit.privacy.dp_sgd": 500}
        assert len(str(signature)) <= longest.get(name, 450), name
