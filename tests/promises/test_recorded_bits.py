"""Yesterday's bits: small projects end in the very models that were written down, however the code is arranged today.

Each case runs something small through public names alone and hashes what comes out: the global model of every round, read
from its file on the wire or handed out by `fk.simulate`, by name, dtype, shape and bytes. `recorded_bits.json` holds the
hashes. Bits depend on the processor and on the build of torch, so they are recorded for each: the key names the machine,
what torch may use of its processor, torch's version, and what torch alone makes of a few sums (two processors with the same
instructions may still add in another order). Where nothing was recorded, the cases are skipped, and say so.

    python tests/promises/test_recorded_bits.py --record
        writes down what has no record for this machine yet, and names the cases whose bits are no longer those recorded
    python tests/promises/test_recorded_bits.py --record --why "the mean is taken in float64 now" CASE CASE ...
        records these cases anew, and keeps the reason; other machines' records of them are dropped

A change that is not meant to move bits records nothing. One that is names its cases, and why.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import fedkit as fk

RECORD = Path(__file__).with_name("recorded_bits.json")
AGGREGATOR, PROJECT = "aggregator@example.org", "BITS"
ALICE, BOB, CAROL = (f"{name}@example.org" for name in ("alice", "bob", "carol"))
PEOPLE = (ALICE, BOB, CAROL, "dave@example.org", "erin@example.org")


# ------------------------------------------------------------------------------------ models
def sequential(*layers: str) -> str:
    """The text of a model: these layers, one after the other, on the pixels of an image."""
    return f"""
from torch import nn
class FLModel(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), {", ".join(layers)})
"""


LINEAR = sequential("nn.Linear(784, 10)")
DEEP = sequential(
    "nn.Linear(784, 16)",
    "nn.Tanh()",
    "nn.Linear(16, 16, bias=False)",
    "nn.GELU()",
    "nn.Linear(16, 10)",
)
DROPOUT = sequential("nn.Dropout(0.5)", "nn.Linear(784, 10)")
BATCH_NORM = sequential(
    "nn.Linear(784, 16)", "nn.BatchNorm1d(16)", "nn.ReLU()", "nn.Linear(16, 10)"
)
TWO_HIDDEN = """
import torch
from torch import nn
class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 200)
        self.fc2 = nn.Linear(200, 200)
        self.fc3 = nn.Linear(200, 10)
    def forward(self, images):
        hidden = torch.relu(self.fc1(images.flatten(1)))
        return self.fc3(torch.relu(self.fc2(hidden)))
"""
"""The "MNIST 2NN", whose layers have the names that the package's sample gives them."""


# -------------------------------------------------------------------------------- what is hashed
def digest(*states: Mapping[str, Tensor]) -> str:
    """SHA-256 of what some state dicts hold, whatever file or order it came in."""
    found = hashlib.sha256()
    for state in states:
        found.update(b"state\n")
        for name, value in sorted(state.items()):
            found.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def digest_parts(parts: Sequence[Tensor]) -> str:
    """SHA-256 of tensors that have no names, in their order."""
    return digest({f"{k:04d}": part for k, part in enumerate(parts)})


def digest_values(value: Any) -> str:
    """SHA-256 of plain numbers, to the last bit."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@functools.cache
def digits() -> fk.MNIST:
    return fk.load_mnist()


def shard(k: int) -> fk.Shard:
    """What the k-th participant holds: 9, 13, 17, ... digits of all kinds, in order, nobody's the same."""
    images, labels = digits().train_images, digits().train_labels
    return fk.take(images, labels, [torch.arange(37 * k, len(labels), 211)[: 9 + 4 * k]])[0]


def held_out() -> fk.Shard:
    return fk.as_float(digits().test_images[::50]), digits().test_labels[::50]


def project(people: int | Sequence[str] = 3, **changes: Any) -> fk.FLConfig:
    """Two rounds of one epoch in batches of 8."""
    values = {
        "project_name": PROJECT,
        "aggregator": AGGREGATOR,
        "participants": list(PEOPLE[:people] if isinstance(people, int) else people),
        "rounds": 2,
        "epoch": 1,
        "learning_rate": 0.1,
        "batch_size": 8,
        "seed": 3,
        "model_arch": "model.py",
        "model_weight": "global_model_weight.pt",
    }
    return fk.FLConfig.from_dict(values | changes)


