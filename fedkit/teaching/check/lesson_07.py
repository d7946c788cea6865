"""Checks of notebook 07: the proximal term, and the median of every coordinate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fedkit.teaching.check.answers import listed, near, number, tensor
from fedkit.teaching.check.attempt import Wrong
from fedkit.teaching.check.base import check

_SAME = 1e-5


@check(
    hint="Go through both dicts name by name: the difference of the two tensors, squared, summed up. At the end, times "
    "half of mu.",
    takes="weights global_weights mu",
)
def proximal_term(attempt: Callable[..., object]) -> str:
    """The proximal term."""
    anchor = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor([[0.5]])}
    here = {"w": torch.tensor([1.0, 5.0]), "b": torch.tensor([[-3.5]])}  # differences 0, 3, -4
    leaves = {name: value.clone().requires_grad_() for name, value in here.items()}
    got = attempt(leaves, anchor, 0.4)
    value = number(got)
    for wrong, words in (
        (0.4 / 2 * 5, "This is mu/2 times the distance. The term has its square: 25 here, not 5."),
        (0.4 * 25, "This is twice too much: the factor is mu/2, so that the gradient is mu times."),
        (25.0, "The factor mu/2 is missing."),
        (0.4 / 2 * 9, "One tensor is left out: the sum goes over all names."),
        (0.4 / 2 * 16, "One tensor is left out: the sum goes over all names."),
        (0.4 / 2 * 1, "Differences of opposite sign must not cancel: square them first, then sum."),
    ):
        if abs(value - wrong) < _SAME:
            raise Wrong(words)
    near(
        value,
        5.0,
        within=_SAME,
        wrong=f"Differences of 0, 3 and -4 and a mu of 0.4 should give 0.2 times 25, which is 5. Yours is {value:.3g}.",
    )
    if abs(number(attempt(leaves, anchor, 1.0)) - 12.5) > _SAME:
        raise Wrong("With a mu of 0.4 the number is right, with a mu of 1 it is not. Is mu used?")
    if not isinstance(got, Tensor) or not got.requires_grad:
        raise Wrong("The number is right, but it has no gradient: keep it a tensor all the way.")
    gradients = torch.autograd.grad(got.sum(), list(leaves.values()), materialize_grads=True)
    for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        if not torch.allclose(gradient, 0.4 * (leaf.detach() - anchor[name]), atol=_SAME):
            raise Wrong("The number is right, but its gradient is not mu times the difference.")
    return "Its gradient is mu times the way from the global model: the further away, the stronger the pull."


def _other_middles(ordered: Tensor) -> Iterator[tuple[Tensor, str]]:
    """What sorted columns [K, D] give for the median by a usual slip, and what the slip is."""
    count = len(ordered)
    yield (
        (ordered[0] + ordered[-1]) / 2,
        "This is the middle between the smallest and the largest. The median is the middle one of all in their order.",
    )
    for k in range(count):
        if k != count // 2:
            yield (
                ordered[k],
                f"The columns are sorted, but of {count} rows you take number {k + 1}.",
            )
        if k and count % 2:
            yield (
                (ordered[k - 1] + ordered[k]) / 2,
                "With an odd number of rows one stands in the middle, and is the median by itself.",
            )


@check(
    hint="Sort every column by itself (`rows.sort(dim=0).values`). With ten rows there is no row in the middle: which two "
    "are?",
    takes="rows",
)
def coordinate_median(attempt: Callable[..., object]) -> str:
    """The median of every coordinate."""
    draw = torch.Generator().manual_seed(7)
    for count in (5, 4):
        rows = torch.randn(count, 6, generator=draw).double()
        given = rows.clone()
        form = "The answer should be one tensor with a number for each column."
        answer = listed(attempt(given))
        if isinstance(answer, tuple) and hasattr(answer, "indices"):
            raise Wrong("torch gives back values and their places here. Which of the two is asked?")
        got = tensor(answer, wrong=form)
        if got.shape != (6,):
            raise Wrong(
                f"{form} Yours has the shape {list(got.shape)}, for rows of {list(rows.shape)}."
            )
        if not torch.equal(given, rows):
            raise Wrong("The rows should stay as they are, and yours have changed.")
        ordered = rows.sort(0).values
        if torch.allclose(got.double(), rows.mean(0), atol=_SAME):
            raise Wrong("This is the mean, which a single row can move as far as it likes.")
        if count == 4:
            for middle in (ordered[1], ordered[2]):
                if torch.allclose(got.double(), middle, atol=_SAME):
                    raise Wrong(
                        "With an even number of rows you take one of the two middle values; the median is their mean."
                    )
        wanted = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
        for other, wrong in _other_middles(ordered):
            if torch.allclose(got.double(), other, atol=_SAME):
                raise Wrong(wrong)
        if not torch.allclose(got.double(), wanted, atol=_SAME):
            raise Wrong(
                f"With {count} rows, some column does not give its median. Is every column sorted by itself?"
            )
    return (
        "Half of the values lie on either side, so fewer than half of the rows can't carry it away."
    )
