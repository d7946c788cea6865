# ---
# jupyter:
#   fedkit:
#     budget_s: 90
#     needs: notebooks 02 to 04
#     learn:
#       - how to drive a project round by round, go back, and change a setting on the way
#       - what a quorum and a round time-out decide when somebody is absent or slow
#       - what becomes of a participant that is killed and started again
#       - which wrong updates the aggregator refuses, and which it can't tell from right ones
# ---

# %% [markdown]
# # Round control and failures
#
# You will be able to drive a project round by round, and to say beforehand what becomes of it when a participant is absent, slow, killed or hostile.

# %%
import hashlib

import torch

import fedkit as fk
from fedkit.federation.ledger import Filter
from fedkit.teaching.control.control import Control
from fedkit.teaching.odd_request import ODD_MODEL
from fedkit.teaching.practice_room import PracticeRoom
from fedkit.teaching.widgets.approval_desk import ApprovalDesk
from fedkit.teaching.widgets.class_room import ClassRoom
from fedkit.teaching.widgets.datasite_tree import DatasiteTree
from fedkit.teaching.widgets.failure_lab import FailureLab
from fedkit.teaching.widgets.ledger_view import LedgerView
from fedkit.teaching.widgets.round_control import RoundControl

# %% tags=["parameters"]
rounds: int = 4  # how often everybody trains and the models are averaged, at least 3
epoch: int = 5  # passes over one's own images in each round
learning_rate: float = 0.1  # step size of each training step
images_each: int = 300  # training images of each participant
seed: int = 0  # every shuffle derives from it
interactive: bool = True  # panels with buttons; without, pictures of them, as in a batch run

# %% [markdown]
# ## Who presses the buttons?
#
# Four participants hold 300 images each, of all ten digits: Alice, Bob, Carol and Dan. Ana aggregates. So far `run` went through to the end. Now you
# want to stop after each round and break things.
#
# A `Control` does that for a network. Its methods are the buttons of the panel `RoundControl`: **Run round**, **Run all**, **Pause**, **Reset**.
# A cell that calls `control.run_round()` and you pressing **Run round** do the same. `control.wait()` waits until the work has ended.
# What a cell has printed stays; a panel shows how things stand *now*. Below, the cells press the buttons. Press them yourself in between as often as you
# like: `control.go_to(1)` presses Reset or Run round until round 1 is over, wherever you have left it.

# %%
ana = "ana@example.org"
people = [f"{name}@example.org" for name in ("alice", "bob", "carol", "dan")]
alice, dan = people[0], people[3]
mnist = fk.load_mnist()
draw = fk.generator(seed, "lesson 05")
shards = fk.iid(mnist.train_images, mnist.train_labels, len(people), images_each, generator=draw)

# %%
config = fk.FLConfig(
    project_name="ROUNDS",
    aggregator=ana,
    participants=people,
    rounds=rounds,
    epoch=epoch,
    learning_rate=learning_rate,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
    seed=seed,
)

# %% [markdown]
# Each experiment of this lesson gets a network of its own, with the same people, the same digits and the same seed. What differs are the settings that
# you pass, and what goes wrong.

# %%
root = fk.workspace("05")


def start(name, approve=fk.approve_all, **settings):
    """Launch the experiment in a new network, in an empty folder; return what drives it."""
    network = fk.Network.create(fk.workspace(f"05/{name}"), aggregator=ana, participants=people)
    for email, shard in zip(people, shards, strict=True):
        network.give_data(email, shard)
    network.give_test(fk.as_float(mnist.test_images), mnist.test_labels)
    network.launch(config.replace(**settings))
    return Control.of(network, approve)


# %%
by_hand = start("by_hand", fk.approve_none, adjustable=["learning_rate"])
print(by_hand.now.status)
RoundControl(by_hand.network, interactive=interactive)

# %% [markdown]
# The line above the panel says what everything waited for when the cell ran: four people have a request and nobody has answered. After Run All,
# live panels are further on than the text beside them, since the cells below have been at work.
#
# **Alice, participant**
#
# This is her desk. It shows what she would run, and what stands out in the code (after Run All, no request waits here any more). The desk can only hint: she decides. She may also say no, and why; then
# Ana waits, and reads the reason. A no is not for ever: **Take back** lets the request wait again, and a yes replaces it.

# %%
tree = DatasiteTree(by_hand.network, alice, interactive=interactive)
ApprovalDesk(by_hand.network[alice], interactive=interactive)

