"""DP-SGD against loops, formulas and Opacus itself."""

from __future__ import annotations

import math
from typing import Any

import opacus
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from fedkit.base.errors import FedkitError
from fedkit.learning.models import load_model, state_of
from fedkit.privacy.dp.noise import SeededNoise, SystemNoise
from fedkit.privacy.dp.training import dp_sgd
from tests.support.helpers import LINEAR, shard
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


@pytest.mark.filterwarnings("ignore:Secure RNG")
def test_a_step_is_that_of_opacus_make_private() -> None:
    """The whole engine of Opacus, fed with the same generator, moves to the same weights."""
    data, start = shard([3, 5], 4), linear_state()
    ours, _ = dp_sgd(load_model(LINEAR), start, data, **settings_of(sample=Every(), epochs=3))
    model = load_model(LINEAR).train()
    model.load_state_dict(start)
    private, optimizer, _ = opacus.PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
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
    for name, value in state_of(model).items():
        assert torch.allclose(value, ours[name], atol=1e-6), name


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
