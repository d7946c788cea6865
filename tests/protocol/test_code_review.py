"""The static review of a model's source: what it points at, and that it never runs or trips over anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkit.learning.models import SAMPLE_MODEL
from fedkit.protocol.code_review import DISCLAIMER, Finding, review_code
from tests.support.helpers import LINEAR

BODY = """import torch
from torch import nn
{above}
class FLModel(nn.Module):
    def forward(self, x):
        {inside}
"""


def found(above: str = "", inside: str = "return x") -> list[str]:
    return [f.what for f in review_code(BODY.format(above=above, inside=inside), "FLModel")]


@pytest.mark.parametrize("source", [SAMPLE_MODEL, LINEAR, BODY.format(above="", inside="return x")])
def test_a_plain_model_stands_out_in_nothing(source: str) -> None:
    assert review_code(source, "FLModel") == []


@pytest.mark.parametrize(
    "line",
    [
        "import math, functools",
        "from collections import OrderedDict",
        "from torch.nn import functional as F",
        "import torchvision.transforms as T",
        "WIDTH = 128",
        "WIDTH: int = 128",
        '"""Words about the model, ' + "as many as it takes,\n" * 40 + '."""',
        "def helper(x):\n    return x.data",
    ],
)
def test_what_models_do_is_let_pass(line: str) -> None:
    assert found(line) == []


ABOVE = [
    ("import os", "files and processes"),
    ("import os.path as p", "files and processes"),
    ("from pathlib import Path", "files"),
    ("import socket", "the network"),
    ("from urllib.request import urlopen", "the network"),
    ("import requests", "the network"),
    ("import subprocess as s", "processes"),
    ("import pickle", "code that is loaded"),
    ("import importlib", "code that is loaded"),
    ("import ctypes", "code that is loaded"),
    ("import numpy", "nothing beyond torch"),
    ("from . import other", "nothing beyond torch"),
    ("import torch.hub", "network"),
    ("from torch import hub", "network"),
    ("from torch.hub import load", "network"),
    ("from torch.utils import cpp_extension", "compiles"),
    ("import torch.distributed as d", "network"),
    ("from torch import *", "can't follow"),
    ("print('hello')", "as soon as the file is loaded"),
    ("for i in range(3):\n    pass", "as soon as the file is loaded"),
    ("class Other:\n    print('hello')", "as soon as the file is loaded"),
]


@pytest.mark.parametrize(("line", "says"), ABOVE)
def test_above_the_class(line: str, says: str) -> None:
    assert any(says in what for what in found(line)), found(line)


INSIDE = [
    ("open('/etc/passwd')", "opens a file"),
    ("exec('1')", "runs text as code"),
    ("f = eval", "runs text as code"),
    ("compile('1', '', 'eval')", "turns text into code"),
    ("__import__('os')", "imports what a text names"),
    ("getattr(torch, 'lo' + 'ad')", "can't follow"),
    ("globals()['x']", "every name"),
    ("torch.load('x.pt')", "reads a file"),
    ("torch.save(x, 'x.pt')", "writes a file"),
    ("x.numpy().tofile('x')", "writes a file"),
    ("torch.os.system('ls')", "starts a process"),
    ("torch.ops.load_library('x.so')", "machine code"),
    ("().__class__.__bases__", "into Python itself"),
    ("self.forward.__globals__", "into Python itself"),
    ("__builtins__", "into Python itself"),
    ("x = '" + "A" * 400 + "'", "without a blank"),
    ("x = b'" + "A" * 400 + "'", "without a blank"),
    ("ｅｖａｌ('1')", "runs text as code"),  # Python reads full-width letters as plain ones
    ("self.seen = x", "forward keeps something in self.seen"),
    ("self.seen[:3] = x", "forward keeps something in self.seen"),
    ("self.seen += x.sum()", "forward keeps something in self.seen"),
    ("self.seen.copy_(x)", "forward keeps something in self.seen"),
    ("self.fc.weight.data[0] = x", "forward keeps something in self.fc"),
    ("a, self.seen = x, x", "forward keeps something in self.seen"),
]


@pytest.mark.parametrize(("line", "says"), INSIDE)
def test_inside_the_class(line: str, says: str) -> None:
    assert any(says in what for what in found(inside=line)), found(inside=line)


def test_lines_are_those_of_the_source() -> None:
    source = "import torch\n\nimport os\n\n\nclass FLModel:\n    x = open\n"
    lines = {f.line for f in review_code(source, "FLModel")}
    assert lines == {3, 7}
    assert review_code(source) == sorted(review_code(source))


def test_signs_that_a_reader_does_not_see() -> None:
    source = LINEAR + "# harmless \u202e gnihton\nz\u200bero = 0\n"
    what = [f.what for f in review_code(source)]
    assert any("RIGHT-TO-LEFT OVERRIDE" in w for w in what)
    assert any("ZERO WIDTH SPACE" in w for w in what)
    assert any(
        "look at its end too" in w
        for w in (f.what for f in review_code("x = 1" + " " * 300 + ";y = 2"))
    )


def test_the_class_that_the_config_asks_for() -> None:
    assert review_code(LINEAR, "Net") == [Finding(0, "has no class Net, which the config asks for")]
    assert review_code(LINEAR) == []


@pytest.mark.parametrize(
    "source",
    ["def f(:", "(" * 5000, "\0", "x = " + "-" * 100_000 + "1", "x = " + "[" * 300 + "]" * 300],
)
def test_what_python_can_not_read_is_said(source: str) -> None:
    assert any("was reviewed" in f.what for f in review_code(source))


def test_nothing_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    review_code(
        f"open({str(marker)!r}, 'w').close()\nclass FLModel:\n    open({str(marker)!r}, 'w')\n"
    )
    assert not marker.exists()


@given(st.text(alphabet=st.characters(), max_size=300))
@settings(max_examples=150, deadline=None)
def test_never_raises(source: str) -> None:
    for finding in review_code(source, "FLModel"):
        assert finding.what
        assert finding.line >= 0


def test_says_what_it_is() -> None:
    assert "not a guarantee" in DISCLAIMER
