"""Points in the plane: as many of each class, around the origin, the same for the same seed."""

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.data.points import POINTS, points, points_task
from fedkit.data.shards import check_dataset


@pytest.mark.parametrize("kind", POINTS)
def test_points_are_even_near_the_origin_and_repeat(kind: str) -> None:
    where, labels = points(kind, 120, 0.05, generator=fk.generator(3, "points"))
    again = points(kind, 120, 0.05, generator=fk.generator(3, "points"))
    other = points(kind, 120, 0.05, generator=fk.generator(4, "points"))
    assert torch.equal(where, again[0])
    assert torch.equal(labels, again[1])
    assert not torch.equal(where, other[0])
    assert torch.bincount(labels).tolist() == [120 // POINTS[kind]] * POINTS[kind]
    assert float(where.abs().max()) < 2
    assert float(where.mean(0).abs().max()) < 0.25
    check_dataset(where, labels, "points", points_task(kind))


def test_spirals_wind_around_each_other() -> None:
    """On a ray from the middle the arms take turns: a line through the origin parts no more than it would by luck."""
    where, labels = points("spirals", 400, 0.0, generator=fk.generator(0, "points"))
    assert torch.allclose(-where[labels == 0].mean(0), where[labels == 1].mean(0), atol=0.2)
    near = torch.cdist(where, where).fill_diagonal_(9).argmin(1)
    assert float((labels[near] == labels).float().mean()) > 0.97  # a nearest neighbour tells
    for turn in torch.linspace(0, torch.pi, 24):
        side = where @ torch.stack([turn.cos(), turn.sin()]) > 0
        right = float((side == labels.bool()).float().mean())
        assert 0.2 < right < 0.8


@pytest.mark.parametrize(
    ("kind", "count", "spread", "said"),
    [
        ("moon", 10, 0.1, "moons, circles, spirals, blobs"),
        ("blobs", 2, 0.1, "take at least 3"),
        ("moons", 10, float("nan"), "a number from 0"),
        ("moons", 10, -1.0, "a number from 0"),
    ],
)
def test_what_is_no_point_is_said(kind: str, count: int, spread: float, said: str) -> None:
    with pytest.raises(FedkitError, match=said):
        points(kind, count, spread, generator=fk.generator(0, "points"))
