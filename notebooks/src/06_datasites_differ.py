# ---
# jupyter:
#   fedkit:
#     budget_s: 90
#     needs: notebooks 03 and 04
#     learn:
#       - how to make datasites differ by one number, and how to measure it
#       - what skew costs, and why the updates pull apart
#       - what becomes of the model when everybody trains longer and meets less often
#       - how good an own model is at home, and how good abroad
# ---

# %% [markdown]
# # When datasites differ
#
# You will be able to deal digits out as unevenly as you like, and to say what that does to the updates, the global model and each participant.

# %%
import numpy as np
import torch
from tqdm import tqdm

import fedkit as fk
from fedkit.learning.geometry import changes
from fedkit.teaching.widgets.skew_lab import SkewLab

# %% tags=["parameters"]
alpha: float = 0.1  # skew of the labels: small is uneven, 100 is nearly even
epoch: int = 5  # passes over one's own images in each round
rounds: int = 10  # how often everybody trains and the models are averaged
images: int = 1000  # training images of all ten participants together
learning_rate: float = 0.1  # step size of each training step
seed: int = 0  # every choice derives from it
interactive: bool = True  # a panel with sliders; without, a picture of it, as in a batch run

# %% [markdown]
# ## How can datasites differ?
#
# In notebook 05 all held the same mixture of digits. Real datasites don't. One hospital sees other illnesses than another (**label skew**), one has
# ten times the patients (**quantity skew**), one has another scanner (**feature shift**). Data that is alike everywhere is called **IID**, independent and
# identically distributed.
#
# Label skew can be made with one number. For each digit, draw ten shares that add up to 1, one a participant, from a **Dirichlet distribution** with the
# parameter alpha. If alpha is large, all shares are near one tenth. If it is small, a few participants get nearly everything.

# %%
rng = np.random.default_rng(seed)
for value in (100.0, 1.0, 0.1):
    shares = rng.dirichlet([value] * 10)
    print(f"alpha {value:>5}:", "  ".join(f"{share:.2f}" for share in shares))

# %% [markdown]
# **Exercise.** Write the split. For each digit, `mine` holds the indices of its images in random order. Draw the `shares`, then find the places at which
# to cut `mine` into ten pieces: where the running sums of the shares end, times the number of images. Nine cuts make ten pieces.


