# ---
# jupyter:
#   fedkit:
#     budget_s: 60
#     needs: notebooks 01 to 03
#     learn:
#       - what FedAvg averages, and which share each update gets
#       - what a round is in files, and how advance() repeats it to the end
#       - when the choice of the shares decides what a model can do
#       - what the aggregator sees, and why that is not privacy yet
#     short_path: []
# ---

# %% [markdown]
# # Aggregate
#
# You will be able to average updates by hand, say how much each of them counts and why, and run a project with `advance()` until it is done.

# %%
from statistics import median

import torch
from torch.nn import functional as F

import fedkit as fk
from fedkit.base.events import RoundEvaluated
from fedkit.datasite.tree import scan

# %% tags=["parameters"]
rounds: int = 3  # how often everybody trains and the models are averaged
epoch: int = 10  # passes over one's own data in each round
learning_rate: float = 0.1  # step size of each training step
per_digit: int = 800  # images of each digit
seed: int = 0  # every shuffle derives from it

# %% [markdown]
# ## What lies in the inboxes?
#
# The experiment is the one of notebook 03 with twice as many images: Alice holds 800 of each digit from 0 to 4, Bob 800 of each from 5 to 9. This
# time you are the aggregator. You hold no training data. You hold 2,000 test images, and an **inbox** for each participant: a folder that this
# participant may write into and no other.
#
# `network.advance()` is one pass: the aggregator advances, the sync runs, both participants advance, the sync runs again.

# %%
root = fk.workspace("04")
network = fk.Network.create(
    root,
    aggregator="aggregator@example.org",
    participants=["alice@example.org", "bob@example.org"],
)
aggregator, alice, bob = network.sites.values()

# %%
mnist = fk.load_mnist()
digits = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
draw = fk.generator(seed, "digits")
dealt = fk.by_digits(mnist.train_images, mnist.train_labels, digits, per_digit, generator=draw)
shards = dict(zip(network.participants, dealt, strict=True))
for email, shard in shards.items():
    network.give_data(email, shard)
test = fk.as_float(mnist.test_images), mnist.test_labels
network.give_test(*test)

# %%
config = fk.FLConfig(
    project_name="MNIST_FL",
    aggregator=aggregator.email,
    participants=network.participants,
    rounds=rounds,
    epoch=epoch,
    learning_rate=learning_rate,
    seed=seed,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
)

# %%
network.launch(config)
network.sync()
network.advance(fk.approve_all, until_round=1)  # requests go out, both approve
network.advance(until_round=1)  # the first global model goes out, both train and send
print(len(network.ledger()), "files have crossed so far")

# %% [markdown]
# **Aggregator**
#
# Both updates of round 1 have arrived. You have not looked at them yet.

# %%
place = aggregator.aggregator().project("MNIST_FL")
inboxes = place.path / "fl_clients"
rules = ["syft.pub.yaml", "syftperm.yaml"]
figure = fk.plots.folder_tree(inboxes, hide=rules, title="The inboxes after training, round 1")
fk.show(
    figure,
    "Each inbox holds one update and a small file of facts; permissions are hidden",
)

# %% [markdown]
# An update is what its sender trained, in the shape of the model. The small file says how many images are behind it. Read both, and try each
# update as it is on your test images.

# %%
model = fk.load_model(fk.SAMPLE_MODEL)
updates = []
for email in network.participants:
    state = fk.read_state(place.update(email, 1))
    said = fk.read_json(place.update_info(email, 1))
    updates.append(fk.Update(email, 1, state, said["num_samples"]))
    accuracy, _ = fk.evaluate(model, state, *test)
    print(f"{email}: {said['num_samples']:,} images, accuracy {accuracy:.1%}")

# %% [markdown]
# Each reads less than half of all digits, as you know from notebook 03.

# %% [markdown]
# ## How heavy is each update?
#
# **FedAvg**, federated averaging, makes the next global model: the mean of the updates, weight by weight. A mean needs shares. Here they are equal,
# since both hold 4,000 images. But what if not?
#
# Look at one training step. If all images lay in one place, the loss would be the mean over all of them, and every image would pull at the
# model equally. Whoever averages gradients from two places should get the same. Suppose Bob had only a quarter of his images, 1,000.


# %%
def gradient(shard):
    """The gradient of the mean loss over a whole shard, as one long vector."""
    images, labels = shard
    loss = F.cross_entropy(model(images), labels)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, model.parameters())])


# %%
start = fk.read_state(place.global_model(0))
model.load_state_dict(start)
of_alice, of_bob = shards.values()
fewer = tuple(part[::4] for part in of_bob)
both = tuple(torch.cat(pair) for pair in zip(of_alice, fewer, strict=True))
g_alice, g_bob, g_both = gradient(of_alice), gradient(fewer), gradient(both)

