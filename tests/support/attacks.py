"""What the tests of attacks share: participants' rounds with ordinary training, saved as files and read back."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch
from torch import Tensor

import fedkit as fk
from fedkit import privacy
from fedkit.base.files import read_state, write_state
from fedkit.data.shards import Shard
from fedkit.learning.models import StateDict
from tests.support.helpers import ALICE, small

SEEDS = range(5)


@functools.cache
def pool() -> Shard:
    """The sample's training images and labels."""
    mnist = fk.load_mnist(full=False)
    return fk.as_float(mnist.train_images), mnist.train_labels


def draw(count: int, seed: int, start: int = 0) -> Shard:
    """`count` images drawn at random; another `start` gives others, of the same shuffle."""
    images, labels = pool()
    chosen = torch.randperm(len(labels), generator=fk.generator(seed, "draw"))[start:][:count]
    return images[chosen], labels[chosen]


def update_of(
    shard: Shard,
    seed: int,
    epochs: int = 1,
    batch_size: int = 64,
    learning_rate: float = 0.1,
    source: str = fk.SAMPLE_MODEL,
) -> tuple[StateDict, StateDict]:
    """(global model 0, update of round 1) as they lie in the aggregator's files."""
    model, before = fk.load_model(source), fk.seed_weights(source, seed)
    after, _ = fk.train(
        model,
        before,
        shard,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        generator=fk.generator(seed, ALICE, 1),
    )
    return on_file(before), on_file(after)


def on_file(state: StateDict) -> StateDict:
    """The state as somebody else reads it from its file."""
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder) / "state.pt", state)
        return read_state(Path(folder) / "state.pt")


def change(before: StateDict, after: StateDict) -> StateDict:
    """after - before, float64."""
    return {name: after[name].double() - value.double() for name, value in before.items()}


def auc(members: Tensor, others: Tensor) -> float:
    """P(a member's score is above another's), ties half: over all pairs."""
    higher = (members[:, None] > others[None]).double().mean()
    return float(higher + 0.5 * (members[:, None] == others[None]).double().mean())


def first_layer_of(shard: fk.Shard, seed: int, epochs: int = 1) -> tuple[Tensor, Tensor]:
    return privacy.first_layer(change(*update_of(shard, seed, epochs)))


def own_images(count: int) -> Tensor:
    """The aggregator's test images: nobody trains on them."""
    images = fk.as_float(fk.load_mnist(full=False).test_images)
    return images[torch.randperm(len(images), generator=fk.generator(0, "own"))[:count]]


def as_evidence(shard: fk.Shard, seed: int, epochs: int = 1) -> privacy.Evidence:
    before, after = update_of(shard, seed, epochs)
    source, count = fk.SAMPLE_MODEL.encode(), len(shard[1])
    return privacy.Evidence(
        ALICE, 1, small(batch_size=64), source, before, after, 0.1, epochs, count
    )
