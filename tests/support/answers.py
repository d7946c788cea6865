"""What learners hand in, lesson by lesson: the check's name -> (state, a part of the reply, the cell) each.

A cell that only has an expression is a value; else its function of the same name, or what it calls `answers`, is handed in.
"""

OPEN, WRONG, RIGHT = "not yet", "try again", "right"

ANSWERS: dict[str, list[tuple[str, str, str]]] = {}


def _function(check: str, head: str, *cases: tuple[str, str, str], lines: str = "@@") -> None:
    """Each case is what a learner writes into `lines` for @@ (or, before and after a |, for @1 and @2), below `head`."""
    _FORMS[check] = (head, lines)
    _more(check, *cases)


def _more(check: str, *cases: tuple[str, str, str]) -> None:
    """More cases of an exercise that is there already."""
    head, lines = _FORMS.get(check, ("", "@@"))
    ANSWERS.setdefault(check, []).extend(
        (
            state,
            says,
            body if not head or body.startswith(_WHOLE) else f"{head}\n{_filled(lines, body)}",
        )
        for state, says, body in cases
    )


_FORMS: dict[str, tuple[str, str]] = {}
_WHOLE = ("def ", "class ", "answers")


def _filled(lines: str, body: str) -> str:
    parts = {"@@": body} if "@@" in lines else dict(zip(("@1", "@2"), body.split("|"), strict=True))
    filled = []
    for line in lines.splitlines():
        mark = next((mark for mark in parts if mark in line), None)
        before = "    " + line[: len(line) - len(line.lstrip())]
        text = line.strip() if mark is None else line.strip().replace(mark, parts[mark])
        filled += [before + written for written in text.splitlines()]
    return "\n".join(filled)


def _values(check: str, *cases: tuple[str, str, str]) -> None:
    ANSWERS[check] = list(cases)


