"""`fedkit run`: a whole network of datasites on this machine, from launch to done."""

from __future__ import annotations

import io
import json
import threading
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fedkit.base.distribution import missing_extra
from fedkit.base.errors import FedkitError
from fedkit.base.events import (
    Event,
    FileRefused,
    Problem,
    RoundEvaluated,
    RoundMeasured,
    UpdateRefused,
    Waiting,
)
from fedkit.base.files import read_json, write_bytes, write_json
from fedkit.base.text import one_line
from fedkit.cli.output import (
    DONE,
    FAILED,
    WAITING,
    AppDataOption,
    DeviceOption,
    Reporter,
    console,
    say,
    show_table,
    stopping,
    usage_error,
)
from fedkit.datasite.datasite import AppData
from fedkit.federation.network import Network
from fedkit.federation.report_facts import privacy_report
from fedkit.learning.device import find_device
from fedkit.protocol.approval import approve_all
from fedkit.rounds.history import History
from fedkit.rounds.starting_point import (
    Experiment,
    deal,
    even_groups,
    read_experiment,
    unknown_keys,
)

__all__ = ["assignment", "run"]


_WORTH_A_LINE = (RoundEvaluated, RoundMeasured, UpdateRefused, FileRefused, Waiting, Problem)


def run(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New or empty, or this run's.")],
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[fl_config.json]", help="Default: the tutorial's experiment."),
    ] = None,
    participants: Annotated[
        int | None, typer.Option(min=1, max=8000, metavar="N", help="Default: the config's.")
    ] = None,
    partition: Annotated[
        Literal["digits", "iid"] | None,
        typer.Option(
            help="digits: each digit to one participant; iid: all alike. Default: digits, above ten participants iid."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Data of your own, as `fedkit data import` writes it."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, metavar="S", help="As --set seed=S.")] = None,
    app_data: AppDataOption = None,
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="At once.")] = None,
    device: DeviceOption = "cpu",
    full: Annotated[
        bool, typer.Option("--full", help="All of MNIST (`fedkit data full`).")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the aggregator's page until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="With --serve.")
    ] = 8080,
) -> None:
    """Run an experiment between datasites on this machine; the same command goes on after an interruption.

    Writes history.json, ledger.jsonl, fl_config.json and pictures into --out, and the datasites below its network/.
    Every request is approved by itself: all the data dirs are yours.
    """
    values = dict(map(assignment, changes or [])) | ({} if seed is None else {"seed": seed})
    experiment = read_experiment(
        config,
        participants=participants,
        changes=values,
        partition=partition,
        full=full,
        data=data,
    )
    for key, near in unknown_keys(experiment.config).items():
        hint = f"; do you mean {near}?" if near else ""
        say(f"fedkit does not know the key {key!r}: it stays in the file{hint}", "yellow")
    network = _prepare(experiment, out.absolute(), app_data or "app_data", workers, device)
    with ExitStack() as page:
        if serve:
            from fedkit.cli.serve import Server

            server = page.enter_context(Server(network[network.aggregator], port))
            say(f"Serving the aggregator's public/ at {server.url}, on this machine only.")
        with stopping() as stop:
            history = _run(network, experiment, stop)
        if stop.is_set():
            raise KeyboardInterrupt
        _write(out, network, experiment, history)
        show_table(_table(history))
        say(f"Written to {out}: {', '.join(sorted(p.name for p in out.iterdir()))}")
        if serve:
            say("Still serving; Ctrl-C ends it.")
            with stopping() as stop:
                while not stop.wait(0.5):  # without a limit, Windows would not hear Ctrl-C
                    pass
    raise typer.Exit(_code(history))


