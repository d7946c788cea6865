"""Tables and images become shards; every cell that is no number is named by row and column."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedkit.base.errors import FedkitError
from fedkit.config.task import Task
from fedkit.data.importing import (
    Imported,
    deal_out,
    import_images,
    import_table,
)

TABLE = """age,weight,who,ill
30,70.5,north,yes
41,80,south,no
28,61,north,no
55,90,south,yes
33,72,north,no
"""


def table(folder: Path, text: str = TABLE) -> Path:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_with_whose_a_row_is(tmp_path: Path) -> None:
    data = import_table(table(tmp_path), "ill", participant="who")
    assert data.task.samples == "vectors"
    assert data.task.shape == (2,)
    assert (data.task.labels, data.task.names) == ("binary", ("no", "yes"))
    assert torch.equal(data.samples[1], torch.tensor([41.0, 80.0]))
    assert data.labels.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert data.owners == ["north", "south", "north", "south", "north"]


@pytest.mark.parametrize(
    ("target", "more", "labels", "outputs"),
    [
        ("age", {"loss": "mse", "drop": ["who", "ill"]}, "numbers", 1),
        ("ill", {"loss": "cross_entropy", "drop": ["who"]}, "classes", 2),
        ("age", {"drop": ["who", "ill"]}, "classes", 5),
    ],
)
def test_what_a_target_is(
    tmp_path: Path, target: str, more: dict[str, Any], labels: str, outputs: int
) -> None:
    task = import_table(table(tmp_path), target, **more).task
    assert (task.labels, task.outputs) == (labels, outputs)


WRONG = [
    (TABLE.replace("80,", "abc,"), {}, "row 3, column 'weight'", "holds 'abc'"),
    (TABLE.replace("28,", ","), {}, "row 4, column 'age'", "is empty"),
    (TABLE.replace("28,", "inf,"), {}, "row 4, column 'age'", "no finite number"),
    (TABLE.replace("55,", "nan,"), {}, "row 5, column 'age'", "no finite number"),
    (TABLE.replace("south,yes", ",yes"), {}, "row 5, column 'who'", "whose it is"),
    (TABLE.replace("north,yes", "north,"), {"loss": "mse"}, "row 2, column 'ill'", "is empty"),
    (
        TABLE.replace("yes", "?", 1),
        {"loss": "bce_with_logits"},
        "column 'ill'",
        "yes or no are two",
    ),
    (TABLE, {"target": "sick"}, None, "no column 'sick'"),
    (TABLE, {"drop": ["height"]}, None, "no column 'height'"),
    (TABLE, {"drop": ["age", "weight"]}, None, "has no feature"),
    (TABLE.splitlines()[0] + "\n", {}, None, "has no row"),
    (TABLE.replace("yes", "no"), {}, "column 'ill'", "1 different values"),
    ("", {}, None, "can't be read as a table"),
    ('a,b\n"1', {}, None, "t.csv"),
    # a cell more than the header has columns: no column slips by one
    (TABLE.replace("30,", "7,30,"), {}, None, "can't be read as a table"),
    (TABLE.replace("yes", "yes,"), {}, None, "can't be read as a table"),
    (TABLE.replace("age", "weight"), {}, None, "2 columns 'weight'"),
    (TABLE.replace(",", ";"), {}, None, "commas"),
    (TABLE.replace("28", "1e39"), {}, "row 4, column 'age'", "holds '1e39'"),
    (TABLE.replace("28,", "\n\n28,x"), {}, "row 6, column 'weight'", "holds 'x61'"),
    (TABLE, {"drop": ["ill"]}, "column 'ill'", "is named 2 times"),
    (TABLE, {"target": "who"}, "column 'who'", "is named 2 times"),
]


@pytest.mark.parametrize(("text", "more", "field", "says"), WRONG)
def test_a_wrong_cell_is_named(
    tmp_path: Path, text: str, more: dict[str, Any], field: str | None, says: str
) -> None:
    how: dict[str, Any] = {"target": "ill", "participant": "who", **more}
    with pytest.raises(FedkitError) as caught:
        import_table(table(tmp_path, text), **how)
    assert says in str(caught.value)
    assert caught.value.field == field
    assert caught.value.remedy


def test_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="can't be read"):
        import_table(tmp_path / "nowhere.csv", "x")


def test_a_table_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    """With a byte order mark, quoted cells, and empty lines."""
    text = "\ufeff" + TABLE.replace("weight", '"weight, kg"').replace("41", '"41"') + "\n\n"
    data = import_table(table(tmp_path, text), "ill", participant="who")
    assert torch.equal(data.samples[:2], torch.tensor([[30.0, 70.5], [41.0, 80.0]]))


def test_classes_called_nan_have_one_order(tmp_path: Path) -> None:
    for order in (["nan", "2", "b", "1"], ["1", "b", "2", "nan"]):
        text = "x,y\n" + "".join(f"1,{name}\n" for name in order)
        assert import_table(table(tmp_path, text), "y").task.names == ("1", "2", "b", "nan")


def pictures(folder: Path, mode: str = "RGB", size: tuple[int, int] = (5, 4)) -> Path:
    for number, name in enumerate(["cat", "dog"]):
        (folder / name).mkdir(parents=True)
        for n in range(3):
            shade = 100 * number + n
            colour = (shade, 0, 255) if mode == "RGB" else shade
            Image.new(mode, size, colour).save(folder / name / f"{n}.png")  # type: ignore[arg-type]
    return folder


def test_colour_and_grey_images(tmp_path: Path) -> None:
    data = import_images(pictures(tmp_path / "rgb"))
    assert data.task.shape == (3, 4, 5)
    assert data.task.names == ("cat", "dog")
    assert data.samples.shape == (6, 3, 4, 5)
    assert float(data.samples[3, 0, 0, 0]) == pytest.approx(100 / 255)
    assert float(data.samples[:, 2].min()) == 1.0
    grey = import_images(pictures(tmp_path / "grey", "L"), size=(8, 8))
    assert grey.samples.shape == (6, 1, 8, 8)
    assert grey.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_photo_that_a_camera_wrote_on_its_side_stands_upright(tmp_path: Path) -> None:
    """EXIF's orientation 6: turn it by 90 degrees, clockwise, to see what the photographer saw."""
    upright = torch.zeros(6, 4, dtype=torch.uint8)
    upright[0] = 200  # a bright sky
    for name, turned in (("plain", False), ("turned", True)):
        seen = upright.rot90() if turned else upright
        exif = Image.Exif()
        exif[0x0112] = 6 if turned else 1
        (tmp_path / name).mkdir()
        Image.fromarray(seen.numpy()).save(tmp_path / name / "a.png", exif=exif)
    plain, turned = import_images(tmp_path).samples
    assert plain.shape == (1, 6, 4)
    assert torch.equal(plain, turned)
    assert plain[0, 0].min() > 0.7


