"""What a datasite demands of a project before its images take part.

`private/fl_client/policy.json` is the owner's: `{"unit": "example", "epsilon": 8, "delta": 1e-4}`. The client refuses what
promises less, by the rows of the privacy report (`privacy/guarantees.py`), and stops where the budget is spent. Budgets of
projects are added up: more than a joint accounting would say, never less, and right even where one project is chosen by
what another has shown (Rogers et al. 2016, "Privacy odometers and filters"). What a project promised to others counts
too, from its approval on. Notebook 09.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, sha256_bytes
from fedkit.base.strict_json import parse_json_object
from fedkit.base.tensors import state_bytes
from fedkit.config.fl_config import FLConfig, first_problem
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.round_plan import RoundPlan
from fedkit.privacy.dp.account import Mechanism
from fedkit.privacy.dp.budget import Spent, spent, write_spending, write_unbounded
from fedkit.privacy.dp.mechanism import example_mechanism, participant_mechanism, promised
from fedkit.privacy.guarantees import ADVERSARIES, Guarantee, guarantees, weakest

if TYPE_CHECKING:
    from torch import Tensor

    from fedkit.data.shards import Shard

__all__ = ["PrivacyPolicy", "accept", "read_policy", "refusal", "spend", "why_refused"]


class PrivacyPolicy(BaseModel):
    """What the owner of a datasite demands.

    unit : "example" (noise before anything leaves this machine) or "participant". epsilon, delta : the most that all
    projects together may spend of any image (zero-out neighbours).
    against : whom this has to hold against: the "aggregator" and everybody else (the default); the other "participants" and
    everybody outside, where the aggregator is trusted; or only who is "outside".
    secure_noise : refuse noise that derives from the config's seed (the default). Such noise gives the same bits again, and
    protects against nobody who has read the config: False is for learning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Literal["example", "participant"]
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    against: Literal["aggregator", "participants", "outside"] = "aggregator"
    secure_noise: bool = True


def read_policy(site: Datasite) -> PrivacyPolicy | None:
    """The owner's policy, None where there is none. Raises FedkitError if it can't be read: then nothing may train."""
    path = site.private_client / "policy.json"
    try:
        data = read_bytes(path, root=site.data_dir, max_bytes=2**20)
        return PrivacyPolicy.model_validate(parse_json_object(data, path))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise first_problem(error, path) from error


def why_refused(site: Datasite, config: FLConfig, shard: Shard | None) -> str | None:
    """Why this datasite's policy says no to a project, None where it does not.

    shard : the data that would be used; without it, epsilon is looked at where it does not depend on the data.
    """
    policy = read_policy(site)
    if policy is None:
        return None
    dp, whom = config.dp, " and ".join(ADVERSARIES[policy.against])
    asked = f"this datasite's policy asks for unit {policy.unit!r}"
    if dp is None:
        most = f"epsilon at most {policy.epsilon:g} against {whom} (zero-out neighbours)"
        return f"promises no differential privacy; {asked}, {most}"
    if dp.unit != policy.unit:
        return f"protects the unit {dp.unit!r}; {asked}"
    try:
        rows = _rows(config, shard)
    except FedkitError as error:
        return f"{error.field}: {error.what}"
    if rows is not None and not _holds(row := weakest(rows, policy.unit, policy.against)):
        otherwise = "".join(
            f' (where you trust {row.against}, write "against": "{name}")'
            for name in _weaker_than(policy.against)[:1]
            if _holds(weakest(rows, policy.unit, name))
        )
        return (
            f"promises nothing against {row.against}: {row.because}; "
            f'this datasite\'s policy has "against": "{policy.against}"{otherwise}'
        )
    if policy.secure_noise and not dp.secure_noise:
        return (
            "draws its noise from a seed that everybody can read; this datasite's policy asks for secure_noise, which "
            'gives up that the same seed gives the same bits (for learning, write "secure_noise": false into the policy)'
        )
    whole = _whole(config, rows, policy)
    if whole is None:
        return None
    weaker = [*_weaker_than(policy.against), None]
    before = spent(site, shard, weaker, unit=policy.unit, secure=policy.secure_noise)
    used = {s.project: s for s in before}
    own = used.pop(config.project_name, whole)
    others = [*used.values(), *_reserved(site, config, policy, used, shard)]
    names = ", ".join(sorted({s.project for s in others}))
    with_these = f", with what {names} spent," if others else ""
    for what, allowed in (("epsilon", policy.epsilon), ("delta", policy.delta)):
        mine = max(getattr(whole, what), getattr(own, what))
        total = mine + sum(getattr(s, what) for s in others)
        if total > allowed * (1 + 1e-9):
            replaced = _for_replace_one(rows, policy) if what == "epsilon" else ""
            return (
                f"would spend{with_these} {what} {total:.3g} of the {allowed:g} that this datasite's policy allows "
                f"against {whom} (zero-out neighbours{replaced})"
            )
    return None


