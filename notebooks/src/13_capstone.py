# ---
# jupyter:
#   fedkit:
#     budget_s: 120
#     needs: notebooks 05, 07 and 09; notebook 14 shows how such a table gets in
#     learn:
#       - how a threat model turns into settings, one adversary at a time
#       - what a budget in rounds and bytes leaves to choose
#       - how a design is tried on patients, attacks and failures that its designer has not seen
#       - what a model card and a privacy card say, and what no record can say for you
# ---

# %% [markdown]
# # Capstone
#
# You will be able to design a federation under a threat model and a budget, to have it tried by somebody else's checks, and to write down what it is and what it is not.

# %%
import pandas as pd

import fedkit as fk
from fedkit import privacy
from fedkit.teaching.check.lesson_13 import (
    BRIEF,
    MODEL,
    configured,
    hospitals,
    models_cost,
    trained,
)

# %% tags=["parameters"]
seed: int = 0  # which patients are whose, who is held out, every shuffle

# %% [markdown]
# ## What is asked of you?
#
# Eight hospitals want a model that tells malignant tumours from benign ones. The patients are the 569 of scikit-learn's breast cancer table; the hospitals are made
# up. The model is a logistic regression: 30 weights and a bias. All columns are brought to one size by constants that anybody can look up, so nothing has to leave for that.
#
# **Aggregator.** Ana averages. She is honest, and curious: she keeps all that she gets and may look at it for years.
#
# **North, participant**, and seven others. One of the eight may be hostile, and nobody knows which. One may go away, and never come back.

# %%
for key, value in BRIEF.items():
    print(f"{key:>9}: {value:,}")

# %%
shards, test = hospitals(seed)
figure = fk.plots.label_bars(
    {email.split("@")[0]: labels for email, (_, labels) in shards.items()},
    classes=["benign", "malignant"],
    title="Eight hospitals: what each trains on",
)
sizes = [len(labels) for _, labels in shards.values()]
few, most = min(sizes), max(sizes)
fk.show(figure, f"Eight bars of {few} to {most} patients, each with benign and malignant ones")

# %% [markdown]
# `rounds` and `bytes` are the most that may be spent; bytes count the models sent and the updates returned. `epsilon` at `delta` is the most that may be promised away, for each patient,
# against Ana. `accuracy` is the **balanced accuracy** (the mean of two shares, of the ill who are found and of the well who are let go) that has to be reached on held-out patients, whoever they are; `attacked` is the same with one hostile hospital, or with one gone.
#
# Here is a first design that knows nothing of all this.

# %%
naive = {"rounds": 15, "epoch": 2, "batch_size": 16, "learning_rate": 0.1}
config = configured(naive, seed=seed)
print(f"{models_cost(config):,} bytes of models")
quiet = trained(config, seed)

# %% [markdown]
# > **Predict.** Its balanced accuracy is above 0.9. Now one of the eight, North, sends ten times its change in the other direction. Where does it end?
# >
# > * a) a little lower: seven of eight are honest
# > * b) at 0.5, as if it had been guessing
# > * c) far below 0.5: worse than a coin

# %%
hostile = fk.poisoned(["north@example.org"], "scaled", -10.0)
loud = trained(config, seed, hostile)
curves = {"nobody hostile": quiet, "North hostile": loud}
rows = [
    record.assign(seed=seed, who=who)
    for who, history in curves.items()
    for record in [history.to_frame().reset_index()]
]
figure = fk.plots.small_multiples(
    pd.concat(rows),
    y="balanced_accuracy",
    lines="who",
    title=fk.caption("13 mean"),
)
fk.show(figure, fk.alt("13 mean"))

# %% [markdown]
# c. A mean goes wherever one of its terms pulls it, and a model that is wrong on purpose is worse than none.

