# ---
# jupyter:
#   fedkit:
#     budget_s: 90
#     needs: notebooks 04 and 08
#     learn:
#       - what clipping and noise do, by hand and by Opacus
#       - what epsilon counts, and who calculates it
#       - what privacy costs in accuracy by whom you trust, and what it stops
#       - how to find out that a promise is broken
#     short_path: []
# ---

# %% [markdown]
# # Differential privacy
#
# You will be able to add noise that is worth something, say how much it is worth and against whom, and audit somebody who says the same.

# %%
import torch

import fedkit as fk
from fedkit import privacy
from fedkit.privacy import Mechanism, SeededNoise, epsilon_of, noise_for
from fedkit.teaching.widgets.noise_dial import NoiseDial

# %% tags=["parameters"]
epsilons: list = [1.0, 2.0, 4.0, 8.0, 64.0]  # what the sweep promises, point by point
rounds: int = 4  # how often everybody trains
images_each: int = 100  # images of each participant
people_count: int = 20  # participants of the sweep
seed: int = 0  # every shuffle, and every noise, derives from it
interactive: bool = True  # a dial to turn; without, all its pictures, as in a batch run

# %% [markdown]
# ## What does noise do to a picture?
#
# Twenty participants hold 100 digits each. The model is the smallest there is: one layer from 784 pixels to ten digits. Notebook 08 showed what a single
# image leaves in a gradient: in the first layer, each row is the image times a number, and the bias is that number. One division, and the image is back.
#
# Now the participant adds Gaussian noise to the gradient before it goes out. First it cuts the gradient to length 1, so that you know what the noise is
# large against. The **noise multiplier** σ is the noise's standard deviation, divided by that length.

# %%
SMALL = """
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, images):
        return self.fc(images.flatten(1))
"""
model, start = fk.load_model(SMALL), fk.seed_weights(SMALL, seed)

# %%
mnist = fk.load_mnist()
order = torch.randperm(len(mnist.train_labels), generator=fk.generator(seed, "digits"))
parts = order[: (people_count + 1) * images_each].split(images_each)
*shards, strangers = fk.take(mnist.train_images, mnist.train_labels, parts)
people = fk.numbered_participants(people_count)
test = fk.as_float(mnist.test_images), mnist.test_labels


# %%
def one_step(shard, sigma):
    """One step of training with clip 1 and noise, as a participant does it."""
    chance = {"noise": SeededNoise(seed, "noise"), "sample": SeededNoise(seed, "sample")}
    once = {"epochs": 1, "steps": 1, "learning_rate": 1.0, "clip": 1.0}
    after, _ = privacy.dp_sgd(model, start, shard, noise_multiplier=sigma, **once, **chance)
    return after


# %% [markdown]
# > **Predict.** The gradient has length 1, spread over 7,850 numbers. How much noise on each number makes the digit unreadable?
# >
# > * a) σ = 0.01
# > * b) σ = 0.1
# > * c) σ = 1

# %%
image = tuple(part[:1] for part in shards[0])
rebuilt = {}
for sigma in (1e-6, 0.003, 0.01, 0.03, 0.1, 0.3):
    after = one_step(image, sigma)
    weight, bias = (after[name] - start[name] for name in ("fc.weight", "fc.bias"))
    rebuilt[f"σ = {sigma:g}"] = privacy.invert_linear(weight, bias)
NoiseDial(rebuilt, interactive=interactive)

# %% [markdown]
# b. At 0.1, dirt is all that is left. So is 0.1 enough? For this attack, yes. But "this attack fails" is not a promise: the next one may be better, or look at
# a thousand updates. What you want is a bound on *every* attack. That is what the rest of this notebook is about, and it will ask for thirty times as much noise.

# %% [markdown]
# ## How much can one participant change?
#
# Noise hides a change if it is large against it. So you first need a bound on the change. For a whole **participant**, that is the length of its update: whoever
# sends a hundred times as much is heard a hundred times as loud. **Clipping** cuts every update to a length C at most, and leaves the shorter ones as they are.
#
# **Exercise.** Cut each row of `changes` to the norm `clip`: multiply it by min(1, clip / norm).


# %% tags=["exercise", "defines:fk.privacy.clip_rows"]
def clip_rows(changes, clip):
    """Each row of [K, D], cut to norm `clip`."""
    norms = changes.norm(dim=1, keepdim=True)
    return changes * torch.clamp(clip / norms, max=1)  # solution


