# ---
# jupyter:
#   fedkit:
#     budget_s: 120
#     needs: notebooks 03 to 07; 09 for the section on privacy
#     learn:
#       - how a table becomes shards, a test set and a task
#       - what has to leave a hospital so that all measure alike, and how three ways of it compare
#       - which hospital gains from a federation, and which number shows it
#       - what differential privacy costs each hospital, and how settings are compared on your data
# ---

# %% [markdown]
# # Your own data
#
# You will be able to bring a table of your own to a federation, and to say who gains from it, by how much, and what privacy costs whom.

# %%
import shutil

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import fedkit as fk
from fedkit import privacy
from fedkit.data.standardise import combine, moments

# %% tags=["parameters"]
splits: int = 5  # ways to hold a test set out; results are means over them
rounds: int = 20  # how often everybody trains and the models are averaged
test_share: float = 0.3  # of all patients, held out to judge models
epsilons: list = [0.25, 1.0, 4.0]  # what is promised, point by point
seeds: int = 3  # runs of each setting of the sweep
jobs: int = 2  # runs of the sweep side by side
seed: int = 0  # who is treated where, who is held out, every shuffle

# %% [markdown]
# ## How does a table get in?
#
# You need a table with a row for each sample, a number in each cell, a column to be predicted, and one that says whose the row is. Here are 569 patients with a
# tumour of the breast. For each, 30 measurements of cells under a microscope, and the diagnosis. They are real. Scikit-learn brings them along.
#
# The four hospitals are not real. **North** screens many who are well. **East** is a cancer clinic, where nearly everybody is ill. **South** sees both. **West** is
# small. The first number is how many patients each has, the second how many of them have a malignant tumour.

# %%
from sklearn.datasets import load_breast_cancer

HOSPITALS = {"north": (310, 25), "east": (150, 141), "south": (73, 40), "west": (36, 6)}

# %%
table = load_breast_cancer(as_frame=True).frame
table["diagnosis"] = np.where(table.pop("target") == 0, "malignant", "benign")
emails = [f"{name}@example.org" for name in HOSPITALS]
ill = [number for _, number in HOSPITALS.values()]
well = [patients - number for patients, number in HOSPITALS.values()]
rng = np.random.default_rng(seed)
for diagnosis, counts in (("malignant", ill), ("benign", well)):
    whose = rng.permutation(np.repeat(emails, counts))
    table.loc[table["diagnosis"] == diagnosis, "hospital"] = whose

# %%
root = fk.workspace("14")
csv = root / "patients.csv"
table.to_csv(csv, index=False)
print(pd.read_csv(csv).iloc[:4, [0, 1, 2, 29, 30, 31]].to_string(index=False))

# %% [markdown]
# From such a file, one command makes a **data folder**: a shard for each hospital, a test set, and a file that says what the data are. In a shell it is
# `fedkit data import patients.csv --target diagnosis --participant hospital --test 0.3 --out hospitals`. In Python it is three lines. A cell that holds no number is
# named by row and column. Nothing is guessed or filled in.

# %%
folder = root / "hospitals"
shutil.rmtree(folder, ignore_errors=True)  # so that this cell can run twice
data = fk.import_table(csv, "diagnosis", participant="hospital")
shards, test = fk.deal_out(data, test=test_share, seed=seed)
fk.write_data_folder(folder, data.task, shards, test)
for path in sorted(path for path in folder.rglob("*") if path.is_file()):
    print(f"{path.relative_to(folder).as_posix():<32}{path.stat().st_size:>8,} bytes")

# %%
held = {email: labels for email, (_, labels) in shards.items()}
title = "Who holds what: four hospitals, no two alike"
fk.show(
    fk.plots.label_bars(held, classes=data.task.names, title=title),
    "Four bars: north is long and mostly benign, east half as long and nearly all malignant, south is mixed, west tiny",
)

# %% [markdown]
# West is left with two dozen patients or so, since 30% of all are held out as the test set, on which models are judged. Who is in it was drawn at random, so the
# numbers below move a little with the draw. That is why you will hold out several times.

# %% [markdown]
# ## What does the project have to be told?
#
# Up to here, every project was about digits, so nobody had to say so. Now the config needs a **task**: what a sample is, how an answer is judged, and by which loss it is
# trained. A diagnosis of yes or no is one number, the logit: above 0 means malignant. Its loss is `bce_with_logits`, by PyTorch's name.
#
# Accuracy would flatter: whoever calls everybody well is right for 92% of North. Balanced accuracy is the mean of two shares, of the ill who are found and of
# the well who are let go. An AUC asks for the order only: does an ill patient score above a well one?

