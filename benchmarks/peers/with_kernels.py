"""No work at all, but its limit: the kernels of a tight loop's epoch, played again; or with "products" these alone."""

from __future__ import annotations

import os
import sys

import torch
from shared import Report, arguments, loss

from benchmarks.kernels import played, written_down


def main() -> None:
    """As many epochs a round as there are participants in it; nobody's weights are averaged."""
    work, rounds, _ = arguments()
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    model = work.model()
    parameters = list(model.parameters())

    def epoch() -> None:
        for samples, labels in work.shuffled(rank):
            gradients = torch.autograd.grad(loss(model(samples), labels), parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, gradients, alpha=-work.rate)

    calls = written_down(epoch)[sys.argv[4:] == ["products"]]
    accuracy, report = work.accuracy(model), Report()
    for _ in range(rounds):
        played(calls, len(range(rank, work.per_round, count)))
        report.round(accuracy)
    if rank == 0:
        report.tell("torch")


if __name__ == "__main__":
    main()
