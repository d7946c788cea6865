"""SCAFFOLD and FedNova: the papers' formulas in plain loops, and fixed points on quadratics."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import fedkit as fk
from fedkit.base.tensors import load_state
from fedkit.learning.models import StateDict, seed_weights
from fedkit.learning.strategies.base import LocalRun, Strategy, pack
from fedkit.learning.strategies.fedavg import FedAvg
from fedkit.learning.strategies.fednova import FedNova
from fedkit.learning.strategies.scaffold import Scaffold
from fedkit.learning.update import Update
from fedkit.protocol.approval import approve_all
from fedkit.rounds.round import draw
from fedkit.teaching.failures.faults import Fault, Faults
from tests.support.helpers import (
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    final_model,
    held_out,
    launched,
    shard,
    small,
)

EMAILS = (ALICE, BOB, CAROL)
SIZES = {ALICE: 4, BOB: 7, CAROL: 2}  # images of each of two digits
ETA, BATCH, EPOCHS = 0.05, 5, 2
OPTIONS = {"learning_rate": ETA, "batch_size": BATCH, "epoch": EPOCHS, "participants": EMAILS}


# ------------------------------------------------------------ the paper's algorithm, with the datasites' digits
def shards() -> dict[str, fk.Shard]:
    return {e: shard([2 * k, 2 * k + 1], SIZES[e]) for k, e in enumerate(EMAILS)}


def network(root: Path, **changes: object) -> fk.Network:
    net = launched(root, **OPTIONS, **changes)
    for email, own in shards().items():
        net.give_data(email, own)
    return net


def paper(
    rounds: Sequence[Sequence[str]], late: dict[str, int] | None = None, eta_g: float = 1.0
) -> StateDict:
    """Algorithm 1 of Karimireddy et al. 2020, option II, in float64, on softmax regression: S_t is `rounds[t]`.

    Weighted: each mean counts participant i n_i times. late : a participant whose part in this round is lost.
    """
    digits = {e: (x.flatten(1).double(), y) for e, (x, y) in shards().items()}
    count = {e: len(y) for e, (_, y) in digits.items()}
    x = [value.double() for value in seed_weights(LINEAR).values()]  # weight, bias
    c = [torch.zeros_like(value) for value in x]
    own = {e: [torch.zeros_like(value) for value in x] for e in EMAILS}
    seen: set[str] = set()
    for t, sampled in enumerate(rounds, start=1):
        moves, changes = {}, {}
        for email in sampled:
            images, labels = digits[email]
            y, steps, order = [value.clone() for value in x], 0, fk.generator(0, email, t)
            for _ in range(EPOCHS):
                for batch in torch.randperm(len(labels), generator=order).split(BATCH):
                    y = [value.requires_grad_() for value in y]
                    loss = F.cross_entropy(images[batch] @ y[0].T + y[1], labels[batch])
                    g = torch.autograd.grad(loss, y)
                    corrected = zip(y, g, c, own[email], strict=True)
                    y = [(yj - ETA * (gj - cij + cj)).detach() for yj, gj, cj, cij in corrected]
                    steps += 1
            parts = zip(own[email], c, x, y, strict=True)
            after = [cij - cj + (xj - yj) / (steps * ETA) for cij, cj, xj, yj in parts]
            if (late or {}).get(email) == t:
                continue
            moves[email] = [yj - xj for yj, xj in zip(y, x, strict=True)]
            changes[email] = [a - b for a, b in zip(after, own[email], strict=True)]
            own[email] = after
        seen |= set(moves)
        here = sum(count[e] for e in moves)
        x = [
            xj + eta_g * sum(count[e] / here * moves[e][j] for e in moves) for j, xj in enumerate(x)
        ]
        everybody = len(EMAILS) * sum(count[e] for e in seen) / len(seen)
        c = [
            sum((count[e] * own[e][j] for e in seen), torch.zeros_like(xj)) / everybody
            for j, xj in enumerate(x)
        ]
    return dict(zip(seed_weights(LINEAR), x, strict=True))


def assert_close(data: bytes, wanted: StateDict) -> None:
    for name, value in load_state(data, Path("final.pt")).items():
        torch.testing.assert_close(value.double(), wanted[name], rtol=0, atol=2e-6)


def test_scaffold_over_datasites_is_the_papers_algorithm(tmp_path: Path) -> None:
    """Six rounds of two of three participants: who sits out keeps its control variate."""
    spec = {"strategy": {"name": "scaffold", "server_lr": 0.8}, "participants_per_round": 2}
    net = network(tmp_path, rounds=6, **spec)
    assert net.run(approve=approve_all).done
    config = small(**OPTIONS, **spec)
    sampled = [draw(config, EMAILS, n) for n in range(1, 7)]
    assert {len(some) for some in sampled} == {2}
    assert len({tuple(some) for some in sampled}) > 1
    assert_close(final_model(net), paper(sampled, eta_g=0.8))


def test_an_update_that_did_not_count_leaves_the_control_variate_as_it_was(tmp_path: Path) -> None:
    """Carol's second update is refused: in round 3 she corrects with what she knew after round 1, and so does everybody."""
    net = network(tmp_path, rounds=4, strategy={"name": "scaffold"}, min_participants=2)
    faults = Faults()
    net.run(approve=approve_all, until_round=1)
    faults.set(CAROL, Fault("NaN", 2))
    net.run(approve=approve_all, until_round=2, actor=faults.act)
    history = net.run(approve=approve_all)
    assert history.done
    assert CAROL in history.rounds[1].refused
    everybody = [EMAILS] * 4
    assert_close(final_model(net), paper(everybody, late={CAROL: 2}))


