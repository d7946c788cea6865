# ---
# jupyter:
#   fedkit:
#     budget_s: 60
#     needs: notebook 00, nothing else
#     learn:
#       - how four lines of settings become a datasite
#       - what lies in private, in public and in a mailbox
#       - how a permission file answers "may this person do this?"
#       - what the sync carries, what it refuses, and where to see it
# ---

# %% [markdown]
# # A datasite is a folder
#
# You will be able to make a datasite, say who may read and write in each of its folders, and show that its private folder never travels.

# %%
import hashlib
import shutil
from pathlib import Path

import fedkit as fk

# %% tags=["parameters"]
per_digit: int = 40  # images of each digit that Alice keeps
seed: int = 1  # decides which images these are

# %% [markdown]
# ## Where does a datasite begin?
#
# Federated learning trains one model on data that stays where it is. Each place that holds data is a **datasite**: a folder that carries
# its owner's e-mail as its name. SyftBox, an open-source program by OpenMined, keeps copies of such folders in step between machines.
# fedkit works with the same files and needs no server, so this course puts several "machines" side by side on yours.
#
# In this notebook you are Alice. You write four settings into a file named `.env`: who you are, which folder stands for your machine
# (your **data dir**), where the settings of your client go, and a port for your own web page. Both paths count from the folder in which `.env` lies.
#
# **Alice, participant**

# %%
root = fk.workspace("01")  # an empty folder for this notebook
home = "alice@example.org"  # a folder beside this .env
lines = [
    "EMAIL=alice@example.org",
    f"DATA_DIR={home}",
    f"CONFIG_PATH={home}/config.json",
    "PORT=8081",
]
(root / ".env").write_text("\n".join(lines), encoding="utf-8")
print((root / ".env").read_text(encoding="utf-8"))

# %% [markdown]
# A **client** is the program that works in your datasite on your behalf. It reads `.env` once and writes `config.json`, the file that every
# SyftBox client loads from then on. Your e-mail and your data dir are in it, your web page on this machine (`client_url`), and the server of
# the real network (`server_url`). fedkit writes that address down and never calls it.

# %%
env = fk.read_env(root / ".env")
url = f"http://localhost:{env['PORT']}"
settings = fk.ClientConfig(Path(env["DATA_DIR"]), env["EMAIL"], client_url=url)
settings.save(Path(env["CONFIG_PATH"]))
print(Path(env["CONFIG_PATH"]).read_text(encoding="utf-8"))

# %% [markdown]
# Now the folders. In a terminal, one command does all of this section: `fedkit client --env-file .env --once`.

# %%
alice = fk.Datasite.create(settings.data_dir, settings.email)
print("This datasite belongs to", alice.email)

# %% [markdown]
# ## What lies in it?
#
# An **app** is a program that a client runs in a datasite. Federated learning takes two. `fl_client` trains a model, for a **participant**:
# somebody who holds data. `fl_aggregator` averages the participants' models, for the **aggregator**: whoever asks for the training. Each
# app has a **mailbox**, a folder in which it finds and leaves its files.
#
# | folder | what it is for |
# |---|---|
# | `private/` | your data, one folder for each app; only your own client opens it |
# | `datasites/<e-mail>/public/` | what you want everybody to read |
# | `datasites/<e-mail>/app_data/fl_client/` | the participant's mailbox: requests arrive, projects run, projects are done |
# | `datasites/<e-mail>/app_data/fl_aggregator/` | the aggregator's mailbox: launch a project, run it, keep it |
# | `apps/` | where a real SyftBox installs apps; here it stays empty |
#
# Look for the most important fact of this course: `private` lies beside `datasites`, not inside it.
#
# Should you ever set up a real SyftBox, start its client first and fedkit after it (`fedkit client --syftbox`): of a data dir that it does not
# know, SyftBox offers to "remove the old folder", and a yes deletes `private/` too.