# --------------------------------------------------------------------------------------- lesson 01
_function(
    "may_read",
    "def may_read(access, email):",
    (OPEN, "Replace the dots", "..."),
    (OPEN, "Replace the dots", "raise NotImplementedError"),
    (OPEN, "None, which is what print", "answers = (None,)"),
    (RIGHT, "allows more",
     "named = access['admin'] + access['write'] + access['read']\nreturn email in named or '*' in named"),
    (RIGHT, "allows more", "return any(email in v or '*' in v for v in access.values())"),
    (RIGHT, "allows more",
     "access['read'] += access['write'] + access['admin']\nreturn email in access['read'] or '*' in access['read']"),
    (RIGHT, "allows more", "return np.bool_(bool({email, '*'} & set(sum(access.values(), []))))"),
    (RIGHT, "allows more", "return torch.tensor(any(x in v for v in access.values() for x in (email, '*')))"),
    (WRONG, "The read list holds *", "return any(email in v for v in access.values())"),
    (WRONG, "Writing includes reading", "return email in access['read'] or '*' in access['read']"),
    (WRONG, "Compare whole e-mails", "return any(email in e or e == '*' for v in access.values() for e in v)"),
    (WRONG, "lets Mallory read", "return True"),
    (WRONG, "refuses him", "return False"),
    (WRONG, "True or False; yours is of type str", "return 'yes'"),
    (WRONG, "True or False; yours is of type int", "return 1"),
    (WRONG, "prints its answer", "print(email in access['read'])"),
    (WRONG, "gives nothing back", "email in access['read']"),
    (WRONG, "Your function takes (email, access); the check gives it (access, email)",
     "def may_read(email, access):\n    return email in access['read']"),
    (WRONG, "with 2 values, (access, email); yours takes (access)", "def may_read(access):\n    return True"),
    (WRONG, "KeyError: 'reed' (line 2 of may_read: return email in access['reed'])", "return email in access['reed']"),
    (WRONG, "name 'emial' is not defined", "return emial in access['read']"),
    (WRONG, "Did you mean email?", "return emial in access['read'] or email == '*'"),
    (WRONG, "the function itself, by its name and without brackets", "answers = (True,)"),
    (WRONG, "still running after some seconds", "while True:\n    pass"),
    (WRONG, "calls itself again and again", "return may_read(access, email)"),
    (WRONG, "ends the whole program", "import sys\nsys.exit()"),
)  # fmt: skip
_values(
    "open_folder",
    (OPEN, "Two lists of e-mails", "{'read': ..., 'write': ...}"),
    (OPEN, "The list of read is right; write is still open", "{'read': ['aggregator@example.org'], 'write': ...}"),
    (OPEN, "The list of write is right; read is still open", "{'read': [...], 'write': ['bob@example.org']}"),
    (WRONG, "Mallory, who was given nothing, reads", "{'read': ['*'], 'write': ...}"),
    (RIGHT, "no more", "{'read': ['aggregator@example.org'], 'write': ['bob@example.org']}"),
    (RIGHT, "no more", "{'read': ['bob@example.org', 'aggregator@example.org'], 'write': ('bob@example.org',)}"),
    (RIGHT, "no more", "{'read': np.array(['aggregator@example.org']), 'write': {'bob@example.org'}}"),
    (WRONG, "Bob can't put a new note", "{'read': ['aggregator@example.org', 'bob@example.org'], 'write': []}"),
    (WRONG, "aggregator can't read", "{'read': [], 'write': ['bob@example.org']}"),
    (WRONG, "the aggregator writes", "{'read': [], 'write': ['bob@example.org', 'aggregator@example.org']}"),
    (WRONG, "Did you mean bob@example.org?", "{'read': ['aggregator@example.org'], 'write': ['bop@example.org']}"),
    (WRONG, "should be a list", "{'read': 'aggregator@example.org', 'write': ['bob@example.org']}"),
    (WRONG, "the keys read and write", "{'read': ['aggregator@example.org']}"),
    (WRONG, "the keys read and write", "[['aggregator@example.org'], ['bob@example.org']]"),
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 02
_CONFIG = """answers = ({'project_name': 'MNIST_FL', 'aggregator': 'a@example.org', 'model_weight': 'w.pt', 'rounds': '3',
    'participants': ['alice@example.org', 'bob@example.org'], 'learning_rate': -0.1, 'model_arch': '../model.py'}, @@)"""
_FIXED = "'rounds': 3, 'model_arch': 'model.py', 'epoch': 10, 'learning_rate': 0.1"
ANSWERS["valid_config"] = [
    (state, says, _CONFIG.replace("@@", repairs))
    for state, says, repairs in (
        (OPEN, "the first mistake", "{...}"),
        (WRONG, "FLConfig still refuses it", "{}"),
        (WRONG, "write a whole number, without quotes", "{}"),
        (RIGHT, "in the same way", "{" + _FIXED + "}"),
        (RIGHT, "in the same way", "{**{" + _FIXED + "}, 'rounds': np.int64(3), 'learning_rate': torch.tensor(0.1)}"),
        (WRONG, "there were three rounds", "{**{" + _FIXED + "}, 'rounds': 4}"),
        (WRONG, "ten epochs", "{**{" + _FIXED + "}, 'epoch': 1}"),
        (WRONG, "Did you mean 'epoch'?", "{'epochs': 10}"),
        (WRONG, "should be a dict", "[('rounds', 3)]"),
    )
]  # fmt: skip
_values(
    "model_size",
    (OPEN, "fc1 joins", "..., ..."),
    (OPEN, "The number of weights is right; their bytes are still open", "101_770, ..."),
    (OPEN, "The bytes are right; the number of weights is still open", "..., 407_080"),
    (RIGHT, "101,770 weights", "784 * 128 + 128 + 128 * 10 + 10, 4 * 101_770"),
    (RIGHT, "101,770 weights", "np.int64(101_770), torch.tensor(407_080)"),
    (RIGHT, "101,770 weights", "np.array([101_770]), 407_080.0"),
    (WRONG, "swapped", "407_080, 101_770"),
    (WRONG, "has a bias too", "784 * 128 + 1280, 4"),
    (WRONG, "has a bias too", "784 * 128 + 1280, ..."),
    (WRONG, "lacks its biases", "784 * 128 + 128 + 1280, 4"),
    (WRONG, "not the number of weights", "100_000, 4"),
    (WRONG, "float64", "101_770, 8 * 101_770"),
    (WRONG, "bits", "101_770, 32 * 101_770"),
    (WRONG, "thousands of bytes", "101_770, 407"),
    (WRONG, "One byte holds", "101_770, 101_770"),
    (WRONG, "stands without quotes", "'101770', 407_080"),
    (WRONG, "belongs 2 answers", "101_770"),
)  # fmt: skip
_function(
    "changed_files",
    "def changed_files(approved, contents):",
    (OPEN, "take the fingerprint", "..."),
    (RIGHT, "One byte is enough",
     "return [n for n, d in approved.items() if hashlib.sha256(contents[n]).hexdigest() != d]"),
    (RIGHT, "One byte is enough",
     "for n, d in approved.items():\n    if hashlib.sha256(contents[n]).hexdigest() != d:\n        yield n"),
    (RIGHT, "One byte is enough",
     "return np.array([n for n in approved if hashlib.sha256(contents[n]).hexdigest() != approved[n]])"),
    (RIGHT, "One byte is enough", "return {n for n in approved if hashlib.sha256(contents[n]).hexdigest() != approved[n]}"),
    (WRONG, "the other way round",
     "return [n for n, d in approved.items() if hashlib.sha256(contents[n]).hexdigest() == d]"),
    (WRONG, "are ever equal", "return [n for n, d in approved.items() if hashlib.sha256(contents[n]) != d]"),
    (WRONG, "are ever equal", "return [n for n, d in approved.items() if hashlib.sha256(contents[n]).digest() != d]"),
    (WRONG, "the same length, other bytes", "return [n for n in approved if len(contents[n]) not in (13, 14)]"),
    (WRONG, "list of file names", "return True"),
    (WRONG, "list of file names", "return [(n, d) for n, d in approved.items()]"),
    (WRONG, "Does every way through it end in a return",
     "for n, d in approved.items():\n    if hashlib.sha256(contents[n]).hexdigest() != d:\n        return [n]"),
    (WRONG, "prints its answer", "print([n for n in approved])"),
    (WRONG, "stops with TypeError", "return [n for n, d in approved.items() if hashlib.sha256(n).hexdigest() != d]"),
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 03
_function(
    "sgd_epoch",
    "def sgd_epoch(model, images, labels, learning_rate, batch_size, generator, loss_of=F.cross_entropy):",
    (OPEN, "Two lines are missing", "loss = ...|..."),
    (OPEN, "The loss is right; the step is still open", "loss = loss_of(model(images[batch]), labels[batch])|..."),
    (OPEN, "1 of 2 is filled in; still open: line 6, loss = ...",
     "loss = ...|parameter.add_(gradient, alpha=-learning_rate)"),
    (RIGHT, "plain SGD",
     "loss = loss_of(model(images[batch]), labels[batch])|parameter.add_(gradient, alpha=-learning_rate)"),
    (RIGHT, "plain SGD",
     "loss = F.cross_entropy(model(images[batch]), labels[batch])|parameter -= learning_rate * gradient"),
    (RIGHT, "plain SGD",
     "loss = loss_of(model(images[batch]), labels[batch])|parameter.copy_(parameter - learning_rate * gradient)"),
    (WRONG, "uphill", "loss = loss_of(model(images[batch]), labels[batch])|parameter += learning_rate * gradient"),
    (WRONG, "Where is the learning rate", "loss = loss_of(model(images[batch]), labels[batch])|parameter -= gradient"),
    (WRONG, "only gives a new tensor that name",
     "loss = loss_of(model(images[batch]), labels[batch])|parameter = parameter - learning_rate * gradient"),
    (WRONG, "Each step looks at all images", "loss = loss_of(model(images), labels)|parameter -= learning_rate * gradient"),
    (WRONG, "the same first images",
     "batch = torch.arange(4); loss = loss_of(model(images[batch]), labels[batch])|parameter -= "
     "learning_rate * gradient"),
    (WRONG, "Your function sets los and never uses it; it uses loss",
     "los = loss_of(model(images[batch]), labels[batch])|parameter -= learning_rate * gradient"),
    (WRONG, "Do the arguments stand in the right order",
     "loss = loss_of(labels[batch], model(images[batch]))|parameter -= learning_rate * gradient"),
    lines="parameters = [p for p in model.parameters() if p.requires_grad]\n"
    "order = torch.randperm(len(labels), generator=generator)\ntotal = 0.0\nfor batch in order.split(batch_size):\n    @1\n"
    "    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)\n    with torch.no_grad():\n"
    "        for parameter, gradient in zip(parameters, gradients, strict=True):\n            @2\n"
    "    total += loss.item() * len(batch)\nreturn total / len(labels)",
)  # fmt: skip
_values(
    "steps_in_a_round",
    (OPEN, "First the batches", "..."),
    (OPEN, "None, which is what print", "None"),
    (RIGHT, "320 a round", "320"),
    (RIGHT, "320 a round", "np.ceil(2000 / 64) * 10"),
    (RIGHT, "320 a round", "torch.tensor([320])"),
    (WRONG, "31 batches of 64", "310"),
    (WRONG, "Half a step", "2000 / 64 * 10"),
    (WRONG, "A round has ten", "32"),
    (WRONG, "Count one round", "960"),
    (WRONG, "a step for each image", "20_000"),
    (WRONG, "Count the batches of one epoch", "17"),
    (WRONG, "stands without quotes", "'320'"),
    (WRONG, "type bool", "True"),
    (WRONG, "type list", "[320]"),
    (WRONG, "finite", "float('inf')"),
    (WRONG, "sane size", "10**400"),
    (WRONG, "type builtin_function_or_method", "print"),
)  # fmt: skip
_values(
    "what_the_facts_tell",
    (OPEN, "Read what the cell above prints", "{...}"),
    (RIGHT, "no digits, no images", "{'a', 'c', 'd'}"),
    (RIGHT, "no digits, no images", "'acd'"),
    (RIGHT, "no digits, no images", "'A, C, D'"),
    (RIGHT, "no digits, no images", "np.array(['a', 'c', 'd'])"),
    (WRONG, "No name of a digit", "{'a', 'b', 'c', 'd'}"),
    (WRONG, "counts Alice's images", "['c', 'd']"),
    (WRONG, "letters from a to e", "{'a', 'f'}"),
    (WRONG, "letters from a to e", "{1, 3, 4}"),
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 04
_function(
    "mixing_weights",
    "def mixing_weights(updates, weighting='samples'):",
    (OPEN, "Two returns are missing", "...|..."),
    (OPEN, "The first return is right; the second is still open", "[1 / len(updates)] * len(updates)|..."),
    (OPEN, "The second return is right; the first is still open", "...|[count / sum(counts) for count in counts]"),
    (WRONG, "your shares add up to 800", "...|counts"),
    (WRONG, "calculate with each of its items", "[1 / len(updates)] * len(updates)|counts / sum(counts)"),
    (RIGHT, "Every image pulls", "[1 / len(updates)] * len(updates)|[count / sum(counts) for count in counts]"),
    (RIGHT, "Every image pulls", "torch.ones(len(updates)) / len(updates)|np.array(counts) / sum(counts)"),
    (RIGHT, "Every image pulls",
     "[np.float64(1 / len(updates)) for u in updates]|[torch.tensor(c / sum(counts)).double() for c in counts]"),
    (WRONG, "your shares add up to 2", "[1 for u in updates]|[count / sum(counts) for count in counts]"),
    (WRONG, "should have three quarters", "[1 / len(updates)] * len(updates)|[1 / len(counts)] * len(counts)"),
    (WRONG, "add up to", "[1 / len(updates)] * len(updates)|[count / len(counts) for count in counts]"),
    (WRONG, "one share for each update", "1 / len(updates)|[count / sum(counts) for count in counts]"),
    (WRONG, "2 updates should have 2 shares; yours are 1", "[1]|[count / sum(counts) for count in counts]"),
    (WRONG, "No line of your function sets it.", "[1 / len(updates)] * len(updates)|[c / order for c in counts]"),
    (WRONG, "Did you mean counts?", "[1 / len(updates)] * len(updates)|[c / sum(count) for c in counts]"),
    lines="known = [update.num_samples for update in updates if update.num_samples]\n"
    "if weighting == 'equal' or not known:\n    return @1\n"
    "counts = [update.num_samples or statistics.median(known) for update in updates]\nreturn @2",
)  # fmt: skip
_function(
    "fedavg",
    "def fedavg(updates, weighting='samples'):",
    (OPEN, "`parts` is a list", "..."),
    (OPEN, "`parts` is a list", "parts = ..."),
    (RIGHT, "no more than this", "parts = [s * u.state[name].double() for s, u in zip(shares, updates)]"),
    (RIGHT, "no more than this", "parts = [u.state[name].double().mul(shares[k]) for k, u in enumerate(updates)]"),
    (RIGHT, "no more than this",
     "parts = tuple(torch.tensor(s) * u.state[name].double() for s, u in zip(shares, updates))"),
    (WRONG, "name 'parts' is not defined", "part = [s * u.state[name].double() for s, u in zip(shares, updates)]"),
    (WRONG, "it uses parts, which it does not set", "part = [s * u.state[name].double() for s, u in zip(shares, updates)]"),
    (WRONG, "added up in full", "parts = [u.state[name].double() for u in updates]"),
    (WRONG, "count the same", "parts = [u.state[name].double() / len(updates) for u in updates]"),
    (WRONG, "with the wrong updates", "parts = [s * u.state[name].double() for s, u in zip(shares[::-1], updates)]"),
    (WRONG, "multiplied by the counts", "parts = [u.num_samples * u.state[name].double() for u in updates]"),
    (WRONG, "has changed one",
     "parts = [u.state[name].mul_(s).double() if tensor.is_floating_point() else s * "
     "u.state[name].double() for s, u in zip(shares, updates)]"),
    (WRONG, "stops with KeyError", "parts = [s * u.state['fc9'].double() for s, u in zip(shares, updates)]"),
    lines="shares = fk.mixing_weights(updates, weighting)\naverage = {}\n"
    "for name, tensor in updates[0].state.items():\n    @@\n"
    "    total = sum(parts[1:], start=parts[0])\n"
    "    average[name] = (total if tensor.is_floating_point() else total.round()).to(tensor.dtype)\nreturn average",
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 05
_values(
    "odd_request",
    (OPEN, "Read each finding", "..., ..."),
    (OPEN, "Declining fits; the line is still open", "..., 'decline'"),
    (OPEN, "The line fits; the answer is still open", "21, ..."),
    (WRONG, "counts the processors", "3, 'decline'"),
    (WRONG, "counts the processors", "8, 'decline'"),
    (WRONG, "keeps nothing of the images", "19, 'decline'"),
    (WRONG, "would let it run", "21, 'approve'"),
    (WRONG, "a word in quotes", "21, False"),
    (WRONG, "a word in quotes", "21, 'no'"),
    (RIGHT, "into a buffer", "21, 'decline'"),
    (RIGHT, "into a buffer", "np.int64(21), ' Decline'"),
)
_values(
    "quorum",
    (OPEN, "With how many updates", "..., ..."),
    (OPEN, "The quorum fits; the prediction is still open", "3, ..."),
    (OPEN, "The prediction fits; the quorum is still open", "..., 0.84"),
    (RIGHT, "Three of four go on", "3, 0.84"),
    (RIGHT, "Three of four go on", "np.int8(3), np.float32(0.8)"),
    (WRONG, "waits for Dan", "4, 0.84"),
    (WRONG, "one more were missing", "2, 0.84"),
    (WRONG, "between 0 and 1", "3, 84"),
    (WRONG, "not as bad", "3, 0.5"),
    (WRONG, "became lower", "3, 0.97"),
    (WRONG, "swapped", "0.84, 3"),
)  # fmt: skip
_function(
    "refuse_nan",
    "def refuse_nan(state):",
    (OPEN, "Go through state.items()", "..."),
    (RIGHT, "to the last bit",
     "for name, t in state.items():\n    if torch.isnan(t).any():\n        return name + ' holds NaN'"),
    (RIGHT, "to the last bit",
     "bad = [n for n in state if state[n].isnan().any()]\nreturn 'NaN in ' + bad[0] if bad else None"),
    (WRONG, "is not noticed", "return None"),
    (WRONG, "in the last of two", "for t in state.values():\n    return 'NaN' if t.isnan().any() else None"),
    (WRONG, "is not noticed", "if all(t.isnan().any() for t in state.values()):\n    return 'NaN'"),
    (WRONG, "A state without any NaN is refused", "return 'no'"),
    (WRONG, "A state without any NaN is refused", "for t in state.values():\n    if not t.all():\n        return 'zero'"),
    (WRONG, "a text or None; yours is of type bool", "return any(t.isnan().any().item() for t in state.values())"),
    (WRONG, "prints its answer", "for n, t in state.items():\n    if t.isnan().any():\n        print(n, 'holds NaN')"),
    (WRONG, "empty text", "if any(t.isnan().any() for t in state.values()):\n    return ''"),
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 06
_function(
    "deal_dirichlet",
    "def deal_dirichlet(labels, participants, alpha, rng):",
    (OPEN, "`rng` has a method", "..."),
    (RIGHT, "says how even",
     "shares = rng.dirichlet([alpha] * participants)\ncuts = (shares.cumsum()[:-1] * len(mine)).astype(int).tolist()"),
    (RIGHT, "says how even",
     "shares = torch.from_numpy(rng.dirichlet([alpha] * participants))\ncuts = "
     "tuple((shares.cumsum(0)[:-1] * len(mine)).long().tolist())"),
    (WRONG, "draw of its own", "cuts = [len(mine) * k // participants for k in range(1, participants)]"),
    (WRONG, "Is alpha used",
     "shares = rng.dirichlet([0.5] * participants)\ncuts = (shares.cumsum()[:-1] * len(mine)).astype(int).tolist()"),
    (WRONG, "the other way round",
     "shares = rng.dirichlet([1 / alpha] * participants)\ncuts = (shares.cumsum()[:-1] * "
     "len(mine)).astype(int).tolist()"),
    (WRONG, "stops with", "shares = rng.dirichlet(alpha)\ncuts = shares.cumsum()"),
    lines="parts = [[] for _ in range(participants)]\nfor digit in labels.unique().tolist():\n"
    "    mine = torch.from_numpy(rng.permutation((labels == digit).nonzero().flatten().numpy()))\n    @@\n"
    "    for part, piece in zip(parts, mine.tensor_split(cuts), strict=True):\n        part.append(piece)\n"
    "return [torch.cat(part) for part in parts]",
)  # fmt: skip
_function(
    "agreement",
    "def agreement(model, updates):",
    (OPEN, "Above the line", "..."),
    (RIGHT, "as long as they agree", "return (shares @ rows).norm() / walked"),
    (RIGHT, "as long as they agree", "return float(np.linalg.norm((shares @ rows).numpy()) / walked)"),
    (WRONG, "upside down", "return walked / (shares @ rows).norm()"),
    (WRONG, "Do your shares count", "return rows.mean(0).norm() / rows.norm(dim=1).mean()"),
    (WRONG, "all of it is left", "return (shares @ rows).norm()"),
    (WRONG, "one number", "return shares @ rows"),
    (WRONG, "gives nothing back", "left = (shares @ rows).norm() / walked"),
    lines="shares = torch.tensor(fk.mixing_weights(updates)).double()\n"
    "rows = torch.stack([(u.state['w'] - model['w']).double() for u in updates])\n"
    "walked = float(shares @ rows.norm(dim=1))\n@@",
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 07
_function(
    "proximal_term",
    "def proximal_term(weights, global_weights, mu):",
    (OPEN, "Go through both dicts", "..."),
    (RIGHT, "the stronger the pull",
     "return mu / 2 * sum((w - global_weights[n]).square().sum() for n, w in weights.items())"),
    (RIGHT, "the stronger the pull",
     "return sum(F.mse_loss(w, global_weights[n], reduction='sum') for n, w in weights.items()).reshape(1) * mu / 2"),
    (WRONG, "the distance",
     "return mu / 2 * sum((w - global_weights[n]).square().sum() for n, w in weights.items()).sqrt()"),
    (WRONG, "twice too much", "return mu * sum((w - global_weights[n]).square().sum() for n, w in weights.items())"),
    (WRONG, "mu/2 is missing", "return sum((w - global_weights[n]).square().sum() for n, w in weights.items())"),
    (WRONG, "must not cancel", "return mu / 2 * sum((w - global_weights[n]).sum() for n, w in weights.items()) ** 2"),
    (WRONG, "has no gradient",
     "return mu / 2 * sum((w - global_weights[n]).square().sum() for n, w in weights.items()).item()"),
    (WRONG, "has no gradient",
     "return mu / 2 * sum(np.square(w.detach().numpy() - global_weights[n].numpy()).sum() for n, w in "
     "weights.items())"),
    (WRONG, "One tensor is left out",
     "for n, w in weights.items():\n    return mu / 2 * (w - global_weights[n]).square().sum()"),
)  # fmt: skip
_function(
    "coordinate_median",
    "def coordinate_median(rows):",
    (OPEN, "Sort every column", "..."),
    (RIGHT, "can't carry it away", "s, k = rows.sort(dim=0).values, len(rows)\nreturn (s[(k - 1) // 2] + s[k // 2]) / 2"),
    (RIGHT, "can't carry it away", "return np.median(rows.numpy(), axis=0)"),
    (RIGHT, "can't carry it away", "return [float(np.median(c)) for c in rows.T.numpy()]"),
    (RIGHT, "can't carry it away", "return rows.quantile(0.5, dim=0)"),
    (WRONG, "This is the mean", "return rows.mean(0)"),
    (WRONG, "one of the two middle values", "return rows.median(dim=0).values"),
    (WRONG, "values and their places", "return rows.median(dim=0)"),
    (WRONG, "number for each column", "return rows.median()"),
    (WRONG, "yours have changed", "rows[:] = rows.sort(dim=0).values\nreturn rows[len(rows) // 2]"),
    (WRONG, "sorted by itself", "return rows[len(rows) // 2]"),
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 08
_function(
    "count_labels",
    "def count_labels(bias_gradient, prediction, samples):",
    (OPEN, "The bias's gradient", "..."),
    (RIGHT, "own label's bias", "return samples * (prediction - bias_gradient)"),
    (RIGHT, "own label's bias", "return [samples * float(p - g) for p, g in zip(prediction, bias_gradient)]"),
    (RIGHT, "own label's bias", "prediction -= bias_gradient\nreturn prediction * samples"),
    (WRONG, "Those are shares", "return prediction - bias_gradient"),
    (WRONG, "can't be below 0", "return samples * (bias_gradient - prediction)"),
    (WRONG, "for 4 it is not", "return 8 * (prediction - bias_gradient)"),
    (WRONG, "one count for each label", "return 8"),
    (WRONG, "gives it (bias_gradient, prediction, samples), in this order",
     "def count_labels(prediction, bias_gradient, samples):\n    return samples * (prediction - bias_gradient)"),
)  # fmt: skip
_function(
    "invert_linear",
    "def invert_linear(weight, bias):",
    (OPEN, "For every hidden unit", "..."),
    (RIGHT, "Nothing else protects", "j = bias.abs().argmax()\nreturn weight[j] / bias[j]"),
    (RIGHT, "Nothing else protects", "j = int(np.argmax(np.abs(bias.numpy())))\nreturn (weight[j] / bias[j]).numpy()"),
    (WRONG, "divided all rows", "return weight / bias[:, None]"),
    (WRONG, "have divided by 0", "return weight[1] / bias[1]"),
    (WRONG, "in another order", "return weight[2] / bias[2]"),
    (WRONG, "wrong sign", "j = bias.abs().argmax()\nreturn weight[j] / bias.abs()[j]"),
    (WRONG, "as it was sent", "return weight[bias.abs().argmax()]"),
    (WRONG, "no bias has moved down", "j = bias.argmin()\nreturn weight[j] / bias[j]"),
    (WRONG, "should have shape [6]", "return weight[0, 0]"),
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 09
_function(
    "clip_rows",
    "def clip_rows(changes, clip):",
    (OPEN, "Each row is multiplied", "return ..."),
    (RIGHT, "at most the clip", "return changes * torch.clamp(clip / norms, max=1)"),
    (RIGHT, "at most the clip", "return changes.numpy() * np.minimum(1, clip / np.maximum(norms.numpy(), 1e-9))"),
    (WRONG, "should stay as it is", "return changes * clip / norms"),
    (WRONG, "keep its direction", "return changes.clamp(-clip * 0.7, clip * 0.7)"),
    (WRONG, "yours is longer", "return changes"),
    (WRONG, "leave the changes", "changes *= torch.clamp(clip / norms, max=1)\nreturn changes"),
    (WRONG, "With a clip of 2", "return changes * torch.clamp(1 / norms, max=1)"),
    lines="norms = changes.norm(dim=1, keepdim=True)\n@@",
)  # fmt: skip
_function(
    "noisy_mean",
    "def noisy_mean(changes, clip, noise_multiplier, expected, noise):",
    (OPEN, "`noise.normal(total.shape, std)`", "total = ..."),
    (RIGHT, "for exactly that", "total = total + noise.normal(total.shape, noise_multiplier * clip)"),
    (RIGHT, "for exactly that", "total += clip * noise_multiplier * noise.normal(total.shape, 1)"),
    (WRONG, "where is the noise", "pass"),
    (WRONG, "the noise multiplier is missing", "total = total + noise.normal(total.shape, clip)"),
    (WRONG, "Half the clip", "total = total + noise.normal(total.shape, noise_multiplier)"),
    (WRONG, "belongs on the sum", "return total / expected + noise.normal(total.shape, noise_multiplier * clip)"),
    (WRONG, "not by the rows",
     "total = total + noise.normal(total.shape, noise_multiplier * clip)\nreturn total / len(changes)"),
    (WRONG, "the shape first", "total = total + noise.normal(noise_multiplier * clip, total.shape)"),
    lines="total = fk.privacy.clip_rows(changes, clip).sum(dim=0)\n@@\nreturn total / expected",
)  # fmt: skip
_values(
    "noise_under_a_floor",
    (OPEN, "noise_for", "..."),
    (RIGHT, "Enough noise", "3.5"),
    (RIGHT, "Enough noise", "np.float64(3.5)"),
    (WRONG, "more than 4", "1.0"),
    (WRONG, "Use less noise", "9.0"),
    (WRONG, "above 0", "-1"),
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 10
_STREAM = "fk.privacy.mask_stream(key, count)"
_function(
    "pairwise_masks",
    "def pairwise_masks(me, keys, count):",
    (OPEN, "For each other participant", "..."),
    (RIGHT, "once with plus", f"if me < other:\n    total += {_STREAM}\nelse:\n    total -= {_STREAM}"),
    (RIGHT, "once with plus", f"total = total + {_STREAM} if me < other else total - {_STREAM}"),
    (WRONG, "Both of a pair do the same", f"total += {_STREAM}"),
    (WRONG, "the other way round than agreed", f"if me > other:\n    total += {_STREAM}\nelse:\n    total -= {_STREAM}"),
    (WRONG, "all zero", "pass"),
    (WRONG, "for three", f"total = {_STREAM} if me < other else np.zeros(count, dtype=np.uint64) - {_STREAM}"),
    (WRONG, "stay uint64", f"total = total + {_STREAM}.astype(float) * (1 if me < other else -1)"),
    (WRONG, "stops with", "total += fk.privacy.mask_stream(count, key)"),
    lines="total = np.zeros(count, dtype=np.uint64)\nfor other, key in keys.items():\n    @@\nreturn total",
)  # fmt: skip
_function(
    "remove_masks",
    "def remove_masks(total, dropped, keys):",
    (OPEN, "Add up all masks", "return ..."),
    (RIGHT, "was missing", "return total + fk.privacy.pairwise_masks(dropped, keys, len(total))"),
    (RIGHT, "was missing",
     "return [(int(a) + int(b)) % 2**64 for a, b in zip(total, fk.privacy.pairwise_masks(dropped, keys, "
     "len(total)))]"),
    (WRONG, "The wrong sign", "return total - fk.privacy.pairwise_masks(dropped, keys, len(total))"),
    (WRONG, "Nothing has changed", "return total"),
    (WRONG, "should stay as it is", "total += fk.privacy.pairwise_masks(dropped, keys, len(total))\nreturn total"),
    (WRONG, "as many as were asked for", "return total[:3]"),
    (WRONG, "uint64 would wrap around",
     "return [int(a) + int(b) for a, b in zip(total, fk.privacy.pairwise_masks(dropped, keys, len(total)))]"),
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 11
_function(
    "rounds_to_reach",
    "def rounds_to_reach(accuracies, target):",
    (OPEN, "Two lines are missing", "return ...|..."),
    (OPEN, "The return is right; what becomes of `best` is still open",
     "return 1.0 if n == 1 else n - 1 + (target - best) / (accuracy - best)|..."),
    (OPEN, "1 of 2 is filled in; still open: line 5, return ...", "return ...|best = max(best, accuracy)"),
    (WRONG, "Your return says otherwise", "return n|..."),
    (RIGHT, "makes parts of rounds count",
     "return 1.0 if n == 1 else n - 1 + (target - best) / (accuracy - best)|best = max(best, accuracy)"),
    (RIGHT, "makes parts of rounds count",
     "return torch.tensor(1.0 if n == 1 else n - 1 + (target - best) / (accuracy - best)).double()|best = "
     "np.maximum(best, accuracy)"),
    (WRONG, "crossed a quarter of the way", "return n|best = max(best, accuracy)"),
    (WRONG, "the best of all rounds before",
     "return 1.0 if n == 1 else n - 1 + (target - best) / (accuracy - best)|best = accuracy"),
    (WRONG, "needs 1 round", "return n - 1 + (target - best) / (accuracy - best)|best = max(best, accuracy)"),
    lines="best = 0.0\nfor n, accuracy in enumerate(accuracies, start=1):\n"
    "    if accuracy >= target:\n        @1\n    @2\nreturn None",
)  # fmt: skip
_function(
    "tuned",
    "def tuned(frame, row='row', over='learning_rate', measure='rounds_to_target'):",
    (OPEN, "`means` has", "best[name] = ..."),
    (RIGHT, "its own best rate", "best[name] = min(means, key=means.get)"),
    (RIGHT, "its own best rate", "best[name] = np.float64(min(means, key=lambda s: means[s]))"),
    (WRONG, "the learning rate that has it", "best[name] = min(means.values())"),
    (WRONG, "Fewer are better", "best[name] = max(means, key=means.get)"),
    (WRONG, "needs the most rounds", "best[name] = min(means)"),
    (WRONG, "one number; yours is of type tuple", "best[name] = min(means.items(), key=lambda i: i[1])"),
    (WRONG, "one learning rate for each row", "pass"),
    lines="best = {}\nfor name, runs in frame.groupby(row, sort=False):\n    means = {}\n"
    "    for setting, same in runs.groupby(over):\n"
    "        if same[measure].notna().all():\n            means[setting] = same[measure].mean()\n"
    "    if means:\n        @@\nreturn best",
)  # fmt: skip
# --------------------------------------------------------------------------------------- lesson 14
_TASK = "'samples': 'vectors', 'shape': [30], 'loss': 'bce_with_logits', 'metrics': ['balanced_accuracy', 'auc']"
_values(
    "table_task",
    (OPEN, "Four keys", "{...}"),
    (OPEN, "Right so far: samples, loss. Still open: shape, metrics",
     "{'samples': 'vectors', 'shape': ..., 'loss': 'bce_with_logits', 'metrics': ...}"),
    (RIGHT, "What is said once", "{" + _TASK + "}"),
    (RIGHT, "What is said once", "{" + _TASK.replace("[30]", "np.array([30])") + "}"),
    (RIGHT, "What is said once", "{" + _TASK.replace("[30]", "torch.Size([30])") + "}"),
    (WRONG, "'shape' should be a list", "{" + _TASK.replace("[30]", "30") + "}"),
    (WRONG, "The patients are not a part", "{" + _TASK.replace("[30]", "[569, 30]") + "}"),
    (WRONG, "the columns of the diagnosis", "{" + _TASK.replace("[30]", "[32]") + "}"),
    (WRONG, "Which loss is for that",
     "{" + _TASK.replace("bce_with_logits", "mse").replace("['balanced_accuracy', 'auc']", "['mae']") + "}"),
    (WRONG, "Both metrics are wanted", "{" + _TASK.replace("'balanced_accuracy', ", "") + "}"),
    (WRONG, "The key 'metrics' is missing", "{'samples': 'vectors', 'shape': [30], 'loss': 'bce_with_logits'}"),
    (WRONG, "Did you mean 'metrics'?", "{" + _TASK.replace("metrics", "metric") + "}"),
    (WRONG, "should be a dict", "['vectors', 30]"),
)  # fmt: skip
_function(
    "mean_and_std",
    "def mean_and_std(parts):",
    (OPEN, "`sums.sum(0)`", "..."),
    (RIGHT, "all patients in one place", "mean = sums.sum(0) / n\nreturn mean, (squares.sum(0) / n - mean**2).sqrt()"),
    (RIGHT, "all patients in one place",
     "mean = sums.numpy().sum(0) / n\nreturn [mean, np.sqrt(squares.numpy().sum(0) / n - mean**2)]"),
    (RIGHT, "all patients in one place",
     "mean = sums.sum(0) / n\nreturn torch.stack([mean, (squares.sum(0) / n - mean**2).sqrt()])"),
    (WRONG, "swapped", "mean = sums.sum(0) / n\nreturn (squares.sum(0) / n - mean**2).sqrt(), mean"),
    (WRONG, "the variance", "mean = sums.sum(0) / n\nreturn mean, squares.sum(0) / n - mean**2"),
    (WRONG, "divided by the number of hospitals",
     "mean = sums.mean(0)\nreturn mean, (squares.sum(0) / n - mean**2).abs().sqrt()"),
    (WRONG, "How many are they", "mean = sums.sum(0)\nreturn mean, squares.sum(0).sqrt()"),
    (WRONG, "the mean's square is still in it", "mean = sums.sum(0) / n\nreturn mean, (squares.sum(0) / n).sqrt()"),
    (WRONG, "two lists of numbers", "return sums.sum(0) / n"),
    (WRONG, "gives nothing back", "mean = sums.sum(0) / n\nstd = (squares.sum(0) / n - mean**2).sqrt()"),
    lines="n = sum(part.n for part in parts)\nsums = torch.tensor([part.sums for part in parts], dtype=torch.float64)\n"
    "squares = torch.tensor([part.squares for part in parts], dtype=torch.float64)\n@@",
)  # fmt: skip
# -------------------------------------------------------------------------------------- lesson 12
_function(
    "could_open",
    "def could_open(folder, traces):",
    (OPEN, "One line is missing", "..."),
    (RIGHT, "No name", "found |= {t for t, p in traces.items() if p in content}"),
    (RIGHT, "No name", "found.update(t for t, p in traces.items() if content.find(p) >= 0)"),
    (RIGHT, "No name",
     "def could_open(folder, traces):\n    files = [f.read_bytes() for f in folder.rglob('*') if f.is_file()]\n"
     "    return (t for t, p in traces.items() if any(p in f for f in files))"),
    (WRONG, "forgets what it has found", "found = {t for t, p in traces.items() if p in content}"),
    (WRONG, "has the pieces in it", "found |= {p for t, p in traces.items() if p in content}"),
    (WRONG, "stands in no file", "found |= {t for t, p in traces.items() if any(b in content for b in p)}"),
    (WRONG, "Sets are joined by", "found += {t for t, p in traces.items() if p in content}"),
    (WRONG, "`|` joins sets", "found |= [t for t, p in traces.items() if p in content]"),
    (WRONG, "another set is joined by", "found.add({t for t, p in traces.items() if p in content})"),
    (WRONG, "gives its names alone", "found |= {t for t, p in traces if p in content}"),
    (WRONG, "Did you mean found?", "foud = {t for t, p in traces.items() if p in content}"),
    (WRONG, "gives it (folder, traces), in this order", "def could_open(traces, folder):\n    return set()"),
    (WRONG, "with 2 values", "def could_open(folder):\n    return set()"),
    (WRONG, "stays from one call to the next",
     "def could_open(folder, traces, found=set()):\n    for f in folder.rglob('*'):\n        if f.is_file():\n"
     "            found |= {t for t, p in traces.items() if p in f.read_bytes()}\n    return found"),
    lines="found = set()\nfor path in folder.rglob('*'):\n    if path.is_file():\n        content = path.read_bytes()\n"
    "        @@\nreturn found",
)  # fmt: skip
_function(
    "what_is_signed",
    "def what_is_signed(project, number, sender, receiver, content):",
    (OPEN, "stands for the content", "..."),
    (RIGHT, "fails there", "return json.dumps([project, number, sender, receiver, digest]).encode()"),
    (RIGHT, "fails there", "return memoryview(repr((digest, receiver, sender, number, project)).encode())"),
    (RIGHT, "fails there",
     "parts = [project.encode(), str(number).encode(), sender.encode(), receiver.encode(), content]\n"
     "return b''.join(len(part).to_bytes(8, 'big') + part for part in parts)"),
    (RIGHT, "fails there",
     "return hashlib.sha256(json.dumps([project, number, sender, receiver, digest]).encode()).digest()"),
    (WRONG, "which name stands where",
     "return json.dumps(sorted([project, str(number), sender, receiver, digest])).encode()"),
    (WRONG, "in each kernel", "return str(hash((project, number, sender, receiver, digest))).encode()"),
    (WRONG, "too short", "return json.dumps([project, number, sender, receiver, digest[:4]]).encode()"),
    (WRONG, "ROADS and roads", "return json.dumps([project.lower(), number, sender, receiver, digest]).encode()"),
    (WRONG, "Two rounds", "return json.dumps([project, number % 2, sender, receiver, digest]).encode()"),
    (WRONG, "can't be read back", "return '::'.join([project, str(number), sender, receiver, digest]).encode()"),
    (WRONG, "can't be read back",
     "return (receiver + ' <- ' + sender + json.dumps([project, number, digest])).encode()"),
    (WRONG, "in this order",
     "def what_is_signed(project, number, receiver, sender, content):\n    return repr((project, number, sender, "
     "receiver, content)).encode()"),
    (WRONG, "keys sign bytes", "return json.dumps([project, number, sender, receiver, digest])"),
    lines="digest = hashlib.sha256(content).hexdigest()\n@@",
)  # fmt: skip
# ------------------------------------------------------------------------- forms that are less usual
_more(
    "may_read",
    (OPEN, "Replace the dots", "pass"),
    (RIGHT, "allows more",
     "class Rule:\n    def __call__(self, access, email):\n        return any(x in v for v in access.values() for x in "
     "(email, '*'))\nmay_read = Rule()"),
    (RIGHT, "allows more", "answers = (lambda a, e: bool({'*', e}.intersection(*[set().union(*a.values())])),)"),
    (RIGHT, "allows more",
     "def may_read(access: dict, email: str, everybody='*') -> bool:\n    return any(x in v for v in access.values() "
     "for x in (email, everybody))"),
    (WRONG, "write `in` for each list", "return email in access['read'] or access['write'] or access['admin']"),
    (WRONG, "`|` joins sets", "return email in access['read'] | access['write']"),
    (WRONG, "raises it on purpose", "raise ValueError('no')"),
    (WRONG, "more memory than a check gives", "held = b'x' * 10**12\nreturn True"),
)  # fmt: skip
_more(
    "open_folder",
    (RIGHT, "no more", "{'read': frozenset({'aggregator@example.org'}), 'write': (e for e in ['bob@example.org'])}"),
    (RIGHT, "no more", "{'read': {'aggregator@example.org': 1}.keys(), 'write': ['bob@example.org']}"),
)  # fmt: skip
ANSWERS["valid_config"] += [
    (WRONG, "project_name was not broken", _CONFIG.replace("@@", "{" + _FIXED + ", 'project_name': 'X'}")),
]  # fmt: skip
_more(
    "model_size",
    (WRONG, "101,770.5 is not", "101770.5, 407_080"),
    (WRONG, "Four bytes are one weight", "101_770, 4"),
    (WRONG, "millions of bytes", "101_770, 407_080 / 1e6"),
    (WRONG, "Those are the bytes", "407_080, 407_080"),
)  # fmt: skip
_NOT_THE_SAME = "hashlib.sha256(contents[n]).hexdigest() != approved[n]"
_more(
    "changed_files",
    (RIGHT, "One byte is enough", f"return filter(lambda n: {_NOT_THE_SAME}, approved)"),
    (RIGHT, "One byte is enough", "return {n: 1 for n in approved if " + _NOT_THE_SAME + "}.keys()"),
    (WRONG, "still names model.py", "return ['model.py']"),
    (WRONG, "something of every file", "return {n: " + _NOT_THE_SAME + " for n in approved}"),
    (WRONG, "no name of a file there",
     f"out = []\nfor n in approved:\n    if {_NOT_THE_SAME}:\n        out += n\nreturn out"),
    (WRONG, "gives nothing back (None)",
     f"out = []\nfor n in approved:\n    if {_NOT_THE_SAME}:\n        out = out.append(n)\nreturn out"),
    (WRONG, "changes found, which stays from one call to the next",
     f"def changed_files(approved, contents, found=[]):\n    found += [n for n in approved if {_NOT_THE_SAME}]\n"
     "    return found"),
)  # fmt: skip
_LOSS = "loss = loss_of(model(images[batch]), labels[batch])"
_STEP = "parameter -= learning_rate * gradient"
_more(
    "sgd_epoch",
    (OPEN, "1 of 2 is filled in", f"...|{_STEP}"),
    (OPEN, "Two lines are missing", "...|..."),
    (WRONG, "not yet that of the images in the batch", "loss = loss_of(model(images), labels)|..."),
    (RIGHT, "plain SGD",
     f"loss = F.nll_loss(model(images[batch]).log_softmax(1), labels[batch])|parameter.data{_STEP[9:]}"),
    (WRONG, "it finds the loss of another cell", f"pass|{_STEP}"),
    (WRONG, "its softmax is in it already", f"loss = loss_of(model(images[batch]).softmax(1), labels[batch])|{_STEP}"),
    (WRONG, "the sum over the batch", f"loss = loss_of(model(images[batch]), labels[batch], reduction='sum')|{_STEP}"),
    (WRONG, "once more", f"{_LOSS}|parameter -= learning_rate / batch_size * gradient"),
    (WRONG, "once more", f"{_LOSS}|parameter -= learning_rate / len(batch) * gradient"),
    (WRONG, "have a rate of 0.1", f"{_LOSS}|parameter -= 0.1 * gradient"),
    (WRONG, "cut it off", f"{_LOSS}.item()|{_STEP}"),
    (WRONG, "Gradients are taken once", f"{_LOSS}; loss.backward()|{_STEP}"),
    (WRONG, "calculate with each", f"{_LOSS}|parameter -= learning_rate * gradients"),
)  # fmt: skip
_more(
    "what_the_facts_tell",
    (RIGHT, "no digits, no images", "(letter for letter in 'acd')"),
    (RIGHT, "no digits, no images", "{'a)', 'c)', 'd)'}"),
    (WRONG, "letters from a to e", "[['a', 'c', 'd']]"),
)  # fmt: skip
_KNOWN = "known = [update.num_samples for update in updates if update.num_samples]\n"
_STUB = (
    "def mixing_weights(updates, weighting='samples'):\n    " + _KNOWN + "    if weighting == 'equal' or not known:\n"
    "        @1\n    counts = [update.num_samples or statistics.median(known) for update in updates]\n    @2"
)  # fmt: skip


def _left(first: str, second: str) -> str:
    """As in the learner's edition: an open line falls through to the next."""
    return _STUB.replace("@1", first).replace("@2", second)


_EQUAL, _BY_COUNT = (
    "return [1 / len(updates)] * len(updates)",
    "return [c / sum(counts) for c in counts]",
)
_more(
    "mixing_weights",
    (OPEN, "Two returns are missing", _left("...", "...")),
    (OPEN, "The second return is right; the first is still open", _left("...", _BY_COUNT)),
    (OPEN, "The first return is right; the second is still open", _left(_EQUAL, "...")),
    (WRONG, "your shares add up to 2", _left("return [1 for u in updates]", "...")),
    (WRONG, "3 updates should have 3 shares", _left("return [0.5, 0.5]", _BY_COUNT)),
    (WRONG, "Yours has the shape [2, 1]", _left(_EQUAL, "return [[c / sum(counts)] for c in counts]")),
    (WRONG, "with the wrong updates", _left(_EQUAL, _BY_COUNT + "[::-1]")),
    (RIGHT, "Every image pulls", _left(_EQUAL, "return (c / sum(counts) for c in counts)")),
    (RIGHT, "Every image pulls", _left(_EQUAL, "return map(lambda c: c / sum(counts), counts)")),
    (RIGHT, "Every image pulls",
     _left(_EQUAL, "from fractions import Fraction as Q\n    return [Q(int(c), int(sum(counts))) for c in counts]")),
)  # fmt: skip
_PARTS = "parts = [s * u.state[name].double() for s, u in zip(shares, updates)]"
_more(
    "fedavg",
    (RIGHT, "Yours adds up in float32", "parts = [s * u.state[name] for s, u in zip(shares, updates)]"),
    (RIGHT, "no more than this", "def fedavg(updates):\n    return {n: t.numpy() for n, t in fk.fedavg(updates).items()}"),
    (WRONG, "has to be a list", "parts = sum(s * u.state[name].double() for s, u in zip(shares, updates))"),
    (WRONG, "has to be a list", _PARTS.replace("[s", "(s").replace("updates)]", "updates))")),
    (WRONG, "Only the first update", "parts = [s * tensor.double() for s in shares]"),
    (WRONG, "left out", "parts = [shares[k] * updates[k].state[name].double() for k in range(1, len(updates))]"),
    (WRONG, "digits are lost", "parts = [s * u.state[name].half() for s, u in zip(shares, updates)]"),
    (WRONG, "for five others it is not",
     "parts = [s * u.state[name].double() for s, u in zip([0.75, 0.25], updates)]"),
    (WRONG, "need not be divided again", _PARTS.replace("for s", "/ len(updates) for s")),
    (WRONG, "calculate with each", "parts = [shares * u.state[name].double() for u in updates]"),
    (WRONG, "what it has under each name", "parts = [s * u.state for s, u in zip(shares, updates)]"),
    (WRONG, "changes parts, which stays from one call to the next",
     "def fedavg(updates, weighting='samples', parts=[]):\n    for s, u in zip(fk.mixing_weights(updates), updates):\n"
     "        parts.append(s)\n    return {n: parts[0] for n in updates[0].state}"),
)  # fmt: skip
_more(
    "odd_request",
    (RIGHT, "into a buffer", "21, 'Decline!'"),
    (WRONG, "swapped", "'decline', 21"),
    (WRONG, "lines 1 to", "210, 'decline'"),
)
_more(
    "quorum",
    (WRONG, "a whole number from 1 to 4", "0.75, 0.84"),
    (WRONG, "between 0 and 1", "3, -0.84"),
)
_more(
    "refuse_nan",
    (OPEN, "Go through state.items()", "pass"),
    (RIGHT, "to the last bit", "return next((n + ' has NaN' for n, t in state.items() if (t != t).any()), None)"),
    (WRONG, "equal to nothing", "for t in state.values():\n    if (t == float('nan')).any():\n        return 'NaN'"),
    (WRONG, "no single yes or no", "for t in state.values():\n    if torch.isnan(t):\n        return 'NaN'"),
    (WRONG, "gives its names alone", "for n, t in state:\n    if torch.isnan(t).any():\n        return 'NaN'"),
    (WRONG, "raises it on purpose", "for t in state.values():\n    if t.isnan().any():\n        raise ValueError('NaN')"),
)  # fmt: skip
_SHARES = "(rng.dirichlet(@) * len(mine)).astype(int).tolist()"
_more(
    "deal_dirichlet",
    (RIGHT, "says how even",
     "n = rng.multinomial(len(mine), rng.dirichlet([alpha] * participants))\ncuts = n.cumsum()[:-1].tolist()"),
    (RIGHT, "says how even",
     "def deal_dirichlet(labels, participants, alpha, rng):\n    out = {k: [] for k in range(participants)}\n"
     "    for d in range(10):\n        mine = np.flatnonzero(labels.numpy() == d)\n"
     "        who = rng.choice(participants, size=len(mine), p=rng.dirichlet([alpha] * participants))\n"
     "        for k in out:\n            out[k] += mine[who == k].tolist()\n    return out.values()"),
    (WRONG, "Every draw should come from `rng`",
     "cuts = (np.random.dirichlet([alpha] * participants).cumsum()[:-1] * len(mine)).astype(int).tolist()"),
    (WRONG, "nearly all of it",
     "cuts = (rng.dirichlet([alpha / participants] * participants).cumsum()[:-1] * len(mine)).astype(int).tolist()"),
    (WRONG, "here nobody does",
     "cuts = (rng.dirichlet([alpha * participants] * participants).cumsum()[:-1] * len(mine)).astype(int).tolist()"),
    (WRONG, "here one holds all",
     "cuts = (rng.dirichlet([alpha] * participants).cumsum()[:-1] * len(labels)).astype(int).tolist()"),
    (WRONG, "There is one piece more than cuts", "cuts = []"),
    (WRONG, "a list of whole numbers", "cuts = (rng.dirichlet([alpha] * participants).cumsum()[:-1] * len(mine)).tolist()"),
)  # fmt: skip
_more(
    "proximal_term",
    (WRONG, "Is mu used?", "return 0.2 * sum((w - global_weights[n]).square().sum() for n, w in weights.items())"),
    (WRONG, "gives its names alone",
     "return mu / 2 * sum((w - g).square().sum() for w, g in zip(weights, global_weights))"),
    (WRONG, "has the shape", "return mu / 2 * sum((w - global_weights[n]).square() for n, w in weights.items())"),
    (WRONG, "change the weights themselves",
     "for n, w in weights.items():\n    w -= global_weights[n]\n"
     "return mu / 2 * sum(w.square().sum() for w in weights.values())"),
)  # fmt: skip
_more(
    "coordinate_median",
    (RIGHT, "can't carry it away", "return (np.median(column) for column in rows.T.numpy())"),
    (WRONG, "you take number 4", "return rows.sort(dim=0).values[len(rows) // 2 + 1]"),
    (WRONG, "odd number of rows", "s = rows.sort(dim=0).values\nreturn (s[len(rows) // 2 - 1] + s[len(rows) // 2]) / 2"),
    (WRONG, "smallest and the largest", "return (rows.amax(0) + rows.amin(0)) / 2"),
    (WRONG, "values, and their places", "return rows.sort(dim=0)[len(rows) // 2]"),
    (WRONG, "An index is a whole number", "s = rows.sort(dim=0).values\nreturn s[len(rows) / 2]"),
)  # fmt: skip
_more(
    "invert_linear",
    (WRONG, "for another it is not", "return torch.tensor([0, 0.2, 0.9, 0.7, 0, 0.4])"),
    (WRONG, "some pixels are dark", "j = bias.abs().argmax()\nreturn bias[j] / weight[j]"),
    (WRONG, "`.argmax()` its place", "j = bias.abs().max()\nreturn weight[j] / bias[j]"),
)
_more(
    "count_labels",
    (RIGHT, "own label's bias", "return (x for x in samples * (prediction - bias_gradient))"),
    (WRONG, "What belongs to the difference", "return prediction - samples * bias_gradient"),
)
_more(
    "clip_rows",
    (RIGHT, "at most the clip", "return (changes * torch.clamp(clip / norms, max=1)).float()"),
    (RIGHT, "at most the clip", "return (row * min(1, clip / max(1e-9, float(row.norm()))) for row in changes)"),
    (WRONG, "the norm of all rows together", "return changes * torch.clamp(clip / changes.norm(), max=1)"),
    (WRONG, "longer afterwards", "return changes * clip / norms.clamp(min=1e-12)"),
    (WRONG, "thrown away", "return changes * (norms <= clip)"),
    (WRONG, "yours has 0.2", "return changes * torch.clamp(clip / norms**2, max=1)"),
    (WRONG, "no single yes or no", "return changes * min(1, clip / norms)"),
)  # fmt: skip
_more(
    "noisy_mean",
    (RIGHT, "for exactly that",
     "total = total + torch.cat([noise.normal((1,), noise_multiplier * clip) for _ in range(len(total))])"),
    (WRONG, "no variance", "total = total + noise.normal(total.shape, (noise_multiplier * clip) ** 2)"),
    (WRONG, "not its root", "total = total + noise.normal(total.shape, (noise_multiplier * clip) ** 0.5)"),
    (WRONG, "each needs a number of its own", "total = total + noise.normal((1,), noise_multiplier * clip)"),
    (WRONG, "`noise` was not asked", "total = total + torch.randn(total.shape) * noise_multiplier * clip"),
    (WRONG, "taken away", "total = total - noise.normal(total.shape, noise_multiplier * clip)"),
    (WRONG, "not clipped", "total = changes.sum(0) + noise.normal(total.shape, noise_multiplier * clip)"),
    (WRONG, "Only the noise is left", "total = noise.normal(total.shape, noise_multiplier * clip)"),
    (WRONG, "divided by the number of participants twice",
     "total = (total + noise.normal(total.shape, noise_multiplier * clip)) / expected"),
)  # fmt: skip
_more(
    "noise_under_a_floor",
    (WRONG, "hardly any noise", "1e-9"),
    (WRONG, "nothing but noise", "1e308"),
)
_more(
    "pairwise_masks",
    (RIGHT, "once with plus",
     "def pairwise_masks(me, keys, count):\n    return (n for n in fk.privacy.pairwise_masks(me, keys, count))"),
    (WRONG, "uint64 has no numbers below 0", f"total += {_STREAM} * (1 if me < other else -1)"),
    (WRONG, "Yours is of type dict",
     f"def pairwise_masks(me, keys, count):\n    return {{other: {_STREAM} for other, key in keys.items()}}"),
)  # fmt: skip
_more(
    "remove_masks",
    (WRONG, "the masks alone", "return fk.privacy.pairwise_masks(dropped, keys, len(total))"),
    (WRONG, "Some of the missing masks are added",
     "return total - sum(fk.privacy.mask_stream(key, len(total)) for key in keys.values())"),
)  # fmt: skip
_LOOP = (
    "def rounds_to_reach(accuracies, target):\n    best = 0.0\n    for n, accuracy in enumerate(accuracies, start=1):\n"
    "        if accuracy >= target:\n            @1\n        @2\n    return None"
)  # fmt: skip
_more(
    "rounds_to_reach",
    (OPEN, "Two lines are missing", _LOOP.replace("@1", "...").replace("@2", "...")),
    (OPEN, "1 of 2 is filled in", _LOOP.replace("@1", "...").replace("@2", "best = max(best, accuracy)")),
    (WRONG, "Did you mean best?",
     "return 1.0 if n == 1 else n - 1 + (target - best) / (accuracy - best)|beste = max(best, accuracy)"),
)  # fmt: skip
_more(
    "tuned",
    (RIGHT, "its own best rate", "best[name] = np.float32(min(means, key=means.get))"),
    (RIGHT, "its own best rate", "best[name] = torch.tensor(min(means, key=means.get))"),
    (WRONG, "Is the table used?", "def tuned(frame):\n    return {'a': 0.3, 'b': 0.1}"),
    (WRONG, "none of its learning rates", "best[name] = np.argmin(list(means.values()))"),
)
_more(
    "table_task",
    (WRONG, "not an image, and no words", "{" + _TASK.replace("vectors", "images") + "}"),
    (WRONG, "should be a dict", "{'vectors', 30}"),
)
_more(
    "mean_and_std",
    (RIGHT, "all patients in one place",
     "mean = sums.sum(0) / n\nreturn {'mean': mean, 'std': (squares.sum(0) / n - mean**2).sqrt()}.values()"),
    (WRONG, "not by n - 1", "mean = sums.sum(0) / n\nreturn mean, ((squares.sum(0) - n * mean**2) / (n - 1)).sqrt()"),
    (WRONG, "something below 0", "mean = sums.sum(0) / n\nreturn mean, (mean**2 - squares.sum(0) / n).sqrt()"),
    (WRONG, "For 4 columns, yours have the shape [3]", "mean = sums.sum(1) / n\nreturn mean, mean"),
)  # fmt: skip
