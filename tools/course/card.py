"""The card under a lesson's title: minutes, needs, what one learns, the way to the neighbours and to other editions.

It is generated, so that it is always right. What it says in every lesson stands in `PHRASES`, which a translation
replaces one by one; where links lead is a matter of the edition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedkit.base import distribution
from fedkit.experiments.lessons import EDITIONS, HOSTED
from tools.course import overview
from tools.course.effort import minutes
from tools.course.lesson import Lesson

__all__ = ["PHRASES", "Edition", "badges", "card", "colab_address", "relinked"]

PHRASES = {
    "head": "**{minutes} minutes** · **You need:** {needs}",
    "learn": "**You will learn**",
    "passed-over": "**On the short path**, from {link}, you have passed over:",
    "goes-on": "The short path goes on with {link}.",
    "previous": "Previous: {link}",
    "first": "Previous: none, you start here",
    "next": "Next: {link}",
    "last": "Next: none, you are done",
    "solved": "solved edition",
    "learner": "learner's edition",
    "english": "English edition",
    "elsewhere": "Run it without an installation: {links}",
}
_LESSON_LINK = re.compile(r"\]\((\d\d_[a-z0-9_]+)\.ipynb(#[^)\s]*)?\)")


@dataclass(frozen=True)
class Edition:
    """One edition of the course, and where its links lead.

    name : as `edition_dir` knows it. lessons : names of the lessons that it has. phrases : English -> what its cards say.
    others : in the English ones, what another language is called -> its code and the lessons that there are in it.
    """

    name: str
    lessons: frozenset[str]
    phrases: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)

    @property
    def solved(self) -> bool:
        """Does it hold the solutions?"""
        return self.name.rpartition("/")[2] == EDITIONS[1]

    @property
    def language(self) -> str:
        """`de`, or "" for English."""
        first = self.name.partition("/")[0]
        return "" if first in (*EDITIONS, HOSTED) else first

    @property
    def up(self) -> str:
        """From this edition's folder to the course's."""
        return "" if self.name == EDITIONS[0] else "../" * (1 + self.name.count("/"))

    def say(self, phrase: str, **parts: object) -> str:
        """A phrase of `PHRASES` in this edition's language, with what belongs into it."""
        english = PHRASES[phrase]
        return self.phrases.get(english, english).format(**parts)

    def target(self, name: str) -> str:
        """The address of another lesson, from a notebook of this edition: in its own language if there is one."""
        if self.name == HOSTED and colab_address(name):
            return colab_address(name)  # beside a notebook in Colab lies no other
        if name in self.lessons:
            return f"{name}.ipynb"
        return f"{self.up}{'solutions/' if self.solved else ''}{name}.ipynb"


def colab_address(name: str) -> str:
    """Where Colab opens a lesson: the edition that installs, in the repository; "" while that has no address at GitHub."""
    match = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)/?", distribution.REPOSITORY)
    if match is None:
        return ""
    where = f"{match[1]}/blob/{distribution.BRANCH}/notebooks/{HOSTED}/{name}.ipynb"
    return f"https://colab.research.google.com/github/{where}"


def binder_address(name: str) -> str:
    """Where Binder opens a lesson in Lab; "" while the repository has no address at GitHub."""
    match = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)/?", distribution.REPOSITORY)
    if match is None:
        return ""
    path = f"lab/tree/notebooks/{name}.ipynb".replace("/", "%2F")
    return f"https://mybinder.org/v2/gh/{match[1]}/{distribution.BRANCH}?urlpath={path}"


def badges(name: str) -> str:
    """The two badges of the README; "" while the repository has no address, since they would lead nowhere."""
    places = {
        "Colab": ("https://colab.research.google.com/assets/colab-badge.svg", colab_address(name)),
        "Binder": ("https://mybinder.org/badge_logo.svg", binder_address(name)),
    }
    return "\n".join(
        f"[![Open in {place}]({picture})]({address})"
        for place, (picture, address) in places.items()
        if address
    )


def relinked(source: str, edition: Edition) -> str:
    """A cell's text with its links to lessons as this edition has them."""
    return _LESSON_LINK.sub(lambda m: f"]({edition.target(m[1])}{m[2] or ''})", source)


def card(lesson: Lesson, edition: Edition, course: Sequence[Lesson]) -> str:
    """The card of a lesson, as a quotation in Markdown. course : all lessons, in its language if they are."""
    here = [other.name for other in course].index(lesson.name)
    before, after = course[here - 1 : here] if here else [], course[here + 1 : here + 2]
    ways = [edition.say("previous", link=_link(n, edition)) for n in before]
    ways = ways or [edition.say("first")]
    ways += [edition.say("next", link=_link(n, edition)) for n in after] or [edition.say("last")]
    lines = [
        edition.say("head", minutes=minutes(lesson), needs=lesson.card.needs),
        "",
        edition.say("learn"),
        "",
        *[f"* {point}" for point in lesson.card.learn],
        "",
        *_short_path(lesson, edition, course),
        " · ".join([*ways, *_other_editions(lesson, edition)]),
        *_elsewhere(lesson, edition),
    ]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _other_editions(lesson: Lesson, edition: Edition) -> list[str]:
    file = f"{lesson.name}.ipynb"
    if edition.solved:
        found = [f"[{edition.say('learner')}](../{file})"]
    else:
        # beside this language's own, and for the edition of another machine beside the learner's
        folder = "solutions"
        if edition.name == HOSTED:
            at_home = f"{distribution.REPOSITORY}/blob/{distribution.BRANCH}/notebooks/"
            folder = (at_home if distribution.REPOSITORY else edition.up) + folder
        found = [f"[{edition.say('solved')}]({folder}/{file})"]
    if edition.language:
        english = f"{edition.up}{'solutions/' if edition.solved else ''}{file}"
        found.append(f"[{edition.say('english')}]({english})")
    for name, (code, lessons) in edition.others.items():
        if lesson.name in lessons:
            folder = f"{edition.up}{code}/{'solutions/' if edition.solved else ''}"
            found.append(f"[{name} edition]({folder}{file})")
    return found


def _elsewhere(lesson: Lesson, edition: Edition) -> list[str]:
    """Links to Colab and Binder, in words: a badge would fetch a picture from elsewhere whenever a lesson is opened."""
    if edition.name != EDITIONS[0]:
        return []
    places = {"Colab": colab_address(lesson.name), "Binder": binder_address(lesson.name)}
    links = " · ".join(f"[{place}]({address})" for place, address in places.items() if address)
    return ["", edition.say("elsewhere", links=links)] if links else []


def _short_path(lesson: Lesson, edition: Edition, course: Sequence[Lesson]) -> list[str]:
    """On the short path: what the lessons between have told, and where it goes on."""
    path = overview.short_path(course)
    if lesson not in path:
        return []
    at, lines = path.index(lesson), []
    if overview.passed_over(lesson, course):
        lines = [edition.say("passed-over", link=_link(path[at - 1], edition)), ""]
        lines += [f"* {line}" for line in lesson.card.short_path or ()] + [""]
    after = path[at + 1 : at + 2]
    if after and overview.passed_over(after[0], course):
        lines += [edition.say("goes-on", link=_link(after[0], edition)), ""]
    return lines


def _link(lesson: Lesson, edition: Edition) -> str:
    return f"[{lesson.name[:2]} {lesson.title}]({edition.target(lesson.name)})"