# %%
rules = ["syft.pub.yaml", "syftperm.yaml", "_.syftperm"]  # left out until the next section
title = "Alice's data dir: private/ lies beside datasites/, not in it"
figure = fk.plots.folder_tree(alice.data_dir, hide=rules, title=title)
fk.show(
    figure,
    "Alice's data dir holds apps, datasites with all her mailboxes, private beside it, and config.json",
)

# %% [markdown]
# Two folders have the same name. The outer one is the data dir: it stands for Alice's whole machine. The inner one, under `datasites/`, is what
# other machines may get copies of, file by file. `private/` has no address in there, so nobody can even ask for it.

# %% [markdown]
# ## Who may read what?
#
# The program that carries files between machines is called the **sync**. Before it carries a file, it asks a **permission file** of the
# datasite's owner. SyftBox has changed the format of these files, so they come in pairs: `syft.pub.yaml` is the one of today,
# `syftperm.yaml` the one of yesterday. fedkit writes both, so that every client understands. Where both lie, both have to allow.
#
# In them `**` means every file from here on downwards, and `*` means everybody. A rule has three lists. **read** allows reading, **write**
# allows new files and changes as well, **admin** allows all this and changing the permission files, too.

# %%
print((alice.public / "syft.pub.yaml").read_text(encoding="utf-8"))
print((alice.public / "syftperm.yaml").read_text(encoding="utf-8"))

# %% [markdown]
# Both say the same: Alice may do everything here, everybody else may read.
#
# Not every folder has such files. For any file, the sync looks in its folder, then in the folder above, and so on. **The nearest permission
# file decides.** Alice has three pairs of them: in `public/`, in `request/`, and at the top of her datasite, where the lists name nobody but
# her. (The picture above left them out, and with them `_.syftperm`, which one old app still looks for.) `fk.Permissions` asks them as the
# sync does. The files that it is asked about need not exist yet.

# %%
permissions = fk.Permissions(alice.datasites)
for path in ("public/hello.txt", "diary.txt", "app_data/fl_client/running/model.py"):
    answer = permissions.may("bob@example.org", "read", f"alice@example.org/{path}")
    print(f"Bob may read {path}: {answer}")

# %% [markdown]
# > **Predict.** Mallory is on the same network as Alice, and Alice has never heard of her. Where in Alice's datasite may Mallory put a new file?
# >
# > * a) nowhere
# > * b) in `public/`, because it is public
# > * c) in `app_data/fl_client/request/`, because requests come from others
# > * d) in every folder that is not private

# %%
people = [f"{name}@example.org" for name in ("alice", "bob", "mallory", "aggregator")]
places = [
    "alice@example.org/public/hello.txt",
    "alice@example.org/app_data/fl_client/request/letter.txt",
    "alice@example.org/app_data/fl_client/running/model.py",
    "alice@example.org/diary.txt",
]
for right in ("read", "create"):
    figure = fk.plots.permission_matrix(alice.datasites, people, places, right)
    fk.show(figure, fk.alt("01 who may", right=right))

# %% [markdown]
# c. `public` means that all may read, not that all may write. `request/` is the slot in Alice's door: whoever wants something of her drops a
# letter there. Look at its row in the first picture, too. Writing includes reading, so everybody can read Alice's letters. Nothing secret
# belongs in a request.

# %% [markdown]
# ## Can you decide like the sync?
#
# A permission file holds a rule, and a rule holds three lists of e-mails. The sync turns them into a yes or a no for each person. Now you do
# it: your function gets the three lists as a dict, such as `{"admin": ["alice@example.org"], "write": [], "read": ["*"]}`, and an e-mail.
# It says whether that person may read. Remember that more rights include fewer rights.
#
# **Exercise.** Write `may_read`. Run the cell as often as you like: the check tells you which case is still wrong.


# %% tags=["exercise"]
def may_read(access, email):
    """May the person with this e-mail read, under these three lists?"""
    # solution begin
    named = access["admin"] + access["write"] + access["read"]
    return email in named or "*" in named
    # solution end


fk.check.may_read(may_read)

