"""Guided experiments: settings, a question to predict, and what is measured when they run.

What an experiment promises (`holds`) is tested for five seeds; the sentence that a learner reads is made of the numbers of
the learner's own run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedkit.base.errors import FedkitError
from fedkit.teaching.playground.play import Play
from fedkit.teaching.playground.settings import Settings

__all__ = ["EXPERIMENTS", "Experiment", "Outcome", "experiment", "outcome"]


@dataclass(frozen=True)
class Outcome:
    """What came of a run. accuracies, losses : on the aggregator's test set, after each round. told : the mean of the
    losses that participants say. found : the share of all samples that the first round's updates give away exactly.
    bytes_up : to the aggregator. epsilon : None where nothing is promised.
    """

    accuracies: tuple[float, ...]
    losses: tuple[float, ...]
    told: tuple[float, ...]
    found: float
    bytes_up: int
    epsilon: float | None

    @property
    def end(self) -> float:
        """Accuracy after the last round."""
        return self.accuracies[-1]

    @property
    def late(self) -> float:
        """The mean accuracy of the last five rounds."""
        last = self.accuracies[-5:]
        return sum(last) / len(last)


Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Experiment:
    """One question. runs : name -> link of settings. options : to choose from, a) first; `answer` is the letter that holds.

    measured : a sentence made of what came out. holds : is it as `answer` says? why : what to learn from it.
    """

    title: str
    asks: str
    options: tuple[str, ...]
    answer: str
    runs: Mapping[str, str]
    measured: Callable[[Outcomes], str]
    holds: Callable[[Outcomes], bool]
    why: str

    def settings(self, run: str, seed: int = 0) -> Settings:
        """The settings of one of its runs. Raises FedkitError where there is none of that name."""
        if run not in self.runs:
            raise FedkitError(
                f"has no run {run!r:.40}", field="run", remedy=f"one of {', '.join(self.runs)}"
            )
        settings = Settings.of_link(self.runs[run])
        return settings.changed(seed=(seed + settings.seed) % 2**31)

    def outcomes(self, seed: int = 0) -> dict[str, Outcome]:
        """All its runs, to their ends."""
        return {run: outcome(self.settings(run, seed)) for run in self.runs}


def experiment(number: int) -> Experiment:
    """The experiment of this number, from 1. Raises FedkitError."""
    if type(number) is not int or not 1 <= number <= len(EXPERIMENTS):
        raise FedkitError(
            f"there is no experiment {number!r:.40}",
            field="experiment",
            remedy=f"give a number from 1 to {len(EXPERIMENTS)}",
        )
    return EXPERIMENTS[number - 1]


def outcome(settings: Settings) -> Outcome:
    """A whole run of these settings. Raises FedkitError."""
    with contextlib.closing(Play(settings)) as play:
        first = play.step()
        told = [_told(play)]
        while not play.done:
            play.step()
            told.append(_told(play))
        history, frame = play.history, play.frame
    samples = sum(person.samples for person in first.people)
    return Outcome(
        tuple(history.accuracies),
        tuple(record.loss or 0.0 for record in history),
        tuple(told),
        sum(person.found or 0 for person in first.people) / samples,
        frame.bytes_up,
        frame.epsilon,
    )


def _told(play: Play) -> float:
    said = [person.loss for person in play.frame.people if person.loss is not None]
    return sum(said) / len(said) if said else 0.0


def _said(outcomes: Outcomes, what: Callable[[Outcome], str]) -> str:
    return "; ".join(f"{name}: {what(each)}" for name, each in outcomes.items()) + "."


def _ends(outcomes: Outcomes) -> str:
    return "Accuracy at the end: " + _said(outcomes, lambda each: f"{each.end:.1%}")


def _lates(outcomes: Outcomes) -> str:
    return "Accuracy, mean of the last five rounds: " + _said(outcomes, lambda o: f"{o.late:.1%}")


def _epsilons(outcomes: Outcomes) -> str:
    def say(each: Outcome) -> str:
        promise = "no promise" if each.epsilon is None else f"epsilon {each.epsilon:.3g}"
        return f"{each.late:.1%}, {promise}"

    return "Accuracy, mean of the last five rounds, and epsilon at delta 1e-5: " + _said(
        outcomes, say
    )


def _overfit(outcomes: Outcomes) -> str:
    return "Loss on the test set: " + _said(
        outcomes,
        lambda o: (
            f"lowest {min(o.losses):.2f}, at the end {o.losses[-1]:.2f} (their own {o.told[-1]:.2f})"
        ),
    )


def _bytes(outcomes: Outcomes) -> str:
    return _said(
        outcomes, lambda o: f"{o.end:.1%} after {o.bytes_up / 1000:,.0f} kB to the aggregator"
    )


def _given_away(outcomes: Outcomes) -> str:
    return "Points that the first updates give away: " + _said(outcomes, lambda o: f"{o.found:.1%}")


def _by_points(better: str, worse: str, least: float) -> Callable[[Outcomes], bool]:
    """Is the mean accuracy of the last five rounds so much higher in one run than in the other?"""
    return lambda outcomes: outcomes[better].late - outcomes[worse].late >= least


def _close(one: str, other: str, most: float) -> Callable[[Outcomes], bool]:
    return lambda outcomes: abs(outcomes[one].late - outcomes[other].late) <= most


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        "Make FedAvg fail, and FedProx not",
        "Each participant holds one of two circles only, and trains 20 local epochs with a large rate. FedProx pulls each "
        "of them back to the global model. Which does better in 12 rounds?",
        (
            "FedAvg: nothing holds it back.",
            "FedProx: what pulls participants back keeps them together.",
            "Neither: one circle alone teaches nothing.",
        ),
        "b",
        {
            "FedAvg": "data=circles&skew=single&epoch=20&rounds=12",
            "FedProx": "data=circles&skew=single&epoch=20&rounds=12&strategy=fedprox&strength=0.03",
            "SCAFFOLD": "data=circles&skew=single&epoch=20&rounds=12&strategy=scaffold",
        },
        _lates,
        lambda o: o["FedAvg"].late <= 0.6 and o["FedProx"].late >= o["FedAvg"].late + 0.1,
        "Long training on one label drags each model to “all is my label”, and the mean of such models swings. SCAFFOLD "
        "corrects the drift itself, and goes further than a pull back. With more rounds FedAvg catches up: try it.",
    ),
    Experiment(
        "Half of them drop out",
        "In each round, each update gets lost with probability one half. All participants hold the same mixture. What does "
        "that cost?",
        ("Half of the accuracy.", "Hardly anything.", "The training never ends."),
        "b",
        {"all arrive": "rounds=20", "half drop out": "rounds=20&drop_out=0.5"},
        _ends,
        _close("all arrive", "half drop out", 0.05),
        "Where everybody holds the same mixture, the mean of five says what the mean of ten says. Deal the labels out "
        "unevenly and try again: then it matters who is missing.",
    ),
    Experiment(
        "Two who lie",
        "Two of ten participants send their update backwards and ten times as long. What becomes of plain averaging, and "
        "what of the median?",
        (
            "Both shrug it off: eight are honest.",
            "Averaging breaks, the median does not.",
            "Both break.",
        ),
        "b",
        {
            "FedAvg": "rounds=20&hostile=2&attack=scaled",
            "median": "rounds=20&hostile=2&attack=scaled&strategy=median",
        },
        _ends,
        lambda o: o["FedAvg"].late <= 0.6 and o["median"].late >= 0.8,
        "A mean goes wherever one participant pulls hard enough. A median of each weight stays between the honest ones "
        "while they are the majority.",
    ),
    Experiment(
        "Noise, and what it buys",
        "The aggregator clips each update and adds noise to the mean, so that nobody can tell whether one participant took "
        "part. A noise of 2 or of 10: which epsilon, which accuracy?",
        (
            "More noise: a smaller epsilon, and a worse model.",
            "More noise: a larger epsilon, and a worse model.",
            "Noise averages out: both models are alike.",
        ),
        "a",
        {
            "noise 2": "rounds=20&noise=2",
            "noise 10": "rounds=20&noise=10",
            "no noise": "rounds=20",
        },
        _epsilons,
        lambda o: (
            (o["noise 10"].epsilon or 0) < (o["noise 2"].epsilon or 0)
            and o["noise 2"].late > o["noise 10"].late + 0.02
        ),
        "Ten participants are few to hide among: even the epsilon of the strong noise is a weak promise. With ten thousand "
        "the same noise on the mean would cost a thousandth of this.",
    ),
    Experiment(
        "The same labels for all, or one each",
        "The same circles, the same training of 20 local epochs: dealt out evenly, or one circle to each participant. What "
        "does the global model lose?",
        ("Nothing: all samples are there.", "A few points.", "Ten points or more."),
        "c",
        {
            "evenly": "data=circles&epoch=20&rounds=20",
            "one label each": "data=circles&epoch=20&rounds=20&skew=single",
        },
        _lates,
        _by_points("evenly", "one label each", 0.1),
        "Look at the drift arrows: with one label each they point apart, and averaging leaves little of the way.",
    ),
    Experiment(
        "Learning by heart",
        "Four participants with three noisy points each train 20 local epochs a round. Their own loss falls to nearly 0. "
        "What does the loss on the test set do?",
        (
            "It falls with it.",
            "It falls at first, then it rises.",
            "It stays where it began.",
        ),
        "b",
        {
            "3 points each": "data=circles&spread=0.3&samples=3&participants=4&hidden=64&epoch=20&rounds=30",
            "200 points each": "data=circles&spread=0.3&samples=200&participants=4&hidden=64&epoch=2&rounds=30",
        },
        _overfit,
        lambda o: o["3 points each"].losses[-1] > 1.2 * min(o["3 points each"].losses),
        "The model learns the noise of twelve points by heart. What a participant says of its own loss tells nothing of "
        "that; samples that it keeps back would.",
    ),
    Experiment(
        "Too high a rate",
        "The learning rate is 10 in place of 1. Are ten times larger steps ten times faster?",
        ("Yes: it needs fewer rounds.", "It makes no difference.", "No: it never gets there."),
        "c",
        {"rate 1": "rounds=20", "rate 10": "rounds=20&learning_rate=10"},
        _ends,
        _by_points("rate 1", "rate 10", 0.1),
        "Each step jumps over the valley. Averaging does not mend that: it averages jumps.",
    ),
    Experiment(
        "Two of ten a round",
        "Only two of the ten participants are drawn in each round. How much crosses, and how good is the model?",
        (
            "A fifth of the bytes, a fifth of the accuracy.",
            "A fifth of the bytes, nearly the same model.",
            "The same bytes, the same model.",
        ),
        "b",
        {"all ten": "rounds=20", "two of ten": "rounds=20&per_round=2"},
        _bytes,
        lambda o: (
            o["two of ten"].bytes_up * 5 == o["all ten"].bytes_up
            and abs(o["two of ten"].late - o["all ten"].late) <= 0.08
        ),
        "A random sample of similar participants stands for all. It saves bytes, and each is asked less often.",
    ),
    Experiment(
        "What one update gives away",
        "Each participant trains one step on a single point, or on 100 points. How many of the points can the aggregator "
        "read exactly from the first updates?",
        (
            "None: it receives weights, not points.",
            "All of the single ones, hardly any of the hundred.",
            "All in both cases.",
        ),
        "b",
        {
            "1 point each": "samples=1&epoch=1&rounds=1",
            "100 points each": "samples=100&epoch=1&batch_size=400&rounds=1",
        },
        _given_away,
        lambda o: o["1 point each"].found == 1.0 and o["100 points each"].found < 0.02,
        "A row of the first layer’s gradient is the sample times a number, and the bias is that number. Of many samples it "
        "is a blend. Lesson 08 takes blends apart; lessons 09 and 10 defend.",
    ),
    Experiment(
        "The luck of the seed",
        "One label is dealt out unevenly, and the training ends after 5 rounds. You compare two seeds. By how much can the "
        "accuracy differ, with nothing else changed?",
        ("By less than 1 point.", "By 1 to 3 points.", "By more than 3 points."),
        "c",
        {
            f"seed + {k}": f"data=circles&skew=labels&alpha=0.1&epoch=1&rounds=5&seed={k}"
            for k in range(3)
        },
        _ends,
        lambda o: max(e.end for e in o.values()) - min(e.end for e in o.values()) > 0.03,
        "A strategy that wins by two points on one seed has won nothing. Compare over several seeds, as lesson 07 does.",
    ),
    Experiment(
        "Two groups that disagree",
        "Every second participant calls the two moons by each other’s names. You train one FedAvg model of all; or, "
        "after three rounds, one for each of two groups, which the aggregator finds by the direction of updates. How good "
        "is a model on the points as its participants see them?",
        (
            "One model is as good as a guess; a model for each group is far better.",
            "Both guess: the aggregator can’t know who disagrees.",
            "One model is better: it learns from all of the points.",
        ),
        "a",
        {
            "one model": "rounds=15&skew=swapped",
            "two groups": "rounds=15&skew=swapped&groups=2&split=3",
        },
        _lates,
        lambda o: o["one model"].late <= 0.6 and o["two groups"].late >= 0.8,
        "Updates point apart, and their mean goes nowhere: look at the arrows before and after the third round. Updates "
        "alone tell who agrees with whom, to anybody who sees them. Where nobody disagrees, groups gain nothing: each "
        "model learns from half of the points.",
    ),
)
