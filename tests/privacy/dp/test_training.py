"""DP-SGD against loops, formulas and Opacus itself."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import Any

import opacus
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.config.optimizer import Optimizer
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.models import buffer_names, load_model, state_of
from fedkit.privacy.dp import training
from fedkit.privacy.dp.noise import SeededNoise, SystemNoise
from fedkit.privacy.dp.training import _private, dp_sgd
from fedkit.rounds.round import local_update, server_step
from fedkit.rounds.strategy import strategy_of
from tests.support.helpers import LINEAR, shard, small
from tests.support.privacy import Every, linear_state


def settings_of(**changes: Any) -> dict[str, Any]:
    plain = {"epochs": 1, "steps": 1, "learning_rate": 0.1, "clip": 0.5, "noise_multiplier": 1.0}
    return {**plain, "noise": SeededNoise(1), "sample": SeededNoise(2), **changes}


def clipped_by_a_loop(model: nn.Module, data: tuple[Tensor, Tensor], clip: float) -> list[Tensor]:
    """The sum of the clipped gradients, image by image."""
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for image, label in zip(*data, strict=True):
        loss = F.cross_entropy(model(image[None]), label[None])
        gradients = torch.autograd.grad(loss, parameters)
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        for part, gradient in zip(total, gradients, strict=True):
            part += gradient * min(1.0, clip / norm)
    return total


def test_a_step_is_the_sum_of_clipped_gradients_of_single_images() -> None:
    """With every image in it and no noise: w - eta / N sum_i clip(grad l_i), by a loop."""
    data, start = shard([3, 5], 4), linear_state()
    model = load_model(LINEAR)
    got, losses = dp_sgd(model, start, data, **settings_of(noise=Every(), sample=Every()))
    model.load_state_dict(start)
    total = clipped_by_a_loop(model, data, 0.5)
    for (name, value), part in zip(got.items(), total, strict=True):
        wanted = start[name] - 0.1 / 8 * part
        assert torch.allclose(value, wanted, atol=1e-6), name
    assert losses == [pytest.approx(F.cross_entropy(model(data[0]), data[1]).item(), rel=1e-5)]


THEIRS: dict[str, Any] = {
    "sgd": (None, torch.optim.SGD),
    "momentum": (Optimizer(name="sgd", momentum=0.9), partial(torch.optim.SGD, momentum=0.9)),
    "adamw": (Optimizer(name="adamw"), torch.optim.AdamW),
}


@pytest.mark.filterwarnings("ignore:Secure RNG")
@pytest.mark.parametrize("name", THEIRS)
def test_a_step_is_that_of_opacus_make_private(name: str) -> None:
    """The whole engine of Opacus, fed with the same generator, moves to the same weights: so what makes the step sees
    gradients with noise in them only."""
    settings, kind = THEIRS[name]
    data, start = shard([3, 5], 4), linear_state()
    options = settings_of(sample=Every(), epochs=3, optimizer=settings)
    ours, _ = dp_sgd(load_model(LINEAR), start, data, **options)
    model = load_model(LINEAR).train()
    model.load_state_dict(start)
    private, optimizer, _ = opacus.PrivacyEngine().make_private(
        module=model,
        optimizer=kind(model.parameters(), lr=0.1),
        data_loader=DataLoader(TensorDataset(*data), batch_size=8),
        noise_multiplier=1.0,
        max_grad_norm=0.5,
        poisson_sampling=False,
        noise_generator=SeededNoise(1).generator,
    )
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(private(data[0].requires_grad_()), data[1]).backward()
        optimizer.step()
    for part, value in state_of(model).items():
        assert torch.allclose(value, ours[part], atol=1e-5), part


def test_noise_has_the_promised_size() -> None:
    """One step on one image: what is not the clipped gradient has deviation eta sigma C / (q N)."""
    data, start = shard([1], 1), linear_state()
    for noise in (SeededNoise(5), SystemNoise()):
        chosen = settings_of(noise=noise, sample=Every(), noise_multiplier=3.0, steps=2)
        noisy, _ = dp_sgd(load_model(LINEAR), start, data, **chosen)
        clean, _ = dp_sgd(load_model(LINEAR), start, data, **(chosen | {"noise": Every()}))
        added = torch.cat([(noisy[k] - clean[k]).flatten() for k in start])
        expected = math.sqrt(2) * 0.1 * 3.0 * 0.5 / 0.5  # two steps; q = 1/2, N = 1
        assert float(added.std()) == pytest.approx(expected, rel=0.05)
        assert abs(float(added.mean())) < 4 * expected / math.sqrt(len(added))


def test_images_enter_a_step_each_on_its_own() -> None:
    """Poisson sampling: sizes of batches vary as a binomial's, and an empty batch is a step too."""
    sizes = []

    class Counting(SeededNoise):
        def uniform(self, count: int) -> Tensor:
            drawn = super().uniform(count)
            sizes.append(int((drawn < 0.2).sum()))
            return drawn

    dp_sgd(
        load_model(LINEAR),
        linear_state(),
        shard([1], 4),
        **settings_of(sample=Counting(3), steps=5, epochs=40),
    )
    assert len(sizes) == 200
    assert 0 in sizes
    assert sum(sizes) / 200 == pytest.approx(0.8, abs=4 * math.sqrt(0.64 / 200))


