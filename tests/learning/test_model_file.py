"""A model.py is run as an import runs a module, and leaves nothing of torch's set another way."""

import contextlib
import inspect
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.learning import model_file
from fedkit.learning.models import load_model, seed_weights
from fedkit.learning.surroundings import surroundings_kept
from tests.support.helpers import LINEAR, launched, problems

PLAIN = seed_weights(LINEAR)


def with_head(lines: str) -> str:
    """The linear model, with lines before its first import."""
    return lines + LINEAR


def in_init(line: str) -> str:
    return LINEAR.replace("self.fc =", f"{line}\n        self.fc =")


def in_forward(line: str) -> str:
    return LINEAR.replace("return self.fc", f"{line}\n        return self.fc")


WORKS = {
    "a dataclass": with_head(
        "from __future__ import annotations\nfrom dataclasses import dataclass, field\nfrom typing import ClassVar\n"
        "@dataclass\nclass Sizes:\n    wide: int = 784\n    names: list[str] = field(default_factory=list)\n"
        "    kind: ClassVar[str] = 'plain'\nassert Sizes() == Sizes(784)\n"
    ),
    "a dataclass with slots": with_head(
        "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass Sizes:\n    wide: int = 784\n"
    ),
    "a named tuple and an enum": with_head(
        "from enum import Enum\nfrom typing import NamedTuple\nclass A(NamedTuple):\n    b: int = 1\n"
        "class C(Enum):\n    D = 1\n"
    ),
    "hints by name": with_head(
        "from __future__ import annotations\nimport typing\nclass A:\n    b: list[A]\n"
        "assert typing.get_type_hints(A) == {'b': list[A]}\n"
    ),
    "inspect at the top": with_head(
        "import inspect\ndef one():\n    return 1\nclass Two:\n    pass\n"
        "assert inspect.getsource(one) == 'def one():\\n    return 1\\n'\n"
        "assert inspect.getsource(Two).startswith('class Two')\n"
    ),
    "inspect in forward": in_forward(
        "import inspect; assert 'Module' in inspect.getsource(type(self))"
    ),
    "its file": with_head("from pathlib import Path\nassert Path(__file__).name == 'model.py'\n"),
    "its own module": with_head("import sys\nassert sys.modules[__name__].__file__ == __file__\n"),
    "not as a script": with_head("if __name__ == '__main__':\n    raise SystemExit\n"),
    "pickle": in_forward(
        "import pickle; assert pickle.loads(pickle.dumps(type(self))) is type(self)"
    ),
    "a byte order mark": "\ufeff" + LINEAR,
    "ends of lines as Windows writes them": LINEAR.replace("\n", "\r\n"),
    "a coding line": "# -*- coding: utf-8 -*-\n# Größe\n" + LINEAR,
}


@pytest.mark.parametrize("kind", WORKS)
def test_what_an_import_can_do_a_model_can(kind: str) -> None:
    source = WORKS[kind]
    for text in (source, source.encode()):
        load_model(text)(torch.zeros(1, 1, 28, 28))
        assert all(map(torch.equal, seed_weights(text).values(), PLAIN.values()))


def test_the_source_is_what_ran_whatever_lies_on_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("# something else\n")
    model = load_model(LINEAR, file=file)
    assert inspect.getsource(type(model)) in LINEAR
    assert inspect.getfile(type(model)) == str(file)


def test_an_import_that_fails_leaves_no_module_behind() -> None:
    before = set(sys.modules)
    with pytest.raises(FedkitError, match=r"ZeroDivisionError.*\(line 2\)"):
        load_model("import torch\n1 / 0\n")
    assert set(sys.modules) == before


def test_a_module_is_another_one_in_each_thread_and_the_next_one_in_the_same() -> None:
    counting = with_head("CALLS = []\n") + "        CALLS.append(1)\n"
    kinds: list[Any] = [type(load_model(counting)) for _ in range(2)]
    thread = threading.Thread(target=lambda: kinds.append(type(load_model(counting))))
    thread.start()
    thread.join()
    assert kinds[0].__module__ == kinds[1].__module__ != kinds[2].__module__
    assert len({id(kind.forward.__globals__["CALLS"]) for kind in kinds}) == 3
    assert sys.modules[kinds[0].__module__] is not sys.modules[kinds[2].__module__]


