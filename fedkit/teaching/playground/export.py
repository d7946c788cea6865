"""What one takes away from the playground: the config as a file's text, and a notebook cell that gives the same numbers."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from fedkit.data.folder import DataFolder
from fedkit.teaching.playground.dealt import config_of, open_folder
from fedkit.teaching.playground.settings import Settings

__all__ = ["cell_of", "config_json"]


def config_json(settings: Settings, own: DataFolder | Path | str | None = None) -> str:
    """The text of an `fl_config.json`, which `FLConfig.load`, `fedkit run` and the other roads take. Raises FedkitError.

    Hostile participants and drop-outs are no part of a config: they happen on the way. Nor are groups: a project trains one
    global model.
    """
    return config_of(settings, open_folder(settings, own)).to_json()


def cell_of(settings: Settings, own: Path | str | None = None) -> str:
    """Python that runs the same rounds with `fk.simulate`, to the same bits. Raises FedkitError.

    own : the path of the folder of one's own data, which the cell then names.
    """
    config = config_of(settings, open_folder(settings, own))
    values = json.dumps(json.loads(config.to_json()), indent=4)
    values = textwrap.indent(_as_python(values), "    ").strip()
    folder = "" if settings.data != "own" else f", own={str(own)!r}"
    rounds = (
        "history = fk.simulate(\n"
        "    config, dealt.shards, dealt.test, model=dealt.model, on_the_way=dealt.on_the_way\n"
        ")\n"
    )
    imports, last = "", "print(history)\n"
    if settings.groups > 1:
        imports = "from fedkit.rounds.clustered import simulate_clustered\n"
        last = "print(history, *groups, sep='\\n')\n"
        rounds = (
            "# one model of all up to a round, then one for each group\n"
            "history, groups = simulate_clustered(\n"
            "    config, dealt.shards, dealt.test_of, dealt.split,\n"
            "    model=dealt.model, on_the_way=dealt.on_the_way,\n"
            ")\n"
        )
    return (
        "import fedkit as fk\n"
        f"{imports}from fedkit.teaching.playground.dealt import deal\n\n"
        f"config = fk.FLConfig.from_dict(\n    {values}\n)\n"
        "# the same samples, dealt out in the same way, and what happens to updates on their way\n"
        f"dealt = deal({settings.link()!r}{folder})\n"
        f"{rounds}{last}"
    )


def _as_python(text: str) -> str:
    """JSON's three words as Python writes them; they stand alone, after a colon, a bracket or an indent."""
    words = {"true": "True", "false": "False", "null": "None"}
    lines = []
    for line in text.splitlines():
        head, colon, last = line.rpartition(": ")
        bare = last.strip().removesuffix(",")
        if bare in words:
            last = last.replace(bare, words[bare])
        lines.append(head + colon + last)
    return "\n".join(lines)
