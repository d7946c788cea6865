"""A lesson as its author wrote it: one text file, read into a card and numbered cells.

`notebooks/src/NN_name.py` is in jupytext's percent format. Its header carries the card; titles and links of the
neighbours are never written by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import NAME, lesson_paths

__all__ = ["Card", "Cell", "Lesson", "Problem", "read_lesson", "source_paths"]

PROMISE = re.compile(r"^You will be able to .*?(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
# left to itself, jupytext takes the comment `# cat sees it` for a command of IPython's
FORMAT = {"extension": ".py", "format_name": "percent", "comment_magics": False}

Line = Annotated[str, Field(min_length=1, max_length=240, pattern=r"^[^\n]+$")]


class Card(BaseModel):
    """What stands at the top of a lesson; the key `fedkit` of the source's header."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget_s: Annotated[float, Field(gt=0)]  # seconds that running all cells may take
    needs: Line
    learn: Annotated[list[Line], Field(min_length=1, max_length=4)]
    short_path: Annotated[list[Line], Field(max_length=2)] | None = None  # what is passed over


@dataclass(frozen=True)
class Cell:
    """One cell: its `number` from 1 as in the built notebook, the `line` of its marker in the source (0: unknown)."""

    number: int
    line: int
    kind: Literal["markdown", "code"]
    source: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """A lesson's file, card and cells."""

    path: Path
    card: Card
    cells: tuple[Cell, ...]
    original: Lesson | None = None  # of a translation: the lesson in English

    @property
    def name(self) -> str:
        """`04_aggregate`"""
        return self.path.stem

    @property
    def number(self) -> int:
        """4"""
        return int(self.name[:2])

    @property
    def title(self) -> str:
        """The text of the first H1, or the file's name."""
        match = re.search(r"^# (.+)$", self.cells[0].source, re.MULTILINE) if self.cells else None
        return match[1].strip() if match else self.name

    @property
    def promise(self) -> str:
        """The paragraph "You will be able to ..." in one line, or nothing; in a translation the one in its place."""
        english = (self.original or self).cells
        match = PROMISE.search(english[0].source) if english else None
        if match is None or self.original is None:
            return " ".join(match[0].split()) if match else ""
        before = len(_paragraphs(english[0].source[: match.start()] + "."))
        ours = _paragraphs(self.cells[0].source)[before - 1 : before]
        return " ".join(" ".join(ours).split())

    @property
    def ids(self) -> tuple[str, ...]:
        """The cells' ids, in every edition and language: a change in one cell changes no other's."""
        seen: Counter[str] = Counter()
        found = []
        for cell in (self.original or self).cells:
            content = f"{self.name}\n{cell.kind}\n{cell.source}"
            seen[content] += 1  # equal cells need different ids
            digest = hashlib.sha256(f"{content}\n{seen[content]}".encode()).hexdigest()[:10]
            found.append(f"{self.number:02d}-{digest}")
        return tuple(found)

    @property
    def needed(self) -> tuple[list[int], list[int]]:
        """The numbers of the lessons that `needs` names: first those that come before, then those of use for a part."""
        whole, _, part = self.card.needs.partition(";")
        return _numbers(whole), _numbers(part)

    def of_kind(self, kind: str) -> list[Cell]:
        """The cells of one kind, in order."""
        return [cell for cell in self.cells if cell.kind == kind]


@dataclass(frozen=True)
class Problem:
    """A broken rule: where, what, and what to do."""

    path: Path
    cell: Cell | None
    what: str
    remedy: str

    def __str__(self) -> str:
        line = f":{self.cell.line}" if self.cell and self.cell.line else ""
        number = f" cell {self.cell.number}:" if self.cell else ""
        return f"{self.path}{line}:{number} {self.what} -> {self.remedy}"


def source_paths(folder: Path, wanted: Sequence[str] = ()) -> list[Path]:
    """The sources of the course in `folder`, chosen as by `lesson_paths`. Raises FedkitError if it has none."""
    if not (folder / "src").is_dir():
        raise FedkitError(
            "has no src/ with the sources of the course",
            file=folder,
            remedy="run it in a clone of the repository, or give --notebooks",
        )
    return lesson_paths(folder / "src", wanted, ".py")


def read_lesson(path: Path) -> Lesson:
    """Read a lesson's source.

    Raises FedkitError if the name or the header is not as it must be; the message names the field.
    """
    try:
        import jupytext  # slow, and needed by authors only
    except ModuleNotFoundError:
        raise FedkitError(
            "jupytext is not installed", remedy='run `make lessons`, or `pip install -e ".[dev]"`'
        ) from None

    if not NAME.fullmatch(path.stem):
        raise FedkitError("is no name of a lesson", file=path, remedy="name it NN_name.py")
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    try:
        notebook = jupytext.reads(text, fmt=FORMAT)
        header = notebook.metadata.get("fedkit")
    except Exception as error:  # a YAML error has no common class in jupytext
        raise FedkitError(
            "has a header that can't be read",
            file=path,
            why=str(error),
            remedy="see CONTRIBUTING.md",
        ) from error
    lines = [i for i, line in enumerate(text.splitlines(), 1) if re.match(r"# %%", line)]
    if len(lines) != len(notebook.cells):
        lines = [0] * len(notebook.cells)  # text before the first marker is a cell as well
    cells = []
    for number, (cell, line) in enumerate(zip(notebook.cells, lines, strict=True), 1):
        kind = cell.cell_type
        if kind not in ("markdown", "code"):
            raise FedkitError(
                f"cell {number} is of kind {kind}", file=path, remedy="use markdown and code cells"
            )
        cells.append(
            Cell(number, line, kind, cell.source.strip("\n"), tuple(cell.metadata.get("tags", [])))
        )
    return Lesson(path, _card(path, header), tuple(cells))


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n\s*\n", text)


def _numbers(text: str) -> list[int]:
    """`03 to 05 and 07` -> [3, 4, 5, 7]"""
    found: list[int] = []
    for first, last in re.findall(r"\b(\d\d)\b(?: to (\d\d)\b)?", text):
        found += range(int(first), int(last or first) + 1)
    return found


def _card(path: Path, header: object) -> Card:
    try:
        return Card.model_validate(header)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["jupyter", "fedkit", *[str(part) for part in first["loc"]]])
        raise FedkitError(
            "the header's card is not as it must be",
            file=path,
            field=field,
            why=first["msg"],
            remedy="give budget_s, needs and one to four points under learn; minutes are counted by the build",
        ) from error