# %% [markdown]
# A second request, FASTER, lies on her desk in another network. It promises the same model, a little faster, and its `model.py` is another one. Nobody has
# run it at her side: read what stands out, then the lines that it names. A finding is a hint. It can point at what is harmless, and say nothing of what is not.

# %%
network = fk.Network.create(fk.workspace("05/letter"), aggregator=ana, participants=people)
network.launch(config.replace(project_name="FASTER"), ODD_MODEL)
letter = Control.of(network, fk.approve_none)
desk = ApprovalDesk(letter.network[alice], interactive=interactive)
desk

# %% [markdown]
# **Exercise.** One line of this code takes some of Alice's images along. Which one? Then answer for Alice, "approve" or "decline": here, and at the desk if you like (run the cell above once more, and the request waits again).

# %% tags=["exercise"]
line = (
    # solution begin
    21
    # solution end
)
answer = (
    # solution begin
    "decline"
    # solution end
)

# %%
fk.check.odd_request(line, answer)

# %% [markdown]
# In a terminal, `fedkit approve FASTER` shows the same findings in the same words.
#
# Back to the first request. The next cell says yes for whoever has not answered yet, or has said no, and lets one round run.

# %%
for email in people:
    site = by_hand.network[email]
    for project in [*fk.pending_requests(site), *fk.declined_requests(site)]:
        print(fk.render(fk.approve(site, project)))
by_hand.refresh()
print(by_hand.go_to(1).status)

# %% [markdown]
# One round has run. What did it leave at Alice's? The tree opens where something has changed: `+` is new, `~` rewritten, `-` gone. The last column says who
# else may read a file. Press one to look into it. (After Run All it shows a later round; `by_hand.go_to(1)` in a new cell brings this one back.)

# %%
tree

# %% [markdown]
# ## What may change between rounds?
#
# **Aggregator**
#
# Every participant has approved a config, and it is a promise. It says in its key `adjustable` what Ana may change on the way; here that is the learning
# rate alone. Any other change is refused, at Ana's and, should she find a way around that, at each participant's too.
#
# A change holds from the next round on, travels to everybody as a small file, and stands in the history. And since files are the state, you can also go
# back: `by_hand.go_to(1)` takes every later file away, on all sides.

# %%
try:
    by_hand.change(epoch=50)
except fk.FedkitError as error:
    print(str(error).replace(str(root.absolute()), "…"))

# %% [markdown]
# > **Predict.** You run round 2, go back to round 1, and run round 2 again. Nothing else is changed. How do the two accuracies compare?
# >
# > * a) they differ a little: training shuffles the images
# > * b) the second is higher: the participants have trained once more
# > * c) they are the same, to the last digit


# %%
def second_round():
    """Go back to the end of round 1, run round 2, and return the accuracies."""
    by_hand.go_to(1)
    return by_hand.go_to(2).history.accuracies


by_hand.go_to(0)  # a learning rate that you have tried is forgotten
once, again = second_round(), second_round()
print(once[1], again[1], once == again)

# %% [markdown]
# It is c). Participants do shuffle, but the order is drawn from the seed, the participant and the round. So you can compare two learning rates from the same
# point: whatever differs now comes from the change.

# %%
by_hand.go_to(0)
by_hand.go_to(1)
by_hand.change(learning_rate=0.01)
slower = second_round()
by_hand.change(learning_rate=learning_rate)
two_rates = by_hand.go_to(3).history
print(f"round 2 with {learning_rate}: {once[1]:.1%}, with 0.01: {slower[1]:.1%}")

# %%
fk.show(
    fk.plots.round_timeline(two_rates, people, by_hand.faults.log),
    "Three rounds, everybody averaged in each; round 2 is marked with a learning rate of 0.01, round 3 with 0.1 again",
)

# %% [markdown]
# This is the **timeline**: participants as rows, rounds as columns, and in each cell what became of the update. A changed setting stands above its round, the
# accuracy below it. So far, no surprise.

# %% [markdown]
# ## What if somebody is absent?
#
# A new network, launched like the first one; from now on everybody approves right away. After round 1 Dan's machine goes off. Such a fault is set in the panel `FailureLab`: a participant, a fault, a round, and
# the button **Set fault**; or by `lab.set(...)`, which does the same. Every fault is done for real: on files, on processes, on permissions.
#
# First, a project as you know it: a round needs all four updates. The function `finish` presses **Run all** and prints the accuracy after each round.


