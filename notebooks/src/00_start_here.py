# ---
# jupyter:
#   fedkit:
#     budget_s: 20
#     needs: fedkit, installed as its README says
#     learn:
#       - how to run federated learning
#       - what crosses between the participants and the aggregator
#       - where the course goes from here
#     short_path: []
# ---

# %% [markdown]
# # Start here
#
# You will be able to run federated learning between three participants and say what left each of them.
#
# In federated learning, several people train one model together, and the data of each of them stay where they are.
#
# Click into the next cell and press Shift and Enter: that runs it and goes on to the next one. Do so with every cell, from the top
# to the bottom. You need no data of your own and no internet.
#
# After a break, Python may have forgotten what the cells told it: `name 'fk' is not defined`. Click into the cell at which you stopped, and choose
# *Run All Above Selected Cell* in the menu *Run*.

# %%
import platform

import torch

import fedkit as fk
from fedkit.base.events import RoundEvaluated

# %% tags=["parameters"]
rounds: int = 5  # how often the participants train and the aggregator averages
epoch: int = 5  # how often a participant goes through its own images in a round
images_per_digit: int = 100  # training images of each digit, 1000 at most

# %% [markdown]
# ## Is everything there?
#
# The two cells above have said what is used and set three numbers; neither shows anything. The data are handwritten digits from a
# famous collection, MNIST; a part of it came with fedkit. If the next cell ends in an error instead of two lines of text, its last
# line says what is missing and what to do.

# %%
mnist = fk.load_mnist()
print(f"fedkit {fk.__version__}, torch {torch.__version__}, Python {platform.python_version()}")
print(f"{len(mnist.train_images):,} digits to learn from, {len(mnist.test_images):,} to test with")

# %% [markdown]
# ## Who holds which digits?
#
# A model is a program with many numbers in it, its weights. Training changes these numbers until the model's answers fit the examples.
# Three people want a model that reads all ten digits. Alice has images of 0 to 3 only, Bob of 4 to 6, Carol of 7 to 9, and their
# images must stay with them. They are the **participants**. A fourth person, Ana, has no training images at all. She is the
# **aggregator**: she combines what the participants send her.

# %%
participants = ["alice@example.org", "bob@example.org", "carol@example.org"]
shards = fk.by_digits(
    mnist.train_images,
    mnist.train_labels,
    groups=[[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]],
    per_digit=images_per_digit,
    generator=fk.generator(0, "start here"),
)
held = {email: labels for email, (_, labels) in zip(participants, shards, strict=True)}
fk.show(fk.plots.label_bars(held), "Alice holds the digits 0 to 3, Bob 4 to 6, Carol 7 to 9")

# %% [markdown]
# ## What can they learn together?
#
# Each person gets a **datasite**: a folder with a private part, and a part that others may see. In a **round**, Ana sends the same
# model to everybody. Each participant trains it on the images in her or his private part and sends Ana the trained numbers, never
# the images. Ana averages them, and that is the next model. She tests it on digits of her own. These are the settings:

# %%
config = fk.FLConfig(
    project_name="START_HERE",
    aggregator="ana@example.org",
    participants=participants,
    rounds=rounds,
    epoch=epoch,
    learning_rate=0.1,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
)


# %%
def follow(event):
    """Print a line when a round is over."""
    if isinstance(event, RoundEvaluated):
        print(fk.render(event))


# %% [markdown]
# In a box like the next one, choose an answer before you run the cell below it. There is nothing to type.
#
# > **Predict.** A model that has seen only the digits 0 to 3 can't read more than 40% of Ana's test digits. How many does the shared model
# > read after the last round?
# >
# > * a) at most 40%: an average is no better than the best of those who made it
# > * b) clearly more than 40%, though nobody has seen more than four digits
# > * c) none: the three models cancel each other out

# %%
network = fk.Network.create(
    fk.workspace("00"), aggregator=config.aggregator, participants=participants
)
for email, shard in zip(participants, shards, strict=True):
    network.give_data(email, shard)
network.give_test(fk.as_float(mnist.test_images), mnist.test_labels)
network.launch(config)
history = network.run(approve=fk.approve_all, on_event=follow)

# %%
fk.show(fk.plots.accuracy_by_round(history), fk.alt("00 by round"))
fk.record(accuracy=[round(accuracy, 4) for accuracy in history.accuracies])

# %% [markdown]
# It is b). (Accuracy is the share of the test digits that the model reads rightly. The loss says how wrong it is; notebook 03 explains it. A line
# `Recorded` keeps results in the notebook, for whoever looks at it later.) That was federated learning: whoever of the three takes the averaged model gets one that also reads digits which she or he
# has no image of. All of it happened as files in four folders, one a person. You find them in `runs/00`.

# %% [markdown]
# ## What did the aggregator receive?
#
# Whatever crosses from one person's folder into another's is written down, file by file, in the **ledger** (`ledger.jsonl` in the same
# place). The table shows everything that reached Ana: updates, which are the trained numbers of a model; a few small files that say how
# far a participant is and how many images there are; and the files that say who may read what. The row of training images is empty.

# %%
fk.show(
    fk.plots.what_crossed(network.ledger(), aggregator=config.aggregator),
    f"Ana received {rounds} model updates from each participant, and no training image",
)

# %% [markdown]
# Does that make it private? Not by itself: an update can reveal more about the images than you may think. Notebooks 08 to 10 attack
# such updates, and then defend them.

# %% [markdown]
# ## Do you want to play first?
#
# This part is optional. Below are ten participants with 40 points each. Press **Play**: each round, everybody trains at home, and the
# large picture shows what the averaged model says of every place. Then change something: deal the points out unevenly, let half of the
# updates get lost, or make somebody hostile. `fedkit playground` opens the same in a browser, without a notebook.

# %%
fk.playground(rounds=3)  # three rounds have run already, of 40

# %% [markdown]
# Nothing in there is a film: each round is trained while you watch, by the same code that trained your digits above. What the controls
# are called, the course explains one by one.

# %% [markdown]
# ## Where does the course go?
#
# In this notebook, nobody was asked. From the next notebook on you are one of these people, and you do by hand what `run` did for
# you: make a datasite, write the settings, review and approve a request, train, and average. Later lessons break things on purpose, give
# people very different images, look into updates, and leave your machine.
#
# The map has the minutes of each lesson. Only one afternoon? The card at the top of this notebook has a short path.

# %%
fk.show(
    fk.plots.course_map(here=0), "The lessons of the course, stretch by stretch, with their minutes"
)

# %% [markdown]
# ## Recap
#
# * You ran federated learning with `Network.create`, `give_data`, `launch` and `run`.
# * Updates crossed to the aggregator; training images did not, and the ledger says so.
# * The course goes from folders on your machine to failures, privacy, and networks of real machines.

# %% [markdown]
# ## Next
#
# [A datasite is a folder](01_datasite.ipynb): you are Alice, and you make a datasite of your own.
