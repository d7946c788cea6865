"""A module that trains one participant after the other is a fresh one each time, or it is not taken."""

import pytest
import torch
from torch import Tensor, nn

import fedkit as fk
from fedkit.learning.lasting import lasting
from fedkit.learning.models import load_model, seed_weights
from fedkit.learning.randomness import draws, remember_draws
from fedkit.rounds import in_memory, simulation
from tests.support.digits import uneven_shards
from tests.support.kinds import KINDS, a_model

FRESH = {  # what one module, trained again, could make another model, or nobody can tell
    "weight norm",
    "weight norm by a hook",
    "spectral norm",
    "forward hook",
    "forward pre-hook",
    "backward hook",
    "parameter hook",
    "forward of one object",
    "own call",
    "branch on the images",
    "branch on the batch's size",
    "counts its calls",
    "counts in its file",
    "keeps what it saw",
    "group norm",  # only since len(x) can't be traced
}
DRAWING = {"drop-out layer", "drop-out function", "drop-out in training only", "noise"}
SAMPLES = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(4)


def trained(model: nn.Module, source: str, k: int) -> dict[str, Tensor]:
    """Participant k's weights, from a state of its own."""
    chance = torch.Generator().manual_seed(k)
    options = {"epochs": 2, "learning_rate": 0.1, "batch_size": 2}
    start = seed_weights(source, k)
    return fk.train(model, start, SAMPLES, generator=chance, **options)[0]  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", KINDS)
def test_trained_again_it_is_as_a_fresh_one(name: str) -> None:
    source = KINDS[name].source
    model = load_model(source)
    drawing = lasting(model, seed_weights(source), SAMPLES)
    assert drawing is (None if name in FRESH else name in DRAWING)
    if drawing is None:
        return
    remember_draws(model, drawing)
    for k in range(3):
        again, fresh = (trained(m, source, k) for m in (model, load_model(source)))
        assert all(torch.equal(again[key], value) for key, value in fresh.items())


REMEMBERS = {
    "an attribute": "self.calls = getattr(self, 'calls', 0) + 1",
    "a list of its own": "self.seen.append(1)",
    "a list of its file": "SEEN.append(1)",
    "a list of its class": "FLModel.seen.append(1)",
    "a default": "self.note.__func__.__defaults__[0].append(1)",
    "a function's attribute": "FLModel.forward.calls = getattr(FLModel.forward, 'calls', 0) + 1",
    "an object of its own kind": "COUNTER.n += 1",
    "a buffer that is in no state dict": "self.hidden.add_(1)",
    "whether it trains": "self.b.weight.requires_grad_(False)",
    "another parameter": "self.b.weight = nn.Parameter(self.b.weight.detach().clone())",
}


@pytest.mark.parametrize("note", REMEMBERS.values(), ids=REMEMBERS)
def test_what_it_remembers_is_found(note: str) -> None:
    """Where it makes no difference to what is traced: nobody knows when it will."""
    layers = "self.seen = []; self.register_buffer('hidden', torch.zeros(1), persistent=False)"
    source = (
        a_model(layers, "self.b(self.note(x).flatten(1))")
        + f"""
    seen = []
    def note(self, x, kept=[]):
        {note}
        return x
SEEN = []
class Counter:
    n = 0
COUNTER = Counter()
"""
    )
    assert lasting(load_model(source), seed_weights(source), SAMPLES) is None


def test_a_function_of_somebody_else_in_a_layer_of_torch_is_looked_into() -> None:
    layers = "self.t = nn.TransformerEncoderLayer(28, 2, 8, 0.0, batch_first=True, activation=act)"
    source = a_model(layers, "self.b(self.t(x.squeeze(1)).flatten(1))")
    branches = "def act(x):\n    return x if x.mean() > 0 else torch.dropout(x, 0.5, True)\n"
    assert lasting(load_model(branches + source), seed_weights(branches + source), SAMPLES) is None


def test_draws_tells_what_it_was_told() -> None:
    source = KINDS["noise"].source
    model = load_model(source)
    assert draws(model, SAMPLES[0])
    assert not draws(remember_draws(model, False), SAMPLES[0])
    assert draws(load_model(source), SAMPLES[0])


def test_a_simulation_builds_a_model_for_each_thread_and_not_for_each_participant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shards, test = uneven_shards()
    built = list[int]()
    real = simulation.load_model

    def counted(*args: object, **options: object) -> nn.Module:
        built.append(1)
        return real(*args, **options)  # type: ignore[arg-type]

    for module in (simulation, in_memory):
        monkeypatch.setattr(module, "load_model", counted)
    people = fk.numbered_participants(len(shards))
    values = {"project_name": "T", "aggregator": "a@example.org", "participants": people}
    files = {"model_arch": "model.py", "model_weight": "w.pt"}
    config = fk.FLConfig.from_dict(values | files | {"rounds": 2, "epoch": 1, "learning_rate": 0.1})
    kinds = {"cnn": 1, "counts its calls": 2 * len(shards) + 2}
    for name, most in kinds.items():
        built.clear()
        fk.simulate(config, shards, test, model=KINDS[name].source, workers=1)
        assert len(built) == most
