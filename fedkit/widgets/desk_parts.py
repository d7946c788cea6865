"""What a participant must see before saying yes: the config as a table, the code with its hash, what stands out in it."""

from __future__ import annotations

from fedkit.config.fl_config import FLConfig
from fedkit.protocol.approval import Review
from fedkit.protocol.code_review import DISCLAIMER, review_code
from fedkit.widgets.highlight import highlight
from fedkit.widgets.look import code, esc, note, table

__all__ = ["config_html", "hints_html", "request_html", "source_html"]


def request_html(asked: Review, live: bool) -> str:
    """All of a request, one piece below the other."""
    return f"{config_html(asked.config)}{source_html(asked, live)}{hints_html(asked)}"


def config_html(config: FLConfig) -> str:
    """The config as a table; what is not written in it stands there with its default."""
    quorum = f"{config.quorum} of {len(config.participants)} updates"
    may = ", ".join(config.adjustable)
    said = {
        "project": config.project_name,
        "aggregator": f"{config.aggregator} (receives your updates)",
        "participants": ", ".join(config.participants),
        "rounds": str(config.rounds),
        "local epochs": f"{config.epoch} in each round",
        "learning rate": f"{config.learning_rate:g}",
        "batch size": str(config.batch_size),
        "a round needs": quorum,
        "may change later": may or "nothing",
    }
    said |= {
        name: f"{(config.model_extra or {})[name]} (unknown to fedkit)" for name in config.unknown
    }
    rows = [[esc(name), esc(value)] for name, value in said.items()]
    return table(["setting", "value"], rows, wrap=[1], caption="What is asked")


def source_html(asked: Review, live: bool) -> str:
    """The code that would run, with its hash; lines that the static review names have a sign in front."""
    name = asked.config.model_arch
    marked = {f.line for f in review_code(asked.source, asked.config.model_class_name)}
    return (
        f'<div><strong>What would run: {esc(name)}</strong><br><span class="fk-soft">SHA-256 '
        f'<span style="overflow-wrap: anywhere">{code(asked.hashes[name])}</span></span></div>'
        f"{highlight(asked.source, marked, live)}"
    )


def hints_html(asked: Review) -> str:
    """What the static review says, and that it is no guarantee."""
    found = review_code(asked.source, asked.config.model_class_name)
    if not found:
        return note(
            f"<strong>Static review:</strong> nothing stands out. {esc(DISCLAIMER)}", "", "note"
        )
    lines = "".join(
        f"<li>{f'line {f.line}' if f.line else 'the file'}: {esc(f.what)}</li>" for f in found
    )
    count = f"{len(found)} thing{'' if len(found) == 1 else 's'} to look at"
    return note(
        f"<strong>Static review:</strong> ▸ {count}. {esc(DISCLAIMER)}<ul>{lines}</ul>",
        "bad",
        "note",
    )
