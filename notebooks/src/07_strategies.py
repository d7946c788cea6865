# ---
# jupyter:
#   fedkit:
#     budget_s: 90
#     needs: notebooks 05 and 06
#     learn:
#       - what makes a comparison of two strategies fair
#       - which strategies help where datasites differ, and by how much
#       - what an advantage costs in bytes
#       - which averaging rules survive hostile participants, and how they do without any
# ---

# %% [markdown]
# # Strategies compared fairly
#
# You will be able to compare strategies so that the winner is the better one, and to choose a rule that a few hostile participants can't break.

# %%
from dataclasses import replace
from itertools import product

import torch
from tqdm import tqdm

import fedkit as fk

# %% tags=["parameters"]
alpha: float = 0.1  # skew of the labels, as in notebook 06
rounds: int = 8  # how often everybody trains and the models are averaged
epoch: int = 5  # passes over one's own images in each round
images: int = 800  # training images of all ten participants together
learning_rate: float = 0.3  # step size of each training step
seed: int = 0  # the first of three seeds; every choice derives from them

# %% [markdown]
# ## What is a fair comparison?
#
# A **strategy** is what may differ between two federations that are otherwise the same: how participants train, and how the aggregator makes the next model. Many are
# said to beat FedAvg. Whether they do depends on how one compares.
#
# Four things are easy to get wrong: the data is dealt out by chance, so one run proves little; a strategy may send more bytes; its settings may have been tuned
# and those of its rival not; and the settings may have been chosen on the very runs that are reported.

# %%
mnist, people = fk.load_mnist(), fk.numbered_participants(10)
test = fk.as_float(mnist.test_images), mnist.test_labels


def deal(seed, alpha=alpha, count=images):
    """Ten shards, the same for the same seed."""
    some = torch.randperm(len(mnist.train_labels), generator=fk.generator(seed, "some"))[:count]
    pool, labels = mnist.train_images[some], mnist.train_labels[some]
    draw = fk.generator(seed, "split")
    return fk.take(pool, labels, fk.split_dirichlet(labels, 10, alpha, min_size=5, generator=draw))


# %%
base = fk.FLConfig(
    project_name="CONTEST",
    aggregator="ana@example.org",
    participants=people,
    rounds=rounds,
    epoch=epoch,
    learning_rate=learning_rate,
    batch_size=32,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
)

# %% [markdown]
# `enter` lets a strategy run with one seed. The seed decides how the images are dealt out, the seed weights and every shuffle. Two strategies with the same seed
# meet exactly the same conditions.


# %%
def enter(name, seed, alpha=alpha, rate=learning_rate, **settings):
    """The history of a strategy with one seed."""
    strategy = {"name": name, **settings}
    config = base.replace(seed=seed, learning_rate=rate, strategy=strategy)
    return fk.simulate(config, deal(seed, alpha), test)


# %% [markdown]
# > **Predict.** FedAvgM is a rival of FedAvg that you will meet below. A paper compares both at a learning rate of 0.1 and finds it far ahead. Now FedAvg may try
# > other learning rates. What becomes of the lead?
# >
# > * a) it stays: a learning rate is a detail
# > * b) a good part of it is gone
# > * c) it turns around

# %%
trial = seed + 10  # a seed that is used for tuning and not reported
tuned = {f"FedAvg {rate:g}": enter("fedavg", trial, rate=rate) for rate in (0.1, 0.3, 1.0)}
tuned["FedAvgM 0.1"] = enter("fedavgm", trial, rate=0.1, momentum=0.7)
ends = {name: history.accuracies[-1] for name, history in tuned.items()}
title = fk.caption("07 learning rates")
fk.show(
    fk.plots.participant_bars(ends, title=title, highlight=["FedAvgM 0.1"]),
    fk.alt("07 learning rates"),
)

# %% [markdown]
# b, in this run: at 0.3, FedAvg wins back much of what it was behind. Whoever leaves the baseline untuned measures the tuning and not the strategy. From here on
# everybody trains with 0.3, which was chosen on a seed that does not appear again, and everything is run with three other seeds.
#
# Pictures show a line for the mean of the three, and a band from the worst to the best. A band is wide because seeds differ, so compare strategies seed by seed as
# well: each line below pairs runs under the same conditions.


