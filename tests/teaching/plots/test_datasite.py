"""A datasite as a tree and as a table of rights: what changed, what is folded, who may do what."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from fedkit.datasite.tree import scan
from fedkit.teaching import plots
from tests.support.pictures import ALICE, BOB, cells, datasites, title, words


def lines(fig: Figure) -> list[str]:
    """The tree as text: sign, then guide and name, line by line."""
    rows: dict[float, list[Text]] = {}
    for text in fig.axes[0].texts:
        rows.setdefault(text.get_position()[1], []).append(text)
    told = []
    for _, texts in sorted(rows.items()):
        sign = "".join(t.get_text() for t in texts if t.get_position()[0] == 0) or " "
        middle = [t.get_text() for t in texts if t.get_position()[0] == 0.025]
        guide = min(middle, key=len)
        told.append(sign + guide + max(middle, key=len)[len(guide) :])
    return told


def test_tree_shows_files_and_empty_folders(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "b" / "empty").mkdir(parents=True)
    (site / "b" / "x.pt").write_bytes(b"0" * 2_500)
    (site / "a.txt").write_text("hello")
    (site / ".hidden").write_text("no")
    (site / "half.tmp").write_text("no")
    fig = plots.folder_tree(site)
    assert lines(fig) == [" site/", " ├── b/", " │   ├── empty/", " │   └── x.pt", " └── a.txt"]
    assert {"2.5 kB", "5 B"} <= set(words(fig))
    assert "2 files" in title(fig)


def test_tree_marks_what_changed_and_folds_the_rest(tmp_path: Path) -> None:
    for name in ("same/deep/1.txt", "same/2.txt", "box/old.txt", "box/kept.txt", "box/w.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = scan(tmp_path)
    (tmp_path / "box/old.txt").unlink()
    (tmp_path / "box/w.txt").write_text("longer")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/n.txt").write_text("1")
    fig = plots.folder_tree(tmp_path, before, root="D")
    assert lines(fig) == [
        " D/",
        " ├── box/",
        " │   ├── kept.txt",
        "-│   ├── old.txt",
        "~│   └── w.txt",
        " ├── new/",
        "+│   └── n.txt",
        " └── same/ …",
    ]
    assert title(fig).endswith("1 new (+), 1 rewritten (~), 1 gone (-)")
    assert title(plots.folder_tree(tmp_path, scan(tmp_path))) == "Nothing has changed"


def test_tree_leaves_out_and_cuts(tmp_path: Path) -> None:
    for name in ("a/1.yaml", "a/2.txt", "b/3.txt", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    shown = lines(plots.folder_tree(tmp_path, root="D", hide=["1.yaml", "b"]))
    assert shown == [" D/", " ├── a/", " │   └── 2.txt", " └── c.txt"]
    cut = lines(plots.folder_tree(tmp_path, root="D", rows=4))
    assert len(cut) == 4
    assert cut[-1].strip() == "… and 4 lines more"


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ("read", [["✓ own", "–", "–"], ["✓ own", "✓", "✓"], ["✓ own", "✓", "–"]]),
        ("write", [["✓ own", "–", "–"], ["✓ own", "–", "–"], ["✓ own", "✓", "–"]]),
    ],
)
def test_permission_matrix(tmp_path: Path, right: str, expected: list[list[str]]) -> None:
    paths = [f"{ALICE}/{name}" for name in ("diary.txt", "public/p.txt", "shared/s.txt")]
    people = [ALICE, BOB, "eve@example.org"]
    fig = plots.permission_matrix(datasites(tmp_path), people, paths, right)
    assert cells(fig, 3) == expected
    assert right in title(fig)
    assert {"alice", "bob", "eve", f"{ALICE}/public/p.txt"} <= set(words(fig))
    assert fig.axes[0].images[0].get_array().tolist() == [
        [int("✓" in cell) for cell in row] for row in expected
    ]
