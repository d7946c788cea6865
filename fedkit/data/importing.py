"""Data from elsewhere become shards: a table (CSV), or a folder of images for each class (arrays: see `array_files`).

`fedkit data import` calls this. Whatever a cell holds that is no number is named by row and column; nothing is guessed,
filled in or left out in silence. A task that fits is written beside the shards, and may be edited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.config.task import Task
from fedkit.config.tutorial import tutorial_participants
from fedkit.data.folder import checked_task
from fedkit.data.label_skew import split_dirichlet
from fedkit.data.partition import split_iid
from fedkit.data.shards import Shard

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

__all__ = [
    "Imported",
    "check_size",
    "deal_out",
    "import_images",
    "import_table",
    "pixels_of",
]


MOST_CLASSES = 100
"""Whole numbers or texts with more different values than this are no classes."""

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Imported:
    """All samples of a source, with what they are.

    owners : whose each sample is, where the source says so. test : the test set, where the source has one of its own.
    """

    task: Task
    samples: Tensor
    labels: Tensor
    owners: Sequence[str] | None = None
    test: Shard | None = None


def import_table(
    path: Path,
    target: str,
    *,
    participant: str | None = None,
    drop: Sequence[str] = (),
    loss: str | None = None,
) -> Imported:
    """A CSV file: one sample a row, a header, a number in every cell but the participant's and a class's name.

    target : the column of labels. participant : the column that says whose a row is. drop : columns to leave out.
    Raises FedkitError with row (the header is row 1) and column.
    """
    import pandas as pd

    try:  # the header is read as a row like any other: then no row may be longer, and no line is skipped
        rows = pd.read_csv(
            path, dtype=str, keep_default_na=False, header=None, skip_blank_lines=False
        )
    except (OSError, ValueError) as error:
        raise FedkitError(
            f"can't be read as a table ({str(error).splitlines()[0]})",
            file=path,
            remedy="save it as CSV with one header row and as many cells in each row, in UTF-8",
        ) from error
    rows = rows[(rows.fillna("") != "").any(axis=1)]
    table = rows[1:]
    table.columns = pd.Index(_header(rows[:1].to_numpy().ravel().tolist(), path))
    named = [target, *([participant] if participant else []), *drop]
    for column in named:
        if column not in table.columns:
            known = ", ".join(map(str, table.columns[:20]))
            remedy = f"name one of its columns: {known}"
            if len(table.columns) == 1:
                remedy = "put commas between its cells, where semicolons or tabs may be now"
            raise FedkitError(f"has no column {column!r}", file=path, remedy=remedy)
        if named.count(column) > 1:
            raise FedkitError(
                f"is named {named.count(column)} times",
                field=f"column {column!r}",
                remedy="a column is the target, says whose a row is, or is left out; name it once",
            )
    if not len(table):
        raise FedkitError(
            "has no row", file=path, remedy="put a row for each sample below its header"
        )
    others = [c for c in table.columns if c not in (target, participant, *drop)]
    if not others:
        raise FedkitError(
            "has no feature", file=path, remedy="leave columns besides the target in it"
        )
    features = np.stack([_numbers(table[column], path) for column in others], 1)
    owners = None if participant is None else _owners(table[participant], path)
    labels, about = _labels(table[target], path, loss)
    task = checked_task({"samples": "vectors", "shape": [len(others)], **about}, path)
    return Imported(task, torch.tensor(features).float(), labels, owners)


def _header(names: list[str], path: Path) -> list[str]:
    """The columns' names. Raises FedkitError where two are the same."""
    for name in names:
        if names.count(name) > 1:
            raise FedkitError(
                f"has {names.count(name)} columns {name!r}",
                file=path,
                remedy="give each column a name of its own",
            )
    return names


def _numbers(column: pd.Series[str], path: Path) -> np.ndarray[Any, Any]:
    """The column as float64; names the first cell that is no finite number, or too large for float32."""
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~(np.abs(values) <= _LARGEST))
    if len(wrong):
        text = column.iloc[wrong[0]]
        what = "is empty" if text.strip() == "" else f"holds {text!r:.40}, no finite number"
        raise FedkitError(
            f"{what} ({len(wrong)} such cells in this column)",
            file=path,
            field=f"row {column.index[wrong[0]] + 1}, column {column.name!r}",
            remedy=f"correct these cells, remove their rows, or leave the column out: --drop '{column.name}'",
        )
    return values