# %% [markdown]
# **Exercise.** Write the task as a dict with four keys. `samples`: these are `"vectors"`. `shape`: a list with the numbers in one sample. `loss`: see above. `metrics`: a list
# of `"balanced_accuracy"` and `"auc"`.

# %% tags=["exercise"]
about = {
    # solution begin
    "samples": "vectors",
    "shape": [30],
    "loss": "bce_with_logits",
    "metrics": ["balanced_accuracy", "auc"],
    # solution end
}
fk.check.table_task(about)

# %% [markdown]
# The import has come to the same by itself, and has written it beside the shards. You may edit that file, and here you do: one key says that samples are to be
# **standardised**. The next section says what that is.

# %%
task = fk.read_json(folder / "task.json") | {"standardise": "federated"}
fk.write_json(folder / "task.json", task)
for key, value in task.items():
    print(f"{key:>12}: {value}")

# %% [markdown]
# And a model. `fk.SAMPLE_MODEL` reads digits, so you write your own: 30 weights and a bias. That is logistic regression, and for a table of this size it is hard to beat.

# %%
MODEL = """
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(30, 1)

    def forward(self, vectors):
        return self.fc(vectors)
"""

# %%
(root / "model.py").write_text(MODEL)
config = fk.FLConfig.from_dict(
    {"project_name": "TUMOUR", "aggregator": "ana@example.org", "participants": list(shards)}
    | {"rounds": rounds, "epoch": 2, "learning_rate": 0.1, "batch_size": 16, "seed": seed}
    | {"model_arch": "model.py", "model_weight": "weights.pt", "task": task}
)

# %% [markdown]
# ## Whose mean, and whose spread?
#
# A mean area is several hundred, a mean smoothness about 0.1. With one learning rate for both, steps that suit the one do nothing for the other, or blow up. So each column is
# standardised: subtract its mean, divide by its standard deviation. But whose? Nobody sees the whole table. Each hospital can give three things for each column: how many
# numbers there are, their sum, and the sum of their squares.

# %%
parts = [moments(samples, data.task) for samples, _ in shards.values()]
for email, part in zip(shards, parts, strict=True):
    print(f"{email}: n {part.n}, sum {part.sums[0]:.1f}, squares {part.squares[0]:.1f}, ...")

# %% [markdown]
# **Exercise.** From these follow the mean and the standard deviation of all patients together, as if they lay in one place:
# $\text{mean} = \sum_k s_k / \sum_k n_k$ and $\text{std}^2 = \sum_k q_k / \sum_k n_k - \text{mean}^2$, with the sums $s_k$ and the squares $q_k$ of hospital $k$. Write it.


# %% tags=["exercise"]
def mean_and_std(parts):
    """Mean and standard deviation [columns] of everybody's samples, from each one's n, sums and squares."""
    n = sum(part.n for part in parts)
    sums = torch.tensor([part.sums for part in parts], dtype=torch.float64)
    squares = torch.tensor([part.squares for part in parts], dtype=torch.float64)
    # solution begin
    mean = sums.sum(0) / n
    std = (squares.sum(0) / n - mean**2).sqrt()
    return mean, std
    # solution end


fk.check.mean_and_std(mean_and_std)

# %% [markdown]
# The package has it as `combine`:

# %%
together = combine(parts)
print("mean:", ", ".join(f"{value:.3g}" for value in together.mean[:5]), "...")
print("std: ", ", ".join(f"{value:.3g}" for value in together.std[:5]), "...")

# %% [markdown]
# `fedkit data statistics` prints a hospital's part, `fedkit data combine` does what you have written, and what comes out is two lists in `fl_config.json` that everybody
# reads and approves. In `fk.simulate` and `fk.Network`, `"federated"` does it all at once. `"own"` is the other way: each hospital takes its own mean and its own spread, the test
# set takes those of the test set, and nothing has to leave.
#
# > **Predict.** Three ways: no standardisation, everybody's own, federated. How do they compare in balanced accuracy?
# >
# > * a) own is as good as federated, since after it every column has mean 0 and spread 1 anyway
# > * b) none is worst by far, and own is close behind federated
# > * c) own costs a lot here: the same patient becomes another one, depending on who looks


# %%
def split(number):
    """Shards and test set with other patients held out."""
    return fk.deal_out(data, test=test_share, seed=100 * seed + number)


# %%
def train(shards, test, standardise="federated", **changes):
    """Train between these hospitals, in memory."""
    told = {"participants": list(shards), "task": task | {"standardise": standardise}, **changes}
    return fk.simulate(config.replace(**told), shards, test, model=MODEL)


