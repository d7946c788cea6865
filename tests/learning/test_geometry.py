"""Updates as arrows: how far they agree, and the plane in which most of them lies."""

import math

import pytest
import torch

from fedkit.base.seeds import generator
from fedkit.learning.geometry import agreement, changes, principal_plane
from tests.support.pictures import ZERO, updates


def test_changes_leave_out_counters_and_are_differences() -> None:
    model = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.0, 5.0]), "n": torch.tensor(3)}
    rows = changes(model, updates(torch.tensor([[1.0, 2.5, -1.0, 5.0]])))
    assert rows.tolist() == [[0.0, 0.5, -1.0, 0.0]]


def test_agreement_is_one_for_equal_and_zero_for_opposite_steps() -> None:
    step = torch.tensor([3.0, 0.0, 4.0, 0.0])
    assert agreement(ZERO, updates(torch.stack([step, step]))) == pytest.approx(1)
    assert agreement(ZERO, updates(torch.stack([step, -step]))) == pytest.approx(0)
    across = torch.stack([step, torch.tensor([0.0, 5.0, 0.0, 0.0])])
    assert agreement(ZERO, updates(across)) == pytest.approx(math.sqrt(0.5))
    # three quarters of the samples walk one way, a quarter the other
    assert agreement(ZERO, updates(torch.stack([step, -step]), [30, 10])) == pytest.approx(0.5)
    assert agreement(ZERO, updates(torch.zeros(2, 4))) == 1


def test_the_plane_is_that_of_the_eigenvectors() -> None:
    """Against the eigenvalues of rows^T rows, and exact where all arrows lie in one plane."""
    rows = torch.randn(6, 9, generator=generator(0, "rows")).double()
    places, explained = principal_plane(rows)
    eigenvalues = torch.linalg.eigvalsh(rows.T @ rows).flip(0)
    assert explained == pytest.approx((eigenvalues[:2] / eigenvalues.sum()).tolist())
    assert places.square().sum(0).tolist() == pytest.approx(eigenvalues[:2].tolist())
    assert (places.mean(0) >= 0).all()
    flat = torch.randn(5, 2, generator=generator(1, "flat")).double() @ rows[:2]
    placed, (one, two) = principal_plane(flat)
    assert one + two == pytest.approx(1)
    torch.testing.assert_close(placed @ placed.T, flat @ flat.T)  # lengths and angles stay
    single, (all_of_it, nothing) = principal_plane(rows[:1])
    assert single.tolist() == [[pytest.approx(float(rows[0].norm())), 0.0]]
    assert (all_of_it, nothing) == (pytest.approx(1), 0.0)