# %% [markdown]
# ## What may it cost?
#
# Every round, each hospital that takes part gets a model and sends one back. A file of 31 numbers has 1,893 bytes; most of it is the file and not the numbers. A real model has millions, and then
# this line of the budget is the one that hurts. You may save rounds, or ask fewer hospitals in each round. Remember that whoever is asked less often also learns more slowly, and that
# a rule which looks for the middle wants many to look at.

# %% [markdown]
# **Exercise.** `training` holds `rounds`, `epoch`, `batch_size` and `learning_rate`; `participants_per_round` if you want fewer than eight. You can come back and change it when a later check tells you
# that it does not do.

# %% tags=["exercise", "design"]
training = {
    # solution begin
    "rounds": 10,
    "epoch": 1,
    "batch_size": 32,
    "learning_rate": 0.5,
    # solution end
}
fk.check.design_budget(training)

# %% [markdown]
# ## Who may know what of a patient?
#
# Ana sees every update of every hospital. So a promise to a patient has to hold before the update leaves: noise that Ana adds to her mean comes too late, because she has seen what it was added to.
# The unit is a patient, `"example"`: each gradient is clipped, and each hospital adds noise of its own in each step.
#
# > **Predict.** All eight promise the same epsilon. Who needs the most noise for it?
# >
# > * a) North, since it has the most patients to protect
# > * b) Valley, since it has the fewest for each of them to hide among
# > * c) all the same: epsilon is epsilon

# %%
example = {"unit": "example", "epsilon": 1.0, "delta": 1e-3, "clip": 1.0}
look = configured(naive, {"dp": example}, seed=seed)
for email in ("north@example.org", "valley@example.org"):
    patients = len(shards[email][1])
    does = privacy.example_mechanism(look, patients)
    drawn = does.sampling_rate * patients
    print(
        f"{email}: {patients} patients, noise {does.noise_multiplier / drawn:.2f} on the mean gradient"
    )

# %% [markdown]
# b. In Valley a patient is in a step more often, so each step gives more away. And all of it is spent sooner by whoever takes more steps: rounds, epochs and batches are not only a matter of
# bytes.
#
# **Exercise.** `promise` is what stands under `dp` in the config: `unit`, `epsilon`, `delta` and `clip`.

# %% tags=["exercise", "design"]
promise = {
    # solution begin
    "unit": "example",
    "epsilon": 2.0,
    "delta": 1e-3,
    "clip": 1.0,
    # solution end
}
fk.check.design_promise(training, promise)

# %% [markdown]
# ## Who may lie?
#
# One hospital, any of the eight. It may send whatever it likes: a huge change, a small one the wrong way, or an honest training on labels that lie. You can refuse what is too large
# (`max_update_norm`), or average in a way that a single one can't carry off (`strategy`, notebook 07). Your noise helps and hurts: honest updates now differ from each other by chance, so a liar is harder to
# tell from them.

# %% [markdown]
# **Exercise.** `rule` holds what decides how updates become a model, such as `"strategy": {"name": "..."}`. The check runs three attacks on three seeds that are not yours.

# %% tags=["exercise", "design"]
rule = {
    # solution begin
    "strategy": {"name": "median"},
    # solution end
}
fk.check.design_under_attack(training, promise, rule)

# %% [markdown]
# ## Who may be missing?
#
# A round waits for as many updates as the config says; without a word of yours, for all. Ask for too few, and a round ends before the honest majority is heard. The check lets a hospital go away after
# round 1 in a real network of folders, and then trains without the largest of all.

# %% [markdown]
# **Exercise.** `patience` holds the quorum, `min_participants`.

# %% tags=["exercise", "design"]
patience = {
    # solution begin
    "min_participants": 7,
    # solution end
}
fk.check.design_with_failures(training, promise, rule, patience)

# %% [markdown]
# ## Does it hold for other patients?
#
# You have looked at numbers while you designed, and every look is a choice made on these patients. So the last word has somebody else: three seeds, other patients dealt to each hospital and others held
# out. A design that passes by a hair on one seed fails on the next; leave a margin.