# ------------------------------------------------------------------------------ the two worlds
def launched(root: Path, config: fk.FLConfig, model: str = LINEAR) -> fk.Network:
    net = fk.Network.create(
        root, aggregator=config.aggregator, participants=config.participants, workers=1
    )
    for k, email in enumerate(config.participants):
        net.give_data(email, shard(k))
    net.give_test(*held_out())
    net.launch(config, model)
    return net


def aggregators_folder(data_dir: Path, where: str = "done") -> Path:
    """The project at the aggregator, as it lies in somebody's data dir."""
    mailbox = data_dir / "datasites" / AGGREGATOR / "app_data" / "fl_aggregator"
    return mailbox / where / PROJECT


def models_of(net: fk.Network, rounds: int) -> str:
    """The digest of the global models in a finished project's files, seed weights first."""
    folder = aggregators_folder(net[AGGREGATOR].data_dir) / "agg_weights"
    files = [folder / f"agg_model_round_{n}.pt" for n in range(rounds + 1)]
    return digest(*(torch.load(path, weights_only=True) for path in files))


def on_disk(root: Path, config: fk.FLConfig, model: str = LINEAR) -> str:
    net = launched(root, config, model)
    assert net.run(approve=fk.approve_all).done
    return models_of(net, config.rounds)


def in_memory(config: fk.FLConfig, model: str = LINEAR, **options: Any) -> str:
    """The digest of `on_disk`, from `fk.simulate`: the same one where `exact` is asked for."""
    states = [fk.seed_weights(model, config.seed)]
    shards = [shard(k) for k in range(len(config.participants))]
    history = fk.simulate(
        config,
        options.pop("shards", shards),
        held_out(),
        model=model,
        on_round=lambda _, state: states.append(state),
        **options,
    )
    assert history.done
    return digest(*states)


def leaves(who: str, after: str) -> Callable[..., Any]:
    """An actor: `who` moves no more once this file of its own lies in its inbox at the aggregator."""

    def act(site: fk.Datasite, go: Callable[[], Any]) -> Any:
        inbox = aggregators_folder(site.data_dir, "running") / "fl_clients" / who
        return [] if site.email == who and (inbox / after).is_file() else go()

    return act