fk.check.clip_rows(clip_rows)

# %% [markdown]
# **Exercise.** Now the aggregator's step: sum up what was clipped, add Gaussian noise with standard deviation σC to the sum, divide. `noise.normal(shape, std)`
# draws the noise. Divide by the *expected* number of participants, a constant: a head count would itself tell who is there.


# %% tags=["exercise", "defines:fk.privacy.noisy_mean"]
def noisy_mean(changes, clip, noise_multiplier, expected, noise):
    """The mean of clipped rows, with noise for one row more or less."""
    total = clip_rows(changes, clip).sum(dim=0)
    total = total + noise.normal(total.shape, noise_multiplier * clip)  # solution
    return total / expected


fk.check.noisy_mean(noisy_mean)

# %% [markdown]
# Try it on real updates. The first participant shouts: its change is multiplied by 100.

# %%
changes = []
for email, shard in zip(people, shards, strict=True):
    draw = fk.generator(seed, email, 1)
    settings = {"epochs": 2, "learning_rate": 0.1, "batch_size": 10, "generator": draw}
    trained, _ = fk.train(model, start, shard, **settings)
    changes.append(fk.flatten(trained).double() - fk.flatten(start).double())
changes = torch.stack(changes)
changes[0] *= 100
print("norms:", ", ".join(f"{norm:.1f}" for norm in changes.norm(dim=1)[:5]), "...")

# %%
quiet, clip = SeededNoise(seed, "mean"), float(changes.norm(dim=1).median())
for name, rows in (("as it is", changes), ("clipped", privacy.clip_rows(changes, clip))):
    without = rows[1:].sum(dim=0)
    print(f"{name}: the first moves the sum by {float((rows.sum(dim=0) - without).norm()):.1f}")
noise_on_it = privacy.noisy_mean(changes, clip, 1.0, people_count, quiet) * people_count
print(f"noise with σ = 1, on every one of the {changes.shape[1]:,} numbers: {clip:.1f}")

# %% [markdown]
# After clipping, the first participant moves the sum by C at most. The noise is as large as that on *every* number, and so the sum with this participant and the
# sum without look nearly alike. The useful part is covered too. So it pays where many take part: the noise on the mean is σC divided by their number.

# %% [markdown]
# ## What does epsilon count?
#
# Take all that an attacker may see: an update, ten models, anything. **Differential privacy** compares how likely that is with your image in the data and without.
# If whatever may come out has at most $e^\varepsilon$ times the probability, plus δ, then nobody can tell well whether you were there, with any
# attack, ever. Small epsilon: little can be told. The unit may be one image, or one participant and all its images.
#
# **Accountants** calculate epsilon from σ, from the number of steps, and from the share of the data in each step. Never write your own. Here are two libraries' four.
# The last line asks for other **neighbours**, of which more below.

# %%
delta, steps = 1e-4, 2 * rounds
mechanism = Mechanism(sampling_rate=1.0, noise_multiplier=2.7, steps=steps)
for name in ("PLD", "RDP", "Opacus PRV", "Opacus RDP"):
    print(f"{name:10}  epsilon {epsilon_of(mechanism, delta, name):.3f}")
replaced = epsilon_of(mechanism, delta, neighbours="replace-one")
print(f"PLD         epsilon {replaced:.3f} for replace-one")

# %% [markdown]
# δ is an allowance, added to every such probability, and *not* the chance that the promise fails: here, Gaussian noise goes beyond $e^\varepsilon$ more than four times as often as δ says, but
# by little. At worst, δ allows that somebody's image is published with that probability; so it has to be far below 1 / (number of images).
#
# RDP is quick and gives a little too much. PLD (Google's dp-accounting) and PRV (Opacus) come from different people by different ways, and agree to the second decimal.
#
# And what is "without your image"? Here, one that contributes nothing stands in its place (*zero-out*), so how many there are is public. Where your image may be
# *replaced* by any other (*replace-one*), the sum moves by 2C, and the same noise has an epsilon of more than twice as much. A number without its neighbours says little; where fedkit
# names none, it means zero-out.
#
# > **Predict.** Eight steps cost an epsilon of about 4. What do 32 steps cost, with the same noise?
# >
# > * a) about 4: privacy is there or not
# > * b) more than twice as much
# > * c) exactly 16: budgets add up