# %% tags=["exercise", "defines:fk.deal_dirichlet"]
def deal_dirichlet(labels, participants, alpha, rng):
    """For each participant the indices of its images; each digit is dealt out in shares of its own."""
    parts = [[] for _ in range(participants)]
    for digit in labels.unique().tolist():
        mine = torch.from_numpy(rng.permutation((labels == digit).nonzero().flatten().numpy()))
        # solution begin
        shares = rng.dirichlet([alpha] * participants)
        cuts = [round(end * len(mine)) for end in shares.cumsum().tolist()[:-1]]
        # solution end
        for part, piece in zip(parts, mine.tensor_split(cuts), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


fk.check.deal_dirichlet(deal_dirichlet)

# %% [markdown]
# `fk.split_dirichlet` is this function, called until everybody has a few images. Now deal 1,000 images out to ten participants.

# %%
mnist = fk.load_mnist()
some = torch.randperm(len(mnist.train_labels), generator=fk.generator(seed, "some"))[:images]
pool, pool_labels = mnist.train_images[some], mnist.train_labels[some]
test = fk.as_float(mnist.test_images), mnist.test_labels

# %%
people = fk.numbered_participants(10)


def deal(alpha):
    """Ten shards; the same alpha gives the same ones."""
    draw = fk.generator(seed, "deal")
    parts = fk.split_dirichlet(pool_labels, len(people), alpha, min_size=10, generator=draw)
    return fk.take(pool, pool_labels, parts)


# %%
skewed, even = deal(alpha), deal(100.0)
held = {email: labels for email, (_, labels) in zip(people, skewed, strict=True)}
title = f"Who holds what at alpha {alpha:g}"
fk.show(
    fk.plots.label_bars(held, title=title),
    "Ten bars of very different lengths, each mostly of a few digits",
)

# %% [markdown]
# The sizes differ too, because they are sums of shares. To say how far datasites differ, take the **heterogeneity**: the share of all images that
# would have to change hands until everybody had the same mixture.

# %%
for value in (100.0, 1.0, alpha):
    print(f"alpha {value:>5}: heterogeneity {fk.heterogeneity(deal(value)):.2f}")

# %% [markdown]
# ## What does skew cost?
#
# Now train. Ten participants through files would take a while, so this runs by `fk.simulate`: the same training, the same seeds and the same
# averages, in memory. With `exact=True` it gives the same bits as datasites do, which you will check at the end. Without, it trains several participants at
# once, and sums come out in another order, so the last digits may differ.
#
# Everything is the same in all runs: the 1,000 images, the seed weights, the number of training passes. Only the way the images are dealt out changes.

# %%
config = fk.FLConfig(
    project_name="SKEW",
    aggregator="ana@example.org",
    participants=people,
    rounds=rounds,
    epoch=epoch,
    learning_rate=learning_rate,
    batch_size=32,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
    seed=seed,
)

# %% [markdown]
# > **Predict.** With nearly even shards (alpha 100) the global model ends between 85% and 90%. What does alpha 0.1 cost?
# >
# > * a) nothing: all images are still there, and the mean sees them all
# > * b) some points: it gets there, but later
# > * c) almost everything: the mean of such models guesses

# %%
lab = SkewLab(deal, test, config, interactive=interactive)
runs = {f"alpha {value:g}": lab.run(value, epoch) for value in (100.0, 1.0, alpha)}
lab

# %% [markdown]
# b. Alpha 1 costs little. Alpha 0.1 costs several points after ten rounds, and more in the mean of the first three: the curve is late.
# Move the sliders and press **Run** for other values; a cell that calls `lab.run(0.2, 10)` does the same.

# %% [markdown]
# ## Why do the updates pull apart?
#
# An update is a change of 101,770 weights: an arrow in a space of so many dimensions, from the global model to where the participant's training has led.
# You can't draw that, but you can draw its shadow on a plane. The best plane is the one that keeps most of the arrows' squared length: it is spanned by their
# two **principal components**. The axes say how much of it they keep.
#
# Below is round 1, in which all start from the same weights. Blue are the ten updates, red is their mean, the next global model.


# %%
def first_round(shards, epochs=epoch):
    """The global model before round 1 and the ten updates of that round."""
    kept = []

    def look(model, updates):
        kept.append((model, updates))
        return updates

    fk.simulate(config.replace(rounds=1, epoch=epochs), shards, test, on_the_way=look)
    return kept[0]


# %%
rounds_of = {
    "alpha 100": first_round(even),
    f"alpha {alpha:g}": first_round(skewed),
}
fk.show(
    fk.plots.drift_arrows(rounds_of),
    "With even shards the arrows lean one way and the mean is nearly as long; with skewed ones they fan out and it is much shorter",
)

# %% [markdown]
# With even shards, everybody leans the same way: what is good for one is good for all. An arrow may stick out all the same: with 97 images, say, and batches of 32,
# each epoch ends with a step on a single image, whose gradient is no mean of many. With skewed shards, each walks to where its own digits are read well.
# This is **client drift**. What they disagree in cancels out in the mean.
#
# **Exercise.** Measure it. `rows` has one change a row, `shares` the weights of FedAvg. Which part of the way that they walked is left after averaging? That is
# the length of the weighted sum of the rows, divided by the same sum of their lengths.


# %% tags=["exercise", "defines:fk.agreement"]
def agreement(model, updates):
    """The share of the way that is left after averaging, 0 to 1."""
    rows, shares = changes(model, updates), torch.tensor(fk.mixing_weights(updates)).double()
    walked = float(shares @ rows.norm(dim=1))
    # solution begin
    return float((shares @ rows).norm()) / walked if walked else 1.0
    # solution end


fk.check.agreement(agreement)

# %%
for name, (model, updates) in rounds_of.items():
    print(f"{name}: {fk.agreement(model, updates):.2f} of the way is left")

# %% [markdown]
# With even shards most of the way is left, with skewed ones about half of it.
#
# On points in the plane you can watch it happen. Below, each of ten participants holds one of two circles, and trains 20 local epochs. Press **Play**, look at
# the small pictures and at the arrows, then choose the first guided experiment and say what you expect of FedProx.

# %%
fk.playground("data=circles&skew=single&epoch=20&rounds=20", rounds=2, interactive=interactive)

# %% [markdown]
# What each participant sends says "my label" nearly everywhere. The mean of such models is the large picture.
#
# Here everybody agrees on what a point is called. Where participants disagree about that, no single model can please them: the last guided experiment gives
# each group that pulls the same way a model of its own.

# %% [markdown]
# ## How many local epochs?
#
# Local work is cheap and communication is dear, so it is tempting to train longer at home and to meet less often. Give everybody twenty passes over its own
# images, in three ways: 20 rounds of 1 local epoch, 4 rounds of 5, or 1 round of 20. The computing is the same. The last way sends a twentieth of the bytes.
#
# > **Predict.** How do the three ways compare?
# >
# > * a) meeting less often costs accuracy, with even and with skewed shards alike
# > * b) it costs nothing with even shards, and a lot with skewed ones
# > * c) it costs nothing in either case

# %%
ways = [(20, 1), (4, 5), (1, 20)]  # rounds, local epochs
ends = {}
for name, shards in tqdm({"even": even, "skewed": skewed}.items(), leave=False):
    for n, e in ways:
        history = fk.simulate(config.replace(rounds=n, epoch=e), shards, test)
        ends[f"{name} {n}x{e}"] = history.accuracies[-1]

# %%
title = fk.caption("06 meeting")
marked = [name for name in ends if name.startswith("skewed")]
fk.show(
    fk.plots.participant_bars(ends, title=title, highlight=marked),
    fk.alt("06 meeting"),
)

# %% [markdown]
# b. With even shards, meeting once is nearly as good as meeting twenty times, at a twentieth of the bytes. With skewed ones, every pass at home leads further away
# from the others, and only a meeting brings them back. More local epochs are not wrong then: at a fixed number of *rounds* they may still
# pay. But they are no longer a free gift.

# %% [markdown]
# ## How good is a model, and where?
#
# So far there was one test set, with all ten digits alike. A participant asks something else: how good is this on what *I* see? Call that **home**: a test
# set with the participant's own mixture of digits. **Abroad** has all digits alike.
#
# To see it in its purest form, deal each digit to two participants, so that everybody holds exactly two (`fk.split_labels_each`). Accuracy at home needs
# no new images: take the accuracy on each digit, and weight it with the participant's share of that digit.


# %%
def by_digit(state):
    """Accuracy on each of the ten digits, float64 [10]."""
    chosen = [test[1] == digit for digit in range(10)]
    found = [fk.evaluate(judge, state, test[0][c], test[1][c])[0] for c in chosen]
    return torch.tensor(found, dtype=torch.float64)


# %%
judge = fk.load_model(fk.SAMPLE_MODEL)
parts = fk.split_labels_each(pool_labels, len(people), 2, generator=fk.generator(seed, "two"))
pairs = fk.take(pool, pool_labels, parts)
mixtures = torch.stack([count / count.sum() for count in fk.label_counts(pairs).double()])

# %% [markdown]
# Now let everybody train alone for twenty epochs, and besides that all together for ten rounds as before.
#
# > **Predict.** A participant holds two digits and trains alone. How good is its model at home, and abroad?
# >
# > * a) 60% at home, 60% abroad: few images make a weak model
# > * b) more than 90% at home, 20% or less abroad
# > * c) more than 90% in both: a digit is a digit

# %%
last = []
fk.simulate(config, pairs, test, on_the_way=lambda _, updates: last.append(updates) or updates)
everybody = by_digit(fk.fedavg(last[-1]))
_, alone = first_round(pairs, 20)
places = {}
for email, mixture, update in zip(people, mixtures, alone, strict=True):
    own = by_digit(update.state)
    places[email] = (float(mixture @ own), float(own.mean()), float(mixture @ everybody))

# %%
figure = fk.plots.home_and_abroad(places, average=float(everybody.mean()))
fk.show(
    figure,
    fk.alt("06 home and abroad"),
)

# %% [markdown]
# b. Nothing is wrong with such a model. Telling two digits apart is easy, so it is nearly always right at home. Abroad it has never seen eight of ten digits,
# and takes each of them for one of its own: even if it never errs at home, two tenths is the most that it can reach. An accuracy says nothing without the test set
# behind it.
#
# Now look at the triangles. Here the global model is worse at *every* home than the participant's own model, and at some homes much worse than its average
# says. Those participants have a reason to leave. A first remedy is to train the global model on at home for a moment, which is called
# **personalisation** (`fk.fine_tune`).

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# Now for real: the same config for two rounds, as ten datasites with their files. Ana has one inbox for each, and a ledger.

# %%
root = fk.workspace("06")
network = fk.Network.create(root, aggregator=config.aggregator, participants=people)
for email, shard in zip(people, skewed, strict=True):
    network.give_data(email, shard)
network.give_test(*test)

# %%
network.launch(config.replace(rounds=2))
on_disk = network.run(approve=fk.approve_all)
in_memory = fk.simulate(config.replace(rounds=2), skewed, test, exact=True)
print("the same bits as in memory:", on_disk.rounds == in_memory.rounds)

# %%
figure = fk.plots.bytes_by_participant(network.ledger(), aggregator=config.aggregator)
fk.show(figure, "Ten pairs of bars, all alike: sent 0.8 MB and received 1.2 MB each")

# %% [markdown]
# Everybody has sent the same number of bytes: an update has the size of the model, whatever is behind it. So does Ana know nothing of who holds what? Look at the ten biases of the last layer, one for each
# digit. Training raises the bias of a digit that is often seen, and lowers the others. Ana has the weights before and after, so she can
# guess: whatever has risen is held.

# %%
place = network[config.aggregator].aggregator().project(config.project_name, "done")
before = fk.read_state(place.global_model(0))["fc2.bias"]
rise = [fk.read_state(place.update(email, 1))["fc2.bias"] - before for email in people]
guessed, counts = torch.stack(rise) > 0, fk.label_counts(skewed)
right = (guessed == (counts > 0)).double().mean().item()
top = sum(bool(counts[k, int(r.argmax())]) for k, r in enumerate(rise))
print(f"right in {right:.0%} of 100 cells; for {top} of 10 the digit that rose most is held")

# %% [markdown]
# This is what she was guessing at:

# %%
fk.show(
    fk.plots.label_heatmap(held),
    "A table of participants and digits: about half of the cells are empty, and a fifth of them holds most images",
)

# %% [markdown]
# Ten numbers of 101,770, one comparison each, and she knows most of this table. No image has crossed; what a hospital treats has. Notebook 08 goes on from here.

# %%
fk.record(
    accuracy_even=runs["alpha 100"].accuracies[-1],
    accuracy_skewed=runs[f"alpha {alpha:g}"].accuracies[-1],
    left_even=fk.agreement(*rounds_of["alpha 100"]),
    left_skewed=fk.agreement(*rounds_of[f"alpha {alpha:g}"]),
    labels_guessed=right,
)

# %% [markdown]
# ## Recap
#
# * One number, alpha, deals labels out evenly or not; the heterogeneity says which share of all images would have to change hands.
# * Skew costs rounds and accuracy, because updates that start at one point walk in different directions, and averaging leaves half of the way.
# * Longer training between meetings costs little where datasites are alike, and a lot where they differ.
# * A model is as good as the test set it is asked about: at home few digits are easy, abroad the missing ones can't be read; the global model serves some homes badly.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("06")

# %% [markdown]
# ## Readings
#
# * Hsu, Qi and Brown (2019), [Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification](https://arxiv.org/abs/1909.06335): the Dirichlet split, and what alpha costs.
# * Li et al. (2022), [Federated Learning on Non-IID Data Silos: An Experimental Study](https://arxiv.org/abs/2102.02079): the kinds of skew side by side.
# * Zhao et al. (2018), [Federated Learning with Non-IID Data](https://arxiv.org/abs/1806.00582): how far weights diverge, and what a few shared images change.
# * Karimireddy et al. (2020), [SCAFFOLD](https://arxiv.org/abs/1910.06378): client drift, with a cure.

# %% [markdown]
# ## Next
#
# Many rules claim to cope with skew. In notebook 07 they compete: same bytes, three seeds.