# %% [markdown]
# > **Predict.** Alice has 4,000 images, Bob 1,000. Which mixture of their two gradients is the gradient of all 5,000 images?
# >
# > * a) half and half
# > * b) 0.8 of Alice's and 0.2 of Bob's
# > * c) none: for that one has to see the images

# %%
for share in (0.5, 0.8):
    mixed = share * g_alice + (1 - share) * g_bob
    off = (mixed - g_both).norm() / g_both.norm()
    print(f"{share} of Alice's, {1 - share:.1f} of Bob's: off by {100 * off.item():.3f} %")

# %% [markdown]
# b. With the shares of the images, the mixture *is* the gradient of everything, though no image has moved. And a step moves the weights along the gradient,
# so what holds for the gradients holds for the weights after one step from the same start. That is FedAvg's rule. Participant *k*, who has trained to the
# weights $w_k$ on $n_k$ of all $n$ images, gets the share $n_k / n$:
#
# $$w = \sum_k \frac{n_k}{n} w_k$$
#
# For one step on all of one's images this is exact. After hundreds of local steps it is a good rule, and no more than that. You will see its limits below.
#
# **Exercise.** Write `mixing_weights`: the share of each update. With the weighting `"equal"`, all count the same. So they do if nobody's number of images
# is known (SyftBox's own client does not tell it). Who alone is silent counts as the middle one of the others: silence must not change what others get.


# %% tags=["exercise", "defines:fk.mixing_weights"]
def mixing_weights(updates, weighting="samples"):
    """Each update's share of the average; the shares add up to 1."""
    known = [update.num_samples for update in updates if update.num_samples]
    if weighting == "equal" or not known:
        return [1 / len(updates)] * len(updates)  # solution
    counts = [update.num_samples or median(known) for update in updates]
    return [count / sum(counts) for count in counts]  # solution


fk.check.mixing_weights(mixing_weights)

# %% [markdown]
# ## How do two models become one?
#
# A state is a dict: a name for each tensor of the model. FedAvg takes name by name, multiplies each participant's tensor with its share, and adds
# up. `.double()` calculates with twice as many digits, and the last line goes back to what the model had, so that there is one rounding and not many.
# (Some models also carry whole numbers, such as counters; those are rounded to whole numbers.)
#
# **Exercise.** Write `parts`: a list with every participant's share of this tensor, such as `u.state[name].double()` for an update `u`. `zip(shares,
# updates)` walks through both lists side by side.


# %% tags=["exercise", "defines:fk.fedavg"]
def fedavg(updates, weighting="samples"):
    """The mean of the participants' weights, by samples or equally."""
    shares = fk.mixing_weights(updates, weighting)
    average = {}
    for name, tensor in updates[0].state.items():
        # solution begin
        parts = [share * u.state[name].double() for share, u in zip(shares, updates, strict=True)]
        # solution end
        total = sum(parts[1:], start=parts[0])
        average[name] = (total if tensor.is_floating_point() else total.round()).to(tensor.dtype)
    return average


fk.check.fedavg(fedavg)

# %% [markdown]
# `fk.fedavg` is this function. Use it on what lies in the inboxes.
#
# > **Predict.** One model reads 0 to 4 and nothing else, the other 5 to 9 and nothing else. Each has an accuracy below 50%. And the mean of their weights?
# >
# > * a) about as good as each of them
# > * b) worse: mixing two models spoils both
# > * c) far better than either

# %%
average = fk.fedavg(updates)
accuracy, _ = fk.evaluate(model, average, *test)
print(f"The mean of both updates: accuracy {accuracy:.1%}")

# %% [markdown]
# c. The mean can do what neither can. Why? Look for what speaks for a digit in each model. A pixel reaches a digit's output on 128 paths, one
# through each hidden unit. Multiply the weights along each path, add up all paths, and you have one number for each pixel and digit. (This leaves out
# that a hidden unit can be off.) Red: ink here speaks for this digit. Blue: it speaks against it.

# %%
models = {"Alice": updates[0].state, "Bob": updates[1].state, "their mean": average}
rows = {name: state["fc2.weight"] @ state["fc1.weight"] for name, state in models.items()}
fk.show(
    fk.plots.weight_rows(
        rows,
        range(10),
        xlabel="digit",
        title="What speaks for each digit, in both updates and their mean",
    ),
    "Alice's row has shapes for 0 to 4 only, Bob's for 5 to 9 only; the mean has all ten, paler",
)

# %% [markdown]
# Alice's model has shapes for her digits and next to nothing for Bob's. His has the opposite. Where one says something, the other is nearly silent, so the
# mean keeps both, at less strength. That is good luck of this experiment: it has no digit on which the two contradict each other.
#
# And this is what was averaged: six of the 128 hidden units, as pictures of what the round has changed in them. Each picture in the bottom row is
# halfway between the two above it.

