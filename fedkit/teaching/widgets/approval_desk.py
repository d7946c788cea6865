"""The desk at which a participant answers: what is asked, what code would run, what stands out; yes, or no and why.

What a person must see before saying yes stands below the panel: the config as a table, the code with its hash, hints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.base.events import Approved, Declined
from fedkit.base.text import how_many, visible
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import Tree, scan
from fedkit.privacy.guarantees import in_short
from fedkit.protocol.approval import (
    Review,
    approve,
    decline,
    declined_requests,
    pending_requests,
    review,
    take_back,
)
from fedkit.protocol.code_review import review_code
from fedkit.protocol.findings import find, in_words
from fedkit.protocol.signing_keys import COMPARE, signers, told_keys
from fedkit.teaching.control.control import Control
from fedkit.teaching.widgets.highlight import highlight
from fedkit.teaching.widgets.panel import (
    Panel,
    button,
    code,
    esc,
    fitted,
    heading,
    note,
    row,
    table,
)

__all__ = ["ApprovalDesk", "config_html", "hints_html", "keys_html", "request_html", "source_html"]


_NONE = "No request waits for an answer."


class ApprovalDesk(Panel):
    """The pending requests of one datasite, one at a time; and those that were declined, since a no can be taken back.

    Approving takes exactly the bytes that the panel shows. A decision reaches the other panels of the same network, and
    the aggregator with the next sync.

    datasite : whose desk it is. interactive : False in batch; then `desk.approve()` and `desk.decline("why")` do what the
    buttons do, as does `desk.take_back()`, and the panel is a picture of the moment at which it is displayed.
    """

    def __init__(self, datasite: Datasite, interactive: bool = True) -> None:
        super().__init__(interactive)
        self.datasite = datasite
        self._asked: Review | None = None
        self._pictured: dict[str, Review] = {}  # what a static picture has shown, by project
        self._seen: object = None
        self._said, self._kind = "", ""
        if interactive:
            self._make()

    def approve(self, project: str | None = None) -> Approved:
        """Say yes to a request (default: the one that is shown). Raises FedkitError."""
        asked = self._asked
        if asked is None or project not in (None, asked.project):
            name = project or self._first()
            asked = self._pictured.get(name) or review(self.datasite, name)
        event = approve(self.datasite, asked)
        self._decided(f"✓ Approved {esc(asked.project)}: only these bytes will run here.", "good")
        return event

    def decline(self, reason: str, project: str | None = None) -> Declined:
        """Say no to a request (default: the one that is shown), with a reason for the aggregator. Raises FedkitError."""
        name = project or (self.choice.value if self.interactive else None) or self._first()
        event = decline(self.datasite, name, reason)
        self._decided(f"✗ Declined {esc(name)}. The aggregator reads: “{esc(event.reason)}”", "bad")
        return event

    def take_back(self, project: str | None = None) -> None:
        """A declined request (default: the one shown, or the first) waits for an answer again. Raises FedkitError."""
        names = [*declined_requests(self.datasite)]
        shown = self.choice.value if self.interactive else None
        name = project or (shown if shown in names else next(iter(names), "")) or self._first()
        take_back(self.datasite, name)
        self._decided(f"○ The no to {esc(name)} is taken back: it waits for your answer again.", "")

    def html(self) -> str:
        names = pending_requests(self.datasite)
        parts = [f"<p><strong>Approval desk</strong> · {esc(self.datasite.email)}</p>"]
        parts += [f"<p>{self._said}</p>"] if self._said else []
        for name in names:
            asked, problem = self._picture(name)
            parts.append(
                problem if asked is None else request_html(self.datasite, asked, live=False)
            )
            parts.append("" if asked is None else keys_html(self.datasite, asked.config))
        parts += [f"<p>{_said_no(name, why)}</p>" for name, why in self._declined().items()]
        return "".join(parts if names else [*parts, f"<p>{_NONE}</p>"])

    def _declined(self) -> dict[str, str]:
        return declined_requests(self.datasite)

    def text(self) -> str:
        names = pending_requests(self.datasite)
        lines = [f"Approval desk · {self.datasite.email}"]
        for name in names:
            asked, _ = self._picture(name)
            if asked is None:
                lines.append(f"  {name}: can't be read")
                continue
            file = asked.config.model_arch
            lines.append(
                f"  {name}, asked by {asked.aggregator}; {file} sha256 {asked.hashes[file][:12]}…"
            )
            head, found = in_words(find(self.datasite, asked))
            lines += [f"    {head}", *(f"      {visible(line)}" for line in found)]
            keys = told_keys(self.datasite, signers(asked.config))
            lines += [f"    key of {who}: {digits} ({state})" for who, digits, state in keys]
        return "\n".join(lines if names else [*lines, f"  {_NONE}"])

    def _make(self) -> None:
        self.head, self.config, self.source = (ipywidgets.HTML() for _ in range(3))
        self.hints, self.answer = ipywidgets.HTML(layout={"display": "flex"}), ipywidgets.HTML()
        self.choice = ipywidgets.Dropdown(description="Request", layout={"width": "320px"})
        self.again = button("Look again", self._look_again, "refresh", "Look for new requests")
        self.yes = button("Approve", self._yes, "check", "Let this code run", "success")
        self.no = button("Decline", self._no, "times", "Say no, with a reason", "danger")
        tip = "Take the no back: the request waits for an answer again"
        self.back = button("Take back", lambda: self._try(self.take_back), "reply", tip)
        self.reason = ipywidgets.Text(
            description="Reason to decline",
            placeholder="the aggregator reads it",
            **fitted("440px"),
        )
        self.choice.observe(lambda _: self.repaint(), "value")
        self.config.layout.flex, self.source.layout.flex = "1 1 320px", "2 1 440px"
        self.split = row(self.config, self.source, name="fk-split")
        top, bottom = row(self.choice, self.again), row(self.yes, self.no, self.reason, self.back)
        children = [self.head, top, self.split, self.hints, bottom, self.answer]
        control = Control.watching(self.datasite)
        self._followed = control
        self.open(children, [control] if control else [], "fk-approval-desk")

    def paint(self) -> None:
        names, declined = pending_requests(self.datasite), self._declined()
        options: list[Any] = [*names]
        if declined:
            options = [(n, n) for n in names] + [(f"{n} (declined)", n) for n in declined]
        if tuple(self.choice.options) != tuple(options):
            held = self.choice.value
            self.choice.options = options
            stays = held in names or (held in declined and not names)
            self.choice.value = held if stays else next(iter([*names, *declined]), None)
        pending = f"{esc(self.datasite.email)} · {len(names)} pending"
        pending += f" · {len(declined)} declined" if declined else ""
        self.head.value = heading("Approval desk", pending)
        self.answer.value = note(self._said, self._kind, "status") if self._said else ""
        self.answer.layout.display = None if self._said else "none"
        self.choice.disabled = not options
        self.reason.disabled = self.no.disabled = self.choice.value not in names
        said_no = self.choice.value in declined
        self.back.layout.display = None if said_no else "none"
        if said_no and not self._said:
            self.answer.value = note(
                _said_no(self.choice.value, declined[self.choice.value]), "bad", "status"
            )
            self.answer.layout.display = None
        self._paint_request(self.choice.value)

    def _paint_request(self, name: str | None) -> None:
        problem = ""
        if name is None:
            self._asked, self._seen = None, None
        elif self._stamps(name) != self._seen:
            self._seen = self._stamps(name)
            self._asked, problem = self._read(name)
        else:
            return  # nothing has changed since it was read
        asked = self._asked
        self.yes.disabled = asked is None
        self.split.layout.display = "none" if asked is None else "flex"
        if asked is None:
            self.config.value = self.source.value = ""
            self.hints.value = problem or note(_NONE)
            return
        self.config.value = config_html(asked.config)
        self.source.value = source_html(asked, live=True)
        self.hints.value = hints_html(self.datasite, asked) + keys_html(self.datasite, asked.config)

    def _read(self, name: str) -> tuple[Review | None, str]:
        try:
            return review(self.datasite, name), ""
        except FedkitError as error:
            return None, note(f"✗ This request can't be approved: {esc(str(error))}", "bad")

    def _picture(self, name: str) -> tuple[Review | None, str]:
        """Read a request for a picture of it; from now on that is what `approve()` means."""
        asked, problem = self._read(name)
        self._pictured.pop(name, None)
        if asked is not None:
            self._pictured[name] = asked
        return asked, problem

    def _stamps(self, name: str) -> tuple[str, Tree, object]:
        keys = told_keys(self.datasite, signers(self._asked.config)) if self._asked else []
        return name, scan(self.datasite.client().project(name, "request").path), keys

    def _first(self) -> str:
        names = pending_requests(self.datasite)
        if not names:
            raise FedkitError(
                "no request is pending",
                file=self.datasite.client().request,
                remedy="wait until the aggregator has launched a project",
            )
        return next((name for name in names if name in self._pictured), names[0])

    def _yes(self) -> None:
        self._try(self.approve)

    def _no(self) -> None:
        self._try(lambda: self.decline(self.reason.value))

    def _try(self, answer: Callable[[], object]) -> None:
        try:
            answer()
        except FedkitError as error:
            what = f"{error.field}: {error.what}" if error.field else error.what
            self._said, self._kind = f"✗ {esc(what)} → {esc(error.remedy or '')}", "bad"
            self.repaint()

    def _decided(self, said: str, kind: str) -> None:
        self._said, self._kind = said, kind
        self._asked, self._seen, self._pictured = None, None, {}
        if self.interactive:
            self.reason.value = ""
        self._look_again()

    def _look_again(self) -> None:
        control = Control.watching(self.datasite)
        if control is not None and self.box is not None and control is not self._followed:
            self._followed = control  # it was made after this desk
            self._ends.append(control.subscribe(lambda _: self.repaint()))
        if control is not None:
            control.refresh()
        self.repaint()


def _said_no(name: str, why: str) -> str:
    return (
        f"✗ You have declined {esc(name)} (“{esc(why)}”). Its aggregator waits: Take back lets it wait for your answer "
        f"again, Approve says yes after all."
    )


# ------------------------------------------------------------------- what a person must have seen
def request_html(site: Datasite, asked: Review, live: bool) -> str:
    """All of a request, one piece below the other."""
    return f"{config_html(asked.config)}{source_html(asked, live)}{hints_html(site, asked)}"


def config_html(config: FLConfig) -> str:
    """The config as a table; what is not written in it stands there with its default."""
    said = {
        "project": config.project_name,
        "aggregator": f"{config.aggregator} (receives your updates)",
        "participants": ", ".join(config.participants),
        "rounds": str(config.rounds),
        "local epochs": f"{config.epoch} in each round",
        "learning rate": f"{config.learning_rate:g}",
        "batch size": str(config.batch_size),
        "a round needs": f"{config.quorum} of {len(config.participants)} updates",
        "may change later": ", ".join(config.adjustable) or "nothing",
    }
    task = config.task
    if not task.is_digits:
        shape = " x ".join(map(str, task.shape))
        said["data"] = (
            f"{task.samples} of {shape}; {task.labels} ({task.outputs}), loss {task.loss}"
        )
    if config.strategy is not None:
        said["aggregated by"] = _in_words(config.strategy)
    said |= _promises(config)
    if config.optimizer is not None:
        said["local steps"] = _in_words(config.optimizer.model_dump())
    if config.schedule is not None:
        said["learning rate by round"] = _in_words(config.schedule.model_dump())
    if config.validation is not None:
        share, patience = config.validation.share, config.validation.patience
        told = "how models do on them is sent with your updates"
        said["kept back"] = f"{share:.3g} of your samples; {told}"
        if patience is not None:
            said["ends early"] = (
                f"after {how_many(patience, 'local epoch')} without a lower loss there"
            )
    others = config.model_extra or {}
    said |= {name: f"{others[name]} (unknown to fedkit)" for name in config.unknown}
    rows = [[esc(name), esc(value)] for name, value in said.items()]
    return table(["setting", "value"], rows, wrap=[1], caption="What is asked")


def _promises(config: FLConfig) -> dict[str, str]:
    """What is promised to a participant, and what is not."""
    masks = config.secure_aggregation
    hidden = "none: the aggregator sees your update as it is"
    if masks is not None:
        hidden = f"the aggregator sees sums; with {masks.threshold} participants it could open one update"
    promised = "none: nothing bounds what your update tells about your samples"
    if config.dp is not None:
        promised = "; ".join(in_short(config))
    return {"secure aggregation": hidden, "differential privacy": promised}


def _in_words(part: dict[str, Any]) -> str:
    """A part of the config that has a name, with what is written in it besides."""
    rest = ", ".join(f"{key} {value}" for key, value in part.items() if key != "name")
    return f"{part['name']}{' with ' if rest else ''}{rest}"


def source_html(asked: Review, live: bool) -> str:
    """The code that would run, with its hash; lines that the static review names have a sign in front."""
    name = asked.config.model_arch
    marked = {f.line for f in review_code(asked.source, asked.config.model_class_name)}
    return (
        f'<div><strong>What would run: {esc(name)}</strong><br><span class="fk-soft">SHA-256 '
        f'<span style="overflow-wrap: anywhere">{code(asked.hashes[name])}</span></span></div>'
        f"{highlight(asked.source, marked, live)}"
    )


def hints_html(site: Datasite, asked: Review) -> str:
    """What stands out, in the words of `fedkit approve`, and that it is no guarantee."""
    head, lines = in_words(find(site, asked))
    what, _, said = head.partition(":")
    listed = "".join(f"<li>{esc(visible(line))}</li>" for line in lines)
    text = f"<strong>{esc(what)}:</strong>{' ▸' if lines else ''}{esc(said)}"
    return note(f"{text}<ul>{listed}</ul>" if lines else text, "bad" if lines else "", "note")


def keys_html(site: Datasite, config: FLConfig) -> str:
    """The fingerprints of those who will sign in a project; nothing where nobody does."""
    rows = told_keys(site, signers(config))
    cells = [[esc(who), code(digits), esc(state)] for who, digits, state in rows]
    return table(["who", "fingerprint", ""], cells, wrap=[2], caption=COMPARE) if rows else ""
