"""Was this image in the training data? The row-space test and the loss, over five seeds each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import fedkit as fk
from fedkit import privacy
from tests.support.attacks import ALICE, SEEDS, auc, change, draw, update_of
from tests.support.helpers import small


# -------------------------------------------------------------------------------- row-space test
def test_row_space_by_hand() -> None:
    """Two images span a plane: what lies in it has residual 0, what stands on it 1, between them the sine."""
    images = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    weight = torch.tensor([[2.0, 1.0], [1.0, -1.0], [0.5, 3.0], [1.0, 1.0]]) @ images
    asked = torch.tensor([[3.0, -2.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    expected = torch.tensor([0.0, 1.0, 0.5**0.5], dtype=torch.float64)
    torch.testing.assert_close(privacy.row_space_residual(weight, asked), expected)
    assert privacy.row_space(weight).shape == (2, 3)


def residuals(count: int, seed: int, epochs: int) -> list[Tensor]:
    """Of members and of 1,000 others."""
    members, others = draw(count, seed), draw(1000, seed, start=count)
    weight, _ = privacy.first_layer(change(*update_of(members, seed, epochs)))
    return [privacy.row_space_residual(weight, images) for images, _ in (members, others)]


@pytest.mark.parametrize("epochs", [1, 10])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_row_space_names_the_members_of_small_shards(seed: int, epochs: int) -> None:
    """100 images, 128 hidden units: 100 dimensions; every member lies in the row space, nobody else does."""
    weight, _ = privacy.first_layer(change(*update_of(draw(100, seed), seed, epochs)))
    assert len(privacy.row_space(weight)) == 100
    members, others = residuals(100, seed, epochs)
    assert members.max() < 1e-4
    assert others.min() > 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_more_images_than_hidden_units_fill_the_row_space(seed: int) -> None:
    """256 images: all 128 dimensions are taken, and still members lie nearer. 2,000: little is left."""
    for count, low, high in ((256, 0.9, 1.0), (2000, 0.5, 0.65)):
        members, others = residuals(count, seed, 1)
        assert low < auc(-members, -others) < high


@pytest.mark.parametrize("seed", SEEDS)
def test_it_takes_noise_as_large_as_the_change_to_end_the_row_space(seed: int) -> None:
    """Gaussian noise on the change, in multiples of its norm: 0.03 hides nothing, 1 much, 10 nearly all."""
    members, others = draw(100, seed), draw(1000, seed, start=100)
    weight, _ = privacy.first_layer(change(*update_of(members, seed)))
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))

    def told_apart(strength: float) -> float:
        noisy = weight + strength * weight.norm() * noise / noise.norm()
        inside, outside = (privacy.row_space_residual(noisy, x) for x, _ in (members, others))
        return auc(-inside, -outside)

    assert told_apart(0.03) > 0.99
    assert 0.55 < told_apart(1) < 0.8
    assert told_apart(10) < 0.65


# ------------------------------------------------------------------------------------- ROC curves
def test_a_roc_curve_by_hand() -> None:
    members, others = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([2.0, 0.0])
    curve = privacy.roc(members, others)
    assert curve.auc == pytest.approx((1 + 0.75 + 0.5) / 3)
    assert curve.false_positive_rate.tolist() == [0, 0, 0.5, 0.5, 1]
    torch.testing.assert_close(
        curve.true_positive_rate, torch.tensor([0, 1 / 3, 2 / 3, 1, 1], dtype=torch.float64)
    )
    assert curve.tpr_at(0.01)[0] == pytest.approx(1 / 3)
    assert curve.tpr_at(0.5)[0] == 1
    with pytest.raises(fk.FedkitError, match="nobody to compare"):
        privacy.roc(members, others[:0])


def test_the_intervals_hold_what_they_promise() -> None:
    """Two normal distributions one apart: AUC = Phi(1 / sqrt 2) = 0.760. Its 95 % interval holds it about so often."""
    truth, random = 0.7602, torch.Generator().manual_seed(0)
    held = 0
    for _ in range(400):
        yes, no = (torch.randn(60, generator=random) + shift for shift in (1.0, 0.0))
        low, high = privacy.roc(yes, no).interval
        held += low <= truth <= high
    assert 0.91 < held / 400 < 0.985
    rate, low, high = privacy.roc(torch.arange(10.0, 20.0), torch.arange(0.0, 12.0)).tpr_at(0.0)
    assert (rate, round(low, 3), round(high, 3)) == (
        0.8,
        0.444,
        0.975,
    )  # a table of Clopper and Pearson's


# ------------------------------------------------------------------- confidence and shadow models
def evidence_of(shard: fk.Shard, seed: int, epochs: int) -> privacy.Evidence:
    before, after = update_of(shard, seed, epochs)
    source, count = fk.SAMPLE_MODEL.encode(), len(shard[1])
    return privacy.Evidence(
        ALICE, 1, small(batch_size=64), source, before, after, 0.1, epochs, count
    )


def own_shard() -> fk.Shard:
    mnist = fk.load_mnist(full=False)
    return fk.as_float(mnist.test_images), mnist.test_labels


def test_confidence_is_the_log_odds_of_the_label() -> None:
    shard = draw(50, 0)
    seen = evidence_of(shard, 0, 1)
    model = fk.load_model(fk.SAMPLE_MODEL)
    model.load_state_dict(seen.update)
    chances = torch.softmax(model(shard[0]).double(), 1)[torch.arange(50), shard[1]]
    odds = torch.log(chances / (1 - chances)).detach()
    torch.testing.assert_close(
        privacy.confidence(seen, seen.update, shard), odds, rtol=1e-4, atol=1e-4
    )


@pytest.fixture(scope="module", params=SEEDS)
def attacked(request: pytest.FixtureRequest) -> dict[str, privacy.Roc]:
    """100 images, 20 local epochs: three attacks on the update, and LiRA on the mean of ten updates."""
    seed = request.param
    members, others = draw(100, seed), draw(1000, seed, start=6000)
    seen = evidence_of(members, seed, 20)
    shadows = privacy.train_shadows(seen, own_shard(), 16)
    peers = [
        fk.Update(f"p{k}", 1, update_of(draw(100, seed, start=1000 + 100 * k), seed, 20)[1], 100)
        for k in range(9)
    ]
    mean = fk.fedavg([fk.Update(ALICE, 1, seen.update, 100), *peers])

    def curve(score: Callable[[fk.Shard], Tensor]) -> privacy.Roc:
        return privacy.roc(score(members), score(others))

    return {
        "threshold": curve(lambda x: privacy.confidence(seen, seen.update, x)),
        "lira": curve(lambda x: privacy.lira(seen, seen.update, shadows, x)),
        "global": curve(lambda x: privacy.lira(seen, mean, shadows, x)),
    }


def test_small_shards_give_their_members_away(attacked: dict[str, privacy.Roc]) -> None:
    """The threshold and LiRA are above one half by more than the interval; LiRA is the better one."""
    assert attacked["threshold"].interval[0] > 0.52
    assert attacked["lira"].interval[0] > 0.6
    assert attacked["lira"].auc > attacked["threshold"].auc
    rate, low, high = attacked["lira"].tpr_at(0.01)
    assert low <= rate <= high
    assert attacked["lira"].tpr_at(0.001)[0] <= rate


def test_the_mean_of_ten_updates_says_less(attacked: dict[str, privacy.Roc]) -> None:
    assert attacked["global"].auc < attacked["lira"].auc - 0.08


@pytest.mark.parametrize("seed", SEEDS)
def test_large_shards_hide_their_members_from_the_threshold(seed: int) -> None:
    """5,000 images, 5 local epochs: the area stays below 0.55."""
    members, others = draw(5000, seed), draw(4000, seed, start=6000)
    seen = evidence_of(members, seed, 5)
    scores = [privacy.confidence(seen, seen.update, shard) for shard in (members, others)]
    assert 0.48 < privacy.roc(*scores).auc < 0.55


@pytest.mark.parametrize("seed", SEEDS)
def test_one_epoch_gives_less_away_than_twenty(seed: int) -> None:
    """The threshold on 100 images: below 0.65 after one local epoch, and lower than after twenty."""
    members, others = draw(100, seed), draw(1000, seed, start=6000)

    def area(epochs: int) -> float:
        seen = evidence_of(members, seed, epochs)
        scores = [privacy.confidence(seen, seen.update, shard) for shard in (members, others)]
        return privacy.roc(*scores).auc

    assert area(1) < min(0.65, area(20) - 0.03)


def test_shadows_need_images_of_ones_own() -> None:
    seen = evidence_of(draw(100, 0), 0, 1)
    with pytest.raises(fk.FedkitError, match="are 50, the participant trains on 100"):
        privacy.train_shadows(seen, draw(50, 1), 2)