# %%
def contest(name, **settings):
    """A strategy with all three seeds."""
    seeds = tqdm(range(seed, seed + 3), desc=name, unit="seed", leave=False)
    return [enter(name, one, **settings) for one in seeds]


def against(name, rival, baseline):
    """Print by how many points a strategy is ahead of another, seed by seed."""
    pairs = zip(rival, baseline, strict=True)
    ahead = [100 * (a.accuracies[-1] - b.accuracies[-1]) for a, b in pairs]
    print(f"{name:<20}", "  ".join(f"{points:+.1f}" for points in ahead))


# %% [markdown]
# ## Does it help to hold participants back?
#
# In notebook 06 participants drifted apart. **FedProx** (Li et al. 2020) ties them to the global model: to the loss on its images, each adds a **proximal term**,
#
# $$\frac{\mu}{2}\,\lVert w - w_{\mathrm{global}} \rVert^2,$$
#
# half of mu times the squared length of the way that it has gone. With mu 0 it is FedAvg. The square matters: its gradient grows with the distance, and near the
# global model there is hardly any pull.
#
# **Exercise.** Write the term for two dicts of tensors, name -> tensor.


# %% tags=["exercise"]
def proximal_term(weights, global_weights, mu):
    """(mu / 2) ||w - w_global||^2 over all tensors, as a tensor with one number."""
    # solution begin
    squares = [(w - global_weights[name]).square().sum() for name, w in weights.items()]
    return mu / 2 * sum(squares)
    # solution end


fk.check.proximal_term(proximal_term)

# %% [markdown]
# > **Predict.** FedProx was made for datasites that differ, and these differ a lot. How does it compare with FedAvg after eight rounds?
# >
# > * a) it is ahead with all three seeds
# > * b) it is ahead with some, behind with others
# > * c) it is behind with all three

# %%
fedavg = contest("fedavg")
fedprox = contest("fedprox", mu=0.1)
against("FedProx, mu 0.1", fedprox, fedavg)

# %%
title = fk.caption("07 fedprox")
fk.show(
    fk.plots.accuracy_bands({"FedAvg": fedavg, "FedProx 0.1": fedprox}, title=title),
    fk.alt("07 fedprox"),
)

# %% [markdown]
# It is c). (Three seeds are not all seeds: of ten that were tried, one had FedProx ahead by a point.) Participants held back do drift less. They also learn
# less in a round, and with only eight rounds, that weighs more. A smaller mu makes hardly any difference, a larger one makes it worse. FedProx was made for something else too: for participants that do unequal amounts of work or diverge. So
# "helps against skew" is a claim about certain tasks, models and numbers of rounds. Here it is not true.

# %% [markdown]
# ## Should the aggregator remember?
#
# FedAvg forgets each round as soon as it is over. But the mean change of a round is a direction, much like a gradient, and optimisers know how to use many of
# them. **FedAvgM** keeps a velocity: seven tenths of the last step plus the new mean change. **FedAdam** also divides each weight's step by how much that
# weight usually moves (Reddi et al. 2021).
#
# Participants notice nothing of it. They train as before and send the same bytes.

# %%
fedavgm = contest("fedavgm", momentum=0.7)
fedadam = contest("fedadam", server_lr=0.03)
against("FedAvgM", fedavgm, fedavg)
against("FedAdam", fedadam, fedavg)

# %%
memory = {"FedAvg": fedavg, "FedAvgM": fedavgm, "FedAdam": fedadam}
title = "With a memory, the aggregator is ahead, at no cost in bytes"
fk.show(
    fk.plots.accuracy_bands(memory, title=title),
    "The lines of FedAvgM and FedAdam are above that of FedAvg from the third round on",
)

# %% [markdown]
# Where updates point in different directions, what they disagree in changes from round to round, and what they agree in stays. A memory adds up what stays. To be fair:
# both have a parameter more than FedAvg, which was chosen among three values. And where datasites are alike, there is little to win for anybody:

# %%
rivals = {"fedavg": {}, "fedprox": {"mu": 0.1}, "fedavgm": {"momentum": 0.7}, "scaffold": {}}
alike = {name: enter(name, seed, alpha=100.0, **more) for name, more in rivals.items()}
print("  ".join(f"{name} {history.accuracies[-1]:.1%}" for name, history in alike.items()))

# %% [markdown]
# ## What does an advantage cost?
#
# **SCAFFOLD** (Karimireddy et al. 2020) goes to the root of the drift. Each participant keeps a **control variate**, an estimate of where its own gradient
# leads, and gets the mean of everybody's. It corrects each local step by the difference, and so walks where all would walk together. For that a second file as large
# as the model crosses in each direction.
#
# **FedNova** (Wang et al. 2020) divides each change by the number of steps behind it, so that whoever takes more steps does not pull more.

# %%
scaffold = contest("scaffold")
fednova = contest("fednova")
against("SCAFFOLD", scaffold, fedavg)
against("FedNova", fednova, fedavg)

# %%
drift = {"FedAvg": fedavg, "SCAFFOLD": scaffold, "FedNova": fednova}
fk.show(
    fk.plots.accuracy_bands(drift, title="Round by round, SCAFFOLD ends above FedAvg in the mean"),
    "SCAFFOLD starts where FedAvg does and ends above it, with bands that overlap; the line of FedNova ends between the two",
)

# %% [markdown]
# Both are ahead in the mean of these three seeds, and not with every seed: of ten that were tried, one had SCAFFOLD six points behind.
#
# Now count bytes. Real datasites have a ledger for that: three of the ten participants run two rounds of each strategy. Whatever carries a 2 in its name
# belongs to the second round.


# %%
root = fk.workspace("07")


def through_files(name):
    """Two rounds of a strategy with three datasites; their network."""
    network = fk.Network.create(root / name, aggregator=base.aggregator, participants=people[:3])
    for email, shard in zip(people, deal(seed)[:3], strict=False):
        network.give_data(email, shard)
    network.give_test(*test)
    strategy = {"name": name}
    network.launch(base.replace(participants=people[:3], rounds=2, strategy=strategy))
    network.run(approve=fk.approve_all)
    return network


# %%
networks = {"FedAvg": through_files("fedavg"), "SCAFFOLD": through_files("scaffold")}
megabytes = {}
for name, network in networks.items():
    size = sum(entry.size for entry in network.ledger() if "_round_2." in entry.path)
    megabytes[name] = 10 / 3 * size / 1e6
    print(f"{name}: {megabytes[name]:.1f} MB a round for ten participants")

# %% [markdown]
# > **Predict.** SCAFFOLD ended above FedAvg after the same number of rounds. And after the same number of bytes?
# >
# > * a) still above: what it sends more is worth it
# > * b) below
# > * c) they are the same

# %%
by_bytes = {"FedAvg": fedavg, "SCAFFOLD": scaffold, "FedAvgM": fedavgm}
figure = fk.plots.accuracy_bands(
    by_bytes,
    megabytes={**megabytes, "FedAvgM": megabytes["FedAvg"]},
    title=fk.caption("07 by bytes"),
)
fk.show(
    figure,
    fk.alt("07 by bytes"),
)

# %% [markdown]
# It is b), for as long as eight rounds of FedAvg take. Both pictures are true, and a paper may choose which one to print. If rounds are what you wait for,
# SCAFFOLD has paid here; if the network is what you pay for, it has not.

# %% [markdown]
# ## Who survives hostile participants?
#
# In notebook 05 one flipped sign slowed a mean down, and Ana could not tell. Now up to four of ten are hostile, in one of three ways: they **flip the sign** of
# their change, they also **scale** it by five, or they train honestly on **flipped labels**, with each 0 called 9, each 1 called 8, and so on. A rule that stands
# that is called **robust**.
#
# The simplest idea: take the median of every weight instead of the mean. Half of the values lie on either side of it.
#
# **Exercise.** `rows` has one change a row, [K, D]. With an even K, take the mean of the two middle values.


