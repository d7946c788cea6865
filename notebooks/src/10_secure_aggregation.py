# ---
# jupyter:
#   fedkit:
#     budget_s: 60
#     needs: notebooks 04, 05 and 08
#     learn:
#       - how masks hide every update, and what they do to the sum
#       - how a sum is repaired when somebody leaves, and why that needs a threshold and a second mask
#       - what changes in a project's files, and which lies of an aggregator a client refuses
#       - what the sum itself gives away, and what noise in shares does about it
# ---

# %% [markdown]
# # Secure aggregation
#
# You will be able to hide updates in their sum, repair the sum when a participant is gone, and say what the sum still tells.

# %%
import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

import fedkit as fk
from fedkit.base.events import Problem, SecureStep
from fedkit.privacy.secagg.fixedpoint import decode, encode
from fedkit.teaching.failures.lying_aggregator import gullible, shows_another_model

# %% tags=["parameters"]
rounds: int = 2  # how often everybody trains and the updates are added up
epoch: int = 20  # passes over one's own images in each round
learning_rate: float = 0.1  # step size of each training step
per_digit: int = 10  # images of each digit
seed: int = 0  # every shuffle derives from it; the keys do not

# %% [markdown]
# ## What does the aggregator need to know?
#
# FedAvg is a mean, and a mean needs a sum: of the weights times the images behind them, and of the images. It needs no single update. Yet
# the aggregator of notebook 04 has all of them in its inboxes, and notebook 08 rebuilds images from one.
#
# **Secure aggregation** gives it the sum and nothing else. Alice, Bob and Carol hold 100 digits together: Alice those from 0 to 2, Bob from 3 to 5, Carol from
# 6 to 9. Each trains once. The `changes` below are what each has learned.

