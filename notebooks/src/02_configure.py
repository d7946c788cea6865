# ---
# jupyter:
#   fedkit:
#     budget_s: 60
#     needs: notebook 01
#     learn:
#       - who does what, the aggregator and the participants
#       - what each of the eight keys of a config decides
#       - what a request is, and how you approve exactly what you have read
#       - how a client and its error messages keep you from running something else
# ---

# %% [markdown]
# # Configure an experiment
#
# You will be able to write the config of an experiment, launch it, review the request that arrives, and approve exactly those bytes.

# %%
import hashlib
import shutil

import fedkit as fk
from fedkit.datasite.tree import scan

# %% tags=["parameters"]
rounds: int = 3  # how often everybody trains and the models are averaged
epoch: int = 10  # passes over one's own data in each round
learning_rate: float = 0.1  # step size of each training step

# %% [markdown]
# ## Who takes part?
#
# Two roles, and each has its own folders. The **aggregator** asks for a training, sends the model out, averages what comes back, and never
# holds training data. A **participant** holds data, decides whether to take part, trains, and sends its model back. Here are one aggregator
# and two participants, Alice and Bob, each on a "machine" of their own, as in notebook 01.
#
# Here only the aggregator may read and write their `request/`.
#
# Nobody calls anybody. Each side looks at its files, does whatever can be done now, and says what it waits for. In fedkit one verb does
# this: **advance**. The function `go` below advances one datasite and prints what it says.

# %%
root = fk.workspace("02")
network = fk.Network.create(
    root,
    aggregator="aggregator@example.org",
    participants=["alice@example.org", "bob@example.org"],
)
aggregator, alice, bob = network.sites.values()
network.sync()
print(
    len(network.ledger()), "files have crossed: the permission files of Alice's and Bob's request/"
)


# %%
def go(site):
    """Advance one datasite and print what it says."""
    for event in fk.advance(site):
        print(fk.render(event).replace(str(network.root), "…"))


# %% [markdown]
# ## What does the config decide?
#
# The aggregator writes one small file, `fl_config.json`, and everybody obeys it. Eight keys are enough. A **round** is one exchange: the model goes
# out, everybody trains it, the results are averaged. An **epoch** is one pass over a participant's own images.
#
# | key | decides |
# |---|---|
# | `project_name` | the project's name, and the name of its folder at everybody's |
# | `aggregator` | the e-mail of whoever averages |
# | `participants` | the e-mails of those who are asked to train |
# | `rounds` | how often the model goes out and comes back |
# | `epoch` | how many passes over its own data a participant makes in each round |
# | `learning_rate` | how far one training step moves the weights |
# | `model_arch` | the file with the model's code |
# | `model_weight` | the file with the weights that everybody starts from |
#
# **Aggregator**

# %%
wanted = {
    "project_name": "MNIST_FL",
    "aggregator": aggregator.email,
    "participants": [alice.email, bob.email],
    "rounds": rounds,
    "epoch": epoch,
    "learning_rate": learning_rate,
    "model_arch": "model.py",
    "model_weight": "global_model_weight.pt",
}
config = fk.FLConfig.from_dict(wanted)
print(config.to_json())

# %% [markdown]
# Eight keys went in and ten come out. OpenMined's own aggregator app demands the last two, so fedkit writes them: the name of the class in `model.py`,
# and the file of test images that only the aggregator has.
#
# > **Predict.** With the config above, how often has Alice's model seen each of her images when the project is done?
# >
# > * a) 3 times
# > * b) 10 times
# > * c) 13 times
# > * d) 30 times

# %%
passes = [(n, e) for n in range(1, config.rounds + 1) for e in range(1, config.epoch + 1)]
n, e = passes[-1]
print(f"{len(passes)} passes; the last is epoch {e} of round {n}")

