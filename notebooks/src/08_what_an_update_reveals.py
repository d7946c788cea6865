# ---
# jupyter:
#   fedkit:
#     budget_s: 90
#     needs: notebook 04
#     learn:
#       - how labels are counted, and images rebuilt, from an update alone
#       - what more images and more local epochs do to these attacks, and what they don't
#       - how to test whether an image was in the training data, and how sure the answer is
#       - what a global model made for spying looks like, and how to notice it
#     short_path:
#       - "05: a round goes on without whoever is absent, late or killed, if the config says so, and updates that hold NaN are refused."
#       - "06 and 07: where datasites differ, updates pull apart. Other strategies than FedAvg cope with some of that, and with some hostile participants."
# ---

# %% [markdown]
# # What an update reveals
#
# You will be able to rebuild a participant's images from what the aggregator receives, and say what ends each attack.

# %%
import torch

import fedkit as fk

# %% tags=["parameters"]
many_epochs: int = 20  # local epochs of the second project
learning_rate: float = 0.1  # step size of local training
shadows: int = 24  # models that the aggregator trains to compare with
starts: int = 1000  # pictures from which the search for a hundred images begins
seed: int = 0  # every draw and shuffle derives from it

# %% [markdown]
# ## What does the aggregator hold?
#
# "The data never leaves the datasite." You have seen that this is true: no image is in the ledger. In this notebook you are a *curious* aggregator: it does its
# work correctly, and looks closely at what it gets. Four participants hold 1, 8, 100 and 600 digits. They train in two projects that differ in one
# number: one local epoch, or many. All attacks below use the files that the aggregator has received, and its own test images. The originals appear for one
# purpose only: to score what was rebuilt.

# %%
sizes = {"alice": 1, "bob": 8, "carol": 100, "dave": 600}
network = fk.Network.create(
    fk.workspace("08"),
    aggregator="aggregator@example.org",
    participants=[f"{name}@example.org" for name in sizes],
)

# %%
aggregator = network[network.aggregator]
emails = dict(zip(sizes, network.participants, strict=True))

# %%
mnist = fk.load_mnist()
order = torch.randperm(len(mnist.train_labels), generator=fk.generator(seed, "shards"))
parts = order[: sum(sizes.values())].split(list(sizes.values()))
shards = dict(zip(sizes, fk.take(mnist.train_images, mnist.train_labels, parts), strict=True))

# %%
for name, shard in shards.items():
    network.give_data(emails[name], shard)
own = fk.as_float(mnist.test_images), mnist.test_labels
network.give_test(*own)


# %%
def experiment(project, epoch, participants=network.participants, rounds=1):
    """An ordinary project, of one round if nothing else is said."""
    return fk.FLConfig(
        project_name=project,
        aggregator=aggregator.email,
        participants=participants,
        rounds=rounds,
        epoch=epoch,
        learning_rate=learning_rate,
        seed=seed,
        model_arch="model.py",
        model_weight="global_model_weight.pt",
    )


# %%
for project, epoch in (("SHORT", 1), ("LONG", many_epochs)):
    network.launch(experiment(project, epoch))
    network.run(project, approve=fk.approve_all)

# %% [markdown]
# **Aggregator**
#
# `fk.privacy.evidence` reads what lies in your folder about one participant's round: the global model it started from, the update it sent, the config,
# the model's source. `change` is the update minus the global model. The ledger says that this very file crossed.

# %%
seen = {
    project: {name: fk.privacy.evidence(network, emails[name], 1, project) for name in sizes}
    for project in ("SHORT", "LONG")
}
for name, value in seen["SHORT"]["alice"].change.items():
    print(f"{name:10} {list(value.shape)!s:10} largest change {value.abs().max():.4f}")

# %% [markdown]
# ## Which labels?
#
# Begin at the end of the model. Its last layer has one bias for each digit. For softmax and cross entropy, the gradient of that bias is the mean of
# *prediction minus truth*: $\partial L/\partial b_k = \bar p_k - n_k/b$, where $n_k$ of the $b$ images have label $k$. Bob's 8 images fit into
# one batch, so his update is one step, and the change divided by minus the learning rate is the gradient. You know everything in this equation except
# $n_k$. The mean prediction $\bar p$ of a model that has learned nothing is about the same for any digits: take it from your own.

