"""Images read off a first layer: one is a division away, whatever the number of epochs. Five seeds each."""

from __future__ import annotations

import pytest
import torch

import fedkit as fk
from fedkit import privacy
from tests.support.attacks import SEEDS, change, draw, update_of


# -------------------------------------------------------------------------------- what was seen
def test_a_network_that_begins_with_a_convolution_has_no_first_linear_layer() -> None:
    state = {"conv.weight": torch.zeros(4, 1, 3, 3), "conv.bias": torch.zeros(4)}
    with pytest.raises(fk.FedkitError, match="no linear layer with 784 inputs"):
        privacy.first_layer(state)


# ------------------------------------------------------------------------------------- one image
@pytest.mark.parametrize("seed", SEEDS)
def test_one_image_is_a_division_away(seed: int) -> None:
    """From the saved files of one step: at least 60 dB, every time (a trial: more than 100)."""
    shard = draw(1, seed)
    delta = change(*update_of(shard, seed))
    rebuilt = privacy.invert_linear(*privacy.first_layer(delta))
    assert privacy.psnr(rebuilt[None], shard[0]) > 80
    assert privacy.ssim(rebuilt[None], shard[0]) > 0.9999


@pytest.mark.parametrize("seed", SEEDS)
def test_one_image_from_the_gradient(seed: int) -> None:
    images, labels = draw(1, seed)
    model = fk.load_model(fk.SAMPLE_MODEL)
    model.load_state_dict(fk.seed_weights(fk.SAMPLE_MODEL, seed))
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    weight, bias, *_ = torch.autograd.grad(loss, list(model.parameters()))
    assert privacy.psnr(privacy.invert_linear(weight, bias)[None], images) > 80


@pytest.mark.parametrize("epochs", [5, 20])
def test_one_image_survives_any_number_of_epochs(epochs: int) -> None:
    """With one image, every step's row is a multiple of it, and so is their sum."""
    shard = draw(1, 0)
    delta = change(*update_of(shard, 0, epochs))
    assert privacy.psnr(privacy.invert_linear(*privacy.first_layer(delta))[None], shard[0]) > 80


def test_a_row_that_answers_to_one_image_is_that_image() -> None:
    """By hand: unit 0 answers to both images, unit 1 to the second alone, unit 2 to none."""
    images = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]])
    errors = torch.tensor([[3.0, 0.0, 0.0], [1.0, 2.0, 0.0]])  # dL/dz, image by unit
    rows = privacy.invert_rows(errors.T @ images, errors.sum(0))
    torch.testing.assert_close(rows, torch.stack([(3 * images[0] + images[1]) / 4, images[1]]))