# %% [markdown]
# Each round has its own epochs, so they multiply.
#
# A config is written by hand, and hands slip. `FLConfig` checks it once, before anything starts. Its error names the file, the key, what is
# wrong, and after the arrow what to do.

# %%
for slip in ({"project_name": "MNIST/FL"}, {"epoch": "ten"}, {"participants": ["alice"]}):
    try:
        config.replace(**slip)
    except fk.FedkitError as error:
        print(error, end="\n\n")

# %% [markdown]
# (`participants.0` is the first in the list.) Let such messages lead you. The next config has five mistakes, and `FLConfig` tells you one at a time.
#
# **Exercise.** Take the dots away and run the cell: the check passes on what `FLConfig` says. In their place, add a line for the key that it names,
# such as `"project_name": "MNIST_FL",`, run again, read, add the next. The wanted experiment: three rounds of ten epochs, with Alice and Bob, and the code in `model.py`.

# %% tags=["exercise"]
broken = {key: value for key, value in wanted.items() if key != "epoch"}
broken["rounds"] = "3"
broken["participants"] = ["alice@example.org", "alice@example.org"]
broken["learning_rate"] = -0.1
broken["model_arch"] = "../model.py"
repairs = {
    # solution begin
    "rounds": 3,
    "model_arch": "model.py",
    "epoch": 10,
    "learning_rate": 0.1,
    "participants": ["alice@example.org", "bob@example.org"],
    # solution end
}
fk.check.valid_config(broken, repairs)

# %% [markdown]
# ## How much does the model weigh?
#
# Two more files go with the config. `model.py` is the code of the model. It will run on the machines of Alice and Bob, so they will want to read it
# first. It is short: a picture of 28 x 28 = 784 pixels goes into 128 hidden units, and these go into 10 outputs, the **logits**: one for each digit, and the
# largest is the model's guess. `nn.Linear(784, 128)` holds a weight for each pair of input and output, and one more number for each output, its bias.

# %%
print(fk.SAMPLE_MODEL[fk.SAMPLE_MODEL.index("class FLModel") :])

# %% [markdown]
# Weights and biases are all that the model learns, and all that will travel back and forth. Each is a `float32`, a number that takes four bytes.
#
# **Exercise.** How many numbers does the model hold, weights and biases of `fc1` and `fc2`? And how many bytes are they?

# %% tags=["exercise"]
weights = (
    784 * 128 + 128 + 128 * 10 + 10  # solution
)
size = (
    4 * 101_770  # solution
)
fk.check.model_size(weights, size)

# %% [markdown]
# The other file holds the **seed weights**: the random numbers that training starts from. All participants must start from the same ones, or an
# average would mix numbers that have nothing to do with each other. So the aggregator draws them once and sends them to everybody.

# %%
launch = aggregator.aggregator().launch
seed_weights = fk.seed_weights(fk.SAMPLE_MODEL, config.seed)
for name, tensor in seed_weights.items():
    print(f"{name:<12}{tuple(tensor.shape)!s:<12}{tensor.numel():>8,} numbers")
fk.write_state(launch / config.model_weight, seed_weights)
model_bytes = (launch / config.model_weight).stat().st_size
print(f"The file has {model_bytes:,} bytes.")

# %% [markdown]
# The file is a little larger than your count, since names and shapes are in it as well. Remember this size, about 409 kB. It is the unit in which
# federated learning pays for its traffic.

# %% [markdown]
# ## What happens after the launch?
#
# To **launch** a project, the aggregator puts the three files into its folder `launch/`: the code, the seed weights, and the config last, since the
# config says that all is there. The weights lie there already. Watch what happens when the code is forgotten.
#
# **Aggregator**

# %%
config.save(launch / "fl_config.json")
go(aggregator)

# %% [markdown]
# Nothing is lost and nothing has started. `advance` says who must do what. So do it, and advance again.
#
# > **Predict.** All three files lie in `launch/`, and the aggregator advances. What lies in `launch/` afterwards?
# >
# > * a) the three files, as before
# > * b) nothing
# > * c) the three files, and the average of the first round