# %%
bob = seen["SHORT"]["bob"]
bias = fk.privacy.last_bias(bob.gradient)
prediction = fk.privacy.mean_prediction(bob, own[0])
for digit in range(10):
    print(f"{digit}: prediction {prediction[digit]:.3f}, gradient {bias[digit]:+.3f}")

# %% [markdown]
# **Exercise.** Solve the equation for the count of each label. `whole_counts` then rounds to whole numbers that add up to `samples`.


# %% tags=["exercise", "defines:fk.privacy.count_labels"]
def count_labels(bias_gradient, prediction, samples):
    """How many samples of each label a batch has."""
    counts = samples * (prediction - bias_gradient)  # solution
    return fk.privacy.whole_counts(counts, samples)


fk.check.count_labels(count_labels)

# %%
counts = fk.privacy.count_labels(bias, prediction, bob.num_samples)
print("counted from the bias:", counts.tolist())
print("Bob's own labels:     ", torch.bincount(shards["bob"][1], minlength=10).tolist())

# %% [markdown]
# All right. (In tests with 8 and with 64 images in a batch, at least 95% of the labels are.) After many steps the prediction is no longer that of an untrained
# model. But the last layer's change is still a mixture of ten directions, one for each digit, and you can find out with your own images what they
# are. Carol has trained for many epochs on 100 images. `count_digits` solves for the mixture.

# %%
carol = seen["LONG"]["carol"]
estimate = fk.privacy.count_digits(carol, own)
truth = torch.bincount(shards["carol"][1], minlength=10)
print("estimated:", estimate.tolist())
print("true:     ", truth.tolist())

# %% [markdown]
# An estimate this time, not a reading; but whether somebody holds a digit at all, it tells well. If these were diagnoses, you would know which a clinic treats.

# %% [markdown]
# ## How well hidden is one image?
#
# Now the first layer, $z = Wx + b$. By the chain rule, the gradient of row $j$ of the weights is $\partial L/\partial W_j = d_j\,x$, the image times one
# number, and the gradient of the bias, $\partial L/\partial b_j = d_j$, is that number. Alice has one image. Her update has 128 such rows, one for each hidden
# unit. For units that were off, $d_j$ is 0. The learning rate is a factor in both, so the change will do in the place of the gradient.
#
# > **Predict.** How well can you rebuild Alice's image?
# >
# > * a) a blurred shape
# > * b) which digit it is, no more
# > * c) every pixel, up to rounding
#
# **Exercise.** Write the attack. It takes two lines.


# %% tags=["exercise", "defines:fk.privacy.invert_linear"]
def invert_linear(weight, bias):
    """The one input behind a first layer's gradient, or its change."""
    # solution begin
    unit = bias.abs().argmax()
    return weight[unit] / bias[unit]
    # solution end


fk.check.invert_linear(invert_linear)

# %%
alice = {
    epochs: seen[project]["alice"] for epochs, project in ((1, "SHORT"), (many_epochs, "LONG"))
}
rebuilt = [fk.privacy.invert_linear(*fk.privacy.first_layer(a.change)) for a in alice.values()]
original = shards["alice"][0].expand(2, -1, -1, -1)
one = fk.privacy.psnr(torch.stack(rebuilt), original)
rows = {"Alice's image": original, "rebuilt": torch.stack(rebuilt)}
title = fk.caption("08 one image", many_epochs=many_epochs)
fk.show(
    fk.plots.rebuilt_digits(rows, {"rebuilt": one.tolist()}, title=title),
    fk.alt("08 one image"),
)

# %% [markdown]
# c. The number is the **PSNR** (peak signal-to-noise ratio) in decibels: at 20 dB the error is a tenth of full ink, at 60 dB a thousandth, which no eye sees. And
# more epochs do not help Alice: each step moves a row by another multiple of the same image, and so their sum is one too.