# %% [markdown]
# Now the other way round: from people to a rule. Alice wants to keep notes in a folder `notes/`.
#
# * Bob may add notes and change them.
# * The aggregator may read them.
# * Mallory may do nothing.
#
# **Exercise.** Fill both lists. The owner needs no line of her own.

# %% tags=["exercise"]
rule = {
    "read": (
        ["aggregator@example.org"]  # solution
    ),
    "write": (
        ["bob@example.org"]  # solution
    ),
}
fk.check.open_folder(rule)

# %% [markdown]
# `fk.write_permissions` turns two such lists into both permission files of a folder. Here it opens another folder, `drafts/`, for Bob's eyes only.

# %%
fk.write_permissions(alice.root / "drafts", alice.email, read=["bob@example.org"])
(alice.root / "drafts" / "plan.txt").write_text("Train in March.", encoding="utf-8")
print((alice.root / "drafts" / "syft.pub.yaml").read_text(encoding="utf-8"))

# %% [markdown]
# ## What happens to a stranger's file?
#
# Alice is not alone any more. `fk.Network` puts more datasites beside hers, each with a data dir of its own, as if each were another
# machine. Mallory is among them: a member of the network whom Alice has given nothing. `network.sync()` is one pass of the sync, which
# brings every member a copy of what they may read, and nothing else. A real SyftBox client makes such passes all the time. Here you make
# each one yourself, so that you can look in between.
#
# **Mallory, outsider**

# %%
network = fk.Network.create(root, aggregator="aggregator@example.org", participants=people[:3])
network.sync()
mallory = network["mallory@example.org"]
copy = mallory.datasites / "alice@example.org"  # on Mallory's machine
figure = fk.plots.folder_tree(copy, title="All that Mallory's machine has of Alice")
fk.show(
    figure, "Mallory's copy of Alice's datasite has the folders public and request, and no drafts"
)

# %% [markdown]
# Compare it with the tree of Alice's own data dir. The drafts are missing, and so is everything else that only Alice may read.
#
# > **Predict.** Mallory writes a file into her copy of Alice's `public/`. What happens?
# >
# > * a) she gets an error as she writes
# > * b) the file lies on her disk, and the next sync carries it to Alice
# > * c) the file lies on her disk, and the next sync refuses to carry it

# %%
(copy / "public" / "prize.txt").write_text("You have won!", encoding="utf-8")
for event in network.sync():
    print(fk.render(event))
print("At Mallory's:", sorted(path.name for path in copy.glob("public/*.txt")))
print("At Alice's:  ", sorted(path.name for path in alice.public.glob("*.txt")))

# %% [markdown]
# c. Mallory's disk is Mallory's, and nothing stops her from writing into her own copy. The sync, between the machines, refuses. It **sets the file aside**: the copy on
# Mallory's disk is renamed, so that she can see what was refused, and the renamed file never travels. Alice notices nothing.
#
# Mallory tries the slot in the door.

# %%
(copy / "app_data/fl_client/request" / "prize.txt").write_text("You have won!", encoding="utf-8")
refused = network.sync()
print(len(refused), "files refused")
print("At Alice's:", sorted(path.name for path in alice.client().request.glob("*.txt")))

# %% [markdown]
# This one arrives. It is a letter and no more: a request does nothing until Alice approves it. That is notebook 02.

# %% [markdown]
# ## Does the private folder travel?
#
# Alice now puts handwritten digits into `private/fl_client/`: some threes and some eights of MNIST, a public collection of such images. Then the
# sync runs. It keeps a **ledger**: one line for every file that crossed from one machine to another, with sender, receiver, path and
# size. It also notes each file's **SHA-256**, a fingerprint of 64 hex digits. Files with equal fingerprints have equal content, so you can find
# a private file in the ledger even if somebody gave it another name.
#
# **Alice, participant**