# %%
layer = "fc1.weight"
change = {name: state[layer] - start[layer] for name, state in models.items()}
most = (change["Alice"].norm(dim=1) * change["Bob"].norm(dim=1)).topk(6).indices
sheet = {layer: torch.cat([change[name][most] for name in models])}
title = "Six hidden units: what round 1 has changed\nin Alice's update (top), in Bob's (middle), in the mean (bottom)"
figure = fk.plots.weight_images(sheet, units=18, columns=6, title=title)
fk.show(
    figure, "Three rows of six pictures; each in the bottom row is halfway between those above it"
)

# %% [markdown]
# ## What is a round, in files?
#
# You have done a round by hand: read the updates, average, evaluate. What is left is to write the result into a file. `root / "by_hand.pt"` will do,
# outside of every datasite. Then let the aggregator's own `advance()` do its work, and look at what has changed in its folder of the project. If fedkit does
# what you did, the new global model must be your file, byte for byte.

# %%
fk.write_state(root / "by_hand.pt", average)
before = scan(place.path)
for event in fk.advance(aggregator):
    print(fk.render(event))
if rounds == 1:  # the project is over, and has moved
    place = aggregator.aggregator().project("MNIST_FL", "done")
ours, theirs = (root / "by_hand.pt").read_bytes(), place.global_model(1).read_bytes()
print("The same bytes:", ours == theirs)

# %%
figure = fk.plots.folder_tree(place.path, before, title="What the aggregator's advance has made")
fk.show(
    figure,
    "New: agg_model_round_1.pt, a record of the round, and the plan of the next one",
)

# %% [markdown]
# So a round is: updates in, mean out. The global model goes to every participant's mailbox, and the next round can start. `round_1.json` is the aggregator's
# own record: who took part, with which share, and how good the model was.

# %% [markdown]
# ## How does it end?
#
# Nothing new happens from here on. Everybody advances, the sync carries, again and again, until all rounds are over and each side has moved
# the project to its folder `done/`. `network.run()` makes these passes and calls your function for each event on the way. It can be stopped and called
# again at any time, since all it knows lies in the files.


# %%
def announce(event):
    """Print how good the new global model is, each time there is one."""
    if isinstance(event, RoundEvaluated):
        print(fk.render(event))


history = network.run(on_event=announce)
print("done:", history.done)

# %%
curve = history.accuracies
fk.show(
    fk.plots.accuracy_by_round(history),
    f"Accuracy on the test set after each round, from {curve[0]:.0%} to {curve[-1]:.0%}",
)

# %% [markdown]
# Every round brings the model further. (`announce` did not print round 1: that one you did yourself.)
#
# The aggregator also tells the world. Under `public/fl/MNIST_FL/` lie the files of the **dashboard**, the web page that `fedkit client` serves
# on your machine. Anybody in the network may read them. The first holds the curve above. (Its round 0 is a placeholder: nobody has measured the
# random weights.)

# %%
public = aggregator.public_results("MNIST_FL")
print((public / "accuracy_metrics.json").read_text(encoding="utf-8"))

# %% [markdown]
# The second says how far each participant is, as their `state.json` files have told the aggregator.

# %%
print((public / "participants.json").read_text(encoding="utf-8"))

# %% [markdown]
# ## Who should count how much?
#
# Back to the shares. Alice now has 200 images of each of her digits, Bob 50 of each of his: 1,000 against 250. With the weighting `"samples"`, Alice's
# share is 0.8. With `"equal"`, both have a half. Which makes the better model, on a test set in which all ten digits are equally frequent?
#
# To compare quickly, `rehearse` does the same rounds without files. These few lines are federated learning, all of it: train, average, repeat.

# %%
settings = {"epochs": epoch, "learning_rate": learning_rate, "batch_size": 64}


def rehearse(shards, weighting):
    """Rounds in memory; the accuracy of the global model after each."""
    state, accuracies = start, []
    for n in range(1, rounds + 1):
        updates = []
        for email, shard in shards.items():
            draw = fk.generator(seed, email, n)
            trained, _ = fk.train(model, state, shard, generator=draw, **settings)
            updates.append(fk.Update(email, n, trained, len(shard[1])))
        state = fk.fedavg(updates, weighting)
        accuracies.append(fk.evaluate(model, state, *test)[0])
    return accuracies


# %%
draw, images, labels = fk.generator(seed, "few"), mnist.train_images, mnist.train_labels
(of_alice,) = fk.by_digits(images, labels, digits[:1], 200, generator=draw)
(of_bob,) = fk.by_digits(images, labels, digits[1:], 50, generator=draw)
unequal = {alice.email: of_alice, bob.email: of_bob}