# %% [markdown]
# ## Do more images hide each other?
#
# With eight images, a row is a mixture: $\Delta W_j = \sum_i d_{ij}\,x_i$. Divided by the bias, it shows a blend of all images that switch unit $j$ on. For all
# rows together, $\Delta W = Z X$: 128 rows, but only eight images in $X$. Three attacks try to undo that. One divides every row by its bias, as before. One searches
# for images whose gradient is the one that was sent (`match_gradient`). One looks for zeros in $Z$: ReLU puts one wherever a unit is off for an image.
#
# > **Predict.** How many of Bob's eight images can be rebuilt at 60 dB or better?
# >
# > * a) none: they are mixed
# > * b) some, where a unit answers to one image alone
# > * c) all eight

# %%
weight, bias = fk.privacy.first_layer(bob.change)
labels = fk.privacy.labels_of_batch(bob, own[0])
draw = fk.generator(seed, "search")
attacks = {
    "divided rows": fk.privacy.invert_rows(weight, bias),
    "by descent": fk.privacy.match_gradient(
        fk.load_model(bob.source), bob.before, bob.gradient, labels, generator=draw
    ).flatten(1),
    "by zeros": fk.privacy.exact_batch(bob, generator=draw),
}

# %%
eight, rows, decibels = shards["bob"][0], {"Bob's images": shards["bob"][0]}, {}
for name, found in attacks.items():
    scores = fk.privacy.score(found, eight)
    rows[name], decibels[name] = found[scores.order], scores.psnr.tolist()

# %%
fk.show(
    fk.plots.rebuilt_digits(rows, decibels, title=fk.caption("08 eight images")),
    fk.alt("08 eight images"),
)

# %% [markdown]
# c. Each picture stands below the original that it is closest to. A row whose unit answers to one image alone *is* that image; the others are blends. The descent finds most
# images (in tests, at least six of eight in the median at 20 dB). The zeros give all eight, at more than 80 dB: a mixture of two columns of
# $Z$ is zero only where *both* are, so the true columns are the ones with the most zeros. (The idea is called SPEAR.)
#
# How does an attacker know that it is right, without Bob's images? `exact_batch` puts each image to the proof: fed to the global model, it must give the gradient that
# it was read from. What fails is not returned. In tests it gives all of up to ten images, some or none of 16, and never one that nobody has.
#
# So how many images are enough? Carol has 100, in two batches, and trains for one epoch or many. Too many for zeros in $Z$. But $X$ has zeros too:
# **digits are mostly blank paper.** All of Carol's images lie in the row space of $\Delta W$. It has 100 dimensions, one for each image, out of 784, and you can calculate it.
# That alone rebuilds nothing: every mixture of her images lies in it too. But hardly anything in it looks like ink on blank paper, except her images. `unmix` starts from your own test images, and goes back and forth: into the plane, then
# erase what is faint and cut off what is blacker than ink, then into the plane again.
#
# > **Predict.** How many of Carol's 100 images come out at 60 dB or better, after many local epochs?
# >
# > * a) fewer than five
# > * b) about twenty
# > * c) more than forty


# %%
def rebuild(evidence):
    """All images that the aggregator can tell apart in one update."""
    weight, bias = fk.privacy.first_layer(evidence.change)
    if evidence.num_samples == 1:
        return fk.privacy.invert_linear(weight, bias)[None]
    return fk.privacy.unmix(weight, bias, own[0][:starts], steps=250)


def exact_ones(found, originals):
    """Which originals are among the rebuilt images, at 60 dB or better."""
    if not len(found):
        return torch.zeros(len(originals), dtype=torch.bool)
    errors = torch.cdist(originals.flatten(1).double(), found).square() / 784
    return errors.amin(1) < 1e-6


# %%
found = {p: {name: rebuild(seen[p][name]) for name in sizes} for p in seen}
exact = {p: {name: exact_ones(found[p][name], shards[name][0]) for name in sizes} for p in seen}

# %%
many = shards["carol"][0][exact["LONG"]["carol"]][::3][:12]
pairs = found["LONG"]["carol"]
pairs = pairs[fk.privacy.match(pairs, many)]
title = fk.caption("08 twelve of a hundred", many_epochs=many_epochs)
fk.show(
    fk.plots.rebuilt_digits({"Carol's": many, "rebuilt": pairs}, title=title),
    fk.alt("08 twelve of a hundred"),
)