# %%
def finish(control):
    """Run the rounds that are left, print the accuracies as they come, and return the history."""
    shown, busy = 0, True
    control.wait()
    control.run_all()
    while busy:
        busy = control.wait(0.2).busy
        if not busy:
            control.wait()
        for record in control.now.history.rounds[shown:]:
            print(f"round {record.round}: {record.accuracy:.1%}", end="   ")
        shown = len(control.now.history)
    print(control.now.status)
    return control.now.history


# %%
everybody = start("everybody")
lab = FailureLab(everybody.network, interactive=interactive)
lab.set(dan, "absent", from_round=2)
waiting = finish(everybody)
lab

# %% [markdown]
# It stops, and the line above the panel says whom it waited for. Nothing is lost: when Dan's machine is on again, it goes on.

# %%
everybody.faults.clear()  # as the button Repair all does
complete = finish(everybody)
print("done:", complete.done)

# %% [markdown]
# (To break things on your own, launch one more: `control = start("mine", min_participants=2)`. Then put `RoundControl(control.network)` and
# `FailureLab(control.network)` into a cell each.)
#
# Waiting is fair, and one person can hold up everybody. The key `min_participants` sets a **quorum**: with that many updates a round may end, once nothing more
# is to be expected. Whoever has not answered then is absent in this round.
#
# **Exercise.** Dan's machine goes off after round 1 again, and this time for good. Choose a quorum with which the four go on without Dan, but stop if one more
# is missing; the project then runs with your number. And predict the accuracy after the last round, as a number between 0 and 1. The line printed last
# says where the complete project ended.

# %% tags=["exercise"]
quorum = (
    # solution begin
    3
    # solution end
)
prediction = (
    # solution begin
    0.84
    # solution end
)


# %%
def dan_goes(needed):
    """The project with Dan off after round 1, under some quorum: what drives it, and its history."""
    control = start("quorum", min_participants=needed)
    FailureLab(control.network, interactive=interactive).set(dan, "absent", from_round=2)
    return control, finish(control)


control, without_dan = dan_goes(int(quorum) if quorum in range(1, 5) else 3)  # 3 while it is open
fk.check.quorum(quorum, prediction, without_dan)

# %%
if not without_dan.done:  # so that the lesson can go on
    control, without_dan = dan_goes(3)
fk.show(
    fk.plots.round_timeline(without_dan, people, control.faults.log),
    "Dan is averaged in round 1 and absent in all rounds after it; the others are averaged in every round",
)

# %% [markdown]
# A quarter of the images is gone, and the accuracy hardly notices: Dan's digits look like everybody else's. That is the comfortable case. In notebook 06 people
# hold different digits.

# %% [markdown]
# ## What if somebody is slow?
#
# Absent and slow look the same from outside: no update has come yet. Ana can't know which it is. She can only decide how long to wait. The key `round_timeout_s`
# says it in seconds: after that time a round ends as soon as the quorum is there.
#
# A short time-out throws work away, a long one makes everybody wait for the slowest. Large systems ask more people than they need, take the first ones that
# answer, and drop the rest.
#
# > **Predict.** The quorum is 3, the time-out 2 seconds. In round 2 Dan starts a minute late; from round 3 on he is on time. What becomes of his updates?
# >
# > * a) round 2 waits a minute, and all his updates are averaged
# > * b) round 2 ends without him, and he is out for good
# > * c) round 2 ends without him, and he is back in round 3

# %%
control = start("slow", min_participants=3, round_timeout_s=2.0)
lab = FailureLab(control.network, interactive=interactive)
lab.set(dan, "slow", from_round=2, seconds=60)
for _ in range(2):
    control.run_round()
    control.wait()
lab.repair(dan)
late = finish(control)

# %%
fk.show(
    fk.plots.round_timeline(late, people, control.faults.log),
    fk.alt("05 late"),
)

# %% [markdown]
# It is c). Each round starts from a new global model, and whoever has it can take part. What Dan would have trained in round 2 is lost, as nobody waits for it any
# more.

# %% [markdown]
# ## What if a process is killed?
#
# A laptop runs out of power, or the system needs the memory and kills a process in the middle of a local epoch. What Dan's client had in memory is gone. What
# is left are its files: the approved config, the global model of the round before, and no update.
#
# Below, Dan trains in a process of his own, and after three batches it gets SIGKILL, the signal that no program can catch. Then his client starts anew.
#
# > **Predict.** What is the last global model, compared with that of the project in which everybody took part?
# >
# > * a) the same bits
# > * b) slightly different: half a round of Dan's training got lost
# > * c) worse: Dan's half-trained model was averaged