# %%
curves = []
for number in tqdm(range(splits), leave=False):
    for way in (None, "own", "federated"):
        history = train(*split(number), way)
        by_round = history.to_frame().reset_index()
        curves.append(by_round.assign(seed=number, statistics=way or "none"))
curves = pd.concat(curves)

# %%
title = fk.caption("14 statistics")
fk.show(
    fk.plots.small_multiples(curves, y="balanced_accuracy", lines="statistics", title=title),
    fk.alt("14 statistics"),
)

# %%
last = curves[curves["round"] == rounds]
print(last.groupby("statistics")[["balanced_accuracy", "auc"]].mean().round(3).to_string())

# %% [markdown]
# c. East is the reason. Nearly all of its patients are ill, so its mean *is* illness. Subtract it, and a typical ill patient looks like 0, as a typical well one does in
# North. The two teach the model opposite things. Federated statistics give everybody the same ruler. Without any, steps jump about in the largest columns.
#
# It is not free: sums and squares leave each hospital. What they tell, you will see at the end.

# %% [markdown]
# ## Is it worth it?
#
# A federation is worth it where it beats what each hospital can do alone: the same model, the same number of passes, its own patients only, standardised by its own
# numbers. The other end is pooled: all patients in one place, which is what nobody may do. All six models are judged on the same patients, of all hospitals together, and all of it is
# repeated with other patients held out.
#
# > **Predict.** One of the four does clearly worst alone. Which?
# >
# > * a) West, with its two dozen patients
# > * b) East, with more than a hundred patients, of whom nearly all are ill
# > * c) North, with about two hundred patients, of whom few are ill

# %%
scores = []
for number in tqdm(range(splits), leave=False):
    shards_now, test_now = split(number)
    every = [torch.cat(part) for part in zip(*shards_now.values(), strict=True)]
    groups = {f"{who.split('@')[0]} alone": {who: own} for who, own in shards_now.items()}
    groups |= {"federated": shards_now, "pooled": {"all@example.org": tuple(every)}}
    for name, group in groups.items():
        found = {m: values[-1] for m, values in train(group, test_now).metrics.items()}
        scores.append({"model": name, "split": number, **found})
scores = pd.DataFrame(scores)

# %%
mean = scores.groupby("model", sort=False)[["balanced_accuracy", "auc"]].mean()
figure = fk.plots.participant_bars(
    mean["balanced_accuracy"].to_dict(),
    ylabel="balanced accuracy, mean over splits",
    highlight=["federated"],
    title=fk.caption("14 alone"),
)
fk.show(figure, fk.alt("14 alone"))

# %%
spread = scores.groupby("model", sort=False)["balanced_accuracy"].agg(["min", "max"])
print(mean.join(spread).round(3).to_string())

# %% [markdown]
# b. Not the smallest one, but the most lopsided. Look at East's AUC: it *ranks* patients nearly as well as anybody. Where it draws the line is wrong, because it has
# seen hardly anybody who is well, and so it calls many ill who are not. Others' patients move the line. West, with a tenth of North's patients, stays
# much closer: 30 weights are learned quickly.
#
# Look at `min` and `max`, too: South's best split is above the federation's worst. With a single split, or with other
# patients dealt to South, you might say that South needs nobody.

# %% [markdown]
# ## What does privacy cost, and whom?
#
# Now each hospital promises every patient differential privacy, as in notebook 09: unit `"example"`, the gradient of each patient clipped, noise in each step. Nobody has to be
# trusted with that. Start with what is refused: the federated statistics, whose sums you have seen leave the hospitals.

# %%
promise = {"unit": "example", "epsilon": 1.0, "delta": 1e-3, "clip": 1.0}
try:
    config.replace(dp=promise)
except fk.FedkitError as error:
    print(error)

# %% [markdown]
# One patient with a huge value would move those sums, and no noise covers them. What is allowed are **public constants**: numbers that you could have written down before
# you saw any of the patients that you promise to protect. Yours come from a textbook or another study. Rough ones will do. Here they are rounded
# from this table's own published description: fine for an exercise, and not fine for a promise.

# %%
rough = {
    "mean": "14 19 92 650 0.1 0.1 0.09 0.05 0.18 0.06 0.4 1.2 2.9 40 0.007 "
    "0.025 0.03 0.012 0.02 0.004 16 26 107 880 0.13 0.25 0.27 0.11 0.29 0.08",
    "std": "3.5 4.3 24 350 0.014 0.05 0.08 0.04 0.027 0.007 0.28 0.55 2 45 0.003 "
    "0.018 0.03 0.006 0.008 0.003 4.8 6 34 570 0.023 0.16 0.2 0.07 0.06 0.018",
}