# %%
shares = [[float(exact[p][name].double().mean()) for p in seen] for name in sizes]
names = [f"{name.title()}: {count}" for name, count in sizes.items()]
columns = ["1 local epoch", f"{many_epochs} local epochs"]
fk.show(
    fk.plots.share_table(shares, names, columns, title=fk.caption("08 shares")),
    fk.alt("08 shares"),
)

# %% [markdown]
# c. And read the table across: local epochs do nothing for Carol. They change what each image has done to each unit, never that the change is a sum of her images.
# What spares Dave from *rebuilding* is arithmetic: his 600 images do not fit into 128 rows. That is a fact about this model and this attack, and no promise. A wider
# layer has more rows, and other questions need fewer, as the next section shows.
#
# A layer of convolutions has no rows to divide. Take a model with two of them, and one step with one image. What is left is the search: `match_direction` turns
# random pixels until their gradient points where the one that was sent does.

# %%
CNN = """
import torch
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(8, 16, 5, stride=2, padding=2)
        self.fc = nn.Linear(784, 10)

    def forward(self, images):
        hidden = torch.relu(self.conv2(torch.relu(self.conv1(images))))
        return self.fc(hidden.flatten(1))
"""


# %%
def searched(images, labels):
    """One step on a batch through the convolutions, and the search for it with its labels."""
    model, before = fk.load_model(CNN), fk.seed_weights(CNN, seed)
    step = {"epochs": 1, "learning_rate": learning_rate, "batch_size": len(labels)}
    after, _ = fk.train(model, before, (images, labels), generator=fk.generator(seed), **step)
    gradient = {name: (before[name] - after[name]) / learning_rate for name in before}
    draw = fk.generator(seed, "convolutions")
    return fk.privacy.match_direction(model, before, gradient, labels, generator=draw, steps=200)


# %%
alone = [[part[n : n + 1] for part in shards["bob"]] for n in range(3)]
from_search, three = torch.cat([searched(*one) for one in alone]), shards["bob"][0][:3]
through = fk.privacy.psnr(from_search, three)
rows = {"one image each": three, "searched": from_search}
title = "Through two convolutions: three steps with one image each"
fk.show(
    fk.plots.rebuilt_digits(rows, {"searched": through.tolist()}, title=title),
    "Three handwritten digits, and below them the same three, rebuilt nearly as clearly",
)

# %%
four = [part[:4] for part in shards["bob"]]
together = searched(*four)
quality = fk.privacy.score(together, four[0]).psnr if len(together) else torch.zeros(0)
print("four in one batch:", *[f"{value:.0f} dB" for value in quality] or ["no answer"])

# %% [markdown]
# One image at a time comes out, at 25 dB or better in each of ten tests. Of four in one batch, other seeds give anything: no answer, shapes below 20 dB, all
# four above 30. And the search cannot say which of these it is: that the gradient fits speaks for the batch as a whole, and for no image in it. It also needs the labels, one step, and no noise. So "convolutions resist division" is true, and "convolutions are safe" is not.

# %% [markdown]
# ## Was this image in the training data?
#
# Suppose you hold a picture already, and want to know if Carol trained on it. That is a **membership** question, and for a medical image it can be all that matters. The
# *row-space test* needs no training: how much of the candidate lies outside of the plane of Carol's images? The other two ask the model. It is surer of
# images that it has seen: set a *threshold* on its confidence. Or compare its confidence with that of *shadow models* that you train yourself, on your own
# images: is it unusually sure? (**LiRA**, the likelihood ratio attack.)
#
# > **Predict.** Carol's 100 images and 1,000 others, one update of many epochs. Which attack tells them apart best?
# >
# > * a) the threshold
# > * b) LiRA with shadow models
# > * c) the row-space test

# %%
strangers = fk.take(mnist.train_images, mnist.train_labels, [order[1000:2000]])[0]
weight, _ = fk.privacy.first_layer(carol.change)
residuals = {
    "Carol's 100": fk.privacy.row_space_residual(weight, shards["carol"][0]),
    "1,000 others": fk.privacy.row_space_residual(weight, strangers[0]),
}
fk.show(
    fk.plots.residual_dots(residuals, title=fk.caption("08 residuals")),
    fk.alt("08 residuals"),
)

