# ---
# jupyter:
#   fedkit:
#     budget_s: 60
#     needs: notebooks 01 and 02
#     learn:
#       - what one training step does, and how many of them make a round
#       - what a client does between receiving a global model and sending its update
#       - what a participant alone can't know, and can't notice
#       - how far federated training gets, compared with training alone or on pooled data
#     short_path:
#       - "01: a datasite is a folder with its owner's e-mail as its name. `private/` never travels; permission files say who may read or write the rest; a mailbox is where an app finds and leaves its files."
#       - "02: the aggregator launches a config, a `model.py` and seed weights. A participant reviews the request and approves exactly these bytes. `advance()` does whatever can be done now."
# ---

# %% [markdown]
# # Train as a client
#
# You will be able to write local training by hand, run it as Alice on her private digits, and say what she can't learn alone.

# %%
import torch
from torch.nn import functional as F

import fedkit as fk
from fedkit.datasite.tree import scan

# %% tags=["parameters"]
rounds: int = 3  # how often everybody trains and the models are averaged
epoch: int = 10  # passes over one's own data in each round
learning_rate: float = 0.1  # step size of each training step
batch_size: int = 64  # images that are looked at together in one step
per_digit: int = 400  # images of each digit
seed: int = 0  # every shuffle derives from it

# %% [markdown]
# ## What does Alice hold?
#
# Here are Alice, Bob and the aggregator of notebook 02. What they still lack is data. Each of the two gets handwritten digits: 400 images of
# each of five digits. Alice has 0 to 4, Bob has 5 to 9. The images of one participant are called its **shard**.
#
# `give_data` writes a shard into its owner's `private/fl_client/`, one file a digit. From there it never travels (notebook 01). The aggregator gets
# images as well, to test models with, and they are nobody's training data.

# %%
root = fk.workspace("03")
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
parts = fk.by_digits(mnist.train_images, mnist.train_labels, digits, per_digit, generator=draw)
shards = dict(zip(network.participants, parts, strict=True))
for email, shard in shards.items():
    network.give_data(email, shard)
network.give_test(fk.as_float(mnist.test_images), mnist.test_labels)
held = {email: labels for email, (images, labels) in shards.items()}
each = f"{5 * per_digit:,} images each"
fk.show(fk.plots.label_bars(held), f"Alice holds the digits 0 to 4, Bob 5 to 9, {each}")

# %% [markdown]
# **Aggregator**
#
# The rest is notebook 02 in a few lines. The experiment is launched, both participants approve (`fk.approve_all` says yes to everything; you
# know better), and the aggregator sends the first global model: 101,770 random weights.

# %%
config = fk.FLConfig(
    project_name="MNIST_FL",
    aggregator=aggregator.email,
    participants=network.participants,
    rounds=rounds,
    epoch=epoch,
    learning_rate=learning_rate,
    batch_size=batch_size,
    seed=seed,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
)

# %%
network.launch(config)
network.sync()
network.advance(approve=fk.approve_all)
fk.advance(aggregator)  # sends the first global model
network.sync()
project = alice.client().project("MNIST_FL")
start = fk.read_state(project.global_model(0))
print("At Alice's:", project.global_model(0).name)

# %% [markdown]
# **Alice, participant**
#
# From here on you sit at Alice's machine. Two things lie there that you need: the model that has arrived, `start`, and her images.