# %%
control = start("killed")
lab = FailureLab(control.network, interactive=interactive)
lab.set(dan, "killed", from_round=2)
killed = finish(control)


# %%
def fingerprint(name):
    """SHA-256 of the last global model in one of this lesson's networks."""
    network = fk.Network.open(root / name)
    place = network[ana].aggregator().project(config.project_name, "done")
    return hashlib.sha256(place.global_model(rounds).read_bytes()).hexdigest()[:16]


print("everybody took part:", fingerprint("everybody"))
print("Dan was killed once:", fingerprint("killed"))

# %%
fk.show(
    fk.plots.round_timeline(killed, people, control.faults.log),
    fk.alt("05 killed"),
)

# %% [markdown]
# The same bits. `advance()` reads exactly the files that are left, so it finds round 2 not done and trains it again, from the beginning. Three things make that
# so: a file is written whole or not at all, every step can be done again without harm, and the shuffles come from the seed
# and not from how far somebody got. The button **Pause** relies on this, too: it stops before the next batch, and the round is trained anew when you go on.

# %% [markdown]
# ## What if an update is wrong?
#
# So far everybody was honest. Now something is wrong with what Dan sends. Perhaps his training has diverged, perhaps he means harm. First, his update holds **NaN**,
# "not a number": what a computer writes for 0/0. NaN spreads: any sum with it is NaN.
#
# An unchecked mean would turn every weight of everybody's model into NaN. So the aggregator looks at each update before it averages: are the names, shapes and types
# the model's, and are all numbers finite? If not, the update is **refused**, with a reason in the record.

# %%
print("mean of 1, 2, 3 and NaN:", torch.tensor([1.0, 2.0, 3.0, float("nan")]).mean().item())
control = start("nan", min_participants=3)
lab = FailureLab(control.network, interactive=interactive)
lab.set(dan, "NaN", from_round=2)
refused = finish(control)
fk.show(
    fk.plots.round_timeline(refused, people, control.faults.log),
    "Dan's updates are refused from round 2 on, because fc1.weight holds NaN; the others are averaged",
)

# %%
print("Dan absent from round 2: ", fingerprint("quorum"))
print("Dan refused from round 2:", fingerprint("nan"))

# %% [markdown]
# To the last bit it is as if Dan had sent nothing. Now build such a check yourself, and use it on the four updates that arrived in round 2.
#
# **Exercise.** Write a function that gets a state (a dict from names to tensors) and returns a reason, a text, if any of its tensors holds NaN, and `None` if all
# is well. The check lets your function decide whose update is averaged, and compares the result with the aggregator's model.

# %%
inbox = control.network[ana].aggregator().project(config.project_name, "done")
arrived = {email: fk.read_state(inbox.update(email, 2)) for email in people}
averaged = fk.read_state(inbox.global_model(2))


# %% tags=["exercise"]
def why_not(state):
    """A reason not to average this state, or None."""
    # solution begin
    for name, tensor in state.items():
        if torch.isnan(tensor).any():
            return f"{name} holds NaN"
    return None
    # solution end


fk.check.refuse_nan(why_not, arrived, averaged)

# %% [markdown]
# fedkit's own check is `fk.check_state`. It looks at names, shapes and types as well, and this is what it says of the four:

# %%
before = fk.read_state(inbox.global_model(1))
for email, state in arrived.items():
    print(f"{email:<18}", fk.check_state(before, state))

# %% [markdown]
# Last, Dan means harm. From round 2 on he trains as everybody does, and then **flips the sign** of his change: where training moved a weight up by 0.1, he sends it moved
# down by 0.1. All numbers are finite, all shapes are right.
#
# > **Predict.** What becomes of his updates, and of the model?
# >
# > * a) they are refused, as NaN was
# > * b) they are averaged; three honest ones outvote one, and the accuracy is the same
# > * c) they are averaged, and the accuracy stays clearly below that of the others
# > * d) they are averaged, and the model is destroyed: it guesses

# %%
control = start("hostile")
lab = FailureLab(control.network, interactive=interactive)
lab.set(dan, "sign-flipped", from_round=2)
hostile = finish(control)
fk.show(
    fk.plots.round_timeline(hostile, people, control.faults.log),
    fk.alt("05 hostile"),
)