# %%
trained = fk.privacy.train_shadows(carol, own, shadows, seed)
candidates = {"members": shards["carol"], "others": strangers}
sure = [fk.privacy.confidence(carol, carol.update, c) for c in candidates.values()]
unusual = [fk.privacy.lira(carol, carol.update, trained, c) for c in candidates.values()]
curves = {
    "row space": fk.privacy.roc(*[-values for values in residuals.values()]),
    "LiRA": fk.privacy.roc(*unusual),
    "threshold": fk.privacy.roc(*sure),
}

# %%
title = fk.caption("08 who was there")
fk.show(
    fk.plots.roc_curves(curves, title=title),
    fk.alt("08 who was there"),
)

# %%
for name, curve in curves.items():
    low, high = curve.interval
    rates = " ".join(f"{rate:.1%}: {curve.tpr_at(rate)[0]:4.0%}" for rate in (0.001, 0.01))
    print(f"{name:10} AUC {curve.auc:.3f} [{low:.3f}, {high:.3f}], members found at {rates}")

# %% [markdown]
# c. A **ROC curve** has one point for each threshold: how many others are wrongly accused, and how many members are found. Its area, the **AUC**, is the chance
# that a member scores higher than another, 0.5 for guessing; the 95% interval is in brackets. It never collapses to [1, 1]: a hundred members told apart without a mistake leave
# room for one that is not. The axes are logarithmic because the left end matters: who
# accuses 1% of everybody wrongly, and finds 10% of the members, knows something about those. The row space makes no mistake here.
#
# More images than hidden units do **not** end it: the row space is full then, but it leans towards the images that made it. With 256 images, twice the hidden units,
# its AUC is still above 0.9; with 2,000, below 0.65. So it fades, slowly. Noise ends it only when it is as large as
# the change itself. Confidence fades with more images: for 5,000 of them and five epochs, the threshold's AUC is below 0.55. It fades with fewer epochs: for 100 images and one
# epoch, below 0.65. And if your file is the mean of ten updates, LiRA sees far less.

# %% [markdown]
# ## And if the aggregator cheats?
#
# So far you were curious and honest. Now choose the weights yourself, and not those of the start: after an honest round 1, send Dave another global model. Let all 128 hidden units measure the same, the brightness of the image, and let unit $j$
# fire above the $j$-th of 128 rising thresholds. Two neighbouring units then differ by the images whose brightness lies between their thresholds. If that is one
# image, the difference of two rows *is* that image. Nothing in `model.py` or in the config gives it away, and Dave with his 600 images, of which none could be rebuilt
# until now, approved long ago.
#
# **Aggregator**

# %%
honest = fk.seed_weights(fk.SAMPLE_MODEL, seed)
crafted = fk.privacy.crafted_weights(honest, own[0], seed)
network.launch(experiment("CRAFTED", 1, [emails["dave"]], rounds=2))
network.run("CRAFTED", approve=fk.approve_all, until_round=1)
for place in (aggregator.aggregator(), network[emails["dave"]].client()):
    fk.write_state(place.project("CRAFTED").global_model(1), crafted)
network.run("CRAFTED")
spied = fk.privacy.evidence(network, emails["dave"], 2, "CRAFTED")
bins = fk.privacy.read_bins(*fk.privacy.first_layer(spied.change))
caught = exact_ones(bins, shards["dave"][0])
print(f"{int(caught.sum())} of Dave's 600 images rebuilt at 60 dB or better")