# %%
public = {name: [float(number) for number in text.split()] for name, text in rough.items()}
short = {"rounds": 10, "epoch": 1, "batch_size": 32, "learning_rate": 0.5}
promised = config.replace(**short, dp=promise, task=task | {"standardise": public})

# %%
for email, (_, labels) in shards.items():
    does = privacy.example_mechanism(promised, len(labels))
    drawn = does.sampling_rate * len(labels)  # patients of a step, on average
    print(f"{email}: {len(labels)} patients, {does.steps} steps with {drawn:.0f} of them each,")
    print(
        f"    σ = {does.noise_multiplier:.1f}, on the mean gradient {does.noise_multiplier / drawn:.2f}"
    )

# %% [markdown]
# The same epsilon for all, and very different noise. West has all its patients in every step, so nobody can hide by not being drawn, and σ is larger. And what a step sums up are
# as many gradients as in North, or fewer.
#
# > **Predict.** All promise an epsilon from 4 down to 0.25. West trains alone, North trains alone, all four train together. Where does the noise hurt?
# >
# > * a) everywhere alike: epsilon is epsilon
# > * b) most for West alone, less for North alone, least for all together
# > * c) together is worst, since four noises add up

# %%
cost = []
for number in tqdm(range(splits), leave=False):
    shards_now, test_now = split(number)
    groups = {"all together": shards_now}
    for name in ("north", "west"):
        email = f"{name}@example.org"
        groups[f"{name} alone"] = {email: shards_now[email]}
    for epsilon in epsilons:
        for name, group in groups.items():
            dp = promise | {"epsilon": epsilon}
            draws = short | {"dp": dp, "seed": 100 * seed + number}  # other noise, too
            scored = train(group, test_now, public, **draws).to_frame().tail(1)
            cost.append(scored.assign(model=name, epsilon=epsilon, seed=number))
cost = pd.concat(cost)

# %%
title = fk.caption("14 promises")
figure = fk.plots.small_multiples(
    cost, x="epsilon", y="balanced_accuracy", lines="model", log_x=True, title=title
)
fk.show(
    figure,
    fk.alt("14 promises"),
)

# %% [markdown]
# b. Alone and at a small epsilon, what West's model is worth is up to luck: another draw of noise, another model. North has ten times the patients to average over. And together?
# The noises are independent, so they cancel in part. West's patients are as well protected as before, and West has a model that works.
#
# What this does not stop: epsilon covers a patient's row in the training, and nothing else. How few patients West has, that its updates are noisier than others', and what
# you told a colleague about them, it does not hide.

# %% [markdown]
# ## Which settings are good?
#
# You have guessed the learning rate so far. A sweep, as in notebook 11, takes a data folder under the key `data`: its `task.json` says how samples are standardised, and its
# hospitals are the participants. Three optimisers, three learning rates and three seeds are 27 runs. In a shell, the same spec as a YAML file goes to `fedkit sweep`.
#
# > **Predict.** Each optimiser at its own best learning rate: which reaches the highest balanced accuracy on the test patients?
# >
# > * a) Adam, since it gives each weight a step size of its own
# > * b) SGD with momentum
# > * c) they differ by a few patients at most, which this test set can't tell from luck

# %%
spec = {
    "run": "simulate",
    "data": str(folder),
    "fixed": {"model": str(root / "model.py"), "rounds": 10, "epoch": 2, "batch_size": 16},
    "grid": {
        "optimizer": ["sgd", {"name": "sgd", "momentum": 0.9}, "adam"],
        "learning_rate": [0.01, 0.1, 1.0],
    },
    "seeds": seeds,
}
frame = fk.sweep(spec, root / "sweep", jobs=jobs, progress=True)

# %%
title = fk.caption("14 optimizers")
figure = fk.plots.small_multiples(
    frame, x="learning_rate", y="loss", lines="optimizer", log_x=True, log_y=True, title=title
)
fk.show(
    figure,
    fk.alt("14 optimizers"),
)

# %%
each = frame.groupby(["optimizer", "learning_rate"])[["balanced_accuracy", "auc", "loss"]].mean()
best = each.loc[each.groupby("optimizer")["loss"].idxmin()]
print(best.round(3).to_string())
print(f"one patient of {len(test[1])} is {1 / len(test[1]):.3f}")