def _owners(column: pd.Series[str], path: Path) -> list[str]:
    empty = np.flatnonzero(column.str.strip() == "")
    if len(empty):
        raise FedkitError(
            "is empty",
            file=path,
            field=f"row {column.index[empty[0]] + 1}, column {column.name!r}",
            remedy="say in each row whose it is",
        )
    return [str(name).strip() for name in column]


def _labels(column: pd.Series[str], path: Path, loss: str | None) -> tuple[Tensor, dict[str, Any]]:
    """Labels, and what the task says of them: numbers for a regression, else classes in the order of their names."""
    if loss in ("mse", "l1", "huber"):
        numbers = torch.tensor(_numbers(column, path)).float()
        return numbers, {"loss": loss, "metrics": ["mae", "r2"]}
    names = sorted({str(name).strip() for name in column}, key=_by_number)
    if "" in names:
        _numbers(column.where(column.str.strip() == "", "0"), path)  # says which row
    if not 2 <= len(names) <= MOST_CLASSES:
        raise FedkitError(
            f"holds {len(names)} different values",
            file=path,
            field=f"column {column.name!r}",
            remedy="for numbers to be predicted, say --loss mse; else name the column of classes",
        )
    codes = torch.tensor([names.index(str(name).strip()) for name in column])
    metrics = ["accuracy", "balanced_accuracy", "auc"]
    about = {"class_names": [name[:60] for name in names], "metrics": metrics}
    if loss == "bce_with_logits" and len(names) != 2:
        raise FedkitError(
            f"holds {len(names)} different values, and yes or no are two",
            file=path,
            field=f"column {column.name!r}",
            remedy="leave --loss out: then they are classes",
        )
    if len(names) == 2 and loss != "cross_entropy":
        return codes.float(), {**about, "loss": "bce_with_logits"}
    return codes, {**about, "outputs": len(names)}


def _by_number(name: str) -> tuple[float, str]:
    try:
        number = float(name)
    except ValueError:
        number = math.inf
    return math.inf if math.isnan(number) else number, name


def import_images(folder: Path, *, size: tuple[int, int] | None = None) -> Imported:
    """A folder with one folder of images for each class. size : (height, width); needed where the images differ in it.

    Colour images become float32 [N,3,H,W] in 0..1, grey ones [N,1,H,W]. Raises FedkitError, naming the file.
    """
    from PIL import Image

    check_size(size)
    found = (path for path in Path(folder).iterdir() if path.is_dir())
    classes = sorted(path for path in found if not path.name.startswith("."))
    if len(classes) < 2:
        raise FedkitError(
            f"holds {len(classes)} folders of classes",
            file=folder,
            remedy="give each class a folder of its own, with its images in it",
        )
    pictures, labels = list[np.ndarray[Any, Any]](), list[int]()
    for number, place in enumerate(classes):
        for path in sorted(p for p in place.iterdir() if p.name[0] != "."):
            if path.is_dir():
                raise FedkitError(
                    "is a folder among the images of a class",
                    file=path,
                    remedy="name the folder whose folders are the classes, and put all images of one into its own",
                )
            try:
                with Image.open(path) as image:
                    pictures.append(pixels_of(image, size))
            except FedkitError as error:
                error.file = path
                raise
            except Exception as error:  # a stranger's bytes: Pillow's readers raise many kinds
                raise FedkitError(
                    "is no image that can be read", file=path, remedy="remove it"
                ) from error
            labels.append(number)
            if pictures[-1].shape != pictures[0].shape:
                one, other = ("x".join(map(str, pictures[at].shape)) for at in (0, -1))
                raise FedkitError(
                    f"is {other}, the first image {one} (height, width, channels)",
                    file=path,
                    remedy="bring all to one size with --size HEIGHT WIDTH, and to one mode",
                )
    bare = [place for number, place in enumerate(classes) if number not in labels]
    if bare:
        raise FedkitError(
            "holds no image", file=bare[0], remedy="put images there, or remove that folder"
        )
    samples = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    shape, names = list(samples.shape[1:]), [place.name[:60] for place in classes]
    about = {"shape": shape, "outputs": len(classes), "class_names": names}
    task = checked_task({**about, "metrics": ["accuracy", "balanced_accuracy"]}, folder)
    return Imported(task, samples.contiguous(), torch.tensor(labels))