# %% tags=["exercise", "design"]
fk.check.design_held_out(
    # solution begin
    training,
    promise,
    rule,
    patience,
    # solution end
)

# %% [markdown]
# Now for real: eight folders, your design, and files that cross. (As long as some part of it is open, the cell takes a design that keeps the promise and no more.)

# %%
parts = [training, {"dp": promise}, rule, patience]
try:
    design = configured(*parts, seed=seed)
except (fk.FedkitError, TypeError, ValueError):
    design = configured({**naive, "rounds": 4}, {"dp": {**example, "epsilon": 2.0}}, seed=seed)
place = fk.workspace("13")
network = fk.Network.create(place, aggregator=design.aggregator, participants=list(shards))
for email, shard in shards.items():
    network.give_data(email, shard, design.task)
network.give_test(*test, design.test_dataset)
network.launch(design, MODEL)
history = network.run(approve=fk.approve_all)

# %%
figure = fk.plots.metric_by_round(history, "balanced_accuracy")
fk.show(figure, "Balanced accuracy of the global model after each round between eight folders")

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# Ana's ledger, hospital by hospital. No patient's row is in it: what crossed is listed by kind in the privacy card below.

# %%
figure = fk.plots.bytes_by_participant(network.ledger(), aggregator=design.aggregator)
fk.show(figure, "Two bars for each of eight hospitals: bytes sent to Ana, and received from her")

# %% [markdown]
# A run ends with two cards. The **model card** (Mitchell and others, 2019) says what the model is, what it was measured on, and what it is not for. The **privacy card** says who could learn what.
# fedkit writes both from records: config, history, ledger, accountant. Each line says which. What no record can know it leaves open. You write that.

# %%
words = {
    "Intended use": "An exercise. Not for patients.",
    "Caveats and recommendations": "The hospitals are made up; all patients come from one place.",
}
card = fk.model_card(network, words=words)
card.save(place / "model_card.md")
card

# %%
report = fk.privacy_report(network)
shield = fk.privacy_card(report)
shield.save(place / "privacy_card.md")
shield

# %% [markdown]
# Read the line under *The promise* to its end. The noise of this run comes from the seed, so that you get the same numbers twice. Whoever has read the config can take it off again: it was a rehearsal. With
# `"secure_noise": True` in `promise` the noise comes from the system, and then the promise is one.
#
# **What this can't show.** A hostile hospital that knows your rule, two of them together, a patient who is treated in two hospitals, or what these numbers are worth for people who are not in the
# table. **Federated learning by itself is not privacy**; neither is an epsilon, without the words beside it.

# %%
fk.record(
    rounds=design.rounds,
    bytes=models_cost(design),
    balanced_accuracy=round(history.metrics["balanced_accuracy"][-1], 4),
)

# %% [markdown]
# ## Recap
#
# * Each adversary of a threat model has a setting of its own: noise before the update leaves, a rule that looks for the middle, a quorum below all.
# * Rounds, participants a round, batches and epochs cost bytes and epsilon at once; more of one is less of another.
# * What was tuned on some patients is tried on others, with attacks and failures that the designer did not choose.
# * The cards say what records know, line by line, and leave open what only a person can answer for.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("13")

# %% [markdown]
# ## Readings
#
# * Mitchell et al. (2019), [Model Cards for Model Reporting](https://arxiv.org/abs/1810.03993): the sections of the card, and why each is there.
# * Kairouz et al. (2021), [Advances and Open Problems in Federated Learning](https://arxiv.org/abs/1912.04977): section 5 lists adversaries and what they can do.
# * Yin et al. (2018), [Byzantine-Robust Distributed Learning](https://arxiv.org/abs/1803.01498): what a coordinate's median costs and bears.

# %% [markdown]
# ## Next
#
# The patients came out of a box. In [14 Your own data](14_your_own_data.ipynb) you bring a table of your own.
