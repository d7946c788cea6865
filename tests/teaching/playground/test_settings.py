"""Settings travel as links; a stranger's link is bounded, and refused in words."""

import pytest
from hypothesis import given
from hypothesis import settings as within
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.learning.strategies.registry import STRATEGIES
from fedkit.teaching.playground.settings import STRENGTHS, Settings

SOME = [
    Settings(),
    Settings(data="circles", strategy="fedprox", strength=0.1, seed=7),
    Settings(data="digits", participants=3, skew="labels", alpha=0.1, hostile=2, attack="scaled"),
    Settings(participants=54, layers=3, skew="swapped", groups=4, compare="distance", split=9),
    Settings(data="own", own="0123456789abcdef", noise=1.5, clip=0.25, unit="example"),
]


@pytest.mark.parametrize("settings", SOME, ids=lambda s: s.link() or "defaults")
def test_a_link_brings_the_settings_back(settings: Settings) -> None:
    assert Settings.of_link(settings.link()) == settings
    assert Settings.of_link(f"http://127.0.0.1:8866/?{settings.link()}#x") == settings
    assert Settings.of_link(f"?{settings.link()}") == settings


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("participants=55", "participants: is '55' -> write a number of at most 54"),
        ("layers=4", "layers: is '4' -> write a number of at most 3"),
        ("groups=5", "groups: is '5' -> write a number of at most 4"),
        ("groups=3&participants=2", "groups: 3 are more than the 2 participants"),
        ("groups=2&compare=sine", "compare"),
        ("groups=2&noise=1", "noise for a participant covers their mean alone"),
        ("participants=1e9", "participants"),
        ("rounds=999999999", "rounds: is '999999999' -> write a number of at most 200"),
        ("samples=0", "samples: is '0' -> write a number of at least 1"),
        ("learning_rate=nan", "learning_rate"),
        ("learning_rate=inf", "learning_rate"),
        ("strategy=fedprocks", "did you mean fedprox?"),
        ("strategy=" + "x" * 900, "is no strategy -> take one of fedavg"),
        ("data=%2Fetc%2Fpasswd", "data"),
        ("data=own&own=../../etc", "own"),
        ("partisipants=3", "'partisipants' is no setting -> did you mean participants?"),
        ("__class__=1", "'__class__' is no setting"),
        ("seed=1&seed=2", "'seed' stands there twice -> keep one"),
        ("seed", "is no link of settings"),
        ("a;b;c", "is no link of settings"),
        ("x=" + "y" * 3000, "at most 2,000 characters"),
        ("hostile=10&participants=10", "hostile: leaves nobody honest"),
        ("per_round=12", "per_round: asks for 12 of 10 participants"),
        ("strength=1", "fedavg has no such parameter"),
        ("own=0123456789abcdef", "own: names a folder of data, and data is another one"),
    ],
)
def test_a_wrong_link_is_refused_in_words(link: str, said: str) -> None:
    with pytest.raises(FedkitError) as refused:
        Settings.of_link(link)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 500


@within(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_no_text_does_anything_else_than_to_be_read_or_refused(link: str) -> None:
    try:
        settings = Settings.of_link(link)
    except FedkitError as error:
        refused = error
    else:
        assert Settings.of_link(settings.link()) == settings
        return
    assert refused.remedy


def test_another_strategy_takes_its_own_strength() -> None:
    settings = Settings(strategy="fedprox", strength=0.5).changed(strategy="fedadam")
    assert settings.strength is None
    assert settings.changed(strength=0.2).strength == 0.2
    assert set(STRENGTHS) <= set(STRATEGIES)