def assignment(text: str) -> tuple[str, Any]:
    """KEY=VALUE of a command line: the value as JSON, else as text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        usage_error(f"--set {text!r} is no KEY=VALUE -> write it as in --set rounds=5")
    try:
        return key.strip(), json.loads(value)
    except ValueError:
        return key.strip(), value


def _prepare(
    experiment: Experiment, out: Path, app_data: AppData, workers: int | None, device: str
) -> Network:
    """The network in `out`, with data and a launched project; what an earlier run left there is kept."""
    find_device(device)
    config = experiment.config
    if experiment.partition == "digits" and experiment.data is None:
        even_groups(len(config.participants))
    identity = experiment.identity(app_data)
    before = read_json(out / "run.json")
    if before != identity:
        _must_be_free(out, before, identity)
        write_json(out / "run.json", identity)
    network = Network.create(
        out / "network",
        aggregator=config.aggregator,
        participants=config.participants,
        app_data=app_data,
        workers=workers,
        device=device,
    )
    if config.project_name in network.projects():
        over = len(network.history()) == config.rounds
        goes_on = "it is finished, and this is its result" if over else "it goes on where it was"
        say(f"{out} holds this run already: {goes_on}.")
        return network
    shards, test = deal(experiment)
    for email, shard in zip(config.participants, shards, strict=True):
        network.give_data(email, shard, config.task)
    network.give_test(*test, name=config.test_dataset)
    network.launch(config, experiment.model, experiment.weights)
    return network


def _must_be_free(out: Path, before: Any, identity: dict[str, Any]) -> None:
    if isinstance(before, dict):
        told = before if isinstance(before.get("config"), dict) else before | {"config": {}}
        flat = [{**d, **d.get("config", {})} for d in (told, identity)]
        keys = [k for k in sorted(flat[0] | flat[1]) if k != "config"]
        differ = [k for k in keys if flat[0].get(k) != flat[1].get(k)]
        raise FedkitError(
            f"holds another run (it differs in {', '.join(differ)})",
            file=out,
            remedy="choose another --out, or remove that folder if you don't need it any more",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FedkitError(
            "is not empty, and what lies there is no run of fedkit",
            file=out,
            remedy="name a new or an empty folder with --out",
        )


def _run(network: Network, experiment: Experiment, stop: threading.Event) -> History:
    config, reporter = experiment.config, Reporter()
    per_round = config.epoch * len(config.participants)
    say(
        f"{config.project_name}: participants {len(config.participants)}, rounds {config.rounds}, local "
        f"epochs {config.epoch}. Every request is approved by itself: all the data dirs are yours."
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        before = len(network.history()) if network.projects() else 0
        total = per_round * config.rounds
        task = progress.add_task("training", total=total, completed=per_round * before)

        def on_epoch(project: str, n: int, epoch: int, epochs: int, loss: float) -> None:
            progress.update(task, description=f"round {n}/{config.rounds}", advance=1)

        def on_event(event: Event) -> None:
            if isinstance(event, _WORTH_A_LINE):
                reporter.event(event)
            if isinstance(event, RoundEvaluated | RoundMeasured):
                progress.update(task, completed=per_round * event.round)

        return network.run(
            approve=approve_all, on_event=on_event, on_epoch=on_epoch, stop=stop.is_set
        )


def _write(out: Path, network: Network, experiment: Experiment, history: History) -> None:
    experiment.config.save(out / "fl_config.json")
    history.save(out / "history.json")
    privacy_report(network, project=experiment.config.project_name).save(out)
    ledger = network.ledger()
    lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in ledger)
    write_bytes(out / "ledger.jsonl", lines.encode())
    try:
        from fedkit.teaching import plots  # slow to import, and needed when all is over
    except ModuleNotFoundError as error:
        missing = missing_extra(error, "a picture")
        if missing is None:
            raise
        say(f"No pictures: {one_line(missing)}", "yellow")
        return
    pictures = {}
    if history.accuracies:
        pictures["accuracy_by_round.png"] = plots.accuracy_by_round(history)
    for metric in history.metrics if not history.accuracies else ():
        pictures[f"{metric}_by_round.png"] = plots.metric_by_round(history, metric)
    if any(entry.receiver == network.aggregator for entry in ledger):
        pictures["what_crossed.png"] = plots.what_crossed(ledger, aggregator=network.aggregator)
    for name, figure in pictures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
        write_bytes(out / name, buffer.getvalue())


def _table(history: History) -> Table:
    frame = history.to_frame()
    extra = [name for name in ("refused", "absent") if frame[name].any()]
    scores = [name for name in ("accuracy", *history.metrics) if frame[name].notna().any()]
    table = Table("round", *scores, "loss", "participants", "samples", *extra)
    for number, row in frame.iterrows():
        numbers = [
            f"{row[name]:.1%}" if name == "accuracy" else f"{row[name]:.3f}" for name in scores
        ]
        numbers += [f"{row['loss']:.3f}", str(row["participants"])]
        told = row["samples"]  # NaN, and so not itself, or None where nobody tells
        samples = "not told" if told is None or told != told else f"{told:,.0f}"
        table.add_row(str(number), *numbers, samples, *(row[name] for name in extra))
    return table


def _code(history: History) -> int:
    if any(isinstance(event, Problem) for event in history.waiting):
        return FAILED
    return DONE if len(history) == history.total_rounds and not history.waiting else WAITING