# %%
people = ["alice@example.org", "bob@example.org", "carol@example.org"]
alice, bob, carol = people
mnist, draw = fk.load_mnist(), fk.generator(seed, "lesson 10")
digits = [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
parts = fk.by_digits(mnist.train_images, mnist.train_labels, digits, per_digit, generator=draw)
shards = dict(zip(people, parts, strict=True))
test = fk.as_float(mnist.test_images), mnist.test_labels

# %%
model, start = fk.load_model(fk.SAMPLE_MODEL), fk.seed_weights(fk.SAMPLE_MODEL, seed)


def change_of(email, shard, epochs=epoch, batch_size=16, weights=start):
    """What one round of local training changes in the weights."""
    settings = {"learning_rate": learning_rate, "batch_size": batch_size, "epochs": epochs}
    draw = fk.generator(seed, email, 1)
    trained, _ = fk.train(model, weights, shard, generator=draw, **settings)
    return {name: trained[name] - weights[name] for name in weights}


# %%
changes = {email: change_of(email, shard) for email, shard in shards.items()}
counts = {email: len(labels) for email, (_, labels) in shards.items()}

# %% [markdown]
# A mask has to be noise in which every number is equally likely, or else it shows what lies beneath. There is no such noise among fractions: they
# go on for ever. There is among the numbers on a clock. Whatever time it is, add a random number of hours, and every hour is equally likely.
#
# So weights become whole numbers on a clock of $2^{64}$ hours. `encode` multiplies them by the number of images, counts in steps of $2^{-32}$,
# and puts the number of images in front. `decode` goes back from a sum to a mean.

# %%
vectors = {email: encode(changes[email], counts[email], 3) for email in people}
print(len(vectors[alice]), "numbers from Alice, of type", vectors[alice].dtype)
print("The first one, her images:", vectors[alice][0])

# %% [markdown]
# Now hide Alice's and Bob's numbers. One random vector will do: Alice adds it, Bob subtracts it.
#
# > **Predict.** The aggregator gets both masked vectors and adds them up. How far is that from the sum without masks?
# >
# > * a) not at all: it is the same, number for number
# > * b) a little: there is some rounding
# > * c) far: two vectors of noise give noise

# %%
mask = np.random.default_rng().integers(0, 2**64, len(vectors[alice]), dtype=np.uint64)
from_alice, from_bob = vectors[alice] + mask, vectors[bob] - mask
same = from_alice + from_bob == vectors[alice] + vectors[bob]
print("Numbers that agree:", same.sum(), "of", len(same))

# %% [markdown]
# a. Whole numbers don't round, on a clock neither, and the mask is in there once with plus and once with minus. So sums are exact, in any order.

# %% [markdown]
# ## Where do two people get the same secret?
#
# Alice and Bob have to know the same mask, and they talk through the aggregator, who reads everything. Each makes a random secret, and publishes a key that
# belongs to it. From her own secret and Bob's public key, Alice computes 32 bytes. From his secret and her key, Bob computes the same 32. From the two
# public keys alone, nobody can. That is a **key agreement** (here X25519).
#
# The secrets come from the operating system, not from `seed`: whoever knows the seed would know the masks.

# %%
secret_a, secret_b = fk.privacy.new_secret(), fk.privacy.new_secret()
public_a, public_b = fk.privacy.public_key(secret_a), fk.privacy.public_key(secret_b)
at_alice = fk.privacy.agree(secret_a, public_b, b"lesson 10")
at_bob = fk.privacy.agree(secret_b, public_a, b"lesson 10")
print("Alice and Bob have the same key:", at_alice == at_bob)

# %% [markdown]
# From 32 bytes to a hundred thousand numbers: a **stream cipher** (ChaCha20) stretches a key into noise that nobody can tell from real noise without the key.


# %% tags=["defines:fk.privacy.mask_stream"]
def mask_stream(key, count):
    """`count` numbers, each of 0 to 2^64 - 1 equally likely, from a key of 32 bytes."""
    cipher = Cipher(ChaCha20(key, bytes(16)), mode=None)  # counter and nonce start at 0
    stream = cipher.encryptor().update(bytes(8 * count))
    return np.frombuffer(stream, dtype="<u8").astype(np.uint64, copy=False)


# %% [markdown]
# With three participants there are three pairs, and so three masks. Participants are numbered. Of each pair, the one with the smaller number adds.
#
# **Exercise.** Write the two branches: add to `total`, or subtract from it, what `fk.privacy.mask_stream(key, count)` gives.


# %% tags=["exercise", "defines:fk.privacy.pairwise_masks"]
def pairwise_masks(me, keys, count):
    """The sum of the masks that `me` shares with each other one; keys: the other's number -> key."""
    total = np.zeros(count, dtype=np.uint64)
    for other, key in keys.items():
        # solution begin
        if me < other:
            total += fk.privacy.mask_stream(key, count)
        else:
            total -= fk.privacy.mask_stream(key, count)
        # solution end
    return total


fk.check.pairwise_masks(pairwise_masks)

# %%
numbers = {alice: 1, bob: 2, carol: 3}
secrets = {email: fk.privacy.new_secret() for email in people}
public = {email: fk.privacy.public_key(secret) for email, secret in secrets.items()}


# %%
def keys_of(email):
    """The keys that one participant agrees on, by the other one's number."""
    others = [other for other in people if other != email]
    return {numbers[o]: fk.privacy.agree(secrets[email], public[o], b"pair") for o in others}


# %%
masked = {}
for email in people:
    hidden = fk.privacy.pairwise_masks(numbers[email], keys_of(email), len(vectors[email]))
    masked[email] = vectors[email] + hidden
mean, images = decode(masked[alice] + masked[bob] + masked[carol], start)
print("The sum speaks of", images, "images")

# %% [markdown]
# This is what the aggregator gets: six hidden units of the first layer, as pictures. Red is above zero, blue below.


# %%
def rows_of(vector):
    """The first layer's part of an encoded vector, as signed numbers [128, 784]."""
    return torch.from_numpy(vector[1 : 1 + 128 * 784].view(np.int64).astype(float)).view(128, 784)


# %%
most = mean["fc1.weight"].norm(dim=1).topk(6).indices
rows = {"Alice's change": rows_of(vectors[alice])[most]}
rows |= {
    f"from {name}": rows_of(masked[f"{name.lower()}@example.org"])[most]
    for name in ("Alice", "Bob", "Carol")
}
rows["their mean"] = mean["fc1.weight"][most]
title = "Noise in, a clean sum out: six hidden units, five times"
figure = fk.plots.masked_rows(rows, title=title)
fk.show(
    figure, "Alice's change shows strokes, the three uploads are noise, their mean shows strokes"
)

# %% [markdown]
# ## What if somebody leaves?
#
# Carol's computer goes to sleep before her vector is sent. The aggregator has two vectors, and adds them up. The mask between Alice and Bob cancels. Those
# between each of them and Carol do not: their other halves are missing.
#
# This is no rare case. Phones and laptops come and go, and one that leaves must not ruin the round.

# %%
broken = masked[alice] + masked[bob]
rows = {
    "two of three": rows_of(broken)[most],
    "what it should be": rows_of(vectors[alice] + vectors[bob])[most],
}
figure = fk.plots.masked_rows(rows, title="Carol has left: the sum of the others is noise")
fk.show(figure, "The upper row is noise, the lower row has strokes")

# %% [markdown]
# To repair it, somebody has to know the masks that Alice and Bob share with Carol. Suppose that the aggregator gets her secret. Then it can agree with Alice's
# and Bob's public keys as she would have.
#
# **Exercise.** Take the masks of the one who dropped out out of the total. What would make the sum of *all* masks zero again?


# %% tags=["exercise", "defines:fk.privacy.remove_masks"]
def remove_masks(total, dropped, keys):
    """The sum without the masks that the others share with number `dropped`; keys: their number -> key."""
    return total + fk.privacy.pairwise_masks(dropped, keys, len(total))  # solution


fk.check.remove_masks(remove_masks)

# %%
repaired = fk.privacy.remove_masks(broken, numbers[carol], keys_of(carol))
print("The sum of Alice and Bob, exactly:", (repaired == vectors[alice] + vectors[bob]).all())

# %% [markdown]
# Who gives Carol's secret away, when Carol is gone? The others do, together. At the start she cuts her secret into **shares** (Shamir's secret sharing): one for
# each participant, sealed so that the aggregator can't read it. With a **threshold** of 2, any two shares give the secret. One alone says nothing at all.

# %%
shares = fk.privacy.split_secret(secrets[carol], 2, [1, 2, 3])
print(
    "Alice's and Bob's shares:",
    fk.privacy.join_shares({x: shares[x] for x in (1, 2)}) == secrets[carol],
)
other = int.from_bytes(shares[1], "big") % 2**256
print("Alice's share is her secret:", other == int.from_bytes(secrets[carol], "big"))

# %% [markdown]
# One case is left. The aggregator *says* that Carol has left, and gets her secret. But she was only slow, and her masked vector arrives.
#
# > **Predict.** The aggregator now has Carol's masked vector and her secret. What can it do?
# >
# > * a) nothing: it lacks the secrets of Alice and Bob
# > * b) take her masks off and read her update
# > * c) read all three updates

# %%
rest = masked[carol] - fk.privacy.pairwise_masks(numbers[carol], keys_of(carol), len(masked[carol]))
for email in people:
    print(f"What is left is the update of {email}:", (rest == vectors[email]).all())

# %% [markdown]
# b. So everybody adds a second mask, from a secret of its own that is shared too. In the end, the aggregator asks for the first secret of those who left
# *or* the second one of those who stayed, never for both of one person. Participants sign the list of those who stayed, and answer when
# they have seen as many signatures of the same list as the threshold says: not of all, for somebody may have left again. That is the protocol of Bonawitz et al. (2017), in five messages a round.

# %% [markdown]
# ## What changes in the datasites?
#
# One key in `fl_config.json`: `"secure_aggregation": {"threshold": 2}`. Everybody approves it with the rest. Every message is a file in the folders
# that you know, and `advance()` does the steps. With `min_participants`, a round goes on without those who leave.
#
# Strategies that look at single updates, such as the median or Krum, are refused: there is nothing to look at. Those that need the mean alone work.
#
# Let Carol leave in round 1, when her shares are dealt and her update is not sent. `leaves` stands between her and the network.

# %%
config = fk.FLConfig(
    project_name="SECURE",
    aggregator="aggregator@example.org",
    participants=people,
    rounds=rounds,
    epoch=epoch,
    learning_rate=learning_rate,
    batch_size=16,
    seed=seed,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
    min_participants=2,
    secure_aggregation={"threshold": 2},
)

# %%
network = fk.Network.create(
    fk.workspace("10"), aggregator=config.aggregator, participants=people, workers=1
)
for email, shard in shards.items():
    network.give_data(email, shard)
network.give_test(*test)

# %%
network.launch(config, weights=start)
aggregator = network[config.aggregator]
place = aggregator.aggregator().project("SECURE")


# %%
def leaves(site, go):
    """Carol does nothing more once her shares are dealt."""
    dealt = site.aggregator(config.aggregator).project("SECURE").inbox(carol)
    return [] if site.email == carol and (dealt / "secagg_1_shares.msg").is_file() else go()


# %%
def announce(event):
    """Print what the aggregator's steps of round 1 are."""
    if isinstance(event, SecureStep) and event.email == config.aggregator and event.round == 1:
        print(f"round 1: {event.text}")


# %%
history = network.run(approve=fk.approve_all, actor=leaves, on_event=announce)
print("done:", history.done, "| absent in round 1:", *history.rounds[0].absent)

# %%
place = aggregator.aggregator().project("SECURE", "done")
inbox = place.inbox(alice)
print(*sorted(path.name for path in inbox.glob("secagg_1_*")), sep="\n")

# %% [markdown]
# Five messages from Alice in round 1, and no `trained_model_round_1.pt`: a masked update does not bear that name, for an app that knows nothing of masks
# would average noise.
#
# Keys are new in every run. Are the bits of the result? Open Alice's and Bob's own copies, which only this notebook may, and add them up without masks.

# %%
sums = []
for email in (alice, bob):
    own = network[email].client().project("SECURE", "done").trained(1)
    sums.append(encode(fk.read_state(own), counts[email], 3))
by_hand, _ = decode(sums[0] + sums[1], start)
first = fk.read_state(place.global_model(1))
print("The same bits:", all(torch.equal(first[name], by_hand[name]) for name in first))

# %% [markdown]
# They are. The masks are different each time, and nothing of them is left in an exact sum. "Same seed, same bits" holds though the keys are secret.

# %% [markdown]
# **And an aggregator that lies?** Masks hide an update in a sum. An aggregator that may choose *what* is summed need not break them. You play it twice, first against clients that do what the sections above
# say and no more: they mask what they have trained.
#
# **Different models for different people** (Pasquini et al., 2022). Alice gets the global model. Bob and Carol get a dead one: all weights are 0, so no hidden unit ever fires,
# and nothing in the first layer can learn.
#
# > **Predict.** All three mask honestly, and you add up. What is the sum of the first layers' changes?
# >
# > * a) noise
# > * b) a mean that is worth less than usual
# > * c) Alice's change

# %%
dead = {name: torch.zeros_like(value) for name, value in start.items()}
sent = {alice: changes[alice]}
sent |= {email: change_of(email, shards[email], weights=dead) for email in (bob, carol)}
lied_to, everyone = decode(sum(encode(sent[email], counts[email], 3) for email in people), start)

# %%
for email in people:
    found = lied_to["fc1.weight"] * everyone / counts[email]
    error = (found - changes[email]["fc1.weight"]).abs().max() / found.abs().max()
    print(f"The change of {email}, to a thousandth:", bool(error < 1e-3))

# %% [markdown]
# c. **Differences** are the other lie. Ask the same people for the same round again, under another project's name and without Carol. Everybody trains from the same model and
# masks with new keys, as it should be.

# %%
first_sum, second_sum = sum(vectors.values()), vectors[alice] + vectors[bob]
print("The difference is Carol's update:", (first_sum - second_sum == vectors[carol]).all())

# %% [markdown]
# Now tell the same lies to fedkit's clients. `shows_another_model` puts the dead model into Bob's and Carol's mailboxes, and while `gullible` lasts, fedkit's aggregator passes on
# whatever it gets.


# %%
def refusals(history):
    """What participants refuse, and why."""
    found = [event for event in history.waiting if isinstance(event, Problem)]
    return [f"{event.email}: {event.error.what}" for event in found]


# %%
other_start = fk.seed_weights(fk.SAMPLE_MODEL, seed + 1)
network.launch(config.replace(project_name="TWO_MODELS", rounds=1), weights=other_start)
lie = shows_another_model("TWO_MODELS", [bob, carol], dead)
with gullible():
    history_two = network.run("TWO_MODELS", approve=fk.approve_all, actor=lie)
print(*refusals(history_two), sep="\n")

# %%
without_carol = config.replace(project_name="AGAIN", rounds=1, participants=[alice, bob])
network.launch(without_carol, weights=start)
history_again = network.run("AGAIN", approve=fk.approve_all)
print(*refusals(history_again), sep="\n")

# %% [markdown]
# Nothing was masked in either. With its keys, each participant signs the hash of the global model that it trained from, and the settings of the round. All compare before they
# mask, and name who differs. A client also remembers, for good, which rounds it has masked an update in and from which models: none comes twice. A round of more participants than the config
# allows is refused likewise, and so is a list of survivors below the threshold.

# %% [markdown]
# ## What does the sum still tell?
#
# You are the aggregator. You hold two global models: the one before round 1 and the one after it. Their difference is the mean change of Alice and Bob. In
# notebook 08, an image of the training data lay in the row space of the change of the first layer, and others did not. But that was *one* participant's change.
#
# > **Predict.** You test the images of all three, and test images that nobody has trained on. Whom do you recognise in the sum?
# >
# > * a) nobody: it is a sum
# > * b) Alice's and Bob's images
# > * c) those of all three

# %%
before = fk.read_state(place.global_model(0))
weight, bias = ((first[n] - before[n]).double() for n in ("fc1.weight", "fc1.bias"))
groups = {email: images for email, (images, _) in shards.items()} | {"strangers": test[0][::4]}

# %%
recognised = {}
for who, images in groups.items():
    residual = fk.privacy.row_space_residual(weight, images, bias)
    recognised[who] = (residual < 1e-3).double().mean().item()
title = fk.caption("10 row space")
figure = fk.plots.participant_bars(
    recognised, ylabel="images recognised", title=title, percent=True
)
fk.show(figure, fk.alt("10 row space"))

# %% [markdown]
# b. The sum of two changes is still a sum over training images, and all 60 are recognised. What secure aggregation hides is *whose* they are.
#
# It goes further. Three people with one image each train for one step. The aggregator divides each row of the sum by its bias, as in
# notebook 08. Where two rows agree, it has found an image.

# %%
single = {email: (images[:1], labels[:1]) for email, (images, labels) in shards.items()}
total = sum(encode(change_of(e, shard, 1), 1, 3) for e, shard in single.items())
of_three, _ = decode(total, start)
rows = fk.privacy.invert_rows(of_three["fc1.weight"].double(), of_three["fc1.bias"].double())

# %%
apart = torch.cdist(rows, rows) / rows.norm(dim=1)
agree = [int(n) for n in range(len(rows)) if (apart[:, n] < 1e-3).sum() > 1]
firsts = [n for place, n in enumerate(agree) if all(apart[m, n] >= 1e-3 for m in agree[:place])]
found = rows[firsts].float().clamp(0, 1).view(-1, 1, 28, 28)

# %%
truth = torch.cat([images for images, _ in single.values()])
figure = fk.plots.digit_grid(
    torch.cat([truth, found]),
    columns=3,
    title="Top: one image of each participant. Below: read off the sum",
)
fk.show(figure, "Three digits, and the same three digits below them, in another order perhaps")

# %% [markdown]
# All three, from a perfectly hidden sum. What helps is a crowd: the more images are in the sum, the less of each can be seen. The next cell asks for the
# chance that an image of the training data scores better than a stranger (the AUC: 1 is certainty, 0.5 a coin).


# %%
def recognition(weight, bias, members, strangers):
    """The chance that a member lies nearer to the row space than a stranger does."""
    inside = fk.privacy.row_space_residual(weight, members, bias)
    outside = fk.privacy.row_space_residual(weight, strangers, bias)
    return (inside[:, None] < outside[None]).double().mean().item()


# %%
def in_a_crowd(per_digit):
    """The same for a sum of three, with so many images of each digit."""
    draw = fk.generator(seed, "crowd")
    parts = fk.by_digits(mnist.train_images, mnist.train_labels, digits, per_digit, generator=draw)
    pairs = [
        (change_of(email, part, 5, 64), len(part[1]))
        for email, part in zip(people, parts, strict=True)
    ]
    mean, _ = decode(sum(encode(change, n, 3) for change, n in pairs), start)
    members = torch.cat([images for images, _ in parts])
    return recognition(
        mean["fc1.weight"].double(), mean["fc1.bias"].double(), members, test[0][::4]
    )


# %%
crowd = {10 * n: in_a_crowd(n) for n in (10, 30, 60, 120)}
bars = {f"{images:,} images": chance for images, chance in crowd.items()}
title = "The larger the crowd in the sum, the less of it is recognised"
figure = fk.plots.participant_bars(bars, ylabel="chance (a coin: 50%)", title=title, percent=True)
fk.show(figure, "From certainty with 100 images to little more than a coin with 1,200")

# %% [markdown]
# With 128 hidden units, the row space is full at about 128 images, and then it fades. A crowd is no promise, though. For that there is noise.

# %% [markdown]
# ## How much noise does each one add?
#
# Differential privacy (notebook 09) cuts each change to a length $C$ and adds Gaussian noise of $\sigma C$ to the sum; $\sigma$ is the noise multiplier. If the aggregator adds it, it sees the
# sum without noise first. If each participant adds noise of $\sigma C$, there is far too much.
#
# Under masks, each of $K$ participants adds a *share*, $\sigma C/\sqrt{K}$. Variances add up, so the sum has $\sigma C$, and the aggregator never sees it with less. Bob does: he knows his own share, and
# takes it off. Of three, what is epsilon 4 to the world is about 5 to him. So fedkit makes the shares larger, for $K$ less the colluders (`"dp": {"colluders": 1}`, the default).

# %%
length = {e: torch.cat([v.flatten() for v in c.values()]).norm().item() for e, c in changes.items()}
clip = min(length.values())


def with_noise(sigma):
    """The mean of the three changes, clipped, each with its share of noise, added up in whole numbers."""
    draw, total = fk.generator(seed, "noise"), 0
    for email, change in changes.items():
        cut = {name: value * min(1, clip / length[email]) for name, value in change.items()}
        share = {
            n: torch.randn(v.shape, generator=draw) * sigma * clip / 3**0.5 for n, v in cut.items()
        }
        total = total + encode({n: cut[n] + share[n] for n in cut}, 1, 3)
    return decode(total, start)[0]


# %%
members, noisy = torch.cat([images for images, _ in parts]), {}
for sigma in (0, 0.001, 0.01, 0.1, 1):
    mean = with_noise(sigma)
    state = {name: start[name] + mean[name] for name in start}
    chance = recognition(
        mean["fc1.weight"].double(), mean["fc1.bias"].double(), members, test[0][::4]
    )
    noisy[sigma] = chance, fk.evaluate(model, state, *test)[0]
    print(
        f"σ = {sigma:<5}: recognised with a chance of {chance:.2f}, accuracy {noisy[sigma][1]:.0%}"
    )

# %% [markdown]
# At $\sigma = 0.01$ this attack has little left to go on, and the model is about as good as before. Do not call that private, and do not call it a little noise either. It is a hundredth
# of $C$ on *each* of 101,770 numbers, and so three times as long as the whole clipped change of any participant. This attack needs exact numbers; an attacker who knows what to look for
# adds up over all of them, and needs less. A promise against *every* attack takes a $\sigma$ around 1, and there the mean of three is ruined. The noise in the sum does not
# grow with the crowd, and its part in the mean shrinks: such promises are for thousands of participants. Notebook 09 does the accounts. In `fl_config.json` it is
# `"dp": {..., "noise_at": "participants"}` beside `"secure_aggregation"`.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# Everything that you have received in the project SECURE, in both rounds:

# %%
of_secure = [entry for entry in network.ledger() if "SECURE" in entry.path.split("/")]
figure = fk.plots.what_crossed(of_secure, aggregator=config.aggregator)
fk.show(
    figure,
    "No model update, masked updates from Alice and Bob, none from Carol, and keys and shares",
)

# %% [markdown]
# Not one model update. Nor does anybody tell you how many images it has: only the sum's total does. What you still see: who took part and who left, the sum, and
# what the sum tells. What secure aggregation does **not** stop:
#
# * **A crowd of one.** You write the list of participants: Alice and two accounts of your own, say. All approve that list of e-mail addresses, so they should know the people.
# * **Invented keys.** Whose a key is, is believed at the *first* masked round, and kept from then on (trust on first use). Whoever runs the network in that round, which may be somebody else than you,
#   can put a key of its own in the place of Bob's. The remedy is a second road: `fedkit keys` shows fingerprints, which people compare by telephone. A key that changes later is refused by name.
# * **Collusion.** With two of three participants on your side, the third one's update is a subtraction away.
# * **A sum that tells more.** A model made for spying (notebook 08) that is sent to all is the same for all. And rounds in which other people happened to be there differ by what these sent.
# * **A poisoned update.** Nobody can look at single updates any more, so nobody can refuse one.

# %%
record = history.rounds[0]
fk.record(
    absent=len(record.absent),
    sum_of_weights=record.diagnostics["sum_of_weights"],
    recognised=[round(value, 3) for value in recognised.values()],
    found=len(found),
    crowd=[round(value, 3) for value in crowd.values()],
    noisy=[round(chance, 3) for chance, _ in noisy.values()],
)

# %% [markdown]
# ## Recap
#
# * On a clock of whole numbers, masks make every number equally likely, and they cancel in the sum without a trace.
# * Who leaves takes half of some masks along; a threshold of the others gives them back, and a second mask protects those who were only late.
# * In the files there are masked updates and keys in place of updates; a client refuses a second round from one model, and a round in which others trained from another.
# * The sum still speaks of the images in it; a crowd dilutes that, and shares of noise under the masks limit it.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("10")

# %% [markdown]
# ## Readings
#
# * Bonawitz et al. (2017), [Practical Secure Aggregation for Privacy-Preserving Machine Learning](https://eprint.iacr.org/2017/281): figure 4 is the protocol of this notebook.
# * Bell et al. (2020), [Secure Single-Server Aggregation with (Poly)Logarithmic Overhead](https://eprint.iacr.org/2020/704): masks with a few neighbours, for thousands.
# * Kairouz, Liu, Steinke (2021), [The Distributed Discrete Gaussian Mechanism](https://arxiv.org/abs/2102.06387): shares of noise in whole numbers, with accounts.
# * Pasquini, Francati, Ateniese (2022), [Eluding Secure Aggregation](https://arxiv.org/abs/2111.07380): an aggregator that sends different models to different people.

# %% [markdown]
# ## Next
#
# You have attacks and two defences, and each has numbers of its own. In notebook 11 you run such experiments in batch, over seeds and settings, and put them into one table.
