"""fedkit's own sync: datasites on one disk, and a ledger of every file that crossed."""

from __future__ import annotations

from pathlib import Path

import fedkit as fk
from benchmarks.roads.measure import Project, Result, measured, read_project

PARTIES = {"the aggregator": "ana@example.org"}
SEES = "the aggregator every update, nobody else; with masks, sums alone"


def missing() -> str | None:
    """It is always there."""
    return None


def run_on_own(project_dir: Path, out: Path) -> Result:
    """The project between datasites in `out`."""
    project = read_project(project_dir)
    config = project.config
    with measured() as cost:
        network = network_of(project, out)
        network.run(approve=fk.approve_all)
    place = network[config.aggregator].aggregator().project(config.project_name, "done")
    models = [place.global_model(n) for n in range(config.rounds + 1)]
    return cost.result(models, sum(entry.size for entry in network.ledger()))


def network_of(project: Project, out: Path) -> fk.Network:
    """Its datasites in `out`, with their data, and the project launched."""
    config = project.config
    network = fk.Network.create(
        out, aggregator=config.aggregator, participants=config.participants, workers=1
    )
    for email, shard in project.shards.items():
        network.give_data(email, shard, config.task)
    network.give_test(*project.test, name=config.test_dataset)
    network.launch(config, project.experiment.model, project.experiment.weights)
    return network
