"""What a model draws is its own, whatever other threads draw; what can't be owned is named."""

import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.base.events import Notice
from fedkit.base.seeds import generator
from fedkit.learning.models import StateDict, load_model, seed_weights, state_of
from fedkit.learning.randomness import NOT_REPEATABLE, OwnRandom, draws, is_repeatable
from fedkit.learning.training import train
from fedkit.privacy.dp.noise import SeededNoise
from fedkit.privacy.dp.training import dp_sgd
from fedkit.protocol.approval import approve_all
from fedkit.rounds.simulation import simulate
from tests.support.helpers import (
    LINEAR,
    final_model,
    held_out,
    launched,
    linear_weights,
    shard,
    small,
)

ONES, BATCH = torch.ones(8), torch.ones(2, 3, 4)

DRAWN: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(3),
    "randint": lambda: torch.randint(2, 9, (4,)),
    "randperm": lambda: torch.randperm(7),
    "rand_like": lambda: torch.rand_like(ONES),
    "randn_like": lambda: torch.randn_like(ONES),
    "randint_like": lambda: torch.randint_like(ONES, 9),
    "bernoulli": lambda: torch.bernoulli(ONES / 2),
    "multinomial": lambda: torch.multinomial(ONES, 3),
    "normal": lambda: torch.normal(ONES, ONES),
    "poisson": lambda: torch.poisson(ONES),
    "dropout": lambda: F.dropout(ONES, 0.5, training=True),
    "alpha_dropout": lambda: F.alpha_dropout(ONES, 0.5, training=True),
    "dropout2d": lambda: F.dropout2d(BATCH[..., None], 0.5, training=True),
    "rrelu": lambda: F.rrelu(-ONES, training=True),
    "gumbel": lambda: F.gumbel_softmax(ONES),
    "in place": lambda: torch.empty(4).uniform_().exponential_().cauchy_().log_normal_(),
    "a distribution": lambda: torch.distributions.Beta(1.0, 2.0).sample((3,)),
    "a layer's weights": lambda: nn.Linear(3, 2).weight,
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(3, 3)),
    "lstm": lambda: nn.LSTM(4, 4, 2, dropout=0.5)(BATCH)[0],
    "attention": lambda: nn.TransformerEncoderLayer(4, 2, 8)(BATCH),
}

NOISY = {
    "a layer": ("self.fc(self.drop(images.flatten(1)))", ""),
    "a function": ("self.fc(nn.functional.dropout(images.flatten(1), 0.5, self.training))", ""),
    "noise": ("self.fc(images.flatten(1) + torch.randn(784) * self.training)", ""),
}
ELSEWHERE = {
    "Python's": ("import random", "random.random()"),
    "NumPy's old ones": ("import numpy", "numpy.random.rand()"),
    "NumPy's new ones": ("import numpy", "numpy.random.default_rng().random()"),
    "the system's": ("import os", "int.from_bytes(os.urandom(8), 'big') / 2**64"),
    "a rare draw": ("import random", "(0.0 if random.random() < 0.5 else 0.0)"),
}


def noisy(kind: str) -> str:
    source = LINEAR.replace("self.fc(images.flatten(1))", NOISY[kind][0])
    return source.replace(
        "super().__init__()", "super().__init__()\n        self.drop = nn.Dropout(0.5)"
    )


def not_ours(kind: str) -> str:
    imported, drawn = ELSEWHERE[kind]
    answer = "self.fc(images.flatten(1))"
    return f"{imported}\n" + LINEAR.replace(answer, f"{answer} * (1 + {drawn} / 100)")


@contextmanager
def somebody_draws() -> Iterator[None]:
    """Another thread draws from torch's global generator all the time."""
    enough = threading.Event()

    def draw() -> None:
        while not enough.is_set():
            torch.rand(3)
            time.sleep(0)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def trained(source: str, seed: int = 0) -> StateDict:
    how = {"epochs": 3, "learning_rate": 0.1, "batch_size": 4}
    state = linear_weights()
    return train(load_model(source), state, shard([1, 2]), generator=generator(seed), **how)[0]


def same(one: StateDict, other: StateDict) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


