"""The in-memory engine with other models than the 2NN: two convolutional nets, a recurrent one, a table.

Each way does the same rounds: ten participants, batches of 10, one local epoch, plain SGD, evaluation after each round.
The two plain loops know nothing but that: one model, tensors indexed by a permutation; in two processes, each trains half
of the participants and sends back the sum of their weights. The paper's CNN: McMahan et al. 2017, section 3.

The limit stands beside them: the kernels of the same local epochs, in two processes and with nothing in between (see
`kernels.py`), of a stack of participants where the engine stacks them.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import fedkit as fk
from benchmarks.common import row, seconds
from benchmarks.kernels import Call, played, written_down
from fedkit.config.task import Task
from fedkit.learning.judging import criterion_of
from fedkit.learning.models import load_model, state_of
from fedkit.learning.stacked import NotStackable, StackedModel, train_stacked
from fedkit.learning.training import judged

REPEATS, ROUNDS, PARTICIPANTS, BATCH, RATE = 3, 2, 10, 10, 0.05
EMAILS = fk.numbered_participants(PARTICIPANTS)


@dataclass(frozen=True)
class Kind:
    """A title, a task, a model's layers and forward(), and how many samples each participant has."""

    title: str
    task: dict[str, Any]
    layers: str
    forward: str
    each: int

    @property
    def source(self) -> str:
        """The text of its model.py."""
        head = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
        start = "class FLModel(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        forward = "\n    def forward(self, x):\n"
        return head + _BLOCK + start + _indented(self.layers) + forward + _indented(self.forward)

    def samples(self, count: int, name: str) -> fk.Shard:
        """Random samples of the task, with labels that can be learnt from them.

        A token sequence's is its last token's remainder, a vector's whether its first half weighs more, an image's the
        height of its bright part.
        """
        task, noise = Task.model_validate(self.task), fk.generator(0, name)
        shape = (count, *task.shape)
        if task.samples == "tokens":
            samples = torch.randint(task.vocabulary or 1, shape, generator=noise)
            return samples, samples[:, -1] % task.classes
        samples = torch.rand(shape, generator=noise)
        if task.samples == "vectors":
            first, second = samples.chunk(2, dim=1)
            return samples, (first.sum(1) > second.sum(1)).float()
        labels = torch.randint(task.classes, (count,), generator=noise)
        rows = torch.arange(shape[2]) / shape[2] * task.classes
        return samples / 2 + (rows <= labels[:, None])[:, None, :, None] / 2, labels


def _indented(lines: str) -> str:
    return "".join(f"        {line.strip()}\n" for line in lines.strip().splitlines())


_BLOCK = """
class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.one, self.two = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.n, self.m = nn.GroupNorm(4, b), nn.GroupNorm(4, b)
        self.short = nn.Identity() if a == b else nn.Conv2d(a, b, 1, stride, bias=False)

    def forward(self, x):
        return torch.relu(self.m(self.two(torch.relu(self.n(self.one(x))))) + self.short(x))


"""
KINDS = {
    "cnn": Kind(
        "the paper's CNN, 1.66 million weights",
        {},
        """self.a, self.b = nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)
        self.c, self.d = nn.Linear(3136, 512), nn.Linear(512, 10)""",
        """x = F.max_pool2d(torch.relu(self.a(x)), 2)
        x = F.max_pool2d(torch.relu(self.b(x)), 2)
        return self.d(torch.relu(self.c(x.flatten(1))))""",
        80,
    ),
    "resnet": Kind(
        "a ResNet with GroupNorm, 78 thousand",
        {},
        """self.a, self.n = nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.GroupNorm(4, 16)
        self.b = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.c = nn.Linear(64, 10)""",
        "return self.c(self.b(torch.relu(self.n(self.a(x)))).mean((2, 3)))",
        80,
    ),
    "lstm": Kind(
        "Embedding and LSTM, 20 steps, 20 thousand",
        {"samples": "tokens", "shape": [20], "vocabulary": 80, "outputs": 4},
        """self.e, self.r = nn.Embedding(80, 8), nn.LSTM(8, 64, batch_first=True)
        self.c = nn.Linear(64, 4)""",
        "return self.c(self.r(self.e(x))[0][:, -1])",
        300,
    ),
    "logistic": Kind(
        "a table of 30, logistic regression",
        {"samples": "vectors", "shape": [30], "loss": "bce_with_logits"},
        "self.a = nn.Linear(30, 1)",
        "return self.a(x)",
        600,
    ),
    "table": Kind(
        "a table of 30, 30-32-1",
        {"samples": "vectors", "shape": [30], "loss": "bce_with_logits"},
        "self.a, self.b = nn.Linear(30, 32), nn.Linear(32, 1)",
        "return self.b(torch.relu(self.a(x))).squeeze(1)",
        600,
    ),
}


def trained(name: str, emails: list[str], start: fk.StateDict, n: int) -> fk.StateDict:
    """The sum of these participants' weights after their local epoch of round n, one after the other."""
    model, shards, loss_of = _at_hand(name)
    total: fk.StateDict = {}
    for email in emails:
        model.load_state_dict(start)
        fk.sgd_epoch(model, *shards[email], RATE, BATCH, fk.generator(0, email, n), loss_of)
        for key, value in state_of(model).items():
            total[key] = total[key] + value if key in total else value
    return total


_HERE: dict[str, tuple[torch.nn.Module, dict[str, fk.Shard], Callable[..., Tensor]]] = {}