# %% [markdown]
# c. In the loss you see which rates suit: the more an optimiser does by itself, the smaller the rate it wants. In balanced accuracy the three are within a few patients. Choose by the loss,
# and say that you chose on the test set; or keep patients back for choosing, with `validation` in the config.
#
# The seeds here change first weights and shuffles. The patients held out are the same in all 27 runs, so the narrow bands tell you nothing of *that* luck.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# Now for real, with a folder for each hospital: what was imported goes to whom it belongs, and the project is launched with the task in its config.

# %%
hospitals = fk.read_data_folder(folder)
place = root / "network"
shutil.rmtree(place, ignore_errors=True)  # so that this cell can run twice
network = fk.Network.create(
    place, aggregator=config.aggregator, participants=hospitals.participants
)
for email, shard in hospitals.shards.items():
    network.give_data(email, shard, hospitals.task)
network.give_test(*hospitals.test)

# %%
five = config.replace(rounds=5)
network.launch(five, MODEL)
on_disk = network.run(approve=fk.approve_all)
in_memory = fk.simulate(five, hospitals.shards, hospitals.test, model=MODEL, exact=True)
print("the same bits as in memory:", on_disk.rounds == in_memory.rounds)

# %%
fk.show(
    fk.plots.metric_by_round(on_disk, "balanced_accuracy"),
    "Balanced accuracy of the global model after each of five rounds between datasites",
)
figure = fk.plots.what_crossed(network.ledger(), aggregator=config.aggregator, one="row")
fk.show(figure, "Five small updates from each of four hospitals, and no patient's row")

# %% [markdown]
# Five updates of 31 numbers each. And before the launch, whoever added up the statistics saw each hospital's part: 61 numbers. Take one of them, the mean of the column *worst radius*.
# For such tumours it is known to be about 13.4 if benign and 21.1 if malignant. So a hospital's mean tells how many of its patients are ill:

# %%
benign, malignant = 13.4, 21.1  # published means of the column
column = list(table.columns).index("worst radius")
guesses = {}
for (email, (_, labels)), part in zip(shards.items(), parts, strict=True):
    guesses[email] = (part.sums[column] / part.n - benign) / (malignant - benign)
    print(f"{email}: guessed {guesses[email]:.0%} malignant, in truth {float(labels.mean()):.0%}")

# %% [markdown]
# No patient's row has crossed. What each hospital treats has, by one division. Secure aggregation (notebook 10) would give the sums of all and nobody's own.
#
# **What this can't show.** 569 patients are few: a patient more or less moves the third digit. They come from one place, dealt out to hospitals that never were, so no scanner differs and no doctor
# decides otherwise. The test set is drawn from all four, which in the world somebody would have to agree on first. **Federated learning by itself is not privacy**: without
# the section on epsilon, everything of notebook 08 holds for your patients too.

# %%
fk.record(
    federated=round(float(mean.loc["federated", "balanced_accuracy"]), 4),
    pooled=round(float(mean.loc["pooled", "balanced_accuracy"]), 4),
    best_alone=round(float(mean.drop(["federated", "pooled"])["balanced_accuracy"].max()), 4),
    worst_alone=round(float(mean["balanced_accuracy"].min()), 4),
    auc=round(float(mean.loc["federated", "auc"]), 4),
)

# %% [markdown]
# ## Recap
#
# * A CSV with a column for the owner becomes a data folder: shards, a test set, and a task that says shape, loss and metrics.
# * Counts, sums and squares give everybody the same ruler. Own statistics turn a hospital's mixture into an offset; without any, large columns drown the rest. They do tell what a hospital treats.
# * The lopsided hospital gains most, and balanced accuracy shows it where AUC does not; repeated splits say how much of it is luck.
# * The same epsilon takes more noise where fewer patients hide each other; together it costs little. A sweep with `data` compares settings, on one split.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("14")

# %% [markdown]
# ## Readings
#
# * Street, Wolberg and Mangasarian (1993), [Nuclear feature extraction for breast tumor diagnosis](https://doi.org/10.1117/12.148698): where the table comes from.
# * Rieke et al. (2020), [The future of digital health with federated learning](https://www.nature.com/articles/s41746-020-00323-1): what hospitals hope for, and what stands in the way.
# * Ogier du Terrail et al. (2022), [FLamby](https://arxiv.org/abs/2210.04620): real tables and images of real hospitals, each with its own mixture.

# %% [markdown]
# ## Next
#
# You have come to the end of the course. The same files cross between real machines: the repository's README says how, under *Your own data, your own machines*. Your data folder goes to `fedkit run --data`.