# %%
(launch / "model.py").write_text(fk.SAMPLE_MODEL, encoding="utf-8", newline="\n")
before = scan(aggregator.root)
go(aggregator)
fk.show(
    fk.plots.folder_tree(
        aggregator.root, before, hide=["fl_client", "syft.pub.yaml", "syftperm.yaml"]
    ),
    fk.alt("02 launch"),
)

# %% [markdown]
# b. The three files have moved to `running/MNIST_FL/`, all at once or not at all. Beside them lies the first **global model**, `agg_model_round_0.pt`:
# the seed weights, under the name that clients look for. `fl_clients/` holds an inbox for each participant, into which nobody else may write. The
# files under `public/` are for the project's web page. (The picture leaves the permission files out. The line about `max_samples` is a warning for later:
# in the average, an update counts by the number of images that its sender claims. Notebooks 04 and 07 come to that.)
#
# The requests went out, too: into the aggregator's copies of Alice's and Bob's `request/`. The sync carries them.

# %%
before = scan(alice.root)
network.sync()
title = "A request has arrived at Alice's: two new files (+)"
figure = fk.plots.folder_tree(alice.root, before, title=title)
fk.show(figure, "Two new files in Alice's request folder: fl_config.json and model.py of MNIST_FL")

# %% [markdown]
# ## What do you approve?
#
# Two files have arrived: the config and the code. No weights yet, and nothing runs. It would be unwise to let it run unread, because `model.py` is a
# program. Once approved, it works on your machine with your rights, next to your private data. So a person looks first. `fk.review` reads the
# request once and shows all that matters: who asks, what would run, and a fingerprint (SHA-256, notebook 01) of each file.
#
# **Alice, participant**

# %%
go(alice)
request = fk.review(alice, "MNIST_FL")
print("Asked by", request.aggregator, "for", request.config.rounds, "rounds")
for name, digest in request.hashes.items():
    print(f"{digest[:16]}…  {name}")

# %%
print(request.source)

# %% [markdown]
# Read it as Alice does. Its first line says what you have counted. Does it open files? Does it reach for the network? It imports PyTorch,
# multiplies and adds. Alice approves.
#
# To **approve** is to let these bytes run, and no others. `fk.approve` writes what you have reviewed into `running/`, and **pins** the fingerprints: it notes
# them in your private folder, where nobody else can change them.

# %%
before = scan(alice.client().path)
print(fk.render(fk.approve(alice, request)))
figure = fk.plots.folder_tree(alice.client().path, before)
fk.show(
    figure,
    "Alice's running folder has the config, the code, a folder for global models and a state file",
)

# %% [markdown]
# Two folders have opened to the aggregator, and their permission files say how far: into `agg_weights/` it may write global models, in `state/` it may
# read how far Alice's client is. The rest of the project's folder is hers alone.
#
# **Bob, participant**
#
# Bob prefers the file manager. He copies the request from `request/` to `running/`, and that is an approval as well: on its next advance his client compares the
# copy with the request, pins the fingerprints, and makes the other folders. In a terminal, inside Bob's data dir
# (`runs/02/bob@example.org`), it is `cp -r`, or `fedkit approve MNIST_FL`.

# %%
box = bob.client()
fk.review(bob, "MNIST_FL")  # Bob reads it, too
shutil.copytree(box.request / "MNIST_FL", box.running / "MNIST_FL", dirs_exist_ok=True)
go(bob)

# %% [markdown]
# "Ready to take part" is a file, too: the permission file in `agg_weights/`. The sync carries it, and the aggregator knows.
#
# **Aggregator**

# %%
network.sync()
go(aggregator)

# %% [markdown]
# Both have approved. What is missing now is data: images for Alice and Bob, test images for the aggregator. They follow in notebooks 03 and 04.

