"""What `python -m benchmarks roads --record` keeps of a road for lesson 12: its costs, and what lay open on whose disk.

The traces that are looked for come from the same project at home: the bits are the same on every road. Over Flower, a
second run has a SuperNode killed.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import fedkit as fk
from benchmarks.roads import table
from benchmarks.roads.measure import Result, read_project
from benchmarks.roads.own import network_of
from fedkit import roads
from fedkit.base.files import read_bytes, sha256_bytes

__all__ = ["record_road"]

_ENGINES = {
    "flower": ("Flower", "flwr"),
    "nvflare": ("NVFlare", "nvflare"),
    "pysyft": ("PySyft", "syft"),
}
"""Road -> its engine's name, and the package that has its version."""

_DIES = ("carol@example.org", 1)
_PATIENCE_S = 60.0


def record_road(name: str, project_dir: Path, scratch: Path) -> Result:
    """Run a road and keep what came of it in the package's `recorded.json`."""
    home = scratch / "home"
    project = read_project(project_dir)
    config = project.config
    if home.is_dir():
        network = fk.Network.open(home, workers=1)
    else:
        network = network_of(project, home)
        network.run(approve=fk.approve_all)
    traces = roads.traces_of(network, config.project_name)
    module, out = table.road(name), scratch / name
    parties = {who: out / folder for who, folder in getattr(module, "PARTIES", {}).items()}
    with roads.watched(parties, traces) as seen:
        result = table.run(name, project_dir, out)
    run = roads.RoadRun(
        name,
        getattr(module, "ENGINE", None) or _engine(name),
        roads.project_digest(config, project.shards.values(), project.test),
        tuple(result["sha256"]),
        result["seconds"],
        result["bytes"],
        result["memory_mb"],
        {who: roads.count_kinds(things) for who, things in seen.items()},
        roads.count_kinds(traces),
        roads.this_machine(),
    )
    roads.record([run])
    if name == "flower":
        roads.record([replace(run, death=_death(network, scratch))])
    return result


def _engine(name: str) -> str:
    if name == "own":
        return f"fedkit {fk.__version__}"
    called, package = _ENGINES.get(name, (name, name))
    try:
        return f"{called} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return called


def _death(network: fk.Network, scratch: Path) -> roads.Death:
    """The project over Flower with a SuperNode killed, and at home with the same one gone from the same round on."""
    from fedkit.federation.roads.flower_trial import over_flower

    who, _ = _DIES
    trial = over_flower(network, "ROADS", scratch / "death", dies=_DIES, patience_s=_PATIENCE_S)
    first = min(trial.absent)

    def gone(site: fk.Datasite, go: object) -> list[fk.Event]:
        came = site.client().project("ROADS").global_model(first - 1).is_file()
        return [] if site.email == who and came else go()  # type: ignore[operator]

    alone = network_of(read_project(scratch / "project"), scratch / "without")
    alone.run(approve=fk.approve_all, actor=gone)
    place = alone[alone.aggregator].aggregator().project("ROADS", "done")
    files = [place.global_model(n) for n in range(len(trial.sha256))]
    own = tuple(sha256_bytes(read_bytes(path)) for path in files)
    return roads.Death(who, trial.absent, trial.sha256, own, round(trial.seconds, 1))
