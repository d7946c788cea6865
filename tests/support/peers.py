"""The smallest other ends of the wire: a client and an aggregator that know the protocol's files and nothing of fedkit.

They have the manners that the protocol tells of the real apps: they count entries instead of parsing names, rewrite
files in place, send a request once, take a folder without empty folders for an approval, copy into folders that may
not be there, and never look back at what a dead process left undone. One call is one pass; it answers with a word.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

State = dict[str, torch.Tensor]
TEN_KEYS = {
    *("project_name", "aggregator", "participants", "rounds", "epoch", "learning_rate"),
    *("model_arch", "model_weight", "model_class_name", "test_dataset"),
}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _entries(folder: Path) -> int:
    return len(list(folder.iterdir()))


def _model(folder: Path, config: dict[str, Any]) -> nn.Module:
    names: dict[str, Any] = {}
    exec((folder / config["model_arch"]).read_text(encoding="utf-8"), names)
    model = names[config.get("model_class_name", "FLModel")]()
    assert isinstance(model, nn.Module)
    return model


@dataclass
class Peer:
    """What both ends have: a data dir, an e-mail, and the kind of permission file that their library writes."""

    data_dir: Path
    email: str
    app_data: str = "app_data"
    kind: str = "syft.pub.yaml"

    def box(self, email: str, app: str) -> Path:
        """An app's mailbox in anybody's datasite."""
        return self.data_dir / "datasites" / email / self.app_data / app

    def open_to_all(self, folder: Path) -> None:
        """Public write, in the one form that this peer's library knows; rewritten in place."""
        forms: dict[str, Any] = {
            "syft.pub.yaml": {
                "rules": [{"pattern": "**", "access": {"admin": [self.email], "write": ["*"]}}]
            },
            "syftperm.yaml": [
                {"path": "**", "user": self.email, "permissions": ["admin"]},
                {"path": "**", "user": "*", "permissions": ["create", "write", "read"]},
            ],
            "_.syftperm": {
                right: [self.email, *(["GLOBAL"] if right != "admin" else [])]
                for right in ("admin", "read", "write")
            },
        }
        folder.mkdir(parents=True, exist_ok=True)
        form = forms[self.kind]
        text = json.dumps(form) if self.kind == "_.syftperm" else yaml.safe_dump(form)
        (folder / self.kind).write_text(text, encoding="utf-8")


class PeerClient(Peer):
    """`fl_client`: trains from global model n-1 once it is there, n being the entries of round_weights/ plus one."""

    def __call__(self) -> str:
        box = self.box(self.email, "fl_client")
        for name in ("request", "running", "done"):
            (box / name).mkdir(parents=True, exist_ok=True)
        self.open_to_all(box / "request")
        answers = [self._project(place) for place in (box / "running").iterdir() if place.is_dir()]
        return answers[0] if answers else "no project"

    def _project(self, place: Path) -> str:
        (place / "round_weights").mkdir(exist_ok=True)
        for name in ("agg_weights", "state"):
            self.open_to_all(place / name)
        if not (place / "state" / "state.json").is_file():
            self._tell(place, dataset_added=False, model_train_progress=None)
        private = self.data_dir / "private" / "fl_client"
        files = [p for p in private.iterdir() if re.match(r"^mnist_label_[0-9]\.pt$", p.name)]
        if not files:
            return "no data"
        self._tell(place, dataset_added=True)
        config = _json(place / "fl_config.json")
        n = _entries(place / "round_weights") + 1
        if len(list((place / "agg_weights").glob("*.pt"))) == config["rounds"] + 1:
            done = place.parent.parent / "done" / place.name
            done.mkdir(parents=True)
            for name in ("agg_weights", "round_weights"):
                shutil.move(place / name, done)
            shutil.rmtree(place)
            return "done"
        start = place / "agg_weights" / f"agg_model_round_{n - 1}.pt"
        if not start.is_file():
            return f"waits for global model {n - 1}"
        own = place / "round_weights" / f"trained_model_round_{n}.pt"
        torch.save(self._train(place, config, start, files), own)
        self._tell(place, model_train_progress=f"Training Completed for Round {n}")
        theirs = self.box(config["aggregator"], "fl_aggregator") / "running" / place.name
        shutil.copy(own, theirs / "fl_clients" / self.email)
        return f"trained round {n}"

    def _train(self, place: Path, config: dict[str, Any], start: Path, files: list[Path]) -> State:
        model = _model(place, config)
        model.load_state_dict(torch.load(start, weights_only=True))
        pairs = [torch.load(file, weights_only=True) for file in sorted(files)]
        images, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        step = torch.optim.SGD(model.parameters(), lr=config["learning_rate"])
        for _ in range(config["epoch"]):
            step.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            step.step()
        return dict(model.state_dict())

    def _tell(self, place: Path, **changes: Any) -> None:
        file = place / "state" / "state.json"
        state = _json(file) if file.is_file() else {}
        file.write_text(json.dumps(state | changes), encoding="utf-8")