# %% [markdown]
# > **Predict.** Alice has four times as many images, and nobody but Bob has 5 to 9. Which weighting gives the better model?
# >
# > * a) `"samples"`: more images, more knowledge
# > * b) `"equal"`: nobody else can speak for Bob's digits
# > * c) no difference to speak of

# %%
curves = {weighting: rehearse(unequal, weighting) for weighting in ("samples", "equal")}
title = fk.caption("04 two weightings")
fk.show(
    fk.plots.accuracy_by_round(curves, title=title),
    fk.alt("04 two weightings"),
)

# %% [markdown]
# b. By samples, the model stays below one half: it never learns Bob's digits. So is `"equal"` the better rule? Now all digits are with everybody. Alice has
# 1,000 images, and four others have 10 each.

# %%
order = torch.randperm(len(labels), generator=draw)
sizes = {"Alice": 1_000, "Bob": 10, "Carol": 10, "Dave": 10, "Erin": 10}
dealt = fk.take(images, labels, order[: sum(sizes.values())].split(list(sizes.values())))
alike = dict(zip(sizes, dealt, strict=True))
alike_curves = {weighting: rehearse(alike, weighting) for weighting in ("samples", "equal")}
title = "All have all digits: now 10 images should not count like 1,000"
fk.show(
    fk.plots.accuracy_by_round(alike_curves, title=title),
    "Shares by samples end far above equal shares, which catch up slowly",
)

# %% [markdown]
# Now it is the other way round: four fifths of the mean come from models that have learned 10 images by heart. `"samples"` says that every image counts the
# same, `"equal"` says that every participant does. Neither is right for all. It depends on what the images are like, and on whom the model should
# serve. `weighting` is a key of `fl_config.json`; fedkit takes `"samples"` unless you say otherwise, as the paper does.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# All rounds are over. This is all that you have received:

# %%
figure = fk.plots.what_crossed(network.ledger(), aggregator=aggregator.email)
fk.show(
    figure,
    f"{rounds} model updates from each participant, small files, and no training image from anyone",
)

# %%
figure = fk.plots.bytes_by_participant(network.ledger(), aggregator=aggregator.email)
fk.show(figure, f"Each participant has sent {rounds} models and received {rounds + 1}")

# %% [markdown]
# Updates, and no image. So is Alice's data safe from you? You still have her update of round 1 and your own test images. Try her update on them, digit by digit.

# %%
test_images, test_labels = test
chosen = [test_labels == digit for digit in range(10)]
found = {}
for who, state in (("Alice's update", updates[0].state), ("Bob's update", updates[1].state)):
    results = [fk.evaluate(model, state, test_images[c], test_labels[c]) for c in chosen]
    found[who] = [accuracy for accuracy, loss in results]
title = "An update alone tells which digits are behind it"
fk.show(
    fk.plots.per_digit_accuracy(found, title=title),
    "Alice's update reads 0 to 4 and none of 5 to 9, Bob's the other way round",
)

# %% [markdown]
# Nobody told you, and now you know which digits each of them holds. If the digits were diagnoses, that alone would be too much. And it goes further: in
# notebook 08 you rebuild images from files like these.
#
# **Federated learning by itself is not privacy.** It keeps the images at home. It does not keep secret what the updates tell about them. That takes more: noise
# (notebook 09) and masks (notebook 10).

# %%
fk.record(
    accuracies=[round(value, 3) for value in history.accuracies],
    same_bytes=ours == theirs,
    few_samples=round(curves["samples"][-1], 3),
    few_equal=round(curves["equal"][-1], 3),
    alike_samples=round(alike_curves["samples"][-1], 3),
    alike_equal=round(alike_curves["equal"][-1], 3),
)

# %% [markdown]
# ## Recap
#
# * FedAvg is the mean of the updates, weight by weight; for one step, shares by sample counts give exactly the gradient of all images.
# * A round is updates in, mean out, global model back; `advance()` does whatever can be done now, and calling it again and again leads to done.
# * By samples every image counts the same, equally every participant does; where shards differ, this decides what the model can do.
# * The aggregator sees weights, counts and progress, no images; from an update alone it can tell which digits are behind it.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("04")

# %% [markdown]
# ## Readings
#
# * McMahan et al. (2017), [Communication-Efficient Learning of Deep Networks from Decentralized Data](https://arxiv.org/abs/1602.05629): algorithm 1 is this notebook, section 3 has the experiments on MNIST.
# * Kairouz et al. (2021), [Advances and Open Problems in Federated Learning](https://arxiv.org/abs/1912.04977): section 1 for the whole picture, section 4 for what an aggregator may learn.
# * Mohri et al. (2019), [Agnostic Federated Learning](https://arxiv.org/abs/1902.00146): whom should the average serve, if not every image alike?

# %% [markdown]
# ## Next
#
# Everything went well: everybody was there, every file was whole. In notebook 05 you drop participants, slow them down, and kill them in the middle of a
# round.
