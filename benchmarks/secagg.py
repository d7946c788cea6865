"""What secure aggregation costs: CPU seconds and bytes of a round, as ratios against the plain round.

A plain round here is what remains of one when the training is left out: every participant writes its update, the aggregator
reads all, averages them and writes the mean. The secure round does the same through every step of the protocol, with real
keys and signed messages; in the second table, a tenth of the participants leaves after dealing its shares, so that their
masks have to be recovered. Both run in one process, interleaved, and CPU time is measured: other work on the machine does
not count.

    python -m benchmarks secagg
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

import fedkit as fk
from benchmarks.common import row
from fedkit.base.keys import new_secret, signing_key
from fedkit.base.tensors import load_state, state_bytes
from fedkit.privacy.secagg.bonawitz import Group, Secrets, deal, mask, open_shares, reveal, unmask
from fedkit.privacy.secagg.fixedpoint import decode, encode
from fedkit.protocol.signed_messages import Message, open_message, write_message

PARTICIPANTS = (10, 50, 100)
WEIGHTS = 100_000
REPEATS = 3
NAMES = {
    "participant_s": "CPU of one participant",
    "aggregator_s": "CPU of the aggregator",
    "up": "sent by one participant",
    "down": "received by one participant",
}
T = TypeVar("T")


@dataclass
class Cost:
    """CPU seconds of one participant (mean) and of the aggregator; bytes that one participant sends and receives."""

    participant_s: float = 0.0
    aggregator_s: float = 0.0
    up: float = 0.0
    down: float = 0.0


class Clock:
    """Adds CPU seconds to one side of a cost."""

    def __init__(self) -> None:
        self.seconds = {"participant": 0.0, "aggregator": 0.0}

    def __call__(self, side: str, work: Callable[[], T]) -> T:
        began = time.process_time()
        value = work()
        self.seconds[side] += time.process_time() - began
        return value


def updates(count: int) -> dict[str, fk.StateDict]:
    """Random updates of 100,000 weights."""
    draw = fk.generator(0, "benchmark")
    return {
        f"p{k}@example.org": {"w": torch.randn(WEIGHTS, generator=draw)}
        for k in range(1, count + 1)
    }


def plain_round(states: dict[str, fk.StateDict]) -> Cost:
    """Write, read, average, write, read."""
    clock, place = Clock(), Path("update.pt")
    files = {who: clock("participant", lambda s=s: state_bytes(s)) for who, s in states.items()}

    def average() -> bytes:
        arrived = [fk.Update(who, 1, load_state(f, place), 100) for who, f in files.items()]
        return state_bytes(fk.fedavg(arrived))

    model = clock("aggregator", average)
    for _ in states:
        clock("participant", lambda: load_state(model, place))
    size = len(next(iter(files.values())))
    each = clock.seconds["participant"] / len(states)
    return Cost(each, clock.seconds["aggregator"], size, len(model))


def secure_round(states: dict[str, fk.StateDict], leaving: int = 0) -> Cost:
    """All steps of the protocol, in messages; the last `leaving` participants send no masked update."""
    clock, names = Clock(), list(states)
    group = Group(new_secret(), 2 * len(names) // 3 + 1, {n: k for k, n in enumerate(names, 1)})
    identities = {who: new_secret() for who in names}
    known = {who: signing_key(secret) for who, secret in identities.items()}
    sent, received = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    staying = names[: len(names) - leaving]

    def say(who: str, step: str, body: bytes, about: dict[str, object]) -> bytes:
        message = clock(
            "participant",
            lambda: write_message(identities[who], group, 1, step, Message(who, about, body)),
        )
        sent[who] += len(message)
        return message

    def hear(data: bytes, who: str, step: str, side: str = "aggregator") -> Message:
        return clock(side, lambda: open_message(data, known[who], group, 1, step, who))

    def in_hex(values: dict[str, bytes]) -> bytes:
        return json.dumps({name: value.hex() for name, value in values.items()}).encode()

    secrets = {who: clock("participant", Secrets.new) for who in names}
    roster, keys = {}, {}
    for who in names:
        roster[who] = clock("participant", secrets[who].public)
        keys[who] = say(who, "keys", in_hex(asdict(roster[who])), {})
        hear(keys[who], who, "keys")
    everybody = in_hex(keys)
    dealt = {}
    for who in names:
        received[who] += len(everybody)
        for other in names:
            hear(keys[other], other, "keys", "participant")
        dealt[who] = clock("participant", lambda w=who: deal(group, w, secrets[w], roster))
        hear(say(who, "shares", in_hex(dealt[who]), {"roster": "0" * 64}), who, "shares")
    about: dict[str, object] = {"roster": "0" * 64, "dealers": names}
    sealed, masked = {}, {}
    for who in staying:
        sealed[who] = {d: dealt[d][who] for d in names if d != who}
        received[who] += len(in_hex(sealed[who]))
        open_of = lambda w=who: open_shares(group, w, secrets[w], roster, sealed[w])  # noqa: E731
        clock("participant", open_of)
        vector = clock("participant", lambda w=who: encode(states[w], 100, len(names)))
        hidden = clock(
            "participant", lambda w=who, v=vector: mask(group, w, secrets[w], roster, names, v)
        )
        message = hear(say(who, "masked", hidden.tobytes(), about), who, "masked")
        masked[who] = np.frombuffer(message.body, dtype="<u8")
    about = {**about, "survivors": staying}
    signed = {who: say(who, "agreed", b"", about) for who in staying}
    answers = {}
    for who in staying:
        received[who] += len(in_hex(signed)) + len(json.dumps(staying))
        for other in staying:
            hear(signed[other], other, "agreed", "participant")
        open_of = lambda w=who: open_shares(group, w, secrets[w], roster, sealed[w])  # noqa: E731
        told = clock("participant", lambda o=open_of: reveal(group, o(), staying))
        answers[who] = hear(say(who, "revealed", in_hex(told), about), who, "revealed").values()
    total = clock("aggregator", lambda: unmask(group, roster, names, masked, answers))
    mean, _ = clock("aggregator", lambda: decode(total, states[names[0]]))
    exact = sum(np.rint(states[w]["w"].double().numpy() * 100 * 2.0**32) for w in staying)
    assert np.allclose(mean["w"].numpy(), exact / 2.0**32 / (100 * len(staying)), atol=1e-6)
    model = clock("aggregator", lambda: state_bytes(mean))
    for _ in staying:
        clock("participant", lambda: load_state(model, Path("model.pt")))
    who = staying[0]
    each = clock.seconds["participant"] / len(names)
    return Cost(each, clock.seconds["aggregator"], sent[who], received[who] + len(model))


def middle(costs: list[Cost]) -> Cost:
    """The median of each number."""
    return Cost(
        *(
            statistics.median(column)
            for column in zip(*(c.__dict__.values() for c in costs), strict=True)
        )
    )


def main() -> None:
    """Print the two tables."""
    for share, title in ((0, "nobody leaves"), (10, "a tenth leaves after dealing its shares")):
        print(f"Secure aggregation of {WEIGHTS:,} weights, threshold 2/3, {title}")
        for count in PARTICIPANTS:
            states = updates(count)
            leaving = count * share // 100
            pairs = [(plain_round(states), secure_round(states, leaving)) for _ in range(REPEATS)]
            plain, secure = (middle(list(column)) for column in zip(*pairs, strict=True))
            for what, unit, scale in (
                ("participant_s", "s", 1.0),
                ("aggregator_s", "s", 1.0),
                ("up", "MB", 1e-6),
                ("down", "MB", 1e-6),
            ):
                value, beside = getattr(secure, what), getattr(plain, what)
                name = f"{count} participants: {NAMES[what]}"
                row(name, f"{value * scale:.3f} {unit}", f"{value / beside:.1f}x the plain round")


if __name__ == "__main__":
    main()