# %%
for many in (1, 8, 32, 128):
    spent = epsilon_of(Mechanism(1.0, 2.7, many), delta)
    sampled = epsilon_of(Mechanism(0.1, 2.7, many), delta)
    print(f"{many:3} steps: all images in each {spent:6.2f}, a tenth of them {sampled:5.2f}")

# %% [markdown]
# b. Every step tells a little more, and the sum grows faster than the root and slower than the number of steps. Steps that use a random tenth of the images
# cost far less at the same σ: usually, yours is not among them. But on a mean of a tenth of the images, the same noise is ten times as large.
# At *equal noise on the mean*, σ = 0.27, eight such steps cost not 4 but 34. And 80 of them, steps a tenth as long and σ = 0.85, add the same noise in all as your eight, and cost 7.4. So sampling saves computing;
# it makes no privacy. That it costs no more than this holds only if each image is drawn on its own (**Poisson sampling**), which is how fedkit draws them. To take batches of a fixed size from shuffled images, and an
# accountant for Poisson sampling, has been refuted: the true epsilon can be several times as large (Chua et al., 2024).
#
# And it holds against nobody who *sees* the sample. Which images are in a step stays on the participant's machine. Which *participants* are asked in a round is a list that goes
# to all of them. So where fedkit promises an epsilon for participants, it calculates as if all took part in every round (q = 1).
#
# `noise_for` goes the other way: from a promise to the noise.

# %%
for epsilon in (1.0, 4.0, 16.0):
    print(f"epsilon {epsilon:4}: σ = {noise_for(epsilon, delta, steps=steps):.2f}")

# %% [markdown]
# ## What does it cost, and what does it stop?
#
# In `fl_config.json`, the promise is one key. With unit `"example"`, each participant clips the gradient of every single image and adds the noise itself, before
# anything leaves: nobody has to be trusted. (Opacus does that: **DP-SGD**.) A promise that means nothing is refused, with the reason.

# %%
config = fk.FLConfig(
    project_name="NOISE",
    aggregator="aggregator@example.org",
    participants=people,
    rounds=rounds,
    epoch=2,
    batch_size=images_each,
    learning_rate=2.0,
    seed=seed,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
)

# %%
try:
    config.replace(dp={"unit": "example", "epsilon": 4.0, "delta": 1e-4, "clip": 0.0})
except fk.FedkitError as error:
    print(error)

# %% [markdown]
# Against it stands an attacker who knows nearly everything, as in the definition. It has 200 images, half of them the participant's, and wants to know which half. It calculates
# the gradient of each, and asks which sum of gradients explains the update best: least squares. Its success is an AUC (notebook 08): how often one of the participant's
# images scores above a stranger's. 1 is certainty, 0.5 is guessing.


# %%
def scores_of(before, after, shard, sigma):
    """How much of each candidate's gradient is in an update: members, strangers."""
    both = tuple(torch.cat(pair) for pair in zip(shard, strangers, strict=True))
    noise = sigma / 2**0.5  # two steps a round
    found = privacy.gradient_coefficients(model, before, after, both, clip=1.0, noise=noise)
    return found[: len(shard[1])], found[len(shard[1]) :]


# %%
def promise_and_attack(epsilon):
    """Run all rounds under a promise: accuracy, and the mean AUC against three participants."""
    dp = {"unit": "example", "epsilon": epsilon, "delta": delta, "clip": 1.0}
    promised = config.replace(dp=dp)
    sigma = privacy.example_mechanism(promised, images_each).noise_multiplier
    sums = torch.zeros(3, 2, images_each, dtype=torch.float64)

    def look(before, updates):
        for k in range(3):
            sums[k] += torch.stack(scores_of(before, updates[k].state, shards[k], sigma))
        return updates

    history = fk.simulate(promised, shards, test, model=SMALL, on_the_way=look)
    found = sum(privacy.auc(inside, outside) for inside, outside in sums) / 3
    return history.accuracies[-1], found


# %% [markdown]
# > **Predict.** As epsilon goes down from 64 to 1, what gives way first?
# >
# > * a) the accuracy
# > * b) the attack
# > * c) both at once

