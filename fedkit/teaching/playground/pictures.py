"""What a model says, as a small picture: a decision surface with points on it, or digits read right and wrong.

numpy and Pillow draw it in a millisecond, where a figure of matplotlib takes a hundred. Colours: Okabe and Ito 2008; a
class is also told by the shape of its points, and a wrong answer by a cross.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from fedkit.config.task import Task
from fedkit.data.shards import Shard
from fedkit.learning.models import StateDict
from fedkit.teaching.playground.play import NAMES, Play, Rebuilt

__all__ = ["Painter", "data_url"]

Pixels = np.ndarray[Any, Any]
PALETTE = np.array(
    [(0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0)],
    dtype=float,
)
_GRID = 40  # answers along each side of a surface
SMALL, LARGE = 160, 400  # pixels of a picture's side
_LEVELS = 10  # of a tint: bands are seen, and compress well
_DIGITS = 20  # test images that are shown
_INK, _PAPER = (26, 26, 26), (255, 255, 255)


class Painter:
    """Draws the frames of one run. What stays the same in all of them, points and test images, is drawn once.

    `kind` is "plane" for samples of two numbers, "images" for images of classes, and "" where nothing can be drawn.
    """

    def __init__(self, play: Play) -> None:
        self.play = play
        self.task: Task = play.rounds.config.task
        self.judge: nn.Module = play.judge
        self.test: Shard = play.test
        self.kind = _kind(self.task)
        if self.kind == "plane":
            everything = torch.cat([self.test[0], *play.seen.values()])
            self.reach = float(everything.abs().max().clamp(1e-6, 1e12)) * 1.06
            side = torch.linspace(-self.reach, self.reach, _GRID)
            down, across = torch.meshgrid(side.flip(0), side, indexing="ij")
            self.grid = torch.stack([across, down], -1).reshape(-1, 2)
            labels = {who: play.dealt.shards[who][1] for who in play.seen}
            self.over = {
                who: self._points(x, labels[who], SMALL, 3.2) for who, x in play.seen.items()
            }
            self.over[""] = self._points(*self.test, LARGE, 4.5)
        elif self.kind == "images":
            step = max(1, len(self.test[1]) // _DIGITS)
            self.chosen = self.test[1].argsort(stable=True)[::step][:_DIGITS]

    def _judges(self, who: str) -> Shard:
        """The test samples by which a model is judged: of all, of a group, of one participant."""
        if who in (everybody := ("", *NAMES)):
            number = max(everybody.index(who) - 1, 0)
            return self.play.test_of(self.play.rounds.groups[number])
        return self.play.test_of((who,))

    def pictures(self, states: Mapping[str, StateDict]) -> dict[str, bytes]:
        """A PNG for each model by its name, "" for the global one, which is larger; none where nothing can be drawn."""
        draw = {"plane": self._surface, "images": self._read}.get(self.kind)
        return {} if draw is None else {who: draw(who, state) for who, state in states.items()}

    def rebuilt(self, found: Rebuilt) -> bytes | None:
        """The participant's true samples, and beside or on them what the aggregator can rebuild."""
        if self.kind == "plane":
            return self._rebuilt_points(found)
        return self._rebuilt_images(found) if self.kind == "images" else None

    def _answers(self, state: StateDict, samples: Tensor) -> Tensor:
        """How sure the model is of each class, [N, classes]."""
        self.judge.load_state_dict(state)
        self.judge.eval()
        with torch.no_grad():
            said = self.judge(samples).nan_to_num()
        if self.task.labels == "binary":
            yes = said.reshape(len(samples), -1)[:, :1].sigmoid()
            return torch.cat([1 - yes, yes], 1)
        sure: Tensor = said.softmax(1)
        return sure

    def _surface(self, who: str, state: StateDict) -> bytes:
        sure = self._answers(state, self.grid).numpy().astype(float)
        classes = sure.shape[1]
        best, top = sure.argmax(1), sure.max(1)
        depth = np.ceil((top - 1 / classes) / (1 - 1 / classes) * _LEVELS) / _LEVELS
        tint = 0.18 + 0.42 * depth
        colour = PALETTE[best % len(PALETTE)] * tint[:, None] + 255 * (1 - tint[:, None])
        if who not in self.over:  # a group
            self.over[who] = self._points(*self._judges(who), SMALL, 2.2)
        over = self.over[who]
        side = over.width
        small = Image.fromarray(colour.reshape(_GRID, _GRID, 3).astype(np.uint8))
        base = np.asarray(small.resize((side, side), Image.Resampling.NEAREST)).copy()
        said = Image.fromarray(best.astype(np.uint8).reshape(_GRID, _GRID))
        where = np.asarray(said.resize((side, side), Image.Resampling.NEAREST))
        edge = np.zeros((side, side), bool)
        edge[1:] |= where[1:] != where[:-1]
        edge[:, 1:] |= where[:, 1:] != where[:, :-1]
        base[edge] = _INK
        page = Image.fromarray(base)
        page.paste(over, mask=over)
        return _png(page)

    def _points(self, where: Tensor, labels: Tensor, side: int, radius: float) -> Image.Image:
        """Points as a layer that is clear elsewhere: circles, squares, triangles, by class."""
        layer = Image.new("RGBA", (side, side), (255, 255, 255, 0))
        pen = ImageDraw.Draw(layer)
        for (x, y), label in zip(self._place(where, side), labels.long().tolist(), strict=True):
            red, green, blue = (0.72 * PALETTE[label % len(PALETTE)]).astype(int).tolist()
            _mark(pen, label, x, y, radius, (red, green, blue), _PAPER)
        return layer

    def _place(self, where: Tensor, side: int) -> list[tuple[float, float]]:
        scale = side / (2 * self.reach)
        far = where.double().clamp(-1e6, 1e6)
        return [((x + self.reach) * scale, (self.reach - y) * scale) for x, y in far.tolist()]

    def _read(self, who: str, state: StateDict) -> bytes:
        samples, labels = (part[self.chosen] for part in self._judges(who))
        right = (self._answers(state, samples).argmax(1) == labels.long()).tolist()
        columns, gap = 5, 3
        rows = math.ceil(len(right) / columns)
        tiles = [_rgb(image) for image in samples]
        high, wide = tiles[0].shape[:2]
        page = Image.new("RGB", (columns * (wide + gap), rows * (high + gap)), _PAPER)
        pen = ImageDraw.Draw(page)
        for position, (tile, good) in enumerate(zip(tiles, right, strict=True)):
            x, y = position % columns * (wide + gap), position // columns * (high + gap)
            tint = np.array((196, 235, 220) if good else (255, 205, 170), dtype=float) / 255
            page.paste(Image.fromarray((tile * tint).astype(np.uint8)), (x, y))
            if not good:
                line = (
                    (x + 1, y + 1, x + wide - 2, y + high - 2),
                    (x + 1, y + high - 2, x + wide - 2, y + 1),
                )
                for ends in line:
                    pen.line(ends, fill=(182, 74, 0), width=2)
        scale = max(1, round((LARGE if who == "" else SMALL) / page.width))
        page = page.resize((page.width * scale, page.height * scale), Image.Resampling.NEAREST)
        return _png(page)

    def _rebuilt_points(self, found: Rebuilt) -> bytes:
        page = Image.new("RGB", (LARGE, LARGE), (246, 246, 246))
        pen = ImageDraw.Draw(page)
        inside = found.candidates[(found.candidates.abs() < self.reach).all(1)]
        for x, y in self._place(found.truth, LARGE):
            _mark(pen, 0, x, y, 5, tuple(PALETTE[0].astype(int).tolist()), _PAPER)
        for x, y in self._place(inside, LARGE):
            pen.rectangle((x - 8, y - 8, x + 8, y + 8), outline=(182, 74, 0), width=2)
        return _png(page)

    def _rebuilt_images(self, found: Rebuilt, count: int = 8) -> bytes | None:
        """Two rows: the images that came back best, and above each the true one."""
        if not len(found.candidates):
            return None
        best = found.error.argsort()[:count]
        pairs = [(_rgb(found.truth[i]), _rgb(found.candidates[found.nearest[i]])) for i in best]
        columns = [
            np.concatenate([np.pad(p, ((2, 2), (2, 2), (0, 0)), constant_values=200) for p in pair])
            for pair in pairs
        ]
        page = Image.fromarray(np.concatenate(columns, 1))
        scale = max(1, LARGE // page.width)
        return _png(
            page.resize((page.width * scale, page.height * scale), Image.Resampling.NEAREST)
        )


def _kind(task: Task) -> str:
    if not task.classes or (task.labels == "binary" and task.outputs > 1):
        return ""
    if task.samples == "vectors" and task.shape == (2,):
        return "plane"
    drawable = task.samples == "images" and task.shape[0] in (1, 3) and max(task.shape[1:]) <= 64
    return "images" if drawable else ""


def _rgb(image: Tensor) -> Pixels:
    """An image [C, H, W] as uint8 [H, W, 3]: ink on paper where it has one channel, stretched where it leaves 0..1."""
    values = image.double().nan_to_num().numpy()
    low, high = min(0.0, values.min()), max(1.0, values.max())
    values = (values - low) / (high - low)
    if len(values) == 1:
        values = np.repeat(1 - values, 3, 0)
    return np.asarray((255 * values.transpose(1, 2, 0)).astype(np.uint8))


def _mark(
    pen: ImageDraw.ImageDraw,
    label: int,
    x: float,
    y: float,
    r: float,
    fill: tuple[int, ...],
    line: tuple[int, ...],
) -> None:
    if label % 3 == 0:
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=line)
    elif label % 3 == 1:
        pen.rectangle((x - r, y - r, x + r, y + r), fill=fill, outline=line)
    else:
        pen.polygon([(x, y - 1.3 * r), (x - 1.2 * r, y + r), (x + 1.2 * r, y + r)], fill, line)


def _png(page: Image.Image) -> bytes:
    out = io.BytesIO()
    page.save(out, "PNG", compress_level=1)
    return out.getvalue()


def data_url(png: bytes) -> str:
    """A picture as an address that needs no file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