REFUSED = {
    "another coding": ("# Grö\xdfe\n" + LINEAR, "latin-1", r"no UTF-8 text \(line 1\)", "save it as UTF-8"),
    "Notepad's Unicode": (LINEAR, "utf-16", "no UTF-8 text", "save it as UTF-8"),
    "a library of one's own": (with_head("import my_layers\n"), "utf-8", r"my_layers.*line 1\)", "without my_layers"),
    "the file beside it": (with_head("from .layers import Mine\n"), "utf-8", r"relative import.*line 1\)", "into model.py"),
    "train() without a return": (LINEAR + "\n    def train(self, mode=True):\n        super().train(mode)\n", "utf-8",
                                 "does not return the model", "return self"),
    "a sparse weight": (in_init("self.s = nn.Parameter(torch.eye(3).to_sparse())"), "utf-8", "no plain tensor: s", "dense"),
    "a sparse buffer": (in_init("self.register_buffer('s', torch.eye(3).to_sparse())"), "utf-8", "no plain tensor: s",
                        "persistent=False"),
    "a tensor of its own kind": (
        in_init("self.register_buffer('t', torch.zeros(3).as_subclass(type('T', (torch.Tensor,), {})))"), "utf-8",
        "no plain tensor: t", "ordinary"),
    "weights that are nowhere": (
        LINEAR.replace("784, 10", "784, 10, device='meta'"), "utf-8", "no plain tensor", "ordinary"),
    "whole numbers": (LINEAR.replace("flatten(1))", "flatten(1)).argmax(1)"), "utf-8", "with int64", "without argmax"),
    "float64": (with_head("import torch\ntorch.set_default_dtype(torch.float64)\n"), "utf-8", "dtype", "set_default_dtype"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_an_import_refuses_too_is_refused_with_what_to_do(kind: str) -> None:
    source, coding, says, remedy = REFUSED[kind]
    with pytest.raises(FedkitError, match=says) as caught:
        load_model(source.encode(coding))
    assert remedy in str(caught.value.remedy)


# ------------------------------------------------------------------------------ torch's own settings
SETTINGS: dict[str, tuple[str, Callable[[], Any]]] = {
    "default dtype": ("torch.set_default_dtype(torch.float64)", torch.get_default_dtype),
    "default device": ("torch.set_default_device('meta')", torch.get_default_device),
    "threads": ("torch.set_num_threads(2)", torch.get_num_threads),
    "gradients": ("torch.set_grad_enabled(False)", torch.is_grad_enabled),
    "deterministic": (
        "torch.use_deterministic_algorithms(True, warn_only=True)",
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
    ),
    "anomalies": ("torch.autograd.set_detect_anomaly(True)", torch.is_anomaly_enabled),
    "precision": (
        "torch.set_float32_matmul_precision('medium')",
        torch.get_float32_matmul_precision,
    ),
    "cudnn": (
        "torch.backends.cudnn.deterministic = True",
        lambda: torch.backends.cudnn.deterministic,
    ),
    "benchmark": ("torch.backends.cudnn.benchmark = True", lambda: torch.backends.cudnn.benchmark),
    "automatic precision": (
        "torch.autocast('cpu').__enter__()",
        lambda: (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
    ),
    "precision on a GPU": (
        "torch.set_autocast_dtype('cuda', torch.bfloat16)",
        lambda: torch.get_autocast_dtype("cuda"),
    ),
    "how tensors are printed": (
        "torch.set_printoptions(precision=1, sci_mode=True)",
        lambda: str(torch.tensor([0.123456])),
    ),
    "hooks of all modules": (
        "torch.nn.modules.module.register_module_forward_hook(lambda *a: None)",
        lambda: len(torch.nn.modules.module._global_forward_hooks),
    ),
    "smallest numbers": (
        "torch.set_flush_denormal(True)",
        lambda: bool(torch.tensor(5e-324, dtype=torch.float64) * 1),
    ),
    "torch's seed": ("torch.manual_seed(3)", lambda: torch.get_rng_state().tolist()),
    "Python's seed": ("import random; random.seed(3)", random.getstate),
    "NumPy's seed": (
        "import numpy; numpy.random.seed(3)",
        lambda: str(np.random.get_state()),  # noqa: NPY002
    ),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """A test that fails here must not decide about others."""
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_put_back(name: str) -> None:
    line, look = SETTINGS[name]
    top = with_head(f"import torch\n{line}\n")
    before = look()
    with surroundings_kept():
        exec(line, {"torch": torch})
        assert look() != before, "the line sets nothing"
        if "seed" in name:
            torch.seed()
            return
    for source in (top, in_init(line), in_forward(line)):
        before = look()
        for call in (load_model, seed_weights):
            # another default dtype or device does not fit the samples
            with contextlib.suppress(*[FedkitError] * ("default" in name)):
                call(source)
            assert look() == before, (call.__name__, source)


@pytest.mark.parametrize("place", [with_head, in_init])
def test_what_it_does_to_python_is_put_back(
    place: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    line = "import os, sys, warnings; os.chdir('there'); sys.path.insert(0, 'x'); warnings.simplefilter('ignore')"
    before = list(sys.path), list(warnings.filters)
    for call in (load_model, seed_weights):
        call(place(line + "\n" * (place is with_head)))
        assert Path.cwd() == tmp_path
        assert (list(sys.path), list(warnings.filters)) == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)


def test_a_model_that_never_ends_is_not_waited_for_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_file, "_PATIENCE_S", 0.05)
    slow = with_head("import time\ntime.sleep(0.3)\n")
    with pytest.warns(
        UserWarning, match=r"model\.py has run for 0 s .*\(line 2\).*endless loop"
    ) as told:
        seed_weights(slow)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seed_weights(LINEAR)


def test_a_block_in_a_block_puts_back_what_it_found() -> None:
    with surroundings_kept():
        torch.set_default_dtype(torch.float64)
        with surroundings_kept():
            torch.set_default_dtype(torch.float16)
        assert torch.get_default_dtype() == torch.float64
    assert torch.get_default_dtype() == torch.float32


def test_the_last_thread_to_leave_puts_back_what_the_first_found() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with surroundings_kept():  # what it finds was set by the first one's model
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with surroundings_kept():
        torch.set_default_dtype(torch.float64)
        thread.start()
        assert inside.wait(10)
    leave.set()
    thread.join()
    assert torch.get_default_dtype() == torch.float32


def test_a_whole_project_whose_forward_sets_everything_leaves_no_trace(tmp_path: Path) -> None:
    lines = [
        "torch.set_float32_matmul_precision('medium')",
        "torch.use_deterministic_algorithms(True)",
    ]
    lines += ["torch.set_num_threads(2)", "torch.set_flush_denormal(True)"]
    names = ["precision", "deterministic", "threads", "smallest numbers"]
    before = [SETTINGS[name][1]() for name in names]
    net = launched(tmp_path, in_forward("; ".join(lines)))
    outcome = net.run(approve=fk.approve_all)
    assert not problems(outcome.waiting)
    assert outcome.done
    assert [SETTINGS[name][1]() for name in names] == before