def test_images_that_can_not_be_one_batch_are_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path)
    Image.new("RGB", (9, 9)).save(folder / "dog" / "9.png")
    with pytest.raises(FedkitError, match="9x9x3, the first image 4x5x3"):
        import_images(folder)
    assert import_images(folder, size=(4, 4)).samples.shape == (7, 3, 4, 4)
    (folder / "dog" / "9.png").write_bytes(b"no image")
    with pytest.raises(FedkitError, match="is no image") as caught:
        import_images(folder, size=(4, 4))
    assert caught.value.file == folder / "dog" / "9.png"
    with pytest.raises(FedkitError, match="0 folders of classes"):
        import_images(folder / "cat")
    (folder / "emu").mkdir()
    (folder / "dog" / "9.png").unlink()
    with pytest.raises(FedkitError, match="holds no image") as caught:
        import_images(folder, size=(4, 4))
    assert caught.value.file == folder / "emu"


def test_what_else_lies_among_images_is_said(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "grey", "LA")
    (folder / ".ipynb_checkpoints").mkdir()
    assert import_images(folder).task.shape == (1, 4, 5)
    with pytest.raises(FedkitError, match="0 by 4 pixels"):
        import_images(folder, size=(0, 4))
    with pytest.raises(FedkitError, match="90000"):
        import_images(folder, size=(90_000, 90_000))
    (folder / "cat" / "more").mkdir()
    with pytest.raises(FedkitError, match="is a folder") as caught:
        import_images(folder)
    assert caught.value.file == folder / "cat" / "more"


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_an_image_of_more_bits_does_not_become_white(tmp_path: Path, dtype: str) -> None:
    folder = pictures(tmp_path, "L")
    Image.fromarray(np.full((4, 5), 999, dtype)).save(folder / "cat" / "0.tiff")
    with pytest.raises(FedkitError, match="more than 8 bits") as caught:
        import_images(folder)
    assert caught.value.file == folder / "cat" / "0.tiff"


def test_an_image_that_unpacks_without_end_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
    with pytest.raises(FedkitError, match="is no image"):
        import_images(pictures(tmp_path, size=(9, 9)))


# ------------------------------------------------------------------------------------ dealing out
def many(owners: list[str] | None = None) -> Imported:
    task = Task.model_validate({"samples": "vectors", "shape": [1], "outputs": 3})
    return Imported(task, torch.arange(60.0)[:, None], torch.arange(60) % 3, owners)


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_every_sample_lands_once(alpha: float | None) -> None:
    shards, test = deal_out(many(), participants=4, alpha=alpha)
    assert list(shards) == [f"{n}@example.org" for n in ("alice", "bob", "carol", "dave")]
    assert len(test[0]) == 12
    every = torch.cat([*(s[0] for s in shards.values()), test[0]]).flatten()
    assert sorted(every.tolist()) == list(range(60))
    again, _ = deal_out(many(), participants=4, alpha=alpha)
    assert all(torch.equal(shards[name][0], again[name][0]) for name in shards)
    other, _ = deal_out(many(), participants=4, alpha=alpha, seed=1)
    assert not all(
        len(shards[name][0]) == len(other[name][0]) and torch.equal(shards[name][0], other[name][0])
        for name in shards
    )


def test_by_owner() -> None:
    owners = ["a"] * 40 + ["b"] * 20
    for asked in ({"participants": 3}, {"alpha": 0.5}):
        with pytest.raises(FedkitError, match="say whose they are"):
            deal_out(many(owners=owners), **asked)  # type: ignore[arg-type]
    shards, _ = deal_out(many(owners=owners))
    assert float(shards["a"][0].max()) < 40 <= float(shards["b"][0].min())


@pytest.mark.parametrize("test", [0, 1, -1, 0.001, 0.999, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(test: float) -> None:
    with pytest.raises(FedkitError) as caught:
        deal_out(many(), test=test)
    assert caught.value.field == "test"


def test_an_owner_without_a_sample_left_is_named() -> None:
    data = many(owners=["a"] * 59 + ["b"])

    def all_of_them() -> None:
        for seed in range(100):
            deal_out(data, seed=seed)

    with pytest.raises(FedkitError, match="of b all lie in the test set"):
        all_of_them()
