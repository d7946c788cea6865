# ---
# jupyter:
#   fedkit:
#     budget_s: 60
#     needs: notebooks 04 and 10
#     learn:
#       - what a road decides about a project, and what each road costs
#       - how to find out from a disk who could read what
#       - what a signature has to cover
#       - what becomes of a round when a machine dies
# ---

# %% [markdown]
# # Beyond the laptop
#
# You will be able to take one project over engines that others wrote, compare its models bit by bit, and say who can read or forge what on the way.

# %%
import hashlib
import json
import time

import fedkit as fk
from fedkit.base.keys import is_signed, new_secret, sign, signing_key
from fedkit.federation.roads.flower_trial import over_flower

# %% tags=["parameters"]
rounds: int = 3  # how often everybody trains and the models are averaged
epoch: int = 2  # passes over one's own images in each round
learning_rate: float = 0.1  # step size of each training step
per_digit: int = 60  # images of each digit
with_flower: bool = False  # True runs Flower here as well, where it is installed: two minutes more
seed: int = 0  # every shuffle derives from it

# %% [markdown]
# ## What does a road have to carry?
#
# Up to now, every file went through fedkit's own sync, on one disk. Between real machines, something else has to carry the files or their content. Call that a **road**. A road has a program
# of its own, its **engine**, and people who run it.
#
# Alice, Bob and Carol hold ten digits between them. Mallory has an account, too, and takes no part in the project. The same project will go over several roads. What you compare is the
# SHA-256 of each global model's file: if two hashes agree, so does every bit of the files.