# %%
mnist = fk.load_mnist()
draw = fk.generator(seed, alice.email)
images, labels = mnist.train_images, mnist.train_labels
(shard,) = fk.by_digits(images, labels, [[3, 8]], per_digit, generator=draw)
network.give_data(alice.email, shard)
network.sync()
print("Private:", sorted(path.name for path in alice.private_client.iterdir()))


# %%
def crossed(folder):
    """Who received a file with the content of one that lies in this folder?"""
    ours = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.pt")}
    return sorted(entry.receiver for entry in network.ledger() if entry.sha256 in ours)


print(
    len(network.ledger()),
    "files have crossed; with private content:",
    crossed(alice.private_client),
)

# %% [markdown]
# None. The ledger has a line for each of these files, and no line has the content of a private one.
#
# The boundary is a folder, though, and folders don't know what is in a file.
#
# > **Predict.** By mistake Alice copies her threes into `public/`. The sync runs. She notices, deletes the copy, and the sync runs again. What is left?
# >
# > * a) nothing: it is as if it had never happened
# > * b) the other machines lose their copies, but every one of them had the images for a while
# > * c) the other machines keep their copies for good

# %%
slip = alice.public / "mnist_label_3.pt"
shutil.copy(alice.private_client / slip.name, slip)
network.sync()
there = (copy / "public" / slip.name).exists()
slip.unlink()
network.sync()
print("At Mallory's before:", there, "- and after:", (copy / "public" / slip.name).exists())
print("Have received the threes:", crossed(alice.private_client))

# %% [markdown]
# b. The sync takes the copies back, and three machines have had the images all the same. Any of them may have kept another copy where no sync looks.
# The ledger tells you what has left. It can't bring it back.
#
# So here is what the folders promise, and what they don't. Nothing in `private/` leaves by itself. What *you* put elsewhere does. And
# training on private data makes something new, a model, that will travel. What a model tells about its data is the question of notebook 08.

# %% [markdown]
# ## What the aggregator saw
#
# **Aggregator**
#
# Every lesson ends with this look at the ledger, from the chair of whoever will run the training. So far no project has begun. The
# aggregator has everybody's permission files: they tell it where its letters may go. It also has the letter that Mallory left, because what
# lies in Alice's `request/` is for all to read; the picture counts it under Alice, as "code, config, results". And because of one slip it has a file of images.

# %%
figure = fk.plots.what_crossed(network.ledger(), aggregator=network.aggregator)
fk.show(
    figure,
    "Permission files came from everybody; one file of training images came from Alice, by mistake",
)
received = [entry for entry in network.ledger() if entry.receiver == network.aggregator]
fk.record(
    files=len(received),
    images=sum("mnist" in entry.path for entry in received),
    crossed=len(network.ledger()),
)

# %% [markdown]
# ## Recap
#
# * Four lines in `.env` become `config.json` and the folders of a datasite; `fedkit client` does it in one step.
# * The folder `private/` is yours alone, `public/` is for everybody's eyes, and a mailbox is where an app finds and leaves its files.
# * For each file the nearest permission file decides; writing includes reading, and `*` is everybody.
# * The sync carries what the owner allows, sets aside what it refuses, and writes each file it carries into the ledger.

# %% [markdown]
# ## Quiz
#
# Choose, and read why. Some of these need a line of code in a new cell.

# %%
fk.quiz("01")

# %% [markdown]
# ## Readings
#
# * OpenMined, [SyftBox](https://github.com/OpenMined/syftbox): the program whose folders you have built here.
# * OpenMined, [SyftBox Permissions Guide](https://github.com/OpenMined/PySyft/blob/dev/packages/syft-permissions/docs/permission-user-docs.md): `syft.pub.yaml`, with more patterns than we use.
# * OpenMined, [Syft Permissions](https://syftbox-documentation.openmined.org/reference/syft-permissions): the earlier `syftperm.yaml`, in which the rules of the folders above add up.

# %% [markdown]
# ## Next
#
# The folders stand, and no project has begun in them yet. In [02 Configure an experiment](02_configure.ipynb) the aggregator writes down what is to
# be trained, and Alice and Bob decide whether they take part.