# ------------------------------------------------------------------------------------- quadratics
def rounds_on_quadratics(
    strategy: Strategy, bends: Sequence[float], minima: Sequence[float], steps: Sequence[int],
    eta: float, rounds: int,
) -> float:  # fmt: skip
    """Where x ends with f_i(x) = h_i / 2 (x - m_i)^2, each participant taking its number of local steps."""
    state = strategy.init({"x": torch.tensor([0.0], dtype=torch.float64)})
    memories = [strategy.beside(state.model) for _ in bends]
    for n in range(rounds):
        start, sent, updates = state.model, strategy.broadcast(state), []
        for i, (h, m, tau) in enumerate(zip(bends, minima, steps, strict=True)):
            shift = strategy.terms(sent, memories[i]).shift.get("x", torch.zeros(1))
            y = start["x"]
            for _ in range(tau):
                y = y - eta * (h * (y - m) + shift)
            run = LocalRun(start, {"x": y}, tau, eta, sent, memories[i])
            extra, memories[i] = strategy.report(run)
            updates.append(Update(f"p{i}@example.org", n, {"x": y}, 10, None, tau, extra))
        state, _ = strategy.apply(state, updates)
    return float(state.model["x"])


def test_scaffold_ends_at_the_common_minimum_and_fedavg_does_not() -> None:
    bends, minima, steps = (1.0, 6.0), (-1.0, 2.0), (10, 10)
    best = sum(h * m for h, m in zip(bends, minima, strict=True)) / sum(bends)  # 11 / 7
    options = bends, minima, steps, 0.05, 400
    assert rounds_on_quadratics(Scaffold(), *options) == pytest.approx(best, abs=1e-6)
    # FedAvg's fixed point solves sum_i (1 - (1 - eta h_i)^tau) (x - m_i) = 0
    pulls = [1 - (1 - 0.05 * h) ** 10 for h in bends]
    wrong = sum(p * m for p, m in zip(pulls, minima, strict=True)) / sum(pulls)
    assert rounds_on_quadratics(FedAvg(), *options) == pytest.approx(wrong, abs=1e-6)
    assert abs(wrong - best) > 0.3


def test_unequal_steps_bias_fedavg_and_not_fednova() -> None:
    """FedNova takes away what the numbers of steps do; the rest of its error goes with the step size, FedAvg's stays."""
    bends, minima, steps = (1.0, 1.0), (-1.0, 1.0), (2, 20)  # the minimum is 0
    errors = {
        (kind, eta): abs(rounds_on_quadratics(kind(), bends, minima, steps, eta, int(2 / eta)))
        for kind in (FedAvg, FedNova)
        for eta in (0.02, 0.005)
    }
    assert errors[FedAvg, 0.02] > 0.7
    assert errors[FedAvg, 0.005] > 0.78  # towards (20 - 2) / 22
    assert errors[FedNova, 0.02] < 0.15
    assert errors[FedNova, 0.005] == pytest.approx(errors[FedNova, 0.02] / 4, rel=0.2)


# ------------------------------------------------------------------------------- formulas, by hand
def moved(strategy: Strategy, *parts: tuple[float, int | None, int | None]) -> tuple[float, dict]:
    """(where x goes from 1, diagnostics) with updates (change, samples, steps)."""
    state = strategy.init({"x": torch.tensor([1.0])})
    updates = [
        Update(f"p{k}@example.org", 1, {"x": torch.tensor([1.0 + change])}, samples, None, steps)
        for k, (change, samples, steps) in enumerate(parts)
    ]
    after, diagnostics = strategy.apply(state, updates)
    return float(after.model["x"]) - 1.0, diagnostics


def test_fednova_by_hand() -> None:
    # p = 1/4, 3/4; tau_eff = 2/4 + 30/4 = 8; d = 1 and -0.2; 8 (0.25 - 0.15)
    change, said = moved(FedNova(), (2.0, 10, 2), (-2.0, 30, 10))
    assert change == pytest.approx(0.8, abs=1e-6)
    assert said == {"tau_eff": 8.0, "steps_unknown": 0.0}
    change, said = moved(FedNova("equal"), (2.0, 10, 2), (-2.0, 30, 10))  # 6 (0.5 - 0.1)
    assert change == pytest.approx(2.4, abs=1e-6)