def test_fedprox_pulls_without_noise() -> None:
    """From a second step on, w is pulled towards where it started: w_2' - w_2 = -eta mu (w_1 - w_0)."""
    data, start = shard([1, 2], 2), linear_state()
    plain = settings_of(noise=Every(), sample=Every(), steps=1)
    (one, _), (two, _) = (
        dp_sgd(load_model(LINEAR), start, data, **(plain | {"epochs": k})) for k in (1, 2)
    )
    pulled, _ = dp_sgd(load_model(LINEAR), start, data, **(plain | {"epochs": 2}), mu=0.7)
    for name, value in pulled.items():
        wanted = two[name] - 0.1 * 0.7 * (one[name] - start[name])
        assert torch.allclose(value, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "layers",
    ["nn.Linear(784, 10), nn.BatchNorm1d(10)", "nn.Linear(784, 10), Centre()"],
)
def test_a_model_in_which_images_meet_is_refused(layers: str) -> None:
    source = f"""
from torch import nn
class Centre(nn.Module):
    def forward(self, x):
        return x - x.mean(0)
class FLModel(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), {layers})
"""
    model = load_model(source)
    with pytest.raises(FedkitError) as caught:
        dp_sgd(model, state_of(model), shard([1], 2), **settings_of())
    assert caught.value.field == "model_arch"


