"""`model.py` becomes a module or an error for people; a stranger's weights fit it exactly, or are refused."""

import math
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.tensors import load_state
from fedkit.learning.models import (
    SAMPLE_MODEL,
    check_state,
    distance,
    distances,
    fitting_model,
    flatten,
    load_model,
    seed_weights,
    state_of,
)
from tests.support.helpers import LINEAR, saved

FILE = Path("somewhere") / "model.py"
HEAD = "import torch\nfrom torch import nn\n"


def model(body: str, head: str = HEAD) -> str:
    return f"{head}class FLModel(nn.Module):\n" + "\n".join(
        f"    {line}" for line in body.splitlines()
    )


FORWARD = "def forward(self, x):\n    return torch.zeros(len(x), 10)"
BROKEN: dict[str, tuple[str, str]] = {
    "syntax error": ("import torch\nclass FLModel(:\n", "syntax error in line 2"),
    "nul": (LINEAR + "\0", "null bytes|source code"),
    "empty": ("", "defines no class FLModel"),
    "another class": ("class Other:\n    pass\n", "defines no class FLModel"),
    "a function": ("def FLModel():\n    pass\n", "defines no class FLModel"),
    "no module": ("class FLModel:\n    pass\n", "defines no class FLModel that is an nn.Module"),
    "raises": ("1 / 0\n", "while it loads: ZeroDivisionError"),
    "import": ("import no_such_library_xyz\n", "no_such_library_xyz"),
    "exits": ("import sys\nsys.exit(3)\n", "while it loads: SystemExit"),
    "constructor raises": (
        model("def __init__(self):\n    super().__init__()\n    {}['width']"),
        r"FLModel\(\) raises an error: KeyError",
    ),
    "constructor exits": (
        model("def __init__(self):\n    exit('bye')", HEAD + "from sys import exit\n"),
        r"FLModel\(\) raises an error: SystemExit",
    ),
    "arguments": (
        model("def __init__(self, width):\n    super().__init__()"),
        r"needs arguments.*width",
    ),
    "no forward": (model("pass"), "can't take images"),
    "forward raises": (model("def forward(self, x):\n    return x.reshape(7, 7)"), "can't take"),
    "forward exits": (model("def forward(self, x):\n    raise SystemExit"), "can't take images"),
    "answers a list": (model("def forward(self, x):\n    return [x]"), "with list"),
    "answers too few": (
        model("def forward(self, x):\n    return torch.zeros(len(x), 9)"),
        r"\[2, 9\], not with logits \[2, 10\]",
    ),
    "answers one": (model("def forward(self, x):\n    return torch.zeros(10)"), r"\[10\]"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_model_names_the_file_and_what_to_do(kind: str) -> None:
    source, says = BROKEN[kind]
    for text in (source, source.encode()):
        with pytest.raises(FedkitError, match=says) as caught:
            load_model(text, file=FILE)
        assert caught.value.file == FILE
        assert caught.value.remedy
    if "forward" not in kind and "answers" not in kind:
        with pytest.raises(FedkitError, match=says):
            seed_weights(source)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(FedkitError) as caught:
        load_model(b"\xff\xfe\x00", file=FILE)
    assert caught.value.file == FILE


def test_the_sample_model_is_the_tutorials() -> None:
    shapes = {name: tuple(value.shape) for name, value in seed_weights(SAMPLE_MODEL).items()}
    assert shapes == {
        "fc1.weight": (128, 784),
        "fc1.bias": (128,),
        "fc2.weight": (10, 128),
        "fc2.bias": (10,),
    }
    assert len(saved(seed_weights(SAMPLE_MODEL))) < 420_000


def test_another_class_name_and_default_arguments() -> None:
    source = model(f"def __init__(self, width=3):\n    super().__init__()\n{FORWARD}")
    assert type(load_model(source.replace("FLModel", "Net"), "Net")).__name__ == "Net"


def test_building_a_model_moves_no_random_numbers_and_gives_equal_weights() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, other = load_model(LINEAR), load_model(LINEAR)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_seed_weights_are_what_torch_gives_from_that_seed() -> None:
    """The oracle is a plain torch session: seed, then build."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        layer = torch.nn.Linear(784, 10)
    weights = seed_weights(LINEAR, 7)
    assert torch.equal(weights["fc.weight"], layer.weight)
    assert torch.equal(weights["fc.bias"], layer.bias)
    assert not torch.equal(seed_weights(LINEAR, 8)["fc.weight"], layer.weight)


def test_a_state_is_a_copy() -> None:
    net = load_model(LINEAR)
    state = state_of(net)
    state["fc.bias"].fill_(9)
    assert not (net.state_dict()["fc.bias"] == 9).any()
    assert not any(value.requires_grad for value in state.values())


# ------------------------------------------------------------------------------------ check_state
REFERENCE = {"w": torch.zeros(2, 3), "b": torch.zeros(3), "steps": torch.tensor(4)}


def changed(**values: object) -> dict[str, Tensor]:
    state = REFERENCE | values  # type: ignore[operator]
    return {name: value for name, value in state.items() if value is not ...}


STATES: dict[str, tuple[Callable[[], dict[str, Tensor]], str]] = {
    "missing": (lambda: changed(b=...), "b is missing"),
    "extra": (lambda: changed(c=torch.zeros(1)), "'c' is not in the model"),
    "shape": (lambda: changed(w=torch.zeros(3, 2)), r"w has shape \[3, 2\].*\[2, 3\]"),
    "scalar": (lambda: changed(b=torch.tensor(0.0)), "b has shape"),
    "broadcastable": (lambda: changed(w=torch.zeros(1, 3)), "w has shape"),
    "float64": (lambda: changed(w=torch.zeros(2, 3, dtype=torch.float64)), "w is torch.float64"),
    "int": (lambda: changed(w=torch.zeros(2, 3, dtype=torch.int32)), "w is torch.int32"),
    "complex": (lambda: changed(b=torch.zeros(3, dtype=torch.complex64)), "complex64"),
    "NaN": (lambda: changed(w=torch.full((2, 3), torch.nan)), "w holds NaN"),
    "inf": (lambda: changed(b=torch.tensor([0, torch.inf, 0])), "b holds infinite"),
    "-inf": (lambda: changed(b=torch.tensor([0, -torch.inf, 0])), "b holds infinite"),
    "sparse": (lambda: changed(w=torch.zeros(2, 3).to_sparse()), "no plain tensor"),
    "csr": (lambda: changed(w=torch.zeros(2, 3).to_sparse_csr()), "no plain tensor"),
    "no numbers": (lambda: changed(w=torch.zeros(2, 3, device="meta")), "no plain tensor"),
    "endless": (lambda: changed(w=torch.zeros(1).expand(10**9, 10**9)), "shape"),
    "long name": (lambda: changed(**{"x" * 10**6: torch.zeros(1)}), "is not in the model"),
    "escapes": (lambda: changed(**{"\x1b[2J\nx": torch.zeros(1)}), r"'\\x1b\[2J\\nx'"),
}


def arrived(state: dict[str, Tensor]) -> str | None:
    """What is said of weights that come in a file: by whoever reads it, or by whoever compares them."""
    try:
        return check_state(REFERENCE, load_state(saved(state), FILE))
    except Unreadable as error:
        return error.what


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", STATES)
def test_weights_that_do_not_fit_are_refused_with_the_reason(kind: str) -> None:
    make, says = STATES[kind]
    for reason in (check_state(REFERENCE, make()), arrived(make())):
        assert reason is not None
        assert re.search(says, reason), reason
        assert reason.isprintable()
        assert len(reason) < 200


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_refused() -> None:
    nested = torch.nested.nested_tensor([torch.zeros(3), torch.zeros(3)])
    assert "no plain tensor" in str(check_state(REFERENCE, changed(w=nested)))


def test_weights_that_fit() -> None:
    fitting = [REFERENCE, changed(w=torch.ones(3, 2).T), changed(b=torch.zeros(1).expand(3))]
    fitting.append(dict(reversed(REFERENCE.items())))  # the order is no part of the contract
    fitting.append(changed(w=torch.nn.Parameter(torch.full((2, 3), 3e38))))
    for state in fitting:
        assert check_state(REFERENCE, state) is None


# --------------------------------------------------------------------------------------- flatten
@given(st.lists(st.lists(st.integers(1, 3), max_size=3), max_size=4), st.integers(0, 99))
def test_a_flat_vector_has_every_floating_number_once(shapes: list[list[int]], seed: int) -> None:
    draw = random.Random(seed)
    state = {
        f"t{n}": torch.tensor([draw.random() for _ in range(torch.Size(shape).numel())]).reshape(
            shape
        )
        for n, shape in enumerate(shapes)
    }
    flat = flatten(state | {"steps": torch.tensor([7])})
    assert flat.dtype == torch.float32
    assert flat.tolist() == [x for value in state.values() for x in value.flatten().tolist()]


# ------------------------------------------------------------------- what is saved in place of a model's own weights
OTHERWISE: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = {
    "nn.DataParallel": (lambda s: {f"module.{k}": v for k, v in s.items()}, "from nn.DataParallel"),
    "torch.compile": (lambda s: {f"_orig_mod.{k}": v for k, v in s.items()}, "from torch.compile"),
    "another module": (
        lambda s: {f"net.{k}": v for k, v in s.items()},
        "a module around the model",
    ),
    "half precision": (lambda s: {k: v.half() for k, v in s.items()}, "in torch.float16"),
    "bfloat16": (lambda s: {k: v.bfloat16() for k, v in s.items()}, "in torch.bfloat16"),
    "double precision": (lambda s: {k: v.double() for k, v in s.items()}, "in torch.float64"),
    "both": (
        lambda s: {f"module._orig_mod.{k}": v.half() for k, v in s.items()},
        "from a module around the model and in torch.float16",
    ),
}


@pytest.mark.parametrize("kind", OTHERWISE)
def test_the_line_makes_the_models_own_weights_of_what_was_saved(kind: str, tmp_path: Path) -> None:
    change, cause = OTHERWISE[kind]
    own, path = seed_weights(LINEAR), tmp_path / "weights.pt"
    state = change(own)
    with pytest.raises(FedkitError, match=cause) as caught:
        fitting_model(LINEAR, state, weights=path, remedy="none")
    torch.save(state, path)
    exec(str(caught.value.remedy), {"torch": torch, "path": path})
    fitting_model(LINEAR, load_state(path.read_bytes(), path), weights=path, remedy="none")
    with pytest.raises(FedkitError, match=f"{cause}.*ask them"):
        fitting_model(LINEAR, state, weights=path, remedy="ask them", theirs=True)
    with pytest.raises(FedkitError, match=cause) as caught:
        fitting_model(LINEAR, state, remedy="none")
    names = {"torch": torch, "weights": state}
    exec(str(caught.value.remedy), names)
    made: dict[str, Tensor] = names["weights"]  # type: ignore[assignment]
    assert list(made) == list(own)
    for name, value in own.items():
        torch.testing.assert_close(made[name], value, rtol=0.01, atol=0.001)


def test_where_nothing_makes_them_fit_the_remedy_stays() -> None:
    own = seed_weights(LINEAR)
    for state in (
        {f"module.{k}": v[:1] for k, v in own.items()},
        {"fc.weight": own["fc.weight"].half()},
        {f"bad name.{k}": v for k, v in own.items()},
        {k: v.to_sparse() for k, v in own.items()},
        {},
    ):
        with pytest.raises(FedkitError) as caught:
            fitting_model(LINEAR, state, remedy="as it was")
        assert (caught.value.remedy, caught.value.why) == ("as it was", None)


def test_the_distances_of_several_are_those_of_each() -> None:
    """By the formula, in float64; counters are left out, and what lies otherwise in memory is not."""
    draw = torch.Generator().manual_seed(0)

    def state() -> dict[str, Tensor]:
        images = torch.randn(4, 3, 5, 5, generator=draw)
        return {"w": torch.randn(300, generator=draw), "c": images, "n": torch.tensor(3)}

    other, several = state(), [state() for _ in range(3)]
    several[1]["c"] = several[1]["c"].to(memory_format=torch.channels_last)
    for one, found in zip(several, distances(several, other), strict=True):
        parts = [(one[k].double() - other[k].double()).flatten() for k in ("w", "c")]
        assert found == pytest.approx(float(torch.cat(parts).norm()), rel=1e-12)
        assert found == distance(one, other)
    assert distances([], other) == []
    assert distance({"w": torch.tensor([torch.inf])}, {"w": torch.zeros(1)}) < math.inf