def _at_hand(name: str) -> tuple[torch.nn.Module, dict[str, fk.Shard], Callable[..., Tensor]]:
    """A process' own model, shards and loss, made once."""
    if name not in _HERE:
        kind = KINDS[name]
        task = Task.model_validate(kind.task)
        shards = {email: kind.samples(kind.each, email) for email in EMAILS}
        _HERE[name] = load_model(kind.source, task=task), shards, criterion_of(task)
    return _HERE[name]


def half(k: int) -> list[str]:
    """The participants of one of two processes."""
    return EMAILS[k * PARTICIPANTS // 2 :][: PARTICIPANTS // 2]


def limit(name: str, k: int, products: bool) -> float:
    """Kernels alone of one round's local epochs of half of the participants; returns the seconds of processor time."""
    if (name, k) not in _CALLS:
        _CALLS[name, k] = _kernels(name, half(k))
    calls, again = _CALLS[name, k]
    began = time.thread_time()
    played(calls[products], again)
    return time.thread_time() - began


_CALLS: dict[tuple[str, int], tuple[tuple[list[Call], list[Call]], int]] = {}


def _kernels(name: str, emails: list[str]) -> tuple[tuple[list[Call], list[Call]], int]:
    """(all kernels, the products) of an epoch, and how often it makes up that of all these participants."""
    (model, shards, loss_of), task = _at_hand(name), Task.model_validate(KINDS[name].task)
    state, random = state_of(model), fk.generator(0, "limit")
    try:
        stacked = StackedModel(model)
    except NotStackable:
        one = (model.train(), *shards[emails[0]], RATE, BATCH, random, loss_of)
        return written_down(lambda: fk.sgd_epoch(*one)), len(emails)
    some, draws = [shards[email] for email in emails], [random] * len(emails)
    epoch: dict[str, Any] = {"epochs": 1, "learning_rate": RATE, "batch_size": BATCH, "task": task}
    return written_down(lambda: train_stacked(stacked, state, some, generators=draws, **epoch)), 1


def plain_rounds(name: str, halves: Callable[[fk.StateDict, int], Iterator[fk.StateDict]]) -> None:
    """The rounds of a plain loop; halves(weights, n) gives sums of trained weights that make up all participants'."""
    kind = KINDS[name]
    task, model = Task.model_validate(kind.task), _at_hand(name)[0]
    test, state = kind.samples(100, "test"), fk.seed_weights(kind.source)
    for n in range(1, ROUNDS + 1):
        parts = list(halves(state, n))
        state = {k: sum(part[k] for part in parts) / PARTICIPANTS for k in state}  # type: ignore[misc]
        judged(model, state, *test, task)


def ways(name: str, pool: ProcessPoolExecutor) -> dict[str, Callable[[], object]]:
    """The same rounds, four times."""
    kind = KINDS[name]
    shards, test = _at_hand(name)[1], kind.samples(100, "test")
    config = fk.FLConfig.from_dict(
        {
            "project_name": "ENGINE",
            "aggregator": "aggregator@example.org",
            "participants": EMAILS,
            "rounds": ROUNDS,
            "epoch": 1,
            "learning_rate": RATE,
            "batch_size": BATCH,
            "model_arch": "model.py",
            "model_weight": "weights.pt",
        }
        | ({"task": kind.task} if kind.task else {})
    )

    def engine(exact: bool) -> None:
        fk.simulate(config, shards, test, model=kind.source, exact=exact)

    def apart(state: fk.StateDict, n: int) -> Iterator[fk.StateDict]:
        return pool.map(trained, [name] * 2, [half(0), half(1)], [state] * 2, [n] * 2)

    def alone(products: bool) -> None:
        for _ in range(ROUNDS):
            list(pool.map(limit, [name] * 2, [0, 1], [products] * 2))

    return {
        "one": lambda: plain_rounds(name, lambda state, n: iter([trained(name, EMAILS, state, n)])),
        "two": lambda: plain_rounds(name, apart),
        "exact": lambda: engine(True),
        "default": lambda: engine(False),
        "kernels": lambda: alone(False),
        "products": lambda: alone(True),
    }


def main() -> None:
    """Print the table; the ways are interleaved, and their minima are compared.

    In brackets: the same ratio of processor time, where a way stays in one process.
    """
    print(
        f"Times as fast as a tight loop ({PARTICIPANTS} participants, batches of {BATCH}, {ROUNDS} rounds)"
    )
    row("", "default", "exact=True; in two processes: a tight loop, its kernels, its products")
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for name in KINDS:
            alternatives = ways(name, pool)
            wall: dict[str, list[float]] = {way: [] for way in alternatives}
            cpu: dict[str, list[float]] = {way: [] for way in alternatives}
            for way in ("two", "kernels"):  # each process makes its model, its shards, its list
                alternatives[way]()
            for _ in range(REPEATS):
                for way, work in alternatives.items():
                    began = time.process_time()
                    wall[way].append(seconds(work))
                    cpu[way].append(time.process_time() - began)
            times = {way: min(wall["one"]) / min(took) for way, took in wall.items()}
            default, exact = (
                f"{times[way]:.2f}x ({min(cpu['one']) / min(cpu[way]):.2f}x)"
                for way in ("default", "exact")
            )
            others = "x, ".join(f"{times[way]:.2f}" for way in ("two", "kernels", "products"))
            row(KINDS[name].title, default, f"{exact}; {others}x")