# %%
curves = {"everybody": complete, "Dan absent": without_dan, "Dan flips the sign": hostile}
title = fk.caption("05 four projects")
fk.show(
    fk.plots.accuracy_by_round(curves, title=title),
    fk.alt("05 four projects"),
)

# %% [markdown]
# It is c), and it is worse than if Dan had stayed away. A mean has no votes: it adds up. Three steps forward and one back make two of four, so the average moves about
# half as far in each round. Nothing in the form of the update was wrong, and form is all that the check looks at.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# The pictures above used what you know and Ana doesn't: what was done to Dan. This is the hostile project from her records alone.

# %%
fk.show(
    fk.plots.round_timeline(hostile, people, title="What Ana knows of the hostile project"),
    "In Ana's records every update of every round is averaged, Dan's too",
)
last = hostile.rounds[-1]
for part in last.contributions:
    print(f"{part.participant:<18} weight {part.weight:.2f}   norm of the change {part.norm:.2f}")

# %% [markdown]
# Everything is in order. The **norm** is the length of the vector of all 101,770 changes, and Dan's is like the others': a flipped sign turns a vector around and leaves
# its length. In the ledger, too, Dan's updates have the same names and the same sizes as everybody's. And of the killed process Ana knows nothing at all: an update
# came a little later.

# %%
updates = Filter(kind="model updates")
LedgerView(control.network, interactive=interactive, wanted=updates)

# %%
fk.record(
    complete=complete.accuracies[-1],
    without_dan=without_dan.accuracies[-1],
    hostile=hostile.accuracies[-1],
    same_bits_killed=fingerprint("everybody") == fingerprint("killed"),
    same_bits_refused=fingerprint("quorum") == fingerprint("nan"),
)

# %% [markdown]
# ## Recap
#
# * A `Control` runs a round, pauses, goes back and changes what the config calls adjustable; the same seed gives the same bits, however often you go back.
# * A quorum says how many updates are enough, a time-out how long to wait for more; whoever misses a round is back in the next one.
# * A killed participant finds its work in its files, trains the round anew, and comes to the same bits.
# * NaN and wrong shapes are refused with a reason; a flipped sign has the right form, so the mean takes it in.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("05")

# %% [markdown]
# ## Readings
#
# * Bonawitz et al. (2019), [Towards Federated Learning at Scale: System Design](https://arxiv.org/abs/1902.01046): quorums and time-outs of a system with millions of phones; section 2.
# * Blanchard et al. (2017), [Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent](https://arxiv.org/abs/1703.02757): lemma 1 shows that one hostile participant can steer any mean.
# * Kairouz et al. (2021), [Advances and Open Problems in Federated Learning](https://arxiv.org/abs/1912.04977): section 5 sorts what can go wrong, by accident and on purpose.

# %% [markdown]
# ## Next
#
# All four held the same mixture of digits. In notebook 06 they don't, and then it matters very much who is absent. Notebook 07 replaces the mean by rules that a
# flipped sign can't move so easily.

# %% [markdown]
# ### For the teacher
#
# You lead a room of learners, each at a machine of their own? Else you have finished: this part is no part of the lesson's minutes.
#
# `fedkit class open` makes a seat for each learner, and `ClassRoom` is the panel in front of the class: who is stuck, since when, and on what. Who needs help stands
# first. Here the room is played, so that you can look at it before the day, without a network: thirty seats in one folder. Invitations, keys, requests and answers
# are real; the people are not.

# %%
room = PracticeRoom(fk.workspace("05/class"), seats=30)
room.sit(*range(1, 27))  # four have not found their invitation
room.launch()
panel = ClassRoom(room.teacher, room.name, interactive=interactive)
panel

# %% [markdown]
# Four minutes later most have answered, one has said no, one seat is claimed by somebody who has no invitation for it, and nineteen have given data. The panel looks
# every five seconds while no cell runs; `Look` looks at once.

# %%
room.approve(*range(1, 22))
room.give_data(shards[0], *range(1, 20))
room.decline(22, "what happens to my images?")
room.take_away(25)
panel.look()
room.later(minutes=4)
print(panel.text().partition("\n")[0])
ClassRoom(room.teacher, room.name, interactive=interactive)

# %% [markdown]
# Go to the seats from the top down. "Needs help" is a seat with which something is wrong, or that should have acted three minutes ago and has not. In the room itself:
# `ClassRoom(fk.Datasite.load("config.json"), "PHYSICS")` in a notebook of yours, or `fedkit class seats PHYSICS` in a terminal.
