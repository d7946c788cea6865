"""Kinds of models, each with what could make it another model where participants are trained at once."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEEP", "INPLACE", "KINDS", "Kind", "a_model"]


@dataclass(frozen=True)
class Kind:
    """source : of a model.py. stacked : may its participants be trained at once? mixes : has no gradient of one image."""

    source: str
    stacked: bool = False
    mixes: bool = False


DEEP = """
import torch
from torch import nn
class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.Tanh(), nn.Linear(20, 20, bias=False), nn.GELU())
        self.out = nn.Linear(20, 10)
    def forward(self, x):
        return self.out(torch.relu(self.net(x)))
"""
INPLACE = DEEP.replace("nn.Tanh()", "nn.ELU(inplace=True)").replace(
    "nn.GELU()", "nn.ReLU(inplace=True)"
)


def a_model(layers: str, forward: str) -> str:
    """The text of a model with these lines in its constructor and this result."""
    return f"""
import torch
from torch import nn
class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Linear(784, 10)
        {layers}
    def forward(self, x):
        return {forward}
"""


def _model(layers: str, forward: str, more: str = "", before: str = "") -> str:
    """layers : lines of the constructor. forward : lines that turn x into x. more : of the class. before : of the file."""
    return "\n".join(
        [
            "import torch",
            "from torch import nn",
            "from torch.nn import functional as F",
            before,
            "class FLModel(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *(f"        {line}" for line in layers.splitlines()),
            "    def forward(self, x):",
            *(f"        {line}" for line in forward.splitlines()),
            "        return x",
            more,
        ]
    )


_MLP = "self.a = nn.Linear(784, 12)\nself.b = nn.Linear(12, 10)"
_ON = "x = self.b(torch.relu(self.a(x.flatten(1))))"
_CONV = "self.c = nn.Conv2d(1, 4, 5, 4)"
_COUNT = (
    "x = x.flatten(1)\n{count}\nif {n} % 3 == 0:\n    x = -x\nx = self.b(torch.relu(self.a(x)))"
)

KINDS: dict[str, Kind] = {
    "linear": Kind(_model("self.a = nn.Linear(784, 10)", "x = self.a(x.flatten(1))"), True),
    "mlp": Kind(_model(_MLP, _ON), True),
    "module list": Kind(
        _model(
            "self.all = nn.ModuleList([nn.Flatten(), nn.Linear(784, 9), nn.Tanh(), nn.Linear(9, 10)])",
            "for layer in self.all:\n    x = layer(x)",
        ),
        True,
    ),
    "in place": Kind(
        _model(
            "self.all = nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(784, 9), nn.ELU(inplace=True),"
            " nn.Linear(9, 9), nn.ReLU(inplace=True), nn.Linear(9, 10))",
            "x = self.all(x)",
        ),
        True,
    ),
    "unused parameter": Kind(_model(_MLP + "\nself.idle = nn.Parameter(torch.ones(3))", _ON), True),
    "branch on training": Kind(
        _model(_MLP, "x = x.flatten(1) if self.training else -x.flatten(1)\n" + _ON), True
    ),
    "another layer in training": Kind(
        _model(
            _MLP,
            "x = self.b(torch.relu(self.a(x.flatten(1))))\nif self.training:\n    x = torch.tanh(x)",
        ),
        True,
    ),
    "cnn": Kind(
        _model(_CONV + "\nself.b = nn.Linear(144, 10)", "x = self.b(F.relu(self.c(x)).flatten(1))")
    ),
    "drop-out layer": Kind(_model(_MLP + "\nself.d = nn.Dropout(0.5)", "x = self.d(x)\n" + _ON)),
    "drop-out function": Kind(_model(_MLP, "x = F.dropout(x, 0.5, self.training)\n" + _ON)),
    "drop-out in training only": Kind(
        _model(_MLP, "if self.training:\n    x = F.dropout(x)\n" + _ON)
    ),
    "noise": Kind(_model(_MLP, "x = x + 0.1 * torch.randn_like(x)\n" + _ON), mixes=True),
    "batch norm": Kind(
        _model(_MLP + "\nself.n = nn.BatchNorm1d(12)", "x = self.b(self.n(self.a(x.flatten(1))))"),
        mixes=True,
    ),
    "group norm": Kind(
        _model(
            _CONV + "\nself.n = nn.GroupNorm(2, 4)\nself.b = nn.Linear(144, 10)",
            "x = self.b(self.n(self.c(x)).reshape(len(x), -1))",
        )
    ),
    "layer norm": Kind(
        _model(_MLP + "\nself.n = nn.LayerNorm(12)", "x = self.b(self.n(self.a(x.flatten(1))))")
    ),
    "tied weights": Kind(
        _model(
            "self.a = nn.Linear(784, 10)\nself.b = nn.Linear(10, 10)\nself.c = nn.Linear(10, 10)\n"
            "self.c.weight = self.b.weight",
            "x = self.c(torch.tanh(self.b(self.a(x.flatten(1)))))",
        )
    ),
    "layer used twice": Kind(
        _model(
            "self.a = nn.Linear(784, 10)\nself.b = nn.Linear(10, 10)",
            "x = self.b(torch.tanh(self.b(self.a(x.flatten(1)))))",
        )
    ),
    "one storage": Kind(
        _model(
            "self.a = nn.Linear(784, 10)\nself.b = nn.Linear(10, 10)\nself.c = nn.Linear(10, 10)\n"
            "self.c.weight = nn.Parameter(self.b.weight.detach())",
            "x = self.c(torch.tanh(self.b(self.a(x.flatten(1)))))",
        )
    ),
    "weight norm": Kind(
        _model(_MLP + "\nself.a = nn.utils.parametrizations.weight_norm(self.a)", _ON)
    ),
    "weight norm by a hook": Kind(_model(_MLP + "\nself.a = nn.utils.weight_norm(self.a)", _ON)),
    "spectral norm": Kind(
        _model(_MLP + "\nself.a = nn.utils.parametrizations.spectral_norm(self.a)", _ON),
        mixes=True,
    ),
    "forward hook": Kind(
        _model(_MLP + "\nself.a.register_forward_hook(lambda layer, x, y: 0.5 * y)", _ON)
    ),
    "forward pre-hook": Kind(
        _model(_MLP + "\nself.register_forward_pre_hook(lambda layer, x: (1 - x[0],))", _ON)
    ),
    "backward hook": Kind(
        _model(
            _MLP
            + "\nself.b.register_full_backward_hook(lambda layer, into, out: (0.5 * into[0],))",
            _ON,
        )
    ),
    "parameter hook": Kind(_model(_MLP + "\nself.a.weight.register_hook(lambda g: 0.5 * g)", _ON)),
    "derived layer": Kind(
        _model(
            _MLP.replace("nn.Linear(784", "Half(784"),
            _ON,
            before="class Half(nn.Linear):\n    def forward(self, x):\n        return 0.5 * super().forward(x)",
        )
    ),
    "forward of one object": Kind(
        _model(_MLP + "\nself.a.forward = type('', (), {})", _ON).replace(
            "type('', (), {})", "lambda x: F.linear(x, self.a.weight)"
        )
    ),
    "own call": Kind(
        _model(_MLP, _ON, "    def __call__(self, x):\n        return super().__call__(1 - x)")
    ),
    "linear before flattening": Kind(
        _model(
            "self.a = nn.Linear(28, 3)\nself.b = nn.Linear(84, 10)",
            "x = self.b(self.a(x).flatten(1))",
        )
    ),
    "residual": Kind(
        _model(
            "self.a = nn.Linear(784, 10)\nself.b = nn.Linear(10, 10)",
            "x = self.a(x.flatten(1))\nx = x + torch.relu(self.b(x))",
        )
    ),
    "two heads": Kind(
        _model(
            _MLP + "\nself.c = nn.Linear(12, 10)",
            "x = torch.relu(self.a(x.flatten(1)))\nx = self.b(x) + self.c(x)",
        )
    ),
    "branch on the images": Kind(
        _model(_MLP, "if float(x.mean()) > 0.13:\n    x = 1 - x\n" + _ON), mixes=True
    ),
    "branch on the batch's size": Kind(_model(_MLP, "if len(x) < 4:\n    x = 1 - x\n" + _ON)),
    "counts its calls": Kind(
        _model(_MLP + "\nself.calls = 0", _COUNT.format(count="self.calls += 1", n="self.calls")),
        mixes=True,
    ),
    "counts in its file": Kind(
        _model(_MLP, _COUNT.format(count="CALLS.append(1)", n="len(CALLS)"), before="CALLS = []"),
        mixes=True,
    ),
    "keeps what it saw": Kind(_model(_MLP, "self.seen = x.detach()\n" + _ON)),
    "embedding": Kind(
        _model(
            "self.e = nn.Embedding(4, 3)\nself.b = nn.Linear(2352, 10)",
            "x = self.b(self.e((3 * x).long().flatten(1)).flatten(1))",
        )
    ),
    "constant buffer": Kind(
        _model(
            _MLP + "\nself.register_buffer('mean', torch.tensor(0.13))", "x = x - self.mean\n" + _ON
        )
    ),
    "buffer that moves": Kind(
        _model(
            _MLP + "\nself.register_buffer('scale', torch.ones(()))",
            "if self.training:\n    self.scale.mul_(0.9).add_(0.1 * x.detach().mean())\nx = x / self.scale.clone()\n"
            + _ON,
        ),
        mixes=True,
    ),
    "frozen parameter": Kind(_model(_MLP + "\nself.a.requires_grad_(False)", _ON)),
    "no layer": Kind(
        _model(
            "self.w = nn.Parameter(torch.zeros(784, 10))",
            "x = x.flatten(1) @ self.w",
        )
    ),
}
