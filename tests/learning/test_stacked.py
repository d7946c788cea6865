"""Many participants in one batched product: what can be stacked, and that it is one by one up to rounding."""

import pytest
import torch

import fedkit as fk
from fedkit.learning.models import SAMPLE_MODEL, load_model, seed_weights
from fedkit.learning.stacked import NotStackable, StackedModel, train_stacked
from fedkit.learning.training import train
from tests.support.digits import uneven_shards

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


@pytest.fixture(scope="module")
def data() -> tuple[list[fk.Shard], fk.Shard]:
    return uneven_shards()


@pytest.mark.parametrize(
    ("layers", "forward", "why"),
    [
        ("self.a = nn.Linear(10, 10)", "self.a(self.a(self.b(x.flatten(1))))", "used twice"),
        ("", "self.b(x.flatten(1)) + self.b(-x.flatten(1))", "no chain|neg|add"),
        ("", "self.b(torch.relu(x.flatten(1)) * 1.0)", "mul"),
        ("self.a = nn.BatchNorm1d(784)", "self.b(self.a(x.flatten(1)))", "buffers"),
        (
            "self.a = nn.Linear(10, 10); self.c = nn.Linear(10, 10); self.c.weight = self.a.weight",
            "self.c(self.a(self.b(x.flatten(1))))",
            "two names",
        ),
        ("self.b = nn.Sequential(nn.Dropout(), self.b)", "self.b(x.flatten(1))", "Dropout"),
    ],
)
def test_what_is_no_chain_of_own_layers_is_refused(layers: str, forward: str, why: str) -> None:
    with pytest.raises(NotStackable, match=why):
        StackedModel(load_model(a_model(layers, forward)))


@pytest.mark.parametrize("source", [SAMPLE_MODEL, DEEP, INPLACE])
@pytest.mark.parametrize(("mu", "shifted"), [(0.0, False), (0.3, False), (0.0, True)])
def test_stacked_is_one_by_one_up_to_rounding(
    data: tuple,  # type: ignore[type-arg]
    source: str,
    mu: float,
    shifted: bool,
) -> None:
    start = {name: value.double() for name, value in seed_weights(source).items()}
    shards = [(x.double(), y) for x, y in data[0]]
    options = {"epochs": 2, "learning_rate": 0.1, "batch_size": 16, "mu": mu}
    model = load_model(source).double()
    noise = fk.generator(0, "shift")
    shifts = [
        {name: 0.1 * torch.randn(v.shape, generator=noise).double() for name, v in start.items()}
        for _ in (shards if shifted else ())
    ]
    alone = [
        train(model, start, shard, generator=fk.generator(0, k), shift=own, **options)
        for k, (shard, own) in enumerate(zip(shards, shifts or [{}] * 5, strict=True))
    ]
    generators = [fk.generator(0, k) for k in range(len(shards))]
    together = train_stacked(
        StackedModel(model), start, shards, generators=generators, shifts=shifts, **options
    )
    for (one, losses), (other, other_losses) in zip(alone, together, strict=True):
        assert losses == pytest.approx(other_losses, abs=1e-10)
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-12)