# %%
images, labels = fk.read_shard(alice.private_client)
few = torch.arange(0, len(labels), max(1, len(labels) // 10))
figure = fk.plots.digit_grid(images[few], labels[few], title="Ten of Alice's images")
fk.show(figure, "Handwritten digits from 0 to 4 with their labels")

# %% [markdown]
# ## What does one step do?
#
# For an image, the model gives ten numbers, one a digit, and the largest is its answer. How wrong is it? One number says so, the **loss**. Ours
# is the **cross entropy**: the model's ten numbers are turned into probabilities, and the loss is minus the logarithm of the probability that
# the right digit got. Its unit is the nat. A model that holds all ten digits for equally likely has a loss of ln 10, about 2.3 nats. A perfect
# one has 0.
#
# Looking at all images for every small change would be slow. So you look at a random handful, a **batch**.

# %%
model = fk.load_model(fk.SAMPLE_MODEL)
model.load_state_dict(start)
batch = torch.randperm(len(labels), generator=fk.generator(seed, "a batch"))[:batch_size]
loss = F.cross_entropy(model(images[batch]), labels[batch])
print(f"loss on {len(batch)} images: {loss.item():.2f} nats")

# %% [markdown]
# As expected: the new model knows nothing. Now change it. The **gradient** holds, for each of the 101,770 weights, how the loss would change if
# this weight grew a little. PyTorch computes all of them at once. One **step** moves every weight a little, against its gradient. The
# **learning rate** η says how far:
#
# $$w \leftarrow w - \eta \cdot \text{gradient}$$
#
# Steps of this kind, on random batches, are called **stochastic gradient descent**, SGD for short.

# %% [markdown]
# > **Predict.** You take one step with η = 0.1. What is the loss on the same 64 images afterwards?
# >
# > * a) higher: the step goes too far
# > * b) a little lower
# > * c) nearly 0: the gradient knows the way

# %%
model.load_state_dict(start)  # run the cell again, and it takes the same step again
loss = F.cross_entropy(model(images[batch]), labels[batch])
parameters = list(model.parameters())
gradients = torch.autograd.grad(loss, parameters)
with torch.no_grad():  # we change weights here, nothing to differentiate
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter -= learning_rate * gradient
after = F.cross_entropy(model(images[batch]), labels[batch])
print(f"before the step {loss.item():.2f} nats, after it {after.item():.2f} nats")

# %% [markdown]
# b. The gradient is true for the spot where you stand. A short way off it points elsewhere, so you go a small step, look again, and go on. You
# will need hundreds of them.

# %% [markdown]
# ## How do steps become a round?
#
# An **epoch** is one pass over the shard: shuffle the images, cut them into batches, take a step for each batch. The last batch may be smaller. No
# image is left out. The order of the images comes from a generator, so the same generator gives the same order again.
#
# **Exercise.** Complete `sgd_epoch`. The two missing lines, the loss of one batch and the step, stand in the section above; `loss_of` is the loss, here
# `F.cross_entropy`, for other data another one. In the end the function has changed the model, and it returns the mean loss of all images.
#
# You may wonder about `materialize_grads=True`. A weight that the loss does not depend on then has a gradient of 0 and causes no error.


# %% tags=["exercise", "defines:fk.sgd_epoch"]
def sgd_epoch(model, images, labels, learning_rate, batch_size, generator, loss_of=F.cross_entropy):
    """One pass over the shard in shuffled batches; changes the model, returns the mean loss."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    order = torch.randperm(len(labels), generator=generator)
    total = 0.0
    for batch in order.split(batch_size):
        loss = loss_of(model(images[batch]), labels[batch])  # solution
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.add_(gradient, alpha=-learning_rate)  # solution
        total += loss.item() * len(batch)
    return total / len(labels)


fk.check.sgd_epoch(sgd_epoch)

# %% [markdown]
# This is all of it. fedkit's own function, `fk.sgd_epoch`, has the same lines, and from here on the notebook uses that one. (It writes the step as
# `parameter.add_(gradient, alpha=-learning_rate)`, which does what `-=` does.)
#
# **Exercise.** Alice has 2,000 images and takes batches of 64. A round is ten epochs. How many steps does she take in one round?

# %% tags=["exercise"]
fk.check.steps_in_a_round(
    320  # solution
)

# %% [markdown]
# `fk.train` does a round's epochs: it loads a state into the model, calls `sgd_epoch` as often as it is told to, and gives back the new weights with the
# mean loss of each epoch. The generator comes from the seed, the e-mail and the number of the round, so every participant shuffles in an
# order of its own, and each round anew. Watch Alice and Bob. (Alice herself may not watch Bob. You may.)


# %%
def train_locally(state, email, shard, round_number):
    """One round of one participant; its new weights, and the mean loss of each local epoch."""
    return fk.train(
        model,
        state,
        shard,
        epochs=epoch,
        learning_rate=learning_rate,
        batch_size=batch_size,
        generator=fk.generator(seed, email, round_number),
    )


# %%
losses = {email: train_locally(start, email, shard, 1)[1] for email, shard in shards.items()}
fk.show(
    fk.plots.loss_curves(losses),
    "Both losses fall within the epochs of the round, most of it in the first two",
)

# %% [markdown]
# Most is learned in the first two epochs. Bob's loss stays above Alice's: 5 to 9 are harder to tell apart than 0 to 4.

# %% [markdown]
# ## What does the client do with it?
#
# Alice does not do this by hand every day. Her client does it when it advances: it finds the newest global model in her mailbox, reads her
# private images, trains, keeps a copy of the new weights, and puts another copy into the aggregator's inbox for her. What it sends is called
# her **update**: the weights after training, in a file of the same size as the global model. Beside it goes a small file of facts about the
# training.
#
# **Alice, participant**

# %%
before = scan(alice.datasites)
events = fk.advance(alice)
hidden = ["syft.pub.yaml", "syftperm.yaml", "public", "bob@example.org"]
title = "What one advance has made on Alice's machine"
figure = fk.plots.folder_tree(alice.datasites, before, hide=hidden, title=title)
fk.show(
    figure, "New: logs and trained weights in Alice's mailbox, and an update for the aggregator"
)
print(fk.render(events[-1]))

# %% [markdown]
# Look at the two new files under `aggregator@example.org/`. They lie in Alice's copy of the aggregator's datasite, in the inbox that is hers alone,
# and the next sync carries them. (Permission files and public folders are left out of the picture.) The logs stay with her. They hold what you have
# drawn as a curve:

# %%
print(project.training_log(1).read_text(encoding="utf-8"))

# %% [markdown]
# Did the client do the same as you? Compare its update with `train_locally`, weight by weight.

# %%
update = fk.read_state(project.trained(1))
by_hand, _ = train_locally(start, alice.email, (images, labels), 1)
same = all(torch.equal(by_hand[name], update[name]) for name in update)
print("The same 101,770 weights, to the last bit:", same)

# %% [markdown]
# Same start, same images, same order: the same bits. This is worth more than it seems. If Alice's machine dies in the middle of a round, her
# client does the round again, and the update is the one that she would have sent.

# %% [markdown]
# ## What can one participant not know?
#
# Alice's loss is low. She could take her model, be content, and never answer the aggregator. How good is it, really? **Accuracy** is the share
# of images for which the model's answer is right. Ask for it digit by digit, on test images that nobody has trained with. In real life only
# the aggregator holds these. In this notebook you may use them.

# %%
test_images, test_labels = fk.as_float(mnist.test_images), mnist.test_labels


def per_digit_accuracy(state):
    """For each digit, the share of its test images for which the model is right."""
    chosen = [test_labels == digit for digit in range(10)]
    return [fk.evaluate(model, state, test_images[c], test_labels[c])[0] for c in chosen]


# %% [markdown]
# > **Predict.** Alice's model has never met a 5, 6, 7, 8 or 9. It sees some. What does it answer?
# >
# > * a) sometimes the right digit, by luck
# > * b) that it doesn't know
# > * c) always one of 0 to 4

# %%
model.load_state_dict(update)
unseen = torch.nonzero(test_labels >= 5).flatten()[:20]
answers = model(test_images[unseen]).argmax(1)
title = fk.caption("03 unseen digits")
figure = fk.plots.digit_grid(test_images[unseen], answers, title=title)
fk.show(figure, fk.alt("03 unseen digits"))

# %% [markdown]
# c. In training, the right answer was always one of Alice's five digits. So their outputs were pushed up in turn, and the other five outputs were pushed
# down in every step. And the model has no way to say "none of these".
#
# Now all test images, for Alice's model and for Bob's.

# %%
fk.advance(bob)
of_bob = fk.read_state(bob.client().project("MNIST_FL").trained(1))
table = {"Alice's model": per_digit_accuracy(update), "Bob's model": per_digit_accuracy(of_bob)}
fk.show(
    fk.plots.per_digit_accuracy(table),
    "Alice's model reads 0 to 4 and none of 5 to 9; with Bob's model it is the other way round",
)

# %% [markdown]
# The zeros are what Alice can't know. There is worse: she can't notice. All the images she has are 0 to 4, and on those her model is right
# more than nine times out of ten. No test on her own data would ever show her the gap.

# %% [markdown]
# ## Alone, pooled or federated?
#
# Three ways are open to Alice and Bob. **Alone**: each trains on what they have. **Pooled**: all images are copied into one place, and one model
# trains on them. **Federated**: each trains for a round, the two models are averaged, and both go on from the average.
#
# To be fair, all get the same effort: three rounds of ten epochs. One function will do, since training alone is federated training with one
# participant. Its average is the plainest there is: add and divide. That is right while all have equally many images. Notebook 04 does it
# in general.


# %%
def train_together(shards):
    """Rounds of: everybody trains from the same weights, then the mean of what they got."""
    state = start
    for n in range(1, rounds + 1):
        trained = [train_locally(state, email, shard, n)[0] for email, shard in shards.items()]
        state = {name: sum(t[name] for t in trained) / len(trained) for name in start}
    return state


# %%
everything = tuple(torch.cat(both) for both in zip(*shards.values(), strict=True))
ways = {
    "Alice alone": {alice.email: shards[alice.email]},
    "Bob alone": {bob.email: shards[bob.email]},
    "federated": shards,
    "pooled": {"everybody": everything},
}

# %% [markdown]
# > **Predict.** Alone, each reads less than half of all digits. How good is the federated model after three rounds?
# >
# > * a) no better: the mean of two half-blind models is half-blind
# > * b) much better than either alone, and short of pooled
# > * c) as good as pooled: the same images have been used

# %%
final, accuracy = {}, {}
for way, who in ways.items():
    final[way] = train_together(who)
    accuracy[way], _ = fk.evaluate(model, final[way], test_images, test_labels)
    print(f"{way}: {accuracy[way]:.1%}")

# %%
fk.show(
    fk.plots.participant_bars(accuracy, highlight=["federated"], title=fk.caption("03 three ways")),
    fk.alt("03 three ways", **accuracy),
)

# %% [markdown]
# b. Without giving away one image, both now have a model that reads digits they have never held.

# %%
rows = {way: per_digit_accuracy(state) for way, state in final.items()}
fk.show(
    fk.plots.per_digit_accuracy(rows),
    "The federated model knows all ten digits, most of them less well than the pooled one",
)

# %% [markdown]
# What is left of the gap is the price of not sharing the images, in this experiment. It comes from the ten epochs between two averages,
# in which each model drifts towards its owner's digits and forgets the other's. Notebook 06 measures this drift, and 07 fights it.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# The updates of round 1 lie in the inboxes. Sync, and look from the aggregator's chair.

# %%
network.sync()
figure = fk.plots.what_crossed(network.ledger(), aggregator=aggregator.email)
fk.show(
    figure,
    "From Alice and from Bob: one model update each, small files of facts, permission files, no image",
)

# %% [markdown]
# What is in the facts? The picture counts three files from each participant, since `state.json` has come twice: before the training and after it.
# Two lie there now. `state.json` tells how far the participant is. The one beside the update, `trained_model_round_1.json`,
# is about that update.

# %%
state = fk.read_json(aggregator.client(alice.email).project("MNIST_FL").state)
facts = fk.read_json(aggregator.aggregator().project("MNIST_FL").update_info(alice.email, 1))
print("state.json:", state)
print("beside the update:", {**facts, "seconds": "..."})  # these differ in every run

# %% [markdown]
# **Exercise.** What do these two files tell the aggregator, in so many words? Put the letters of all that apply between the braces, such as `"b", "e",`.
#
# * `"a"`: how many images Alice has
# * `"b"`: which digits they show
# * `"c"`: the loss of her last epoch
# * `"d"`: how long she has trained
# * `"e"`: one of her images

# %% tags=["exercise"]
told = {
    # solution begin
    "a",
    "c",
    "d",
    # solution end
}
fk.check.what_the_facts_tell(told)

# %% [markdown]
# That is what the *facts* tell. The update beside them is 101,770 weights that were shaped by her images. What it gives away without any words
# is a question for the end of notebook 04, and for notebook 08.

# %%
fk.record(
    steps=epoch * -(-len(labels) // batch_size),
    alone=[round(accuracy["Alice alone"], 3), round(accuracy["Bob alone"], 3)],
    federated=round(accuracy["federated"], 3),
    pooled=round(accuracy["pooled"], 3),
    same_bits=same,
)

# %% [markdown]
# ## Recap
#
# * A step moves every weight a little against its gradient; an epoch takes one step a batch, and a round of ten epochs is 320 of them for Alice.
# * A client reads the newest global model and its private images, trains, keeps a copy, and sends an update with a few facts.
# * What a participant has never seen it can't learn, and its own data can't show what is missing.
# * Averaging three times takes two models that know half the digits to one that knows all ten, some points short of pooled data.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("03")

# %% [markdown]
# ## Readings
#
# * McMahan et al. (2017), [Communication-Efficient Learning of Deep Networks from Decentralized Data](https://arxiv.org/abs/1602.05629): your `sgd_epoch` is the inner loop of ClientUpdate in algorithm 1.
# * 3Blue1Brown, [Gradient descent, how neural networks learn](https://www.3blue1brown.com/lessons/gradient-descent): steps and gradients in pictures, on the same digits.
# * Zhao et al. (2018), [Federated Learning with Non-IID Data](https://arxiv.org/abs/1806.00582): how much accuracy is lost when each participant has digits of its own.

# %% [markdown]
# ## Next
#
# The updates are there, and nobody has averaged them. In [04 Aggregate](04_aggregate.ipynb) you take the aggregator's chair.