# ------------------------------------------------------------------------------------ the cases
Case = Callable[[Path], str]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Register what gives a digest, in an empty folder."""

    def add(run: Case) -> Case:
        assert name not in CASES
        CASES[name] = run
        return run

    return add


def both_worlds(
    name: str,
    config: Callable[[], fk.FLConfig],
    model: str = LINEAR,
    worlds: str = "disk exact stacked",
) -> None:
    """The same project file by file, in memory one by one, and in memory as it comes."""
    runs: dict[str, Case] = {
        "disk": lambda root: on_disk(root, config(), model),
        "exact": lambda _: in_memory(config(), model, exact=True),
        "stacked": lambda _: in_memory(config(), model),
    }
    for world in worlds.split():
        case(f"{name}-{world}")(runs[world])


# Those that need more than three updates to do what they are there for.
MANY = {"krum": 5, "multi_krum": 5, "trimmed_mean": 5}
for _name in fk.STRATEGIES:
    if _name == "fedbn":  # this model has no layer for it
        continue
    both_worlds(
        f"strategy-{_name}",
        functools.partial(project, MANY.get(_name, 3), strategy={"name": _name}, epoch=2),
    )

# Every parameter away from its default.
PARAMETERS: dict[str, dict[str, Any]] = {
    "fedprox": {"mu": 0.5},
    "scaffold": {"server_lr": 0.7},
    "fedavgm": {"server_lr": 0.7, "momentum": 0.5},
    "fedadagrad": {"server_lr": 0.05, "tau": 0.01},
    "fedadam": {"server_lr": 0.05, "beta1": 0.5, "beta2": 0.9, "tau": 0.01},
    "fedyogi": {"server_lr": 0.05, "beta1": 0.5, "beta2": 0.9, "tau": 0.01},
    "trimmed_mean": {"beta": 0.4},
    "krum": {"hostile": 0},
    "multi_krum": {"hostile": 1, "keep": 2},
    "geometric_median": {"iterations": 3, "nu": 0.01},
    "norm_clip": {"clip": 0.05},
}
for _name, _values in PARAMETERS.items():
    both_worlds(
        f"parameters-{_name}",
        functools.partial(
            project, MANY.get(_name, 3), strategy={"name": _name} | _values, epoch=2, rounds=3
        ),
        worlds="exact",
    )

# What else a config says.
CONFIGS: dict[str, dict[str, Any]] = {
    "sampled": {"people": 4, "participants_per_round": 2, "rounds": 3},
    "sampled-scaffold": {
        "people": 4,
        "participants_per_round": 2,
        "rounds": 3,
        "strategy": {"name": "scaffold"},
    },
    "equal-weights": {"weighting": "equal"},
    "equal-weights-fednova": {"weighting": "equal", "strategy": {"name": "fednova"}},
    "another-seed": {"seed": 11},
    "large-batches": {"batch_size": 64, "epoch": 2},
    "one-by-one-batches": {"batch_size": 1, "learning_rate": 0.02},
}
for _name, _values in CONFIGS.items():
    both_worlds(f"config-{_name}", functools.partial(project, **_values))

# Models: chains that can be stacked, and those that are trained one at a time.
both_worlds("model-tutorial", project, fk.SAMPLE_MODEL)
both_worlds("model-2nn", functools.partial(project, 2), TWO_HIDDEN)
both_worlds("model-deep", functools.partial(project, 4), DEEP)
both_worlds("model-deep-fedprox", lambda: project(strategy={"name": "fedprox", "mu": 0.5}), DEEP)
both_worlds("model-drop-out", functools.partial(project, epoch=2), DROPOUT)
both_worlds("model-batch-norm", functools.partial(project, batch_size=5), BATCH_NORM, "disk exact")

# Secure aggregation. In memory the same fixed-point numbers are added without masks.
SECURE = {"secure_aggregation": {"threshold": 2}}
both_worlds("secure", functools.partial(project, **SECURE))
both_worlds(
    "secure-equal-weights-fedadam",
    functools.partial(project, **SECURE, weighting="equal", strategy={"name": "fedadam"}),
)
both_worlds(
    "secure-sampled",
    functools.partial(project, **SECURE, participants_per_round=2),
    worlds="disk exact",
)

# Differential privacy whose noise derives from the seed.
EXAMPLE = {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5}
PARTICIPANT = {"unit": "participant", "noise_multiplier": 0.5, "delta": 1e-3, "clip": 0.1}
SHARES = PARTICIPANT | {"noise_at": "participants"}
PRIVATE: dict[str, dict[str, Any]] = {
    "example": {"dp": EXAMPLE},
    "example-fedprox": {"dp": EXAMPLE, "strategy": {"name": "fedprox", "mu": 0.5}, "epoch": 2},
    "example-secure": {"dp": EXAMPLE, **SECURE},
    "participant": {"dp": PARTICIPANT},
    "participant-fedavgm": {"dp": PARTICIPANT, "strategy": {"name": "fedavgm"}},
    "participant-sampled": {"dp": PARTICIPANT, "participants_per_round": 2},
    "participant-adaptive": {"dp": PARTICIPANT | {"adaptive_clip": {}}, "rounds": 3},
    "participant-shares": {"dp": SHARES},
    "participant-shares-secure": {"dp": SHARES, **SECURE},
}
for _name, _values in PRIVATE.items():
    both_worlds(
        f"private-{_name}",
        functools.partial(project, **({"weighting": "equal"} | _values)),
        worlds="disk exact stacked" if _name == "participant" else "disk exact",
    )
both_worlds("private-example-drop-out", lambda: project(2, dp=EXAMPLE), DROPOUT, "exact")


@case("disk-aggregator-takes-part")
def _(root: Path) -> str:
    return on_disk(root, project([AGGREGATOR, ALICE, BOB]))


@case("disk-settings-change-between-rounds")
def _(root: Path) -> str:
    """Another learning rate, more epochs and fewer participants from the second round on."""
    names = ("learning_rate", "epoch", "participants_per_round")
    net = launched(root, project(adjustable=list(names), rounds=3))
    net.run(approve=fk.approve_all, until_round=1)
    changes = dict(zip(names, (0.3, 2, 2), strict=True))
    fk.change_settings(net[AGGREGATOR], PROJECT, **changes)
    assert [record.learning_rate for record in net.run()] == [0.1, 0.3, 0.3]
    return models_of(net, 3)


@case("disk-rewound")
def _(root: Path) -> str:
    """Back by a round of SCAFFOLD, which both sides remember, and on again."""
    net = launched(root, project(strategy={"name": "scaffold"}))
    net.run(approve=fk.approve_all)
    fk.rewind(net, 1)
    assert net.run().done
    return models_of(net, 2)


@case("disk-somebody-leaves")
def _(root: Path) -> str:
    """Carol is there in the first round alone; two are enough for the second."""
    net = launched(root, project(min_participants=2))
    gone = leaves(CAROL, "trained_model_round_1.pt")
    history = net.run(approve=fk.approve_all, actor=gone)
    assert [record.absent for record in history] == [(), (CAROL,)]
    return models_of(net, 2)


@case("secure-somebody-leaves-disk")
def _(root: Path) -> str:
    """Carol has dealt her shares and is gone: her masks come out of the sum of the other two."""
    net = launched(root, project(**SECURE, min_participants=2))
    gone = leaves(CAROL, "secagg_1_shares.msg")
    history = net.run(approve=fk.approve_all, actor=gone)
    assert [record.absent for record in history] == [(CAROL,), (CAROL,)]
    assert history.rounds[0].diagnostics["unmasked_for"] == 1.0
    return models_of(net, 2)


@case("memory-gone-on-from-a-checkpoint")
def _(root: Path) -> str:
    config = project(4, participants_per_round=2, strategy={"name": "scaffold"}, rounds=4)
    data = [shard(k) for k in range(4)]
    options: dict[str, Any] = {"model": LINEAR, "checkpoint": root, "every": 1}
    fk.simulate(config, data, held_out(), until=lambda history: len(history) == 2, **options)
    states: list[fk.StateDict] = []
    options["on_round"] = lambda _, state: states.append(state)
    assert fk.simulate(config, data, held_out(), **options).done
    assert len(states) == 2
    return digest(*states)


@case("memory-other-seed-weights")
def _(_: Path) -> str:
    return in_memory(project(), weights=fk.seed_weights(LINEAR, 5))


@case("memory-poisoned")
def _(_: Path) -> str:
    hostile = fk.poisoned([BOB], "scaled", -3.0)
    config = project(5, strategy={"name": "krum"})
    return in_memory(config, exact=True, on_the_way=hostile)


@case("memory-sign-flipped")
def _(_: Path) -> str:
    return in_memory(project(), exact=True, on_the_way=fk.poisoned([BOB]))


@case("memory-flipped-labels")
def _(_: Path) -> str:
    shards = [fk.flip_labels(shard(0)), shard(1), shard(2)]
    return in_memory(project(), exact=True, shards=shards)


@case("fine-tuned")
def _(_: Path) -> str:
    mine, own = fk.hold_out(shard(4), 0.3, generator=fk.generator(0, "cut"))
    chance = fk.generator(0, "tune")
    start = fk.seed_weights(LINEAR, 1)
    got = fk.fine_tune(
        start, mine, own, held_out(), epochs=2, batch_size=8, generator=chance, model=LINEAR
    )
    said = [got.own_before, got.own_after, got.common_before, got.common_after]
    return digest_values([digest(got.state), *said])


@case("seed-weights")
def _(_: Path) -> str:
    models = (fk.SAMPLE_MODEL, LINEAR, DEEP, DROPOUT, BATCH_NORM, TWO_HIDDEN)
    return digest(*(fk.seed_weights(model, seed) for model in models for seed in (0, 1)))


@case("seeds")
def _(_: Path) -> str:
    keys: list[tuple[str | int, ...]] = [(), (ALICE,), (ALICE, 1), (ALICE, 2), ("sample", 1)]
    return digest_values([fk.derive(seed, *key) for seed in (0, 1) for key in keys])


@case("trained-and-evaluated")
def _(_: Path) -> str:
    model, chance = fk.load_model(DEEP), fk.generator(0, "train")
    start = fk.seed_weights(DEEP)
    shift = {name: torch.full_like(value, 0.01) for name, value in start.items()}
    options: dict[str, Any] = {"epochs": 2, "learning_rate": 0.1, "batch_size": 5}
    state, losses = fk.train(
        model, start, shard(2), generator=chance, mu=0.2, shift=shift, **options
    )
    return digest_values([digest(state), losses, fk.evaluate(model, state, *held_out())])


@case("averaged")
def _(_: Path) -> str:
    updates = [fk.Update(PEOPLE[k], 1, fk.seed_weights(DEEP, k), 3 + 2 * k) for k in range(4)]
    means = [fk.fedavg(updates, weighting) for weighting in ("samples", "equal")]
    shares = [fk.mixing_weights(updates, weighting) for weighting in ("samples", "equal")]
    return digest_values([digest(*means), shares])


@case("dp-sgd")
def _(_: Path) -> str:
    state, losses = fk.privacy.dp_sgd(
        fk.load_model(DEEP),
        fk.seed_weights(DEEP),
        shard(2),
        epochs=2,
        steps=3,
        learning_rate=0.1,
        clip=0.5,
        noise_multiplier=1.0,
        noise=fk.privacy.SeededNoise(1, "noise"),
        sample=fk.privacy.SeededNoise(1, "sample"),
        mu=0.2,
    )
    return digest_values([digest(state), losses])


@case("noisy-mean")
def _(_: Path) -> str:
    rows = torch.stack([fk.flatten(fk.seed_weights(LINEAR, k)).double() for k in range(3)])
    noise = fk.privacy.SeededNoise(2, "noise")
    mean = fk.privacy.noisy_mean(rows, 0.3, 0.5, 3, noise)
    return digest_parts([fk.privacy.clip_rows(rows, 0.3), mean, noise.uniform(5)])


@case("accountant")
def _(_: Path) -> str:
    """To six digits: the accountants come from other packages, and their last bits are theirs."""
    private = fk.privacy
    configs = (project(dp=EXAMPLE), project(dp=PARTICIPANT, weighting="equal"))
    mechanisms = [
        private.Mechanism(0.25, 1.0, 20),
        private.example_mechanism(configs[0], 30),
        private.participant_mechanism(configs[1]),
    ]
    spent = [private.epsilon_of(mechanism, 1e-3) for mechanism in mechanisms]
    return digest_values([f"{x:.6g}" for x in [*spent, private.noise_for(4.0, 1e-3, 0.25, 20)]])


@case("masks-keys-and-shares")
def _(_: Path) -> str:
    """What secure aggregation makes of given secrets: integers and bytes, the same on every machine."""
    private = fk.privacy
    secrets = [bytes([k + 1]) * 32 for k in range(3)]
    public = [private.public_key(secret) for secret in secrets]
    keys = {k + 1: private.agree(secrets[0], public[k], b"pair") for k in (1, 2)}
    vectors = [private.mask_stream(secrets[0], 50), private.pairwise_masks(1, keys, 50)]
    shares = private.split_secret(secrets[1], 2, [1, 2, 3], secrets[2])
    said = [value.hex() for value in [*public, *keys.values(), *shares.values()]]
    return digest_values([said, [vector.tolist() for vector in vectors]])


# --------------------------------------------------------------------------------- who gets what
PARTITIONS: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "dirichlet": lambda y: fk.split_dirichlet(y, 4, 0.5, generator=fk.generator(0, "p")),
    "dirichlet-empty": lambda y: fk.split_dirichlet(
        y, 9, 0.05, min_size=0, generator=fk.generator(0, "p")
    ),
    "shards": lambda y: fk.split_shards(y, 5, 3, generator=fk.generator(0, "p")),
    "sizes-alpha": lambda y: fk.split_sizes(y, 4, alpha=0.5, generator=fk.generator(0, "p")),
    "sizes-power": lambda y: fk.split_sizes(
        y, 4, power=1.2, min_size=5, generator=fk.generator(0, "p")
    ),
    "labels-each": lambda y: fk.split_labels_each(y, 6, 3, generator=fk.generator(0, "p")),
    "groups": lambda y: fk.split_groups(y // 3),
}


def split(deal: Callable[[Tensor], list[Tensor]]) -> str:
    """Indices, and the shards that are cut along them."""
    images, labels = digits().train_images[::10], digits().train_labels[::10]
    parts = deal(labels)
    cut = fk.take(images, labels, [part for part in parts if len(part)])
    return digest_parts([*parts, *(tensor for both in cut for tensor in both)])


for _name, _deal in PARTITIONS.items():
    case(f"partition-{_name}")(lambda _, deal=_deal: split(deal))


@case("partition-iid-and-by-digits")
def _(_: Path) -> str:
    images, labels = digits().train_images[::10], digits().train_labels[::10]
    dealt = [
        fk.iid(images, labels, 3, generator=fk.generator(0, "p")),
        fk.iid(images, labels, 3, 20, generator=fk.generator(0, "p")),
        fk.by_digits(images, labels, per_digit=7, generator=fk.generator(0, "p")),
        fk.by_digits(images, labels, [[1, 2], [9]], None, generator=fk.generator(0, "p")),
    ]
    return digest_parts([tensor for some in dealt for both in some for tensor in both])


@case("shifted-features")
def _(_: Path) -> str:
    some = [shard(k) for k in range(3)]
    shifted = [
        fk.shift_features(some, kind, 0.8, generator=fk.generator(0, "p"))
        for kind in ("rotation", "contrast", "noise")
    ]
    skew = fk.heterogeneity(some)
    return digest_values([digest_parts([x for shards in shifted for x, _ in shards]), skew])


# --------------------------------------------------------------------------------- the record
def load() -> dict[str, dict[str, Any]]:
    """{"bits": {machine: {case: SHA-256}}, "why": {case: [reasons for which it was recorded anew]}}."""
    if not RECORD.is_file():
        return {"bits": {}, "why": {}}
    found: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


@functools.cache
def machine() -> str:
    """What bits depend on beside the code."""
    assert fk.train  # whose module takes torch down to one thread, before anything is added up here
    capability = torch.backends.cpu.get_cpu_capability()
    return "|".join([platform.machine(), capability, torch.__version__, sums()])


def sums() -> str:
    """A few digits of the hash of what torch alone gets for steps of training, one model and a stack."""
    chance, found = torch.Generator().manual_seed(0), []
    for outputs in (10, 16, 128, 200):
        for count in (1, 5, 8, 40):
            images = torch.rand(count, 784, generator=chance)
            weight = (torch.rand(outputs, 784, generator=chance) - 0.5).requires_grad_()
            scores = F.gelu(torch.tanh(F.linear(images, weight)))
            loss = F.cross_entropy(scores, torch.arange(count) % outputs)
            found += [scores, loss, torch.autograd.grad(loss, weight)[0]]
            stack = torch.stack([weight.detach().t(), weight.detach().t() / 3])
            found.append(torch.bmm(images.expand(2, count, 784), stack))
            found.append(weight.detach().double().norm(dim=1))
    return digest_parts(found)[:8]


def test_no_recorded_case_has_gone() -> None:
    """A promise that nobody checks any more is no promise."""
    recorded = {name for bits in load()["bits"].values() for name in bits}
    assert recorded - CASES.keys() == set()


def test_both_worlds_have_the_same_bits_in_the_record() -> None:
    for bits in load()["bits"].values():
        pairs = [(name, f"{name.removesuffix('disk')}exact") for name in bits if "-disk" in name]
        both = {name: exact for name, exact in pairs if exact in bits}
        assert {name: bits[name] for name in both} == {n: bits[exact] for n, exact in both.items()}


@pytest.mark.parametrize("name", ["strategy-scaffold-disk", "model-drop-out-stacked"])
def test_the_same_bits_in_another_folder(tmp_path: Path, name: str) -> None:
    """On every machine, recorded or not."""
    assert CASES[name](tmp_path / "one") == CASES[name](tmp_path / "other")


@pytest.mark.parametrize("name", CASES)
def test_bits_are_those_recorded(tmp_path: Path, name: str) -> None:
    bits = load()["bits"]
    known = bits.get(machine())
    if known is None:
        pytest.skip(f"no bits were recorded for {machine()}; there are {', '.join(bits) or 'none'}")
    if name not in known and any(name in others for others in bits.values()):
        pytest.skip(f"the bits of {name} were recorded on other machines, not for {machine()}")
    assert name in known, f"{name} was never recorded: {Path(__file__).name} --record"
    assert CASES[name](tmp_path) == known[name], (
        f"{name} gives other bits than those recorded. Where that is meant, record it anew and say "
        f'why: {Path(__file__).name} --record --why "..." {name}'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Record what is new, and anew what is named with a reason. Returns how many others differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", action="store_true", required=True)
    parser.add_argument("--why", help="why the bits of the named cases have changed")
    parser.add_argument("cases", nargs="*", help="cases to record anew")
    asked = parser.parse_args(arguments)
    found = load()
    bits: dict[str, dict[str, str]] = found["bits"]
    gone = sorted({name for known in bits.values() for name in known} - CASES.keys())
    if bool(asked.why) != bool(asked.cases):
        parser.error("--why and the names of cases go together")
    if strangers := set(asked.cases) - {*CASES, *gone}:
        parser.error(f"no such case: {', '.join(sorted(strangers))}")
    for name in asked.cases:
        for known in bits.values():
            known.pop(name, None)
        found["why"].setdefault(name, []).append(asked.why)
    known, differ = bits.setdefault(machine(), {}), []
    for name, run in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            now = run(Path(folder))
        if known.setdefault(name, now) != now:
            differ.append(name)
    RECORD.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    left = [name for name in gone if name not in asked.cases]
    lines = [f"{len(known)} cases are recorded for {machine()}"]
    lines += [f"{name}: gives other bits than those recorded" for name in differ]
    lines += [f"{name}: is recorded, and no case any more" for name in left]
    print("\n".join(lines))
    return len(differ) + len(left)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