# %%
some = shards["dave"][0][caught]
some = some[:: max(1, len(some) // 12)][:12]
rows = {"Dave's": some, "rebuilt": bins[fk.privacy.match(bins, some)]}
title = "A dozen of Dave's images, from a global model made for spying"
fk.show(
    fk.plots.rebuilt_digits(rows, title=title),
    "Twelve handwritten digits of Dave's, and below them the same twelve, rebuilt",
)

# %% [markdown]
# **Dave, participant**
#
# Global models come after the approval, as `agg_model_round_0.pt`, `agg_model_round_1.pt` and so on. Before you train on one, you can hold it against two things. The approved config
# names a `seed`: the honest seed weights, those of round 0, can be made again, bit by bit. And you can look at any of them: hidden units that all look for the same are neither a
# random start nor what training makes of one. (In tests, of models trained for up to a hundred epochs, no two units come as near to each other.)

# %%
place = network[emails["dave"]].client()
for project, number in (("SHORT", 0), ("SHORT", 1), ("CRAFTED", 0), ("CRAFTED", 1)):
    files = place.project(project, "done")
    config = fk.FLConfig.load(files.config)
    weights = fk.read_state(files.global_model(number))
    source = (files.path / "model.py").read_bytes()
    desk = fk.privacy.check_seed(weights, source, config.seed)
    said = f"the seed gives it: {desk.same_as_seed}, units alike: {desk.alike:.0%}"
    print(f"{project}, model {number}: {said}, suspicious: {desk.suspicious}")

# %%
sheet = {"fc1.weight": torch.cat([honest["fc1.weight"][:6], crafted["fc1.weight"][:6]])}
title = "Six hidden units of an honest model (top)\nand of the crafted one (bottom)"
fk.show(
    fk.plots.weight_images(sheet, units=12, columns=6, title=title),
    "Above, six pictures of random dots; below, six plain squares that are all the same",
)

# %% [markdown]
# A craftier aggregator would hide its bins in weights that look random; then only the first check tells, and only in round 0: of a later model you know no honest copy.
# Trusting the aggregator with every update remains trusting the aggregator.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# All of this came out of these files, and of your own test images. Not one image crossed.

# %%
figure = fk.plots.what_crossed(network.ledger(), aggregator=aggregator.email)
fk.show(
    figure,
    "Model updates and small files from each participant to the aggregator, and no training image",
)

# %%
by_hash = {entry.sha256 for entry in network.ledger() if entry.receiver == aggregator.email}
for evidence in (bob, carol, spied):
    known = evidence.sha256 in by_hash
    print(
        f"{evidence.config.project_name}: the update of {evidence.participant} is in the ledger: {known}"
    )

# %%
fk.record(
    labels_right=int(torch.minimum(counts, torch.bincount(shards["bob"][1], minlength=10)).sum()),
    one=[round(value) for value in one.tolist()],
    eight_exact=round(min(decibels["by zeros"])),
    eight_descent=sum(value >= 20 for value in decibels["by descent"]),
    shares=[[round(share, 2) for share in row] for row in shares],
    auc=[round(curve.auc, 3) for curve in curves.values()],
    crafted=int(caught.sum()),
    convolutions=[round(value) for value in through.tolist()],
)

# %% [markdown]
# ## Recap
#
# * The last layer's bias counts the labels of a batch; rows and bias of the first layer give one image by a division, a small batch by its zeros, dozens by blank paper.
# * More images than hidden units end rebuilding on this model, and membership tests only fade; more local epochs end neither.
# * A training image lies in the row space of the change; confidence tells members too, less surely, and an ROC curve with an interval says how surely.
# * A global model made for spying rebuilds images of large shards; a look at the rows gives this one away in any round, the config's seed in round 0.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("08")

# %% [markdown]
# ## Readings
#
# * Geiping et al. (2020), [Inverting Gradients: How Easy Is It to Break Privacy in Federated Learning?](https://arxiv.org/abs/2003.14053): the search, for deep networks and colour images.
# * Dimitrov et al. (2024), [SPEAR: Exact Gradient Inversion of Batches in Federated Learning](https://arxiv.org/abs/2403.03945): the algebra behind Bob's eight images.
# * Carlini et al. (2022), [Membership Inference Attacks From First Principles](https://arxiv.org/abs/2112.03570): LiRA, and why the left end of the curve counts.
# * Fowl et al. (2022), [Robbing the Fed: Directly Obtaining Private Data in Federated Learning with Modified Models](https://arxiv.org/abs/2110.13057): the bins.

# %% [markdown]
# ## Next
#
# Every attack here needs the change to be exact, and to be one participant's. Notebook 09 takes the first away, with noise that has a price and a proof. Notebook 10
# takes the second.