# %%
plain = fk.simulate(config.replace(learning_rate=0.1, batch_size=10), shards, test, model=SMALL)
accuracies, attacks = zip(*map(promise_and_attack, epsilons), strict=True)
figure = fk.plots.privacy_tradeoff(epsilons, accuracies, attacks, plain=plain.accuracies[-1])
fk.show(figure, fk.alt("09 three curves"))

# %% [markdown]
# b. At 64 the attacker is nearly always right. By 4 it has lost half of its edge over guessing, or more, and the accuracy has hardly moved. Below 2, the noise
# eats the model. And there is a gap to the dashed line that no point closes: clipping, few steps and no small batches cost accuracy before any noise does.
#
# Epsilon says what no attacker can do, and this one does not reach the bound. So the curve is no licence to promise 8: somebody may know better.
#
# **Exercise.** The promise is epsilon 4 (zero-out neighbours) at δ = 1e-4, in 8 steps with all images. The accuracy must stay above 60%, and in this experiment it does up to
# σ = 4. Which noise multiplier do you take?

# %% tags=["exercise"]
fk.check.noise_under_a_floor(
    noise_for(4.0, 1e-4, sampling_rate=1.0, steps=8)  # solution
)

# %% [markdown]
# ## Does the noise do what it says?
#
# A promise is about code, and code has bugs. Suppose somebody's noise is multiplied by zero. The model trains, only better; nothing looks wrong. An **audit** finds out.
# Take 200 *canaries*: images with a single bright pixel, where no digit has ink. Toss a coin for each, put it in or leave it out, train once, and let an
# auditor guess the coins from the result. Whoever keeps epsilon can't be guessed better than a certain rate; so many right guesses refute the epsilons below.

# %%
claim = 2.0
canaries = privacy.pixel_canaries(shards[0][0], 200)
shown = {"a digit": shards[0][0][0]} | {f"canary {k}": canaries[0][k] for k in (0, 60, 120, 199)}
figure = fk.plots.digit_row(shown, title="A canary is one bright pixel where no digit has ink")
fk.show(figure, "A digit, and four canaries: each is empty but for one bright pixel")


# %%
def audit(noise):
    """One training with canaries under the claim, and what the auditor finds."""
    sigma = noise_for(claim, 1e-5, steps=5)
    settings = {"epochs": 5, "steps": 1, "learning_rate": 0.5, "clip": 1.0}
    chance = {"noise": noise, "sample": SeededNoise(seed, "audit")}

    def train(shard):
        return privacy.dp_sgd(model, start, shard, noise_multiplier=sigma, **settings, **chance)[0]

    coins = fk.generator(seed, "coins")
    return privacy.audit_training(
        train, model, start, shards[0], canaries, generator=coins, delta=1e-5
    )


# %%
class Forgotten:
    """Somebody's noise, with a bug."""

    def normal(self, shape, std):
        return 0.0 * torch.randn(shape) * std


# %% [markdown]
# > **Predict.** Both claim epsilon 2. What does the audit say of the one without noise?
# >
# > * a) epsilon is infinite
# > * b) epsilon is at least some number above 2
# > * c) nothing, since the accuracy is fine

# %%
print("with noise:   ", honest := audit(SeededNoise(seed, "audited")))
print("without noise:", broken := audit(Forgotten()))

# %% [markdown]
# b. One training with 200 canaries refutes the claim. It can't say "infinite": each line ends with the audit's *ceiling*, the most that so many guesses could show. Here it is below 4, so a claim
# of 4 would pass with no noise at all. And where an audit finds nothing, it has shown nothing. `fk.privacy.audit_dp_sgd` and `fk.privacy.audit_strategy` look harder: at canaries whose gradient, or update, is the worst
# there can be, and at all that the code does. They print their ceilings too. In tests they catch noise that is halved, a bias that is not clipped, and (over twenty steps of ten epochs) fixed batches. The accountant's epsilon is an upper bound, the audit's a lower bound. The truth lies in between, if the code is right.

# %% [markdown]
# ## Whom do you trust, and who decides?
#
# So far, each participant adds its own noise: *local*, nobody is trusted. An aggregator whom all trust adds it once, to the sum: *central*. Between them, each adds
# a share of it under masks, *distributed* (notebook 10), or somebody mixes what all send, so that it is not known whose is whose: *shuffled*.
#
# Here 10,000 participants have one digit each, and the aggregator learns the sum of each class. All promise the same epsilon, for one digit *replaced*. And 3,000 are
# **colluders**: they tell the aggregator which share of the noise, or which message, is theirs.


