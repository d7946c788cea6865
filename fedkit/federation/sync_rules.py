"""What the sync does when: three tables, which its code follows line by line.

`LOOK` says whether a datasite is synced now, `OFFER` what becomes of a change that somebody made in another's datasite,
`BRING` what becomes of each of its files at each reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["BRING", "LOOK", "OFFER", "Facts", "Rule", "decide"]


class Rule(NamedTuple):
    """One line of a table. when : fact -> what it must be. why : in words; of a refusal, its author reads them."""

    when: Mapping[str, bool]
    then: str
    why: str


def _table(text: str) -> tuple[Rule, ...]:
    head, *lines = ([c.strip() for c in line.split("|")] for line in text.strip().splitlines())
    facts = head[0].split()
    return tuple(
        Rule({f: a == "yes" for f, a in zip(facts, row.split(), strict=True) if a != "-"}, *rest)
        for row, *rest in lines
    )


LOOK = _table(
    """
    seen changed opening | then   | why
    no   -       -       | leave  | not seen is not gone: its folder is a link, or can't be looked into
    -    no      -       | leave  | nothing has changed since the last pass, and nothing was left undone
    -    -       yes     | leave  | its owner is rewriting a permission file, which is empty for a moment
    -    -       -       | go on  | what others have changed is offered, then everybody is brought what is new
    """
)
"""A datasite, as its owner's copy shows it. Another copy that is not seen takes no part in the pass."""

OFFER = _table(
    """
    here there placed same reads may newest | then   | why
    no   no    -      -    -     -   -      | settle | it is gone on both sides
    yes  -     yes    -    -     -   -      | settle | the sync put it there itself, in a pass that was cut off
    -    -     -      yes  yes   -   -      | settle | both have made the same change, and its author may see that
    -    -     -      -    -     no  -      | refuse | {who} may not {right} it
    -    -     -      -    -     -   no     | refuse | its owner has changed it too, and the owner's version wins
    yes  -     -      -    -     -   -      | carry  | its author may write it, and knew the owner's version
    no   -     -      -    -     -   -      | delete | its author may delete it, and knew the owner's version
    """
)
"""What somebody changed in a copy of another's datasite. here, there : the file is in the copy, at its owner. same : bytes.
reads, may : its author has the right to read it, to write it (where there is none: to create it). newest : what was changed
is the owner's newest version. A refused file is set aside as `name.syftrejected.ext`; the owner's, if any, comes back."""

BRING = _table(
    """
    same again reads here | then   | why
    yes  no    -     -    | leave  | this reader has it, and no right has changed
    yes  -     yes   -    | leave  | this reader has it, and may still read it
    -    -     yes   -    | carry  | it is new or has changed, and this reader may read it
    -    -     -     yes  | remove | its owner has deleted it, or closed it to this reader
    -    -     -     -    | leave  | it never came here, or is gone from here already
    """
)
"""A file of a datasite, and one who has it, may read it or has changed it. again : a right may have changed. reads : the
owner has it, and this one may read it. here : the sync has brought it, and it is there. A change that could not be offered
is none of it: it is not lost."""

Facts = Mapping[str, Callable[[], bool]]


def decide(table: Sequence[Rule], facts: Facts) -> Rule:
    """The first rule that holds; a fact is looked up when a rule asks for it. The last rule of a table asks for nothing."""
    return next(
        rule for rule in table if all(facts[fact]() is yes for fact, yes in rule.when.items())
    )
