"""Many participants in one batched product: what can be stacked, and that it is one by one up to rounding."""

from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.config.task import Task
from fedkit.learning.judging import criterion_of
from fedkit.learning.models import SAMPLE_MODEL, load_model, seed_weights
from fedkit.learning.stackable import stackable
from fedkit.learning.stacked import NotStackable, StackedModel, train_stacked
from fedkit.learning.training import train
from tests.support.digits import uneven_shards
from tests.support.kinds import DEEP, INPLACE, a_model
from tests.support.tasks import source


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


LINE = source(
    "self.a = nn.Linear(30, 8)\nself.b = nn.Linear(8, 2)", "return self.b(torch.tanh(self.a(x)))"
)
ONE = LINE.replace("(8, 2)", "(8, 1)")
SQUEEZED = ONE.replace("self.b(torch.tanh(self.a(x)))", "self.b(torch.tanh(self.a(x))).squeeze(1)")
LAST = SQUEEZED.replace("squeeze(1)", "squeeze(-1)")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (LINE, {"loss": "cross_entropy", "class_weights": (0.02, 0.1)}),
        (ONE, {"loss": "bce_with_logits", "outputs": 1}),
        (SQUEEZED, {"loss": "bce_with_logits", "outputs": 1, "class_weights": (3.0,)}),
        (LINE, {"loss": "bce_with_logits", "class_weights": (1.0, 3.0)}),
        (LAST, {"loss": "mse", "outputs": 1}),
        (LINE, {"loss": "mse"}),
        (ONE, {"loss": "l1", "outputs": 1}),
        (LINE, {"loss": "huber"}),
    ],
)
def test_every_loss_is_one_by_one_up_to_rounding(text: str, written: dict[str, Any]) -> None:
    task = Task.model_validate({"samples": "vectors", "shape": (30,), "outputs": 2} | written)
    noise = fk.generator(0, "table")
    shards = []
    for size in (35, 16, 1, 7):  # the shortest stand still while the longest trains
        table = torch.randn(size, 30, generator=noise).double()
        kinds = (table[:, : task.outputs] > 0).squeeze(1)
        labels = {"classes": (table[:, 0] > 0).long(), "binary": kinds.double()}
        shards.append((table, labels.get(task.labels, table[:, : task.outputs].squeeze(1))))
    start = {n: v.double() for n, v in seed_weights(text).items()}
    model = load_model(text, task=task).double()
    options = {"epochs": 2, "learning_rate": 0.1, "batch_size": 8, "mu": 0.2}
    alone = [
        train(
            model, start, shard, generator=fk.generator(0, k), loss_of=criterion_of(task), **options
        )
        for k, shard in enumerate(shards)
    ]
    together = train_stacked(
        stackable(model, start, shards[0], task),
        start,
        shards,
        generators=[fk.generator(0, k) for k in range(len(shards))],
        task=task,
        **options,
    )
    for (one, losses), (other, other_losses) in zip(alone, together, strict=True):
        assert losses == pytest.approx(other_losses, abs=1e-10)
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-12)
            assert not torch.equal(value, start[name])