def test_fednova_is_fedavg_with_equal_or_unknown_steps() -> None:
    for steps in (1, 7, None):
        parts = (2.0, 10, steps), (-2.0, 30, steps), (0.5, 25, steps)
        assert moved(FedNova(), *parts)[0] == pytest.approx(moved(FedAvg(), *parts)[0], abs=1e-6)
    change, said = moved(FedNova(), (2.0, 10, None), (-2.0, 30, 10))
    assert change == pytest.approx(moved(FedAvg(), (2.0, 10, 1), (-2.0, 30, 1))[0], abs=1e-6)
    assert said["steps_unknown"] == 1.0


def test_who_hides_its_steps_is_taken_to_have_the_median_and_the_others_keep_theirs() -> None:
    hidden, said = moved(FedNova(), (2.0, 10, 2), (-2.0, 30, 10), (1.0, 20, 4), (3.0, 20, None))
    told, _ = moved(FedNova(), (2.0, 10, 2), (-2.0, 30, 10), (1.0, 20, 4), (3.0, 20, 4))
    assert hidden == pytest.approx(told, abs=1e-6)
    assert said["steps_unknown"] == 1.0


@pytest.mark.parametrize("weighting", ["samples", "equal"])
def test_cs_mean_is_kept_whoever_takes_part(weighting: str) -> None:
    """c is the weighted mean of all c_i, in every round, though each round sees two of five participants."""
    counts = [10, 20, 30, 40, 50]
    strategy = Scaffold(weighting=weighting, population=5)
    state, own = strategy.init({"x": torch.zeros(3)}), [torch.zeros(3) for _ in counts]
    noise, seen = fk.generator(0, "c"), set()
    for n in range(12):
        updates = []
        for i in (n % 5, (3 * n + 1) % 5 if (3 * n + 1) % 5 != n % 5 else (n + 1) % 5):
            change = torch.randn(3, generator=noise)
            own[i] = own[i] + change
            seen.add(i)
            updates.append(
                Update(f"p{i}", n, {"x": torch.zeros(3)}, counts[i], extra={"x": change})
            )
        given = pack({"total": state.memory["total"], **{u.participant: u.extra for u in updates}})
        copies = {name: value.clone() for name, value in given.items()}
        state, _ = strategy.apply(state, updates)
        assert all(torch.equal(given[name], value) for name, value in copies.items())  # untouched
        weights = torch.tensor([counts[i] if weighting == "samples" else 1 for i in range(5)])
        total = 5 * sum(float(weights[i]) for i in seen) / len(seen)
        mean = sum(w * c for w, c in zip(weights, own, strict=True)) / total
        torch.testing.assert_close(strategy.broadcast(state)["x"], mean, rtol=0, atol=1e-5)
    assert seen == set(range(5))


def one_round(name: str, **more: object) -> fk.RoundRecord:
    what = small(**(OPTIONS | {"rounds": 1, "strategy": {"name": name}} | more))
    data = shards(), shard(range(10), 2, start=50)
    return fk.simulate(what, *data, model=LINEAR, exact=True).rounds[0]


def test_scaffolds_first_round_is_fedavgs() -> None:
    """All control variates are 0: the very same training, and the same mean up to rounding."""
    plain, first = one_round("fedavg"), one_round("scaffold")
    assert plain.contributions == first.contributions
    assert plain.loss == pytest.approx(first.loss, abs=1e-6)


def test_fednova_with_one_full_batch_for_everybody_is_fedavg() -> None:
    full = {"batch_size": 100, "epoch": 1}
    plain, normal = one_round("fedavg", **full), one_round("fednova", **full)
    assert plain.loss == pytest.approx(normal.loss, abs=1e-6)
    assert normal.diagnostics == {"tau_eff": 1.0, "steps_unknown": 0.0}
    # in batches of 5: 2, 3 and 1 steps an epoch
    assert one_round("fednova").diagnostics["tau_eff"] == pytest.approx(2 * (16 + 42 + 4) / 26)
    assert one_round("fedavg").loss != pytest.approx(one_round("fednova").loss, abs=1e-4)


NORMED = """
import torch
from torch import nn
class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10))
        self.net[2].bias.requires_grad_(False)
    def forward(self, x):
        return self.net(x)
"""


def test_what_is_not_trained_has_no_control_variate(tmp_path: Path) -> None:
    """Running means and frozen weights: SCAFFOLD leaves them to the average, in both worlds alike."""
    options = OPTIONS | {"batch_size": 4, "strategy": {"name": "scaffold"}}
    net = launched(tmp_path / "net", NORMED, **options)
    for email, own in shards().items():
        net.give_data(email, own)
    disk = net.run(approve=approve_all)
    memory = fk.simulate(
        small(**options),
        shards(),
        held_out(),
        model=NORMED,
        exact=True,
        checkpoint=tmp_path,
        every=1,
    )
    assert disk.rounds == memory.rounds
    for path in (tmp_path / f"memory_2_{email}.pt" for email in EMAILS):
        still = [name for name, value in fk.read_state(path).items() if not value.any()]
        assert still == ["net.1.running_mean", "net.1.running_var", "net.2.bias"]
