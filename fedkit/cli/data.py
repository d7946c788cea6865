"""`fedkit data`: sample files for the tutorial, data of one's own, and the full MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes
from fedkit.base.text import how_many, visible
from fedkit.config.tutorial import AGGREGATOR, PARTICIPANTS

__all__ = ["app"]


app = typer.Typer(
    no_args_is_help=True,
    help="Sample files for the tutorial, shards of your own data, and the full MNIST.",
)


@app.command()
def samples(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder to write into")],
    aggregator: Annotated[
        str, typer.Option("--aggregator", metavar="EMAIL", help="for fl_config.json")
    ] = AGGREGATOR,
    participant: Annotated[
        list[str] | None,
        typer.Option(
            "--participant",
            metavar="EMAIL",
            help=f"for fl_config.json; repeat it for several (default: {', '.join(PARTICIPANTS)})",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="write over files that differ")] = False,
) -> None:
    """Write sample digits, a test set, model.py, its first weights and fl_config.json."""
    from fedkit.rounds.starting_point import write_samples

    participants = participant or PARTICIPANTS
    written = write_samples(out, aggregator=aggregator, participants=participants, force=force)
    for path in written:
        typer.echo(f"wrote {path} ({path.stat().st_size:,} bytes)")
    if not written:
        typer.echo(f"{out}: all files are there already, nothing to write")


@app.command("import")
def import_command(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="a .csv, an .npz, or a folder of images by class"),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="a new folder for the shards")],
    target: Annotated[
        str | None, typer.Option("--target", metavar="COLUMN", help="of a table: the labels")
    ] = None,
    participant: Annotated[
        str | None,
        typer.Option("--participant", metavar="COLUMN", help="of a table: whose each row is"),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="COLUMN", help="leave it out; repeatable")
    ] = None,
    participants: Annotated[
        int | None, typer.Option(min=1, max=8000, metavar="N", help="deal it out to so many")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(min=0, metavar="A", help="skew the classes: Dirichlet(A)")
    ] = None,
    loss: Annotated[
        Literal["cross_entropy", "bce_with_logits", "mse", "l1", "huber"] | None,
        typer.Option(help="default: from what the labels are"),
    ] = None,
    size: Annotated[
        tuple[int, int] | None, typer.Option(metavar="HEIGHT WIDTH", help="bring images to it")
    ] = None,
    torchvision: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="SOURCE is the root of this data set of torchvision, such as CIFAR10",
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="held out to judge models; default 0.2, or its own set"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="of every draw")] = 0,
) -> None:
    """Make shards of your own data, a test set and a task; then: fedkit run --data DIR fl_config.json."""
    from fedkit.data.array_files import import_arrays
    from fedkit.data.folder import write_data_folder
    from fedkit.data.importing import deal_out, import_images, import_table
    from fedkit.data.standardise import far_apart
    from fedkit.data.torchvision_sets import import_torchvision

    kind = source.suffix.lower()
    if not source.exists():
        raise FedkitError("is not there", file=source, remedy="check the path")
    given = {"target": target, "participant": participant, "drop": drop, "loss": loss, "size": size}
    if torchvision is not None or source.is_dir():
        what, takes = "images", {"size"}
    elif kind == ".npz":
        what, takes = "arrays", {"loss"}
    else:
        what, takes = "a table", {"target", "participant", "drop", "loss"}
    for option, value in given.items():
        if value is not None and value != [] and option not in takes:
            said = f"says nothing of {what}; of these there are: {', '.join(sorted(takes))}"
            raise FedkitError(said, field=f"--{option}", remedy="leave it out")
    if torchvision is not None:
        data = import_torchvision(torchvision, source, size=size)
    elif source.is_dir():
        data = import_images(source, size=size)
    elif kind == ".npz":
        data = import_arrays(source, loss=loss)
    elif target is None:
        raise FedkitError(
            "is needed for a table", field="--target", remedy="name the column of labels"
        )
    else:
        data = import_table(source, target, participant=participant, drop=drop or (), loss=loss)
    shards, held = deal_out(data, participants=participants, alpha=alpha, test=test, seed=seed)
    write_data_folder(out, data.task, shards, held)
    for name, (_, labels) in shards.items():
        typer.echo(f"{visible(name)}: {how_many(len(labels), 'sample')}")
    typer.echo(f"test set: {how_many(len(held[1]), 'sample')}")
    typer.echo(f"wrote {out}: task.json says what they are")
    if data.task.samples == "vectors" and far_apart(data.samples):
        typer.echo(
            "their columns differ in size more than a hundredfold, and so would their gradients: "
            'write "standardise": "federated" into task.json'
        )


@app.command()
def statistics(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="a participant's shard, as in private/fl_client"),
    ],
    task: Annotated[
        Path, typer.Option("--task", metavar="FILE", help="a task.json, or an fl_config.json")
    ],
) -> None:
    """Print what a participant gives for federated statistics: its counts, sums and squares, which leave it with that."""
    from fedkit.config.fl_config import FLConfig, parse_json_object
    from fedkit.data.folder import checked_task
    from fedkit.data.shards import read_shard
    from fedkit.data.standardise import moments

    values = parse_json_object(read_bytes(task, max_bytes=2**20, absent="check the path"), task)
    whole = "project_name" in values
    about = FLConfig.from_dict(values, file=task).task if whole else checked_task(values, task)
    typer.echo(moments(read_shard(folder, about)[0], about).model_dump_json())


@app.command()
def combine(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="what `fedkit data statistics` printed")
    ],
) -> None:
    """Print the task's line for everybody's statistics together: "standardise" with its mean and std."""
    from fedkit.data.standardise import combine as together
    from fedkit.data.standardise import read_moments

    found = together([read_moments(path) for path in files])
    typer.echo(f'"standardise": {found.model_dump_json()}')


@app.command()
def full(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="folder that holds MNIST's four raw files, plain or .gz; without it they are downloaded",
        ),
    ] = None,
) -> None:
    """Put the full MNIST (60,000 + 10,000 images) where load_mnist(full=True) finds it."""
    from fedkit.data.mnist import install_full

    folder = install_full(source)[0].parent
    typer.echo(f"{folder}: the full MNIST is there, 60,000 training and 10,000 test images")