# %%
def coarse(samples):
    """Images in squares of 4 x 4 pixels: 49 numbers, so less noise in all."""
    return torch.nn.functional.avg_pool2d(samples[0], 4), samples[1]


# %%
crowd, judges = coarse((fk.as_float(mnist.train_images), mnist.train_labels)), coarse(test)
scale, colluders = [0.5, 1, 2, 4, 8, 16], 3000
by_trust = privacy.accuracy_by_trust(crowd, judges, scale, colluders=colluders, seed=seed)
figure = fk.plots.trust_curves(scale, by_trust)
fk.show(figure, "Accuracy over epsilon with central, distributed, shuffled and local noise")
for name, std in privacy.noise_by_trust(1.0, 1e-5, len(crowd[1]), colluders).items():
    print(f"{name:11}  noise in the sum at epsilon 1: {std:5.1f} times the clip")

# %% [markdown]
# Two lines lie at the top, nearly one on the other, and two at the bottom. Central and distributed noise cost next to nothing here, colluders or not: the others' shares are made large enough without theirs. Local
# noise is in the sum 10,000 times, and so 100 times as large (the root of 10,000); up to epsilon 2 it leaves an accuracy below 20%. Shuffled lies close by. At epsilon 1 the crowd saves two thirds
# of the noise, and that is not enough to be of use; from 4 on, it saves nothing. That is what *this* bound can show, not what shuffling is worth at best.
#
# Back to whole **participants**, and an aggregator whom they trust. If drawing them at random hides nothing, why draw? With `"mechanism": {"name": "banded"}` they come *in turn*, in an order that all may know.
# A hundred participants, ten a round: in 40 rounds each has 4 turns, and only these count. And noise is mixed over rounds ("bands"), so that later rounds take back some of what
# earlier ones have added.

# %%
hundred = fk.take(mnist.train_images, mnist.train_labels, order[:2000].split(20))
crew = {"participants": fk.numbered_participants(100), "participants_per_round": 10, "rounds": 40}
many = config.replace(**crew, learning_rate=0.1, batch_size=10, weighting="equal")
ways = {"drawn": None, "in turn, 2 bands": {"bands": 2}, "in turn, 10 bands": {"bands": 10}}
banded = {}
for name, how in ways.items():
    rule = how and {"name": "banded"} | how
    for epsilon in (1.0, 4.0):
        dp = {"unit": "participant", "epsilon": epsilon, "delta": 1e-3, "clip": 0.3}
        promised = many.replace(dp=dp | {"mechanism": rule})
        done = fk.simulate(promised, hundred, test, model=SMALL)
        banded[name, epsilon] = done.accuracies[-1]
        print(f"{name:17}  epsilon {epsilon:g}: accuracy {banded[name, epsilon]:.0%}")

# %% [markdown]
# The same promise (zero-out), the same digits. At epsilon 4, turns win most: of who is drawn, all 40 rounds count. Ten bands win again over two. At epsilon 1 the best of them is still a poor model: a hundred are few.
# And none of it holds against the aggregator, which sees each update before there is noise.
#
# So who decides that it may be trusted? Each participant, by a **policy** of its own in `private/fl_client/policy.json`: the unit, how much all projects together may spend, and *against* whom that must hold.
# `"aggregator"`, the default, declines noise that the aggregator adds; `"participants"` trusts it, and nobody else; `"outside"` trusts the participants too. The client declines what promises less, and keeps
# an account: what a round spends is written down *before* it is trained, so that a crash counts too much, never too little.
#
# **Alice, participant**

# %%
aggregator, team = "aggregator@example.org", [f"{n}@example.org" for n in ("alice", "bob", "carol")]
network = fk.Network.create(fk.workspace("09"), aggregator=aggregator, participants=team)
for email, shard in zip(team, shards, strict=False):
    network.give_data(email, shard)
network.give_test(*test)
alice = network[team[0]]
policy = {
    "unit": "example",
    "epsilon": 6.0,
    "delta": 1e-3,
    "against": "aggregator",
    "secure_noise": False,
}
fk.write_json(alice.private_client / "policy.json", policy)

