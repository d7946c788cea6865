"""No framework: a tight loop, in this process or, started together, in several that add up their weights."""

from __future__ import annotations

import os

import torch
from shared import Report, arguments, loss
from torch import distributed
from torch.nn.utils import parameters_to_vector, vector_to_parameters


def main() -> None:
    """All rounds."""
    work, rounds, _ = arguments()
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if count > 1:
        distributed.init_process_group("gloo")
    draws = torch.Generator().manual_seed(0)  # the same participants in each process
    model = work.model()
    parameters = list(model.parameters())
    report = Report()
    for _ in range(rounds):
        start = parameters_to_vector(parameters).detach()
        total = torch.zeros_like(start)
        chosen = torch.randperm(work.participants, generator=draws)[: work.per_round].tolist()
        for participant in chosen[rank::count]:
            vector_to_parameters(start.clone(), parameters)
            for samples, labels in work.shuffled(participant):
                gradients = torch.autograd.grad(loss(model(samples), labels), parameters)
                with torch.no_grad():
                    torch._foreach_add_(parameters, gradients, alpha=-work.rate)
            total += parameters_to_vector(parameters).detach()
        if count > 1:
            distributed.all_reduce(total)
        vector_to_parameters(total / work.per_round, parameters)
        if rank == 0:
            report.round(work.accuracy(model))
    if rank == 0:
        report.tell("torch")
    if count > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