# %% tags=["exercise"]
def coordinate_median(rows):
    """The median of every column of rows [K, D], as [D]."""
    # solution begin
    ordered, k = rows.sort(dim=0).values, len(rows)
    return (ordered[(k - 1) // 2] + ordered[k // 2]) / 2
    # solution end


fk.check.coordinate_median(coordinate_median)

# %% [markdown]
# Two more rules: the **trimmed mean** leaves out the three largest and the three smallest values of every weight, and **Multi-Krum** keeps the seven updates that lie
# closest to others, as whole vectors. Both are told to expect three hostile participants. Datasites are alike here, so that only the attack differs.

# %%
rules = {
    "mean": {"name": "fedavg"},
    "median": {"name": "median"},
    "trimmed mean": {"name": "trimmed_mean", "beta": 0.3},
    "Multi-Krum": {"name": "multi_krum", "hostile": 3},
}
attacks = ("sign flip", "flip and scale", "label flip")
alike_shards = deal(seed, alpha=100.0, count=500)

# %% [markdown]
# Two attacks change updates on their way (`fk.poisoned`), the third changes labels before training (`fk.flip_labels`).


# %%
def attacked(rule, attack, hostile, shards):
    """Accuracy after four rounds, with the last `hostile` participants against the rest."""
    bad, hook = people[len(people) - hostile :], None
    if attack == "sign flip":
        hook = fk.poisoned(bad)
    elif attack == "flip and scale":
        hook = fk.poisoned(bad, "scaled", factor=-5.0)
    else:
        pairs = zip(people, shards, strict=True)
        shards = [fk.flip_labels(shard) if email in bad else shard for email, shard in pairs]
    config = base.replace(rounds=4, epoch=3, seed=seed, strategy=rules[rule])
    return fk.simulate(config, shards, test, on_the_way=hook)


# %% [markdown]
# > **Predict.** Which of these happens?
# >
# > * a) all rules stand four of ten in all three attacks
# > * b) the mean falls first; a rule that expects three stands three, and some fall with the fourth
# > * c) all rules fall with the second

# %%
honest = {rule: attacked(rule, "sign flip", 0, alike_shards).accuracies[-1] for rule in rules}
curves = {attack: {rule: [honest[rule]] for rule in rules} for attack in attacks}
for attack, rule in tqdm(list(product(attacks, rules)), leave=False):
    for hostile in (1, 2, 3, 4):
        history = attacked(rule, attack, hostile, alike_shards)
        curves[attack][rule].append(history.accuracies[-1])

# %%
title = fk.caption("07 attacks")
fk.show(
    fk.plots.survival_curves(curves, title=title),
    fk.alt("07 attacks"),
)

# %% [markdown]
# It is b). A mean is led by whoever is loudest, and two of ten are enough. A robust rule loses some points to three, and stands; with the fourth it may
# break at once.
# Label flips do least: such updates are trained honestly, so they are as long as the others and outnumbered.

# %% [markdown]
# ### Who counts for how much?
#
# The loudest attack changes no weight at all. Each update counts by the number of images that its participant *says* is behind it, and nobody can look. Let the
# last of the ten train on flipped labels and claim 999,999,999 images, where all have about fifty. `max_samples` in the config is the most that is believed.

# %%
flipped = [*alike_shards[:-1], fk.flip_labels(alike_shards[-1])]


def boast(model, updates):
    """The last participant claims far more images than it has."""
    return [*updates[:-1], replace(updates[-1], num_samples=999_999_999)]


largest = max(len(labels) for _, labels in alike_shards)
for cap in (None, largest):
    config = base.replace(rounds=4, epoch=3, seed=seed, max_samples=cap)
    history = fk.simulate(config, flipped, test, on_the_way=boast)
    record = history.rounds[-1]
    share, accuracy = record.contributions[-1].weight, history.accuracies[-1]
    print(
        f"max_samples {cap}: its share {share:.2f}, accuracy {accuracy:.2f}, capped {record.capped}"
    )

# %% [markdown]
# Without a cap the global model is the liar's. With one, the claim shrinks to what an honest participant may have, and the record keeps what was claimed. It is off
# unless you set it, since honest datasites differ widely: set it to the largest dataset that you believe in. Under secure aggregation, where nobody sees a
# claim, each participant holds itself to it. Saying nothing does not help either: whoever hides its number counts as the median of the others.

# %% [markdown]
# ## What does robustness cost?
#
# So far some participants were hostile, and all shards were alike. It may well be the other way round: nobody is hostile, and datasites differ. Whoever takes a
# robust rule to be safe takes it in all those rounds as well. So try the rules with nobody hostile at all, on skewed shards (alpha 0.2).
#
# > **Predict.** Nobody is hostile. What do the robust rules cost?
# >
# > * a) nothing, since there is nothing to discard
# > * b) a point at most
# > * c) several points: honest minorities are discarded

# %%
nobody = {rule: enter(seed=seed, alpha=0.2, **spec) for rule, spec in rules.items()}
prices = {rule: history.accuracies[-1] for rule, history in nobody.items()}
fk.show(
    fk.plots.participant_bars(
        prices,
        title=fk.caption("07 nobody hostile"),
    ),
    fk.alt("07 nobody hostile"),
)

# %% [markdown]
# It is c). Robust rules keep what most have in common and discard what sticks out. Among datasites that differ, everybody sticks out somewhere: whoever alone
# holds the nines is, weight by weight, an outlier. A robust rule can't tell a minority from an attack, since both are far from the rest. Robustness and fairness pull in opposite directions, and the
# more datasites differ the harder they pull. No rule in this notebook is the best in every section: choose by what you have to fear.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# First SCAFFOLD's ledger. What crossed "beside the weights" are the control variates. Each is about the mean gradient over a participant's images, so it
# tells as much about them as the update does. But it tells nothing more: Ana can work out its change from the update and from what she has sent herself.
# SCAFFOLD takes twice the bytes, and is no defence.

# %%
ledger = networks["SCAFFOLD"].ledger()
fk.show(
    fk.plots.what_crossed(ledger, aggregator=base.aggregator),
    "As many files beside the weights as model updates, of the same size, and no training image",
)

# %% [markdown]
# And the hostile ones? All that Ana has are the updates and their norms. Here are those of round 1, the last participant being the hostile one.

# %%
for attack in attacks:
    record = attacked("mean", attack, 1, alike_shards).rounds[0]
    print(f"{attack:<15}", "  ".join(f"{part.norm:4.1f}" for part in record.contributions))

# %% [markdown]
# Only the scaled change gives itself away by its norm. A flipped sign has the same length as an honest change, and a flipped label nearly so. Whoever clips norms stops
# the loud attack and not the quiet ones. And no rule here sees an image: whether labels are right, only their owner can say.

# %%
fk.record(
    fedavg=sum(run.accuracies[-1] for run in fedavg) / 3,
    fedprox=sum(run.accuracies[-1] for run in fedprox) / 3,
    fedavgm=sum(run.accuracies[-1] for run in fedavgm) / 3,
    scaffold=sum(run.accuracies[-1] for run in scaffold) / 3,
    mean_four_scaled=curves["flip and scale"]["mean"][4],
    median_four_scaled=curves["flip and scale"]["median"][4],
)

# %% [markdown]
# ## Recap
#
# * Fair means: the same seeds for all, several of them, settings tuned for all and on other seeds, and the same bytes.
# * On these skewed shards FedProx is behind FedAvg with all three seeds, while FedAvgM and FedAdam are ahead with all three.
# * SCAFFOLD is ahead by rounds in the mean of the three, and behind by bytes; which picture counts depends on what you pay for.
# * Robust rules stand as many hostile participants as they were made for, and where datasites differ they discard honest minorities.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("07")

# %% [markdown]
# ## Readings
#
# * Li et al. (2020), [Federated Optimization in Heterogeneous Networks](https://arxiv.org/abs/1812.06127): FedProx, algorithm 2.
# * Reddi et al. (2021), [Adaptive Federated Optimization](https://arxiv.org/abs/2003.00295): the optimisers at the aggregator, and how carefully they are tuned.
# * Karimireddy et al. (2020), [SCAFFOLD: Stochastic Controlled Averaging for Federated Learning](https://arxiv.org/abs/1910.06378): algorithm 1.
# * Yin et al. (2018), [Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates](https://arxiv.org/abs/1803.01498): median and trimmed mean, with what they can promise.

# %% [markdown]
# ## Next
#
# So far Ana was honest, and some participants were not. Notebook 08 turns that around: what can she learn from what they send?