class PeerAggregator(Peer):
    """`fl_aggregator`: the gate first, then the end, then round n, n being the entries of agg_weights/."""

    def __call__(self) -> str:
        box = self.box(self.email, "fl_aggregator")
        for name in ("launch", "running", "done"):
            (box / name).mkdir(parents=True, exist_ok=True)
        if (box / "launch" / "fl_config.json").is_file():
            self._launch(box)
        answers = [self._project(place) for place in (box / "running").iterdir() if place.is_dir()]
        return answers[0] if answers else "no project"

    def _launch(self, box: Path) -> None:
        config = _json(box / "launch" / "fl_config.json")
        assert set(config) >= TEN_KEYS
        place = box / "running" / config["project_name"]
        (place / "agg_weights").mkdir(parents=True)
        for email in config["participants"]:
            self.open_to_all(place / "fl_clients" / email)
        weights = box / "launch" / config["model_weight"]
        shutil.copy(weights, place / "agg_weights" / "agg_model_round_0.pt")
        for name in ("fl_config.json", config["model_arch"], config["model_weight"]):
            shutil.move(box / "launch" / name, place)
        self._publish(place, "accuracy_metrics.json", [{"accuracy": 0, "round": 0}])

    def _project(self, place: Path) -> str:
        config = _json(place / "fl_config.json")
        boxes = {email: self.box(email, "fl_client") for email in config["participants"]}
        for email, box in boxes.items():
            request = box / "request" / place.name
            if (self.data_dir / "datasites" / email).is_dir() and not request.is_dir():
                request.mkdir(parents=True)
                for name in ("fl_config.json", config["model_arch"]):
                    shutil.copy(place / name, request)
        closed = [e for e, box in boxes.items() if not self._approved(box / "running" / place.name)]
        if closed:
            return f"waits for the approval of {', '.join(closed)}"
        test_set = self.data_dir / "private" / "fl_aggregator" / config["test_dataset"]
        if not test_set.is_file():
            return "no test set"
        n = _entries(place / "agg_weights")
        if n > config["rounds"]:
            done = place.parent.parent / "done" / place.name
            done.mkdir(parents=True)
            for name in ("agg_weights", "fl_clients"):
                shutil.move(place / name, done)
            shutil.rmtree(place)
            return "done"
        mailboxes = [box / "running" / place.name / "agg_weights" for box in boxes.values()]
        if n == 1:
            for mailbox in mailboxes:
                if not (mailbox / "agg_model_round_0.pt").is_file():
                    # where the folder is not there (yet), this makes a file of its name
                    shutil.copy(place / "agg_weights" / "agg_model_round_0.pt", mailbox)
        updates = [place / "fl_clients" / e / f"trained_model_round_{n}.pt" for e in boxes]
        if not all(path.is_file() for path in updates):
            return f"waits for the updates of round {n}"
        states = [torch.load(path, weights_only=True) for path in updates]
        mean = {name: sum(s[name] for s in states) / len(states) for name in states[0]}
        newest = place / "agg_weights" / f"agg_model_round_{n}.pt"
        torch.save(mean, newest)
        model = _model(place, config)
        model.load_state_dict(mean)
        images, labels = torch.load(test_set, weights_only=True)
        accuracy = (model(images).argmax(1) == labels).double().mean().item()
        metrics = _json(self._public(place) / "accuracy_metrics.json")
        metrics.append({"round": n, "accuracy": accuracy})
        self._publish(place, "accuracy_metrics.json", metrics)
        for mailbox in mailboxes:
            shutil.copy(newest, mailbox)
        return f"averaged round {n}"

    @staticmethod
    def _approved(place: Path) -> bool:
        return place.is_dir() and all(_entries(p) > 0 for p in place.iterdir() if p.is_dir())

    def _public(self, place: Path) -> Path:
        return self.data_dir / "datasites" / self.email / "public" / "fl" / place.name

    def _publish(self, place: Path, name: str, value: Any) -> None:
        self._public(place).mkdir(parents=True, exist_ok=True)
        (self._public(place) / name).write_text(json.dumps(value), encoding="utf-8")
