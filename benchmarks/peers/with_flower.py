"""Flower: its simulation engine on Ray; a client takes as many processors as it has threads."""

from __future__ import annotations

import functools
import os
import sys
import traceback

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from shared import Report, arguments, load, loss


@functools.cache
def once(path: str, threads: int):
    """Work and model of a worker process: made at its first participant, kept for all others."""
    torch.set_num_threads(threads)
    work = load(path)
    return work, work.model()


def client_app(path: str, threads: int) -> ClientApp:
    """One local epoch of plain SGD."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        from with_flower import once  # by its name, so that a worker keeps what it made

        work, model = once(path, threads)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        participant = int(context.node_config["partition-id"])
        optimizer = torch.optim.SGD(model.parameters(), lr=work.rate)
        for batch, target in work.shuffled(participant):
            optimizer.zero_grad()
            loss(model(batch), target).backward()
            optimizer.step()
        reply = {
            "arrays": ArrayRecord(model.state_dict()),
            "metrics": MetricRecord({"num-examples": len(work.labels[participant])}),
        }
        return Message(content=RecordDict(reply), reply_to=message)

    return app


def main() -> None:
    """All rounds."""
    work, rounds, threads = arguments()
    server = ServerApp()

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        model = work.model()

        def evaluate(n: int, arrays: ArrayRecord) -> MetricRecord:
            model.load_state_dict(arrays.to_torch_state_dict())
            value = work.accuracy(model)
            if n:  # 0 is before the first round
                report.round(value)
            return MetricRecord({"accuracy": value})

        share = work.per_round / work.participants
        FedAvg(fraction_train=share, fraction_evaluate=0.0).start(
            grid, ArrayRecord(model.state_dict()), num_rounds=rounds, evaluate_fn=evaluate
        )

    settings = {
        "init_args": {
            "num_cpus": os.cpu_count() or 1,
            "include_dashboard": False,
            "log_to_driver": False,
        },
        "client_resources": {"num_cpus": threads, "num_gpus": 0.0},
    }
    report = Report()
    try:
        run_simulation(
            server, client_app(sys.argv[1], threads), work.participants, backend_config=settings
        )
    except (
        RuntimeError
    ):  # such as Ray not starting in time; the server's thread would wait for an hour
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    report.tell("flwr", "ray")


if __name__ == "__main__":
    main()