# %%
promise = {"unit": "example", "epsilon": 8.0, "delta": delta, "clip": 1.0}
first = config.replace(participants=team, project_name="TOO_WEAK", dp=promise, rounds=2)
network.launch(first, SMALL)
history = network.run(approve=fk.approve_all)
print(history.waiting[0].remedy)

# %% [markdown]
# `approve_all` would have said yes. Her client has said no, with the reason, and nothing was trained. The aggregator launches again, with a stronger promise.

# %%
second = first.replace(project_name="STRONGER", dp=promise | {"epsilon": 4.0})
network.launch(second, SMALL)
history = network.run("STRONGER", approve=fk.approve_all)
print("done:", history.done)
for entry in privacy.spent(alice):
    print(f"{entry.project}: epsilon {entry.epsilon:.2f} of {policy['epsilon']:g} spent")

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# Two rounds of three participants, and everything is as it was in notebook 04: updates, facts, no image. But each update carries its noise, and the facts leave out the
# loss, which no noise would cover.

# %%
figure = fk.plots.what_crossed(network.ledger(), aggregator=aggregator)
fk.show(figure, "Two updates from each of three participants, small files, no training image")

# %% [markdown]
# Try the attack on Alice's two updates, as they lie in your folder, and write the page that every project should come with.

# %%
sums = torch.zeros(2, images_each, dtype=torch.float64)
sigma = privacy.example_mechanism(second, images_each).noise_multiplier
for n in (1, 2):
    seen = privacy.evidence(network, team[0], n)
    sums += torch.stack(scores_of(seen.before, seen.update, shards[0], sigma))
tried = privacy.attack_result("least squares on gradients", "Alice's two updates", *sums)
fk.privacy_report(network, attacks=[tried])

# %% [markdown]
# Read it row by row. Each is an *adversary*: you as you are, you if you lie, those who take part, everybody else, who runs the network. Then come what it *sees*, and what *stands between* that and the images. *Epsilon* has its
# unit, δ and replace-one beside it, who knows the sample, and the rounds that count, those taken back too. *Attacks run* are those that you handed in, with an interval and what guessing gives; "none" says
# nothing of what one would find. *Not covered* is what no other column speaks of.
#
# "This is a rehearsal", it says above: this noise derives from the seed, so that your bits are mine, and whoever reads the config can subtract it. With `"secure_noise": true` it comes from the operating system, in
# whole steps of a grid (a discrete Gaussian), so that the proof is about what is calculated, and not about numbers before rounding.
#
# What differential privacy does not stop: it bounds what *one image* changes, not what all of them teach. If all your images are sevens, that remains visible.

# %%
fk.record(
    accuracy_by_epsilon=[round(value, 3) for value in accuracies],
    attacks=[round(value, 3) for value in attacks],
    plain=round(plain.accuracies[-1], 3),
    banded=[round(value, 3) for value in banded.values()],
    audit_honest=round(honest.epsilon, 2),
    audit_broken=round(broken.epsilon, 2),
)

# %% [markdown]
# ## Recap
#
# * Clipping bounds what one can change, and noise of that size hides it: in gradients at each participant (Opacus), or in the mean at the aggregator.
# * Epsilon bounds every attack, up to δ, for a unit, between neighbours, and against somebody; it grows with every step and every project, and libraries calculate it.
# * The attack lost most of its success before the model suffered. The less you trust, the more the same epsilon costs, and a policy says whom you trust.
# * An audit with canaries gives a lower bound on epsilon, up to its ceiling: it catches forgotten noise, and it proves nothing where it finds nothing.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("09")

# %% [markdown]
# ## Readings
#
# * Abadi et al. (2016), [Deep Learning with Differential Privacy](https://arxiv.org/abs/1607.00133): DP-SGD.
# * Steinke, Nasr, Jagielski (2023), [Privacy Auditing with One (1) Training Run](https://arxiv.org/abs/2305.08846): the audit.
# * Chua et al. (2024), [How Private are DP-SGD Implementations?](https://arxiv.org/abs/2403.17673): shuffled batches are not Poisson sampling.
# * Near and Abuah, [Programming Differential Privacy](https://programming-dp.com/): the theory, in Python, from the start.

# %% [markdown]
# ## Next
#
# In notebook 10, masks hide every single update from the aggregator, and each participant adds a share of the noise: the line that asks for little trust and costs little.