# %% [markdown]
# ## What if the code changes after the approval?
#
# Alice has approved one `model.py`. What if another one lies there tomorrow? Somebody may have edited it, a disk may have failed, or the aggregator
# may have sent a "small correction". Her client does not ask why. Each time before it works, it takes the fingerprints of the files and
# compares them with those that were pinned.
#
# **Exercise.** Write this comparison. You get the pinned fingerprints, name by name, and the bytes that lie there now. `hashlib.sha256(data).hexdigest()` is the
# fingerprint of `data`.


# %% tags=["exercise"]
def changed(approved, contents):
    """Names of the files that are not the approved bytes any more."""
    # solution begin
    names = []
    for name, digest in approved.items():
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            names.append(name)
    return names
    # solution end


fk.check.changed_files(changed)

# %% [markdown]
# Now the real client. The change below is as small as a change can be: a comment that does nothing.
#
# > **Predict.** Alice's `model.py` in `running/` gets one more line, a comment. Her client advances. What does it do?
# >
# > * a) it trains: a comment changes nothing
# > * b) it puts the approved file back by itself
# > * c) it refuses, and leaves everything as it lies there

# %%
code = alice.client().project("MNIST_FL").path / "model.py"
code.write_bytes(code.read_bytes() + b"# a harmless comment\n")
go(alice)

# %% [markdown]
# c. A fingerprint does not know what is harmless. The message says which file, which fingerprints, and the two ways out. Alice restores the file
# that she has approved, and the client goes on where it was.

# %%
code.write_bytes(request.source_bytes)
go(alice)

# %% [markdown]
# **Aggregator**
#
# Could the aggregator change the code in Alice's `running/` itself? It tries, in its copy of her datasite.

# %%
theirs = aggregator.client(alice.email).project("MNIST_FL").path / "model.py"
theirs.write_text("print('something else')", encoding="utf-8")
for event in network.sync():
    print(fk.render(event))

# %% [markdown]
# Two locks, then. Permissions keep others from writing into `running/`. The pinned fingerprints hold even where permissions fail. What no lock gives you is
# judgement: an approved program that copies private images to `public/` would do so. Reading it is up to you.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# The config is out and both participants are in. What does the aggregator know about them by now? Each has sent permission files and one small
# file, `state.json`. It says that no data is there yet, and nothing about what the data will be.

# %%
figure = fk.plots.what_crossed(network.ledger(), aggregator=aggregator.email)
fk.show(
    figure,
    "From Alice and from Bob the aggregator has permission files and one state file each, no model and no image",
)
state = aggregator.client(alice.email).project("MNIST_FL").state
print("Alice's state.json:", fk.read_json(state))
fk.record(model_bytes=model_bytes, passes=len(passes), crossed=len(network.ledger()))

# %% [markdown]
# ## Recap
#
# * The aggregator asks, sends and averages, and holds no training data; a participant holds data, decides, trains and sends back.
# * Eight keys name the project, the people, the effort and the two files of the model; rounds and epochs multiply.
# * A request is two files in your mailbox; an approval lets exactly these bytes run and pins their fingerprints.
# * Errors name file, key and remedy before anything starts, and a client refuses code that changed after its approval.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("02")

# %% [markdown]
# ## Readings
#
# * McMahan et al. (2017), [Communication-Efficient Learning of Deep Networks from Decentralized Data](https://arxiv.org/abs/1602.05629): where rounds, local epochs and the average come from; section 2 is enough.
# * OpenMined, [Federated Learning Primer](https://syftbox-documentation.openmined.org/tutorials/federated-learning/fl-intro): the two apps whose mailboxes you have used.
# * PyTorch, [torch.load](https://docs.pytorch.org/docs/stable/generated/torch.load.html): why files of weights, too, must be opened with care (`weights_only`).

# %% [markdown]
# ## Next
#
# Everybody has agreed, and nobody has trained. In notebook 03 Alice and Bob put their digits into their private folders and train.