# ------------------------------------------------------------------------------------ torch's
@pytest.mark.parametrize("what", DRAWN)
def test_the_same_numbers_as_after_manual_seed_and_the_global_ones_stay(what: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        wanted = DRAWN[what]()
    before = torch.get_rng_state()
    chance = OwnRandom(7)
    with chance:
        assert torch.equal(DRAWN[what](), wanted)
        assert not torch.equal(DRAWN[what](), wanted)
    assert torch.equal(torch.get_rng_state(), before)
    assert chance.drawn > 0


def test_a_generator_that_is_given_is_the_one_that_draws() -> None:
    wanted = torch.rand(3, generator=torch.Generator().manual_seed(3))
    with OwnRandom(7):
        drawn = torch.rand(3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, wanted)


def test_a_block_goes_on_where_the_last_one_stood() -> None:
    chance = OwnRandom(7)
    with chance:
        first = torch.rand(3)
    with chance:
        second = torch.rand(3)
    with OwnRandom(7):
        assert torch.equal(torch.rand(6), torch.cat([first, second]))


@pytest.mark.parametrize("kind", NOISY)
def test_training_gives_the_same_bits_while_another_thread_draws(kind: str) -> None:
    alone = trained(noisy(kind))
    with somebody_draws():
        assert same(trained(noisy(kind)), alone)
    assert not same(trained(noisy(kind), seed=1), alone)  # it does draw


def test_what_a_callback_draws_changes_nothing() -> None:
    how = {"epochs": 2, "learning_rate": 0.1, "batch_size": 4}

    def once(on_epoch: Callable[[int, float], None] | None) -> StateDict:
        model, start = load_model(noisy("a layer")), linear_weights()
        return train(model, start, shard([1]), generator=generator(0), on_epoch=on_epoch, **how)[0]

    assert same(once(None), once(lambda epoch, loss: torch.rand(5).sum()))


def test_private_training_gives_the_same_bits_while_another_thread_draws() -> None:
    def once() -> StateDict:
        noise = SeededNoise(1), SeededNoise(2)
        how = {"epochs": 2, "steps": 3, "learning_rate": 0.1, "clip": 1.0, "noise_multiplier": 1.0}
        model, start = load_model(noisy("a layer")), linear_weights()
        return dp_sgd(model, start, shard([1]), noise=noise[0], sample=noise[1], **how)[0]

    alone = once()
    with somebody_draws():
        assert same(once(), alone)


def test_first_weights_are_the_same_while_another_thread_draws() -> None:
    alone = seed_weights(LINEAR, 5)
    with somebody_draws():
        for _ in range(20):
            assert same(seed_weights(LINEAR, 5), alone)
    torch.manual_seed(5)
    assert same(
        state_of(nn.Sequential(nn.Linear(784, 10))),
        dict(zip(["0.weight", "0.bias"], alone.values(), strict=True)),
    )


@pytest.mark.parametrize("kind", NOISY)
def test_who_draws_is_found(kind: str) -> None:
    images = shard([1])[0]
    assert draws(load_model(noisy(kind)), images)
    assert not draws(load_model(LINEAR), images)
    with somebody_draws():
        assert not draws(load_model(LINEAR), images)


# --------------------------------------------------------------------------------- not torch's
@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_model_that_draws_elsewhere_is_named(kind: str) -> None:
    images = shard([1])[0]
    assert not is_repeatable(load_model(not_ours(kind)), images)
    for repeatable in (LINEAR, *map(noisy, NOISY)):
        assert is_repeatable(load_model(repeatable), images)


def test_numbers_that_other_threads_draw_name_nobody() -> None:
    """As long as they leave a moment between two draws."""
    enough = threading.Event()

    def draw() -> None:
        while not enough.wait(0.05):
            random.random()
            np.random.rand()  # noqa: NPY002

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        model, images = load_model(LINEAR), shard([1])[0]
        assert all(is_repeatable(model, images) for _ in range(50))
    finally:
        enough.set()
        thread.join()


def test_a_participant_says_once_that_it_can_not_repeat_its_training(tmp_path: Path) -> None:
    events = []
    net = launched(tmp_path, not_ours("Python's"), rounds=2)
    assert net.run(approve=approve_all, on_event=events.append).done
    said = [e.email for e in events if isinstance(e, Notice) and e.text == NOT_REPEATABLE]
    assert sorted(said) == sorted(net.participants)


def test_a_simulation_says_it_too() -> None:
    config = small(rounds=1)
    with pytest.warns(UserWarning, match="not torch's"):
        simulate(config, [shard([1]), shard([2])], held_out(), model=not_ours("Python's"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(config, [shard([1]), shard([2])], held_out(), model=noisy("a layer"))


def test_both_worlds_agree_on_a_model_that_draws_with_torch(tmp_path: Path) -> None:
    one, other = (launched(tmp_path / name, noisy("noise"), rounds=2) for name in ("1", "2"))
    one.run(approve=approve_all)
    with somebody_draws():
        other.run(approve=approve_all)
    assert final_model(one) == final_model(other)
