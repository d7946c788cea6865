"""Models that can't take part: each is refused at the launch, with what to write instead, and that is then taken."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.protocol.aggregator import launch
from fedkit.rounds.trial_step import try_out
from tests.support.digits import seeded
from tests.support.helpers import AGGREGATOR, LINEAR, launched, problems, put_launch, small
from tests.support.mutations import EXAMPLES
from tests.support.tasks import source

EXAMPLE = {"unit": "example", "epsilon": 3.0, "delta": 1e-5, "clip": 1.0}
PARTICIPANT = EXAMPLE | {"unit": "participant"}
SHARD = (torch.rand(9, 1, 28, 28, generator=seeded(0)), torch.arange(9))


def model(parts: str = "", forward: str = "return self.fc(x.flatten(1))", before: str = "") -> str:
    return before + source(f"self.fc = nn.Linear(784, 10)\n{parts}", forward)


@dataclass(frozen=True)
class Case:
    """A model, what of it is told, what to write, and a model in which that is written."""

    model: str
    says: str
    remedy: str
    mended: str
    config: dict[str, Any] = field(default_factory=dict)


FEDPROX: dict[str, Any] = {"strategy": {"name": "fedprox", "mu": 0.1}}
DP: dict[str, Any] = {"dp": EXAMPLE}
_SPARSE = "self.e = nn.Embedding(4, 784{})", "return self.fc(self.e(x.flatten(1)[:, 0].long()))"
_ROWS = (
    "self.rows = {}\nself.fc = nn.Linear({}, 10)",
    "return self.fc(self.rows(x.squeeze(1))[0][:, -1])",
)
_EACH = (
    "self.each = {}(28, 4, batch_first=True)",
    ("x = x.squeeze(1)\nreturn self.fc(self.each(x, x, x)[0].flatten(1))"),
)
_COMPLEX = "self.turn = nn.Parameter({}torch.ones(10, dtype=torch.complex64){})"
_MASK = "self.register_buffer('mask', torch.full((10, 10), float('-inf')).triu(1){})"
_EXTRA = "    def get_extra_state(self):\n        return {}\n    def set_extra_state(self, state):\n        pass\n"
_LAYERS = "from opacus.layers import DPLSTM, DPGRU, DPRNN, DPMultiheadAttention\n"

CASES: dict[str, Case] = {
    "frozen": Case(
        model("self.requires_grad_(False)"),
        "nothing to train: all its weights are frozen",
        "leave requires_grad on for one layer",
        model("self.requires_grad_(False)\nself.fc.weight.requires_grad_()"),
    ),
    "frozen under dp": Case(
        model("self.requires_grad_(False)"),
        "nothing to train",
        "requires_grad",
        model("self.requires_grad_(False)\nself.fc.weight.requires_grad_()"),
        DP,
    ),
    "no weights": Case(
        source("", "return x.flatten(1)[:, :10]"),
        "nothing to train: no weights",
        "one layer at least",
        LINEAR,
    ),
    "frozen where it matters": Case(
        model("self.idle = nn.Linear(2, 2)\nself.fc.requires_grad_(False)"),
        "does not require grad",
        "let it use a layer that is not frozen",
        model("self.idle = nn.Linear(2, 2)"),
    ),
    "sparse gradients with fedprox": Case(
        model(_SPARSE[0].format(", sparse=True"), _SPARSE[1]),
        "sparse",
        "sparse=False in nn.Embedding",
        model(_SPARSE[0].format(", sparse=False"), _SPARSE[1]),
        FEDPROX,
    ),
    "sparse gradients with adam": Case(
        model(_SPARSE[0].format(", sparse=True"), _SPARSE[1]),
        "sparse",
        "sparse=False in nn.Embedding",
        model(_SPARSE[0].format(""), _SPARSE[1]),
        {"optimizer": {"name": "adam"}},
    ),
    "an LSTM under dp": Case(
        model(_ROWS[0].format("nn.LSTM(28, 6, batch_first=True)", 6), _ROWS[1]),
        "can't be trained",
        "none for nn.LSTM: write opacus.layers.DPLSTM",
        _LAYERS + model(_ROWS[0].format("DPLSTM(28, 6, batch_first=True)", 6), _ROWS[1]),
        DP,
    ),
    "a GRU under dp": Case(
        model(_ROWS[0].format("nn.GRU(28, 6, batch_first=True)", 6), _ROWS[1]),
        "can't be trained",
        "none for nn.GRU: write opacus.layers.DPGRU",
        _LAYERS + model(_ROWS[0].format("DPGRU(28, 6, batch_first=True)", 6), _ROWS[1]),
        DP,
    ),
    "attention under dp": Case(
        model(_EACH[0].format("nn.MultiheadAttention"), _EACH[1]),
        "can't be trained",
        "write opacus.layers.DPMultiheadAttention",
        _LAYERS + model(_EACH[0].format("DPMultiheadAttention"), _EACH[1]),
        DP,
    ),
    "compiled by torch.jit under dp": Case(
        model("self.fc = torch.jit.script(self.fc)"),
        "can't be trained",
        "leave torch.jit out",
        model(),
        DP,
    ),
    "lazy layers": Case(
        model("self.fc = nn.LazyLinear(10)"),
        "has a layer without a size yet, LazyLinear (fc)",
        "write nn.Linear with its sizes",
        model(),
    ),
    "a lazy layer in a layer": Case(
        model("self.fc = nn.Sequential(nn.LazyLinear(10), nn.LazyBatchNorm1d())"),
        "LazyLinear (fc.0)",
        "write nn.Linear with its sizes",
        model("self.fc = nn.Sequential(nn.Linear(784, 10), nn.BatchNorm1d(10))"),
    ),
    "an extra state": Case(
        model() + _EXTRA.format("{'a': 1}"),
        "get_extra_state of FLModel",
        "self.register_buffer",
        model("self.register_buffer('a', torch.tensor(1))"),
    ),
    "an extra state that is a tensor": Case(
        model() + _EXTRA.format("torch.ones(3)"),
        "get_extra_state of FLModel",
        "self.register_buffer",
        model("self.register_buffer('a', torch.ones(3))"),
    ),
    "quantised": Case(
        model("self.fc = torch.ao.nn.quantized.dynamic.Linear(784, 10)"),
        "state dict with a dtype in it",
        "ordinary layers",
        model(),
    ),
    "complex parameters": Case(
        model(_COMPLEX.format("", ""), "return self.fc(x.flatten(1)) * self.turn.real"),
        "holds complex numbers: turn",
        "torch.view_as_real",
        model(
            _COMPLEX.format("torch.view_as_real(", ")"),
            "return self.fc(x.flatten(1)) * torch.view_as_complex(self.turn).real",
        ),
    ),
    "complex buffers": Case(
        model("self.register_buffer('turn', torch.ones(10, dtype=torch.complex64))"),
        "holds complex numbers: turn",
        "torch.view_as_real",
        model("self.register_buffer('turn', torch.view_as_real(torch.ones(10, dtype=torch.complex64)))"),
    ),
    "an infinite mask": Case(
        model(_MASK.format("")),
        "mask holds infinite values as soon as FLModel() is built",
        "persistent=False",
        model(_MASK.format(", persistent=False"), "return self.fc(x.flatten(1)) + self.mask[0].nan_to_num(0, 0, 0)"),
    ),
    "answers in classes": Case(
        model(forward="return self.fc(x.flatten(1)).argmax(1)"),
        "answers with int64",
        "without argmax()",
        model(),
    ),
    "float64": Case(
        model("self.fc.double()"),
        "must have the same dtype",
        "leave out .double()",
        model(),
    ),
}  # fmt: skip
MENDED = [name for name in CASES if EXAMPLES > 1 or CASES[name].config != DP]


pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{words}")
    for words in (
        "Full backward hook",
        "There is a performance",
        ".*quantiz",
        ".*torch.jit",
        "The .grad attribute",
    )
]


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_before_anybody_is_asked_and_by_a_simulation(name: str) -> None:
    case = CASES[name]
    config = small(**case.config)
    for refused in (
        lambda: try_out(config, case.model),
        lambda: fk.simulate(config, [SHARD, SHARD], SHARD, model=case.model),
    ):
        with pytest.raises(FedkitError) as caught:
            refused()
        assert case.says in str(caught.value)
        assert case.remedy in str(caught.value.remedy)


@pytest.mark.parametrize("name", MENDED)
def test_what_the_remedy_says_is_taken(name: str) -> None:
    case = CASES[name]
    config = small(**case.config, rounds=1)
    assert len(fk.simulate(config, [SHARD, SHARD], SHARD, model=case.mended)) == 1


@pytest.mark.parametrize(
    "name", ["an infinite mask", "an extra state", "lazy layers", "complex parameters"]
)
def test_a_launch_by_hand_names_the_model_and_not_its_weights(name: str, tmp_path: Path) -> None:
    """The weights beside it are what such a model saves, or as near as a file of tensors comes."""
    case = CASES[name]
    net = launched(tmp_path)
    site = net.sites[AGGREGATOR]
    weights = torch.load(site.aggregator().launch / "global_model_weight.pt", weights_only=True)
    if name == "an infinite mask":
        weights["mask"] = torch.full((10, 10), float("-inf")).triu(1)
    elif name == "complex parameters":
        weights["turn"] = torch.ones(10, dtype=torch.complex64)
    put_launch(site, small(), case.model, weights)
    (told,) = problems(fk.advance(site))
    assert "launch/model.py" in told.replace("\\", "/")
    assert case.says in told
    assert case.remedy in told
    assert net.projects() == []


@pytest.mark.parametrize("name", ["frozen", "an extra state that is a tensor", "an LSTM under dp"])
def test_a_participant_refuses_before_it_trains_and_names_who_can_change_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another aggregator's app tries nothing; here ours does not."""
    case = CASES[name]
    weights = fk.seed_weights(case.model.replace("get_extra_state", "get_no_state"))
    if "extra" in name:
        weights["_extra_state"] = torch.ones(3)
    monkeypatch.setattr(launch, "_check_model", lambda *_: None)
    net = launched(tmp_path, **case.config)
    put_launch(net.sites[AGGREGATOR], small(**case.config), case.model, weights)
    told = problems(net.run(approve=fk.approve_all).waiting)
    assert told
    for line in told:
        assert case.says in line
        assert f"ask {AGGREGATOR} to launch it anew, and say:" in line
        assert case.remedy in line


@pytest.mark.parametrize(
    "more",
    [
        {"dp": EXAMPLE},
        {"dp": EXAMPLE, "optimizer": {"name": "adam"}},
        {"dp": PARTICIPANT, "weighting": "equal", "participants_per_round": 1},
        {"dp": PARTICIPANT, "weighting": "equal", "participants_per_round": 1, "strategy": {"name": "fedadam"}},
    ],
)  # fmt: skip
def test_a_step_and_a_round_of_nobody_are_tried(
    more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedkit.rounds import trial_step

    calls: list[str] = []
    for name in ("dp_sgd", "server_step"):
        real = getattr(trial_step, name)

        def noted(*args: Any, _name: str = name, _real: Any = real, **kwargs: Any) -> Any:
            calls.append(_name)
            return _real(*args, **kwargs)

        monkeypatch.setattr(trial_step, name, noted)
    trial_step._tried.cache_clear()
    try_out(small(**more), LINEAR)
    assert calls == ["dp_sgd" if more["dp"]["unit"] == "example" else "server_step"]
