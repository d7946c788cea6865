"""The playground's panel: what a press does, what a call does in its place, and a picture for where nobody can press."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.teaching.playground.experiments import EXPERIMENTS
from fedkit.teaching.widgets.playground import Playground, playground
from fedkit.teaching.widgets.playground_parts import thinned

QUICK = "participants=3&samples=8&rounds=4&epoch=1"


@pytest.fixture
def panel() -> Iterator[Playground]:
    made = playground(QUICK, interactive=True)
    yield made
    made.close()


def test_the_buttons_do_what_the_calls_do(panel: Playground) -> None:
    assert "round 0 of 4" in panel.status.value
    panel.one.click()
    assert panel.frame.round == 1
    assert "round 1 of 4" in panel.status.value
    panel.play(2)
    first = panel.run.history
    panel.back.click()
    assert panel.frame.round == 0
    panel.play(3)
    assert panel.run.history == first, "the same seed, the same rounds"
    panel.seed.value = 5
    assert (panel.settings.seed, panel.frame.round) == (5, 0)
    panel.play()
    assert panel.run.done
    assert "✓ done" in panel.status.value


def test_play_gives_way_to_pause_and_goes_on(panel: Playground) -> None:
    async def person() -> tuple[int, int]:
        panel.pace.value = 0.0
        panel.go.click()
        assert panel.go.description == "Pause"
        while panel.frame.round < 2:
            await asyncio.sleep(0.005)
        panel.go.click()
        paused = panel.frame.round
        assert panel.go.description == "Play"
        await asyncio.sleep(0.2)
        assert panel.frame.round == paused
        panel.go.click()
        while panel.playing:
            await asyncio.sleep(0.005)
        return paused, panel.frame.round

    paused, ended = asyncio.run(person())
    assert 2 <= paused < 4
    assert ended == 4


def test_every_control_changes_its_setting_and_follows_a_link(panel: Playground) -> None:
    for name, field in panel.fields.by_name.items():
        wanted = getattr(panel.settings, name)
        assert field.value == (-1.0 if wanted is None else wanted), name
        assert field.index is not None if hasattr(field, "index") else True, name
    panel.fields.by_name["strategy"].value = "fedprox"
    panel.fields.by_name["strength"].value = 0.1
    panel.fields.by_name["participants"].value = 5
    assert panel.settings.link() == QUICK.replace("participants=3", "participants=5").replace(
        "&rounds=4&epoch=1", "&strategy=fedprox&strength=0.1&rounds=4&epoch=1"
    )
    panel.open_link(f"{QUICK}&learning_rate=0.037&data=blobs")
    assert panel.fields.by_name["learning_rate"].value == 0.037
    assert panel.fields.by_name["data"].value == "blobs"
    assert panel.frame.round == 0


def test_what_does_not_go_together_is_said_and_nothing_changes(panel: Playground) -> None:
    panel.step()
    panel.fields.by_name["strategy"].value = "krum"
    assert "needs 5 updates a round" in panel.status.value
    assert panel.settings.strategy == "fedavg"
    assert panel.frame.round == 1
    panel.open_link("x" * 5000)
    assert "at most 2,000 characters" in panel.status.value
    panel.open_link("strategy=<script>alert(1)</script>")
    assert "<script>" not in panel.status.value
    panel.reset()
    assert "round 0 of 4" in panel.status.value


def test_a_round_that_can_not_be_is_said(panel: Playground) -> None:
    panel.reset(learning_rate=100, epoch=50, hostile=2, attack="scaled")
    panel.play()
    assert "grow without bound" in panel.status.value or panel.run.done


def test_one_can_take_it_along(panel: Playground) -> None:
    assert QUICK.split("&")[0] in panel.take.value
    assert "fk.FLConfig.from_dict" in panel.take.value
    assert "&quot;project_name&quot;: &quot;PLAYGROUND&quot;" in panel.take.value


def test_a_guided_experiment_wants_a_prediction_first(panel: Playground) -> None:
    with pytest.raises(FedkitError, match="experiment first"):
        panel.predict("a")
    number = next(n for n, e in enumerate(EXPERIMENTS, 1) if len(e.runs) == 2)
    panel.guide.chooser.value = number
    chosen = EXPERIMENTS[number - 1]
    assert panel.settings == chosen.settings(next(iter(chosen.runs)))
    assert panel.reveal() == "Choose what you expect first."
    second = list(chosen.runs)[1]
    panel.guide.variants.children[2].click()
    assert panel.settings == chosen.settings(second)
    panel.guide.options.index = 0
    assert panel.guide.answer == "a"


def test_where_nobody_can_press_there_is_a_picture() -> None:
    panel = playground(QUICK, rounds=2, interactive=False)
    page, text = panel.html(), panel.text()
    panel.close()
    assert panel.box is None
    assert "round 2 of 4" in text
    assert QUICK in text
    assert len(re.findall("<img [^>]*alt=", page)) == len(re.findall("<img ", page)) == 6
    assert "<script" not in page


def test_a_picture_of_two_hundred_rounds_costs_no_more_than_one_of_fifty() -> None:
    records = tuple(fk.RoundRecord(n, accuracy=0.5, loss=1.0) for n in range(1, 201))
    kept = thinned(fk.History("P", records, 200))
    assert [kept.rounds[-1].round, len(kept)] == [200, 50]
    assert len(thinned(fk.History("P", records[:7], 200))) == 7
    assert len(thinned(fk.History("P", (), 200))) == 0


def test_a_frame_draws_no_figure_and_trains_each_round_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a frame costs is the same late as early: as many trainings, as many models looked at."""
    import matplotlib.figure

    import fedkit.rounds.simulation as simulation
    import fedkit.teaching.playground.play as play

    counts = {"trained": 0, "judged": 0}

    def counting(module: object, name: str, key: str) -> None:
        real = getattr(module, name)

        def counted(*given: object, **named: object) -> object:
            counts[key] += 1
            return real(*given, **named)

        monkeypatch.setattr(module, name, counted)

    counting(simulation, "train_round", "trained")
    counting(play, "judged", "judged")
    monkeypatch.setattr(
        matplotlib.figure.Figure, "__init__", lambda *_, **__: pytest.fail("a figure")
    )
    panel = playground("participants=3&samples=8&rounds=12&epoch=1", interactive=True)
    seen = []
    for _ in range(12):
        before = dict(counts)
        panel.step()
        seen.append({key: counts[key] - before[key] for key in counts})
    panel.close()
    assert seen == [{"trained": 1, "judged": 3}] * 12