def test_drop_out_repeats_too() -> None:
    """A model that draws for itself: the same seeds give the same bits, other ones do not."""
    source = """
from torch import nn
class FLModel(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
"""
    model, data, found = load_model(source), shard([1, 2], 2), []
    start = state_of(model)
    for own in (1, 1, 2):
        settings = settings_of(noise=Every(), sample=Every(), own_randomness=own)
        found.append(dp_sgd(model, start, data, **settings)[0]["2.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


REMEMBERING = """
import torch
from torch import nn
class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(784))
        self.before = None
    def forward(self, x):
        {body}
class FLModel(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), {layer}, nn.Linear(784, 10))
"""
COPIES = "self.seen.copy_(x[0].detach()); return x"


@pytest.mark.parametrize("layer", ["Layer()", "Running()"])
@pytest.mark.parametrize("unit", ["example", "participant", "shares"])
def test_buffers_go_back_as_received(layer: str, unit: str) -> None:
    """A copy of an image, and running statistics: neither is in an update, nor in the next global model."""
    source = (
        REMEMBERING.format(body=COPIES, layer=layer)
        + """
class Running(nn.InstanceNorm1d):
    def __init__(self):
        super().__init__(1, track_running_stats=True)
    def forward(self, x):
        return super().forward(x[:, None]).flatten(1)
"""
    )
    dp = {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5}
    dp |= {"example": {"unit": "example"}, "shares": {"noise_at": "participants"}}.get(unit, {})
    config = small(weighting="equal", dp=dp)
    model, strategy = load_model(source), strategy_of(config)
    start, plan = state_of(model), RoundPlan.of(config, 1, config.participants)
    updates = [
        local_update(strategy, plan, who, model, start, shard([k], 4), {}, {})[0]
        for k, who in enumerate(config.participants)
    ]
    names = buffer_names(model)
    after, _ = server_step(strategy, plan, strategy.init(start), updates, buffers=names)
    for state in (*(update.state for update in updates), after.model):
        assert all(torch.equal(state[name], start[name]) for name in names)
        assert not torch.equal(state["2.weight"], start["2.weight"])


@pytest.mark.parametrize(
    ("layer", "body", "why"),
    [
        ("nn.BatchNorm1d(784, affine=False)", "return x", "in its batch"),
        ("Layer()", "return x - x.mean(0) if self.training else x", "in its batch"),
        ("Layer()", "return x + x.flip(0).detach() if self.training else x", "in its batch"),
        ("nn.Dropout(), Layer()", "return x + x[0] if self.training else x", "in its batch"),
        (
            "Layer()",
            "old, self.before = self.before, x[0].detach(); return x if old is None else x + old",
            "saw before",
        ),
    ],
    ids=["batch norm", "mean", "neighbour", "drop-out", "memory"],
)
def test_images_that_meet_in_train_mode_are_refused(layer: str, body: str, why: str) -> None:
    """Also on a trial's blank images, which are all the same."""
    model = load_model(REMEMBERING.format(body=body, layer=layer))
    for data in (shard([1], 2), (torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64))):
        with pytest.raises(FedkitError, match=why) as caught:
            dp_sgd(model, state_of(model), data, **settings_of())
        assert caught.value.field == "model_arch"


def test_a_step_forgets_what_the_last_one_left_in_a_buffer() -> None:
    """Else an image would reach the gradients of the next step's images unclipped."""
    start_, data = None, shard([1, 2], 3)
    found = []
    for body in ("out = x + self.seen; self.seen.copy_(x[-1].detach()); return out", "return x"):
        model = load_model(REMEMBERING.format(body=body, layer="Layer()"))
        start_ = start_ or state_of(model)
        settings = settings_of(noise=Every(), sample=Every(), epochs=3)
        found.append(dp_sgd(model, start_, data, **settings)[0])
    assert torch.equal(found[0]["2.weight"], found[1]["2.weight"])


def test_low_bits_of_a_noised_gradient_tell_nothing() -> None:
    """Haney et al. 2022: of 1 + rounded noise all that is small is a multiple of 2^-24, of 0 + noise it was not; on a grid,
    both are what they are."""
    told = []
    for sum_of_gradients in (0.0, 1.0):
        layer = nn.Linear(5_000, 1, bias=False)
        plain = torch.optim.SGD(layer.parameters(), lr=0.1)
        private = _private(layer, plain, 1e3, 1e-3, 1, SystemNoise())  # a deviation of 1
        layer.weight.grad_sample = torch.full((1, 1, 5_000), sum_of_gradients)
        private.step()
        noised = layer.weight.grad.double()
        small = noised[noised.abs() < 1 / 16] * 2.0**24
        told.append(float((small == small.round()).double().mean()))
    assert told[0] == told[1]


GATED = """
import torch
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        x = x.flatten(1)
        return self.fc(x + self.gate * x.mean(0))
"""


def rounds_of(model: str, rounds: int) -> list[str]:
    """Two participants' rounds of DP-SGD in memory; the participants whose images were tried in the model, in order."""
    dp = {"unit": "example", "noise_multiplier": 2.0, "delta": 1e-3, "clip": 1.0}
    config = small(rounds=rounds, dp=dp)
    shards = {who: shard([3, 5], 8, 8 * k) for k, who in enumerate(config.participants)}
    tried = list[str]()
    real = training._try_apart

    def watched(one: nn.Module, images: Tensor) -> None:
        # not the trial step before the rounds, whose samples are blank
        tried.extend(w for w, own in shards.items() if torch.equal(own[0], images))
        real(one, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_try_apart", watched)
        fk.simulate(config, shards, shard([3, 5], 4), model=model, workers=1)
    return tried


def test_what_is_tried_twice_is_not_tried_in_every_round() -> None:
    """A model that was found to last: each participant's images twice. Any other one: in each round."""
    assert Counter(rounds_of(LINEAR, 4)) == dict.fromkeys(small().participants, 2)
    ends = "return self.fc(images.flatten(1))"
    looks = LINEAR.replace(ends, f"assert images.sum() > -1\n        {ends}")
    assert Counter(rounds_of(looks, 4)) == dict.fromkeys(small().participants, 4)


def test_what_a_weight_of_0_hides_comes_out_in_the_second_round() -> None:
    """At first the gate is shut, and images do not meet; the noise of a round opens it."""
    assert len(rounds_of(GATED, 1)) == 2
    with pytest.raises(FedkitError, match="depends on the others in its batch"):
        rounds_of(GATED, 2)