# %%
people = ["alice@example.org", "bob@example.org", "carol@example.org"]
alice, bob, carol = people
ana, mallory = "ana@example.org", "mallory@example.org"  # the aggregator, and somebody else
mnist, draw = fk.load_mnist(), fk.generator(seed, "lesson 12")
digits = [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
parts = fk.by_digits(mnist.train_images, mnist.train_labels, digits, per_digit, generator=draw)
shards = dict(zip(people, parts, strict=True))
test = fk.as_float(mnist.test_images[::4]), mnist.test_labels[::4]

# %%
config = fk.FLConfig(
    project_name="ROADS",
    aggregator=ana,
    participants=people,
    rounds=rounds,
    epoch=epoch,
    learning_rate=learning_rate,
    batch_size=16,
    seed=seed,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
    min_participants=2,
)

# %%
root = fk.workspace("12")


def launched(road, name, **changes):
    """Five datasites on a road, the data in place, the project launched."""
    everybody = [*people, mallory]
    network = fk.Network.create(
        root / name, aggregator=ana, participants=everybody, workers=1, road=road
    )
    for email, shard in shards.items():
        network.give_data(email, shard)
    network.give_test(*test)
    network.launch(config.replace(**changes))
    return network


# %%
def hashes(network):
    """SHA-256 of the file of each global model, from the seed weights to the last one."""
    place = network[ana].aggregator().project("ROADS", "done")
    files = [place.global_model(n) for n in range(rounds + 1)]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


# %%
began = time.perf_counter()
own = launched("own", "own")
history = own.run(approve=fk.approve_all)
print(f"done: {history.done}, in {time.perf_counter() - began:.1f} s")
print(*(digest[:16] for digest in hashes(own)), sep="\n")

# %% [markdown]
# Now take a **synced folder**, as Syncthing or a network share makes it. Everybody has a copy of everything, whoever writes a file last has it everywhere, and no permission file is asked.
#
# > **Predict.** The last global model has 101,770 weights. How many of them come out differently over this folder?
# >
# > * a) none
# > * b) a few, in their last digits
# > * c) most of them, in their last digits

# %%
began = time.perf_counter()
synced = launched("synced", "synced")
synced.run(approve=fk.approve_all)
print(
    f"in {time.perf_counter() - began:.1f} s; hash by hash the same:", hashes(synced) == hashes(own)
)

# %% [markdown]
# a. The shuffles come from the seed, the order of a sum from the config. A road decides when something arrives, and neither of these. What it does decide: how much
# crosses, and to whom.

# %%
for name, network in (("own sync", own), ("synced folder", synced)):
    ledger = network.ledger()
    crossed = sum(entry.size for entry in ledger) / 1e6
    to_mallory = sum(entry.size for entry in ledger if entry.receiver == mallory) / 1e6
    print(f"{name}: {crossed:.1f} MB crossed, {to_mallory:.1f} MB of it to Mallory")

# %% [markdown]
# ## Does it hold on engines that others wrote?
#
# SyftBox 0.4.0 has a server that every datasite is synced through. PySyft 0.10 puts encrypted messages on a drive. Syncthing needs no server. Flower and NVFlare carry no files at all, but messages: there,
# fedkit's `fk.train` and its average sit inside the engine's own apps.
#
# You need none of them here. What follows was recorded: this same project, taken once over each engine, on the machine that is named. An engine that has no row was not
# recorded.

# %%
runs = fk.roads.recorded()
where, here = runs["own"].machine, fk.roads.this_machine()
print(f"recorded on {where.date}: {where.processor}, torch {where.torch}")
print(f"{where.load} processes wanted each of its cores: above 1, seconds say little")
print(f"{'road':<11}{'engine':<28}{'last global model':<20}")
for road, run in runs.items():
    same = "same" if run.sha256 == runs["own"].sha256 else "DIFFERENT"
    print(f"{road:<11}{run.engine:<28}{run.sha256[-1][:16]}  {same}")

# %%
figure = fk.plots.road_costs(runs, title="Recorded: the same project and what each road costs")
fk.show(figure, "Bars for each road: seconds, megabytes that crossed, and megabytes of memory")

# %% [markdown]
# Seconds are from the engine's start to the last model, on one machine, so nobody waits for a real network. What costs most is neither training nor weights. It is waiting for the next look
# at a folder or a server, and a Python with PyTorch for every participant.
#
# Are the recorded models yours as well? "Same seed, same bits" holds on one kind of processor and one build of PyTorch.

# %%
mine = fk.roads.project_digest(config, parts, test) == runs["own"].project
print("the recorded project is yours:", mine)
print("the recorded machine is like this one:", where.same_bits(here))
print("the recorded models are yours:", list(runs["own"].sha256) == hashes(own))

# %% [markdown]
# If the first two lines are true, so is the third. To take a road yourself, install its engine; the repository's README says how to go on.

# %%
for road, line in fk.roads.missing().items():
    print(f"{road:<10} {line}")

# %% [markdown]
# ## Who could read what on the way?
#
# Engines come with promises. You need not believe them: a disk tells what is on it. Take 16 weights of Bob's update, as they lie in memory. That is a **trace**, 64 bytes that nothing else has. Look for
# them in every file of somebody's disk. Where they are, Bob's update can be opened.
#
# `traces_of` cuts such pieces from all updates, all global models and an image of each participant. As the bits are the same on every road, so are the traces.

# %%
traces = fk.roads.traces_of(own, "ROADS")
of = fk.roads.count_kinds(traces)
print(of)

# %% [markdown]
# **Exercise.** Write `could_open`: all things of `traces` whose piece stands somewhere in the content of some file below `folder`. `traces` maps a thing to its piece, and `piece in content` works for bytes.


# %% tags=["exercise", "defines:fk.roads.could_open"]
def could_open(folder, traces):
    """What lies open in some file of a folder: the things of which a piece is there as it is."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found |= {thing for thing, piece in traces.items() if piece in content}  # solution
    return found


fk.check.could_open(could_open)

# %% [markdown]
# **Mallory, outsider**
#
# You have your own disk, and you may have got a job: you run SyftBox's server, Flower's SuperLink (the process that every message goes through), or the drive.
#
# > **Predict.** In which of these places do updates of Alice, Bob and Carol lie open?
# >
# > * a) nowhere: each update is for the aggregator
# > * b) at whoever runs a server; not at a member of a synced folder
# > * c) at a member of a synced folder and at every server that carries files or messages as they are

# %%
seen = {
    "own sync: the aggregator": fk.roads.could_open(own[ana].data_dir, traces),
    "own sync: Mallory": fk.roads.could_open(own[mallory].data_dir, traces),
    "synced folder: Mallory": fk.roads.could_open(synced[mallory].data_dir, traces),
}
if with_flower and "flower" not in fk.roads.missing():
    trial = over_flower(own, "ROADS", root / "flower", traces=traces)
    print("Flower, here: the same models:", list(trial.sha256) == hashes(own))
    seen["Flower, here: its SuperLink"] = trial.seen

# %%
seen = {who: fk.roads.count_kinds(things) for who, things in seen.items()}
for road, run in runs.items():
    if road not in ("own", "synced"):
        seen |= {f"{road}: {who} (recorded)": found for who, found in run.sees.items()}
figure = fk.plots.who_could_open(seen, of, title=fk.caption("12 disks"))
fk.show(figure, fk.alt("12 disks"))

# %% [markdown]
# c. No image has left its participant, on no road. But whoever is in the middle reads the updates, and in a synced folder everybody is in the middle. SyftBox's server and Flower's SuperLink ask for
# permissions or certificates, and these keep *others* out. (A SuperLink forgets a message once it is delivered; here it was told to use a file, and was looked at all the time. One that wants to keep
# messages can. The last model never goes through it: nobody trains from that one.)
#
# What helps is not to send what may not be read: with masks (notebook 10), Mallory holds the same files and they tell nothing.

# %%
masked = launched("synced", "masked", secure_aggregation={"threshold": 2})
masked.run(approve=fk.approve_all)
under_masks = fk.roads.traces_of(masked, "ROADS")
found = fk.roads.could_open(masked[mallory].data_dir, under_masks)
print("there are", fk.roads.count_kinds(under_masks))
print("Mallory:", fk.roads.count_kinds(found))

# %% [markdown]
# ## Who wrote this update?
#
# Reading is one thing. In a synced folder, Mallory can also *write*: into the aggregator's inboxes, under anybody's name. Nothing about a file tells who wrote it.
#
# So on such a road every file comes with a **signature**: bytes that only the owner of a secret key can make, and everybody can check with the public one. But not every app signs. Suppose that Bob's does not,
# and that the config says so (`unsigned`). In round 1, Mallory writes an update in Bob's place: the global model times -3.


# %%
def forger(number=1):
    """Mallory: once, as soon as the model before a round has come, she writes Bob's update of that round."""
    done = []

    def actor(site, go):
        events = go()
        start = site.client(bob).project("ROADS").global_model(number - 1)
        if site.email == mallory and start.is_file() and not done:
            update = site.aggregator(ana).project("ROADS").update(bob, number)
            fk.write_state(update, {key: -3 * value for key, value in fk.read_state(start).items()})
            done.append(update)
        return events

    return actor


# %%
def attacked(name, actor, **changes):
    """The project on a synced folder with Mallory at work: its history, and what was refused."""
    network, refused = launched("synced", name, **changes), set()
    for _ in range(40):
        events = network.advance(fk.approve_all, actor=actor)
        told = [getattr(event, "remedy", "").split(";")[0] for event in events]
        refused |= {text for text in told if "signed" in text}
        if network.history("ROADS").done:
            break
    return network, refused


# %%
fooled, refused = attacked("unsigned", forger(), unsigned=[bob])
curves = {"nobody interferes": history, "Mallory, and Bob signs nothing": fooled.history("ROADS")}
figure = fk.plots.accuracy_by_round(curves, title=fk.caption("12 forged"))
fk.show(figure, fk.alt("12 forged"))
print("refused:", refused or "nothing")

# %% [markdown]
# Bob's own update was overwritten before the aggregator looked. The average took Mallory's for his.
#
# With signatures it will fail. But what should be signed? Suppose that Bob signs the bytes of his update. Mallory copies the file *and* its signature.
#
# > **Predict.** The aggregator checks signatures over the bytes alone. What does it notice?
# >
# > * a) it refuses other weights, and nothing else
# > * b) it refuses other weights, and Bob's update of round 1 if it is handed in as that of round 2
# > * c) it refuses both, and Bob's update for another project as well

# %%
inbox = synced[ana].aggregator().project("ROADS", "done")
update = inbox.update(bob, 1).read_bytes()
secret = new_secret()
signature = sign(secret, update)
other = update[:-1] + b"?"
print("other weights pass:", is_signed(signing_key(secret), signature, other))
for place in ("round 1 of ROADS", "round 2 of ROADS", "round 1 of ANOTHER"):
    passes = is_signed(signing_key(secret), signature, update)
    print(f"Bob's update of round 1 as that of {place}:", passes)

# %% [markdown]
# a. The bytes are Bob's, wherever they lie. To hand in something genuine again is a **replay**: an old update pulls the model back, and one for another project drags it elsewhere. So what is signed has to say where
# it belongs.
#
# **Exercise.** Write the bytes that Bob signs. They have to differ whenever the project, the round, the sender, the receiver or the content does. Mind the seams: "P" in round 11 must not give the bytes of
# "P1" in round 1.


# %% tags=["exercise"]
def what_is_signed(project, number, sender, receiver, content):
    """The bytes that the sender of `content` signs, so that it counts in one place only."""
    digest = hashlib.sha256(content).hexdigest()
    return json.dumps([project, number, sender, receiver, digest]).encode()  # solution


fk.check.what_is_signed(what_is_signed)

# %% [markdown]
# fedkit's own files do the same: beside `trained_model_round_1.pt` lies its `.sig`, the signature and the line that was signed.

# %%
signed_file = inbox.update(bob, 1).with_name("trained_model_round_1.pt.sig")
line = json.loads(signed_file.read_bytes().split(b"\n")[1])
for key, value in line.items():
    print(f"{key:>8}: {str(value)[:40]}")

# %% [markdown]
# Now Bob signs. Mallory tries both: her own weights in round 1, and in round 2 Bob's update of round 1 with its genuine signature.


# %%
def replayer():
    """Mallory: once, she hands in Bob's update of round 1 and its signature as those of round 2."""
    done = []

    def actor(site, go):
        events, place = go(), site.aggregator(ana).project("ROADS")
        model = site.client(bob).project("ROADS").global_model(1)
        if site.email == mallory and model.is_file() and not done:
            for ending in ("pt", "pt.sig"):
                old = place.inbox(bob) / f"trained_model_round_1.{ending}"
                old.with_name(f"trained_model_round_2.{ending}").write_bytes(old.read_bytes())
            done.append(model)
        return events

    return actor


# %%
safe = {}
for name, actor in (("forged", forger()), ("replayed", replayer())):
    safe[name], refused = attacked(name, actor)
    print(f"{name}: {' '.join(refused)}")
    print("the same models as without Mallory:", hashes(safe[name]) == hashes(own))

# %% [markdown]
# Both are refused with Bob's name and the reason, and his client sends the genuine file again: the models are the same as if nobody had interfered. (Whose key is whose? The first one that is seen counts, and people
# compare fingerprints by another way: `fedkit keys`.)

# %% [markdown]
# ## What if a machine dies?
#
# On one laptop, all end together. On roads, somebody's machine goes away and the others do not know. Flower's participants are processes of their own, SuperNodes. In the recorded run, Carol's was killed with no
# warning when the model of round 1 was there.
#
# The config says `min_participants=2`. The server waits for a while, then it goes on with those who answered. Every engine has its own way of finding out; what the round *is* without Carol stands in the
# config.

# %% [markdown]
# > **Predict.** You leave Carol out of the same rounds at home, where nobody was killed: she takes part in round 1 and never answers again. How do your models compare with those that Flower made?
# >
# > * a) they are the same, up to rounding
# > * b) they are the same, bit for bit
# > * c) they differ: Flower's server had asked Carol already

# %%
death = runs["flower"].death if "flower" in runs else None
absent = death.absent if death else dict.fromkeys(range(2, rounds + 1), (carol,))
models, told = (death.sha256, "recorded") if death else ((), "no run was recorded")
if with_flower and "flower" not in fk.roads.missing():
    trial = over_flower(own, "ROADS", root / "killed", dies=(carol, 1), patience_s=30)
    absent, models, told = trial.absent, trial.sha256, "here"
first = min(absent)


def gone(site, go):
    """Carol trains in every round before the one that she was first absent from."""
    came = site.client().project("ROADS").global_model(first - 1).is_file()
    return [] if site.email == carol and came else go()


# %%
without_carol = launched("own", "without_carol")
history_without = without_carol.run(approve=fk.approve_all, actor=gone)
at_home = {record.round: record.absent for record in history_without.rounds if record.absent}
print("absent at home:", at_home)
print(f"absent over Flower ({told}):", dict(absent))
print(f"Flower's models ({told}) and yours:", list(models) == hashes(without_carol))
if death:
    print("Flower's and those of that machine's own network:", death.sha256 == death.own_sha256)

# %% [markdown]
# b, on one kind of machine. A round without Carol is the round of those who are left, whoever noticed that she is gone and how. That is also its price: with every participant who leaves, the mean says more about each
# of the others, and with one left it *is* that one's update.

# %%
curves = {"all three": history, f"without Carol from round {first}": history_without}
figure = fk.plots.accuracy_by_round(curves, title="Who leaves takes her digits along")
fk.show(figure, "Without Carol, accuracy lags behind: nobody else holds the digits 6 to 9")

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# On every road the same: each update, from each participant, in each round. That is what crossed to you at home:

# %%
figure = fk.plots.what_crossed(own.ledger(), aggregator=ana)
fk.show(
    figure,
    "Model updates from Alice, Bob and Carol, no training image, and from Mallory hardly anything",
)

# %% [markdown]
# What a road adds is *others*: SyftBox's server and Flower's SuperLink see what you see, and in a synced folder everybody does. What signatures do **not** stop:
#
# * **Reading.** A signature hides nothing. Masks or encryption do.
# * **A participant who lies.** Bob may sign whatever he likes. Notebook 07 has rules that bear a few liars.
# * **Taking away.** Mallory can delete, or overwrite again and again. Then the round waits, and ends without Bob.
# * **The first meeting.** Whose key is seen first is believed. Compare fingerprints.

# %%
fk.record(
    accuracy=history.rounds[-1].accuracy,
    fooled=fooled.history("ROADS").rounds[0].accuracy,
    without_carol=history_without.rounds[-1].accuracy,
    same=hashes(synced) == hashes(own),
    recorded=sorted(runs),
)

# %% [markdown]
# ## Recap
#
# * The seed and the config decide the bits and a road only carries, so hashes agree; what roads cost is waiting, copies, and a Python for each participant.
# * A piece of an update that lies on a disk as it is can be read there: look for it, and believe no promise.
# * A signature over bytes alone can be replayed; one over project, round, sender, receiver and content counts in one place.
# * A round goes on without the dead if the config's quorum is there, and is then the round of those who are left.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("12")

# %% [markdown]
# ## Readings
#
# * Beutel et al. (2020), [Flower: A Friendly Federated Learning Research Framework](https://arxiv.org/abs/2007.14390).
# * Bernstein et al. (2012), [High-speed high-security signatures](https://ed25519.cr.yp.to/ed25519-20110926.pdf): the signatures of this notebook.
# * [Syncthing's documentation](https://docs.syncthing.net/users/security.html) on who can read and write what.
# * Kairouz, McMahan et al. (2021), [Advances and Open Problems in Federated Learning](https://arxiv.org/abs/1912.04977): section 4.1 on who is trusted with what.

# %% [markdown]
# ## Next
#
# You have everything that a federation is made of: strategies, attacks, defences, roads. [Notebook 13](13_capstone.ipynb), the capstone, puts you in charge of one, with a threat model and a budget.