def check_size(size: tuple[int, int] | None) -> None:
    """Raises FedkitError for a (height, width) to which no image can be brought."""
    if size is not None and not (min(size) >= 1 and max(size) <= _LONGEST):
        raise FedkitError(
            f"is {size[0]} by {size[1]} pixels",
            field="size",
            remedy=f"write a height and a width from 1 to {_LONGEST:,}",
        )


_LONGEST = 2**11


def pixels_of(image: Image.Image, size: tuple[int, int] | None) -> np.ndarray[Any, Any]:
    """uint8 [H,W,1] of a grey image, [H,W,3] of another, the way up that its EXIF says, without its transparency.

    Raises FedkitError for more than 8 bits a pixel: where white is in them, only their owner knows.
    """
    from PIL import ImageOps

    if image.mode[0] in "IF":
        raise FedkitError(
            "holds more than 8 bits a pixel, and does not say which number is white",
            remedy="save it with 8 bits; or save all images in one .npz: x float32 [N,1,height,width] and y [N]",
        )
    image = ImageOps.exif_transpose(image)
    grey = image.mode in ("1", "L", "LA", "La")
    shown = image.convert("L" if grey else "RGB")
    if size is not None:
        shown = shown.resize((size[1], size[0]))
    return np.atleast_3d(np.asarray(shown))


def deal_out(
    data: Imported,
    *,
    participants: int | None = None,
    alpha: float | None = None,
    test: float | None = None,
    seed: int = 0,
) -> tuple[Mapping[str, Shard], Shard]:
    """(a shard for each participant, the test set): a share `test` of all samples is held out, the rest is dealt out.

    test : 0.2 where it is not given; of a source that has a test set of its own, that one is taken and nothing held out.
    By owner where the source says whose a sample is; else to so many participants, all alike, or with labels skewed by a
    Dirichlet distribution (`alpha`, of classes only). Raises FedkitError.
    """
    count = len(data.labels)
    if data.test is not None:
        if test is not None:
            what = "is of sources without a test set, and this one has its own"
            raise FedkitError(what, field="test", remedy="leave it out")
        parts = _dealt(
            data, torch.arange(count), participants or 2, alpha, generator(seed, "partition")
        )
        shards = {name: (data.samples[part], data.labels[part]) for name, part in parts.items()}
        return shards, data.test
    test = 0.2 if test is None else test
    order = torch.randperm(count, generator=generator(seed, "import"))
    held = round(test * count) if 0 < test < 1 else 0
    if not 0 < held < count:
        raise FedkitError(
            f"of {test:g} leaves nothing to test on, or to train on, of {count} samples",
            field="test",
            remedy="write a share between 0 and 1, such as 0.2",
        )
    chosen, rest = order[:held].sort().values, order[held:].sort().values
    if data.owners is not None:
        for field, asked in (("participants", participants), ("alpha", alpha)):
            if asked is not None:
                raise FedkitError(
                    "is of samples that are to be dealt out, and these say whose they are",
                    field=field,
                    remedy="leave it out, or the column or array of participants",
                )
        whose = np.array(data.owners)[rest.numpy()]
        parts = {name: rest[torch.from_numpy(whose == name)] for name in sorted(set(data.owners))}
        bare = [name for name, part in parts.items() if not len(part)]
        if bare:
            raise FedkitError(
                f"of {bare[0]} all lie in the test set",
                field="samples",
                remedy="hold out less with --test, or another part with --seed",
            )
    else:
        parts = _dealt(data, rest, participants or 2, alpha, generator(seed, "partition"))
    shards = {name: (data.samples[part], data.labels[part]) for name, part in parts.items()}
    return shards, (data.samples[chosen], data.labels[chosen])


def _dealt(
    data: Imported, rest: Tensor, participants: int, alpha: float | None, draw: torch.Generator
) -> dict[str, Tensor]:
    split: Callable[..., list[Tensor]] = split_iid
    more: dict[str, Any] = {}
    if alpha is not None:
        split, more = split_dirichlet, {"alpha": alpha}
    labels = data.labels if data.labels.dim() == 1 else data.labels[:, 0]
    codes = labels if data.task.labels == "classes" else labels.long()
    if data.task.labels == "numbers":
        if alpha is not None:
            raise FedkitError(
                "skews classes, and the labels are numbers", field="alpha", remedy="leave it out"
            )
        codes = torch.zeros(len(labels), dtype=torch.int64)
    parts = split(codes[rest], participants, generator=draw, **more)
    names = tutorial_participants(participants)
    return {name: rest[part] for name, part in zip(names, parts, strict=True)}
