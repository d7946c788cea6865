"""Checks of notebook 02: a config put right, the size of a model, and what has changed since the approval."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.text import nearest
from fedkit.config.fl_config import FLConfig
from fedkit.learning.models import SAMPLE_MODEL, flatten, seed_weights
from fedkit.teaching.check.answers import listed, near, number, plain, shown
from fedkit.teaching.check.attempt import Open, Wrong, unfinished
from fedkit.teaching.check.base import check

PEOPLE = {"alice@example.org", "bob@example.org"}


@check(
    hint="With nothing between the braces, FLConfig names the first mistake and says what to do about it."
)
def valid_config(broken: Mapping[str, Any], repairs: Mapping[str, Any]) -> str:
    """Repairing a config."""
    repairs = plain(repairs)
    if not isinstance(repairs, Mapping):
        raise Wrong("The repairs should be a dict: key, colon, value.")
    for key in repairs:
        if key not in FLConfig.model_fields:
            near_key = nearest(str(key), FLConfig.model_fields)
            guess = f" Did you mean {near_key!r}?" if near_key else ""
            raise Wrong(f"{shown(key)} is no key of a config.{guess}")
    try:
        config = FLConfig.from_dict({**broken, **repairs})
    except FedkitError as error:
        raise Wrong(f"FLConfig still refuses it: {error}") from error
    for found, wanted, said in (
        (set(config.participants), PEOPLE, "it is another experiment: Alice and Bob should train."),
        (config.rounds, 3, "it is another experiment: there were three rounds."),
        (config.epoch, 10, "it is another experiment: each round had ten epochs."),
        (config.model_arch, "model.py", "the file with the model is named model.py."),
        (config.project_name, broken.get("project_name"), "project_name was not broken."),
        (config.aggregator, broken.get("aggregator"), "aggregator was not broken."),
    ):
        if found != wanted:
            raise Wrong(f"The config is valid now, but {said}")
    return "A config that loads is one that the aggregator and both clients understand in the same way."


WEIGHTS = flatten(seed_weights(SAMPLE_MODEL)).numel()


@check(
    hint="fc1 joins 784 pixels with 128 hidden units, fc2 these with 10 digits, and every unit adds a bias.",
    parts=True,
)
def model_size(weights: object, size: object) -> str:
    """The size of the model."""
    if unfinished(weights):
        if unfinished(size):
            raise Open
        if number(size) == 4 * WEIGHTS:
            raise Open("The bytes are right; the number of weights is still open.")
        raise Open("The bytes can be told from the number of weights, which is still open.")
    count = number(weights)
    if count == 4 * WEIGHTS and not unfinished(size) and number(size) == WEIGHTS:
        raise Wrong("The two answers are swapped: first the number of weights, then the bytes.")
    if count == 4 * WEIGHTS:
        raise Wrong("Those are the bytes. The first answer is the number of weights.")
    if count == WEIGHTS - 128 - 10:
        raise Wrong(
            "The weights of both layers are there, but each of the 128 + 10 units has a bias too.",
            sure=True,
        )
    if count in (WEIGHTS - 10, WEIGHTS - 128):
        raise Wrong("One of the two layers still lacks its biases: a bias for each of its outputs.")
    near(
        count,
        WEIGHTS,
        within=0,
        wrong=f"{count:,.10g} is not the number of weights of both layers and their biases.",
    )
    if unfinished(size):
        raise Open("The number of weights is right; their bytes are still open.")
    total = number(size)
    if total == 32 * WEIGHTS:
        raise Wrong("Those are bits. Eight of them are a byte.")
    if any(abs(total - 4 * WEIGHTS / kilo) < 1 for kilo in (1000, 1024)):
        raise Wrong("That is the size in thousands of bytes. Count single bytes.")
    if any(abs(total - 4 * WEIGHTS / mega) < 0.02 for mega in (1000**2, 1024**2)):
        raise Wrong("That is the size in millions of bytes. Count single bytes.")
    if total == 4:
        raise Wrong("Four bytes are one weight. How many weights are there?")
    if total == 8 * WEIGHTS:
        raise Wrong("Eight bytes are a float64. This model's weights are float32.")
    if total == WEIGHTS:
        raise Wrong("One byte holds a whole number up to 255. A float32 needs more than one.")
    near(
        total,
        4 * WEIGHTS,
        within=0.01 * 4 * WEIGHTS,
        wrong="The number of weights is right, the bytes are not.",
    )
    return f"{WEIGHTS:,} weights of four bytes each: {4 * WEIGHTS:,} bytes. The file that crosses is a little larger."


@check(
    hint="For each approved name: take the fingerprint of the bytes that lie there now, and compare.",
    takes="approved contents",
)
def changed_files(attempt: Callable[[dict[str, str], dict[str, bytes]], Iterable[str]]) -> str:
    """What has changed since the approval."""
    before = {"fl_config.json": b'{"rounds": 3}', "model.py": b"hidden = 128\n"}
    approved = {name: hashlib.sha256(data).hexdigest() for name, data in before.items()}

    def ask(**changes: bytes) -> list[str]:
        now = before | {name.replace("__", "."): data for name, data in changes.items()}
        form = "The answer should be a list of file names, empty where nothing has changed."
        names = plain(attempt(dict(approved), now))
        if isinstance(names, bool | str) or not isinstance(names, Iterable):
            raise Wrong(form)
        if isinstance(names, Mapping) and not all(names.values()):
            raise Wrong(f"{form} Yours is a dict that says something of every file.")
        found = list(listed(names))  # type: ignore[call-overload]
        for name in found:
            if name not in now:
                raise Wrong(f"{form} Yours holds {shown(name)}, which is no name of a file there.")
        return sorted(found)

    unchanged = ask()
    if unchanged and len(unchanged) < len(approved):
        raise Wrong(f"Nothing has changed, and your function still names {unchanged[0]}.")
    if unchanged:
        raise Wrong(
            "Nothing has changed, and your function still names files. "
            + (
                "It names all of them whatever changes: no two things that it compares are ever equal. "
                "A pinned fingerprint is a text of 64 hex digits."
                if ask(fl_config__json=b"{}", model__py=b"")
                else "Where both have changed it names none: it is the other way round."
            )
        )
    if ask(model__py=b"hidden = 256\n") != ["model.py"]:
        raise Wrong(
            "model.py says hidden = 256 where 128 was approved: the same length, other bytes. Your list differs."
        )
    if ask(fl_config__json=b'{"rounds": 3} ') != ["fl_config.json"]:
        raise Wrong(
            "One space was added to fl_config.json. It counts, and your list doesn't say so."
        )
    if ask(fl_config__json=b"{}", model__py=b"") != ["fl_config.json", "model.py"]:
        raise Wrong("Both files have changed, and your list doesn't name both.")
    return (
        "One byte is enough: equal fingerprints mean equal bytes, and other bytes have another one."
    )