def refusal(site: Datasite, config: FLConfig) -> str | None:
    """`why_refused` with the data that lies in this datasite's private folder now."""
    if read_policy(site) is None:
        return None
    try:
        # no image is looked at, and torch not waited for
        if config.dp is None or not site.data_files:
            return why_refused(site, config, None)
        return why_refused(site, config, site.private.load(config.task))
    except FedkitError:  # the policy or the data can't be read: for their owner to put right
        raise
    except Exception as error:  # a request with numbers that nobody foresaw stops no other
        return f"asks for what this datasite's policy can't judge ({type(error).__name__})"


def accept(site: Datasite, config: FLConfig) -> None:
    """Raises FedkitError if the policy refuses this project, with the data that lies there now."""
    _raise(site, config, refusal(site, config))


def spend(
    site: Datasite, config: FLConfig, plan: RoundPlan, shard: Shard, start: Mapping[str, Tensor]
) -> None:
    """Write down what a round spends, before it is trained. start : the global model.

    The same round from the same model counts once: its bits are the same. With secure noise, every attempt counts.
    Raises FedkitError if the policy says no by now, or the disk does: then nothing may train.
    """
    _raise(site, config, why_refused(site, config, shard))
    if config.dp is None:
        return write_unbounded(site, config.project_name, shard)
    whole = _mechanism(config, shard)
    asked = config.replace(**plan.settings)
    attempt = sha256_bytes(state_bytes(start) + asked.to_json().encode())[:12]
    a_round = replace(whole, steps=max(1, whole.steps // config.rounds))
    rows = guarantees(config, {site.email: len(shard[1])})
    holds = next((n for n in ADVERSARIES if _holds(weakest(rows, config.dp.unit, n))), None)
    write_spending(site, config, shard, plan.round, attempt, a_round, against=holds)
    _raise(site, config, why_refused(site, config, shard))  # perhaps this was one attempt too many


def _raise(site: Datasite, config: FLConfig, reason: str | None) -> None:
    if reason is not None:
        raise FedkitError(
            f"refuses {config.project_name}, which {reason}",
            file=site.private_client / "policy.json",
            remedy="decline it, ask the aggregator for more privacy, or change your policy",
        )


def _rows(config: FLConfig, shard: Shard | None) -> tuple[Guarantee, ...] | None:
    """What holds, by the report, for somebody with these data; None where it depends on data that are not there yet."""
    dp = promised(config)
    if dp.unit == "example" and dp.epsilon is None and shard is None:
        return None
    return guarantees(config, {} if shard is None else {"own": len(shard[1])})


def _for_replace_one(rows: tuple[Guarantee, ...] | None, policy: PrivacyPolicy) -> str:
    """The larger epsilon, where it is known."""
    if rows is None or (row := weakest(rows, policy.unit, policy.against)).replace_one is None:
        return ""
    return f"; for replace-one, this project's is {row.replace_one:.3g}"


def _holds(row: Guarantee) -> bool:
    return row.epsilon is not None and row.epsilon < math.inf


def _weaker_than(adversary: str) -> list[str]:
    """Against whom less holds than against this one."""
    names = list(ADVERSARIES)
    return names[names.index(adversary) + 1 :]


def _whole(
    config: FLConfig, rows: tuple[Guarantee, ...] | None, policy: PrivacyPolicy
) -> Spent | None:
    """What a project spends against the policy's adversary if it goes on to its end; None where nobody knows yet."""
    dp = promised(config)
    epsilon = None if rows is None else weakest(rows, dp.unit, policy.against).epsilon
    return None if epsilon is None else Spent(config.project_name, epsilon, dp.delta)


def _mechanism(config: FLConfig, shard: Shard) -> Mechanism:
    """Of one datasite. Who takes part in a round is no secret here: everybody's progress is public."""
    if promised(config).unit == "participant":
        return participant_mechanism(config, sample_is_secret=False)
    return example_mechanism(config, len(shard[1]))


def _reserved(
    site: Datasite,
    config: FLConfig,
    policy: PrivacyPolicy,
    used: Mapping[str, Spent],
    shard: Shard | None,
) -> Iterator[Spent]:
    """What other projects that are under way here will spend beyond what they have spent."""
    running = site.client().running
    for path in sorted(running.glob("*/fl_config.json")):
        try:
            other = FLConfig.load(path)
            mine = other.dp is None or other.project_name == config.project_name
            whole = None if mine else _whole(other, _rows(other, shard), policy)
        except FedkitError:
            continue  # it can't train either
        if whole is not None and whole.epsilon < math.inf:  # else the policy stops it
            was = used.get(whole.project, Spent("", 0.0, 0.0))
            rest = max(0.0, whole.epsilon - was.epsilon)
            yield Spent(whole.project, rest, max(0.0, whole.delta - was.delta))