def test_they_part_by_the_round_that_is_shown_and_the_settings_say_so(panel: Playground) -> None:
    panel.fields.by_name["skew"].value = "swapped"
    panel.part()
    assert "Nobody has sent an update yet" in panel.status.value
    panel.play(2)
    before = panel.run.history
    button = panel.fields.columns[-1].children[1].children[-1]
    button.click()
    assert (panel.settings.groups, panel.settings.split, panel.frame.round) == (2, 2, 2)
    assert panel.run.history == before
    assert [group.name for group in panel.frame.groups] == ["A", "B"]
    assert panel.stage.value.count(">A</span>") == 1 + len(panel.frame.groups[0].members)
    assert "each group then needs a project of its own" in panel.take.value
    assert "simulate_clustered" in panel.take.value
    assert "(mean of 2 groups)" in panel.status.value
    panel.play()
    panel.part()
    assert "No round is left to train in" in panel.status.value
    panel.reset(groups=1)
    assert ">A</span>" not in panel.stage.value
    panel.reset(noise=2.0)
    panel.step()
    panel.part()
    assert "covers their mean alone" in panel.status.value


def test_of_many_the_pictures_are_smaller_and_the_table_scrolls() -> None:
    panel = playground("participants=21&samples=1&epoch=1&rounds=1", rounds=1, interactive=False)
    page = panel.html()
    panel.close()
    assert "p21</strong>" in page
    assert "overflow-y: auto" in page


def test_closing_leaves_no_thread(no_thread_is_left: None) -> None:
    panel = playground(QUICK, rounds=1, interactive=True)
    panel.reset(seed=3)
    panel.play(1)
    panel.close()
