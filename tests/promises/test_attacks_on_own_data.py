"""What looks at data or at updates works on data of one's own, or says in one line which data it needs."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.base.files import write_dataset
from fedkit.learning.judging import criterion_of
from fedkit.learning.models import load_model
from fedkit.privacy.attacks.image_scores import ssim
from fedkit.privacy.attacks.membership import gradients_of
from fedkit.privacy.dp.audit import audit_training
from fedkit.teaching.widgets.file_view import view_file
from tests.promises.test_own_data import between_datasites
from tests.support.helpers import ALICE, complaint
from tests.support.tasks import KINDS

CLASSES = ["colour images", "nine classes of grey images", "text"]
NO_CLASSES = ["a table", "a regression", "two numbers", "three answers of yes or no"]


def seen(root: Path, name: str) -> fk.privacy.Evidence:
    """Alice's update of one round, one local epoch."""
    kind = KINDS[name]
    net = between_datasites(root, kind, rounds=1, batch_size=64)
    net.run(approve=fk.approve_all)
    return fk.privacy.evidence(net, ALICE)


def one_line(error: FedkitError) -> None:
    assert error.remedy
    assert "\n" not in str(error.what)


@pytest.mark.parametrize("name", CLASSES)
def test_labels_are_counted_whatever_the_classes(tmp_path: Path, name: str) -> None:
    kind, found = KINDS[name], seen(tmp_path, name)
    counts = fk.privacy.count_digits(found, kind.test)
    assert len(counts) == kind.task.outputs
    assert counts.sum() == 35
    assert len(fk.privacy.labels_of_batch(found, kind.test[0])) == 35


@pytest.mark.parametrize("name", NO_CLASSES)
def test_numbers_are_no_labels_to_be_counted(tmp_path: Path, name: str) -> None:
    kind, found = KINDS[name], seen(tmp_path, name)
    for attack in (
        lambda: fk.privacy.count_digits(found, kind.test),
        lambda: fk.privacy.labels_of_batch(found, kind.test[0]),
    ):
        error = complaint(attack)
        assert kind.task.labels in error.what
        one_line(error)


def test_a_class_of_which_one_has_no_sample_is_named(tmp_path: Path) -> None:
    kind, found = KINDS["colour images"], seen(tmp_path, "colour images")
    there = kind.test[1] != 4
    error = complaint(
        lambda: fk.privacy.count_digits(found, (kind.test[0][there], kind.test[1][there]))
    )
    assert "class c4" in error.what


@pytest.mark.parametrize("name", KINDS)
def test_membership_is_asked_of_every_task(tmp_path: Path, name: str) -> None:
    kind, found = KINDS[name], seen(tmp_path, name)
    inside, outside = kind.shards[0], kind.test
    sure = fk.privacy.confidence(found, found.update, inside)
    model = found.model(found.update)
    with torch.no_grad():
        losses = criterion_of(kind.task)(model(inside[0]), inside[1], reduction="none")
    if name in NO_CLASSES:
        assert torch.allclose(-sure.float(), losses, atol=1e-5)
    else:
        assert (
            sure.argmax()
            == torch.nn.functional.cross_entropy(
                model(inside[0]), inside[1], reduction="none"
            ).argmin()
        )
    shadows = fk.privacy.train_shadows(found, kind.shards[1], 2)
    assert fk.privacy.lira(found, found.update, shadows, outside).shape == (20,)


@pytest.mark.parametrize("name", ["a table", "a regression", "nine classes of grey images"])
def test_one_step_tells_who_was_in_it(tmp_path: Path, name: str) -> None:
    kind, found = KINDS[name], seen(tmp_path, name)
    model, loss_of = found.model(found.before), criterion_of(kind.task)
    candidates = tuple(torch.cat(parts) for parts in zip(kind.shards[0], kind.test, strict=True))
    if name != "nine classes of grey images":  # thirty weights tell thirty samples apart
        candidates = tuple(part[25:45] for part in candidates)
    told = fk.privacy.gradient_coefficients(
        model, found.before, found.update, candidates, loss_of=loss_of
    )
    assert gradients_of(model, found.before, candidates, loss_of).shape[0] == len(candidates[1])
    if name == "nine classes of grey images":
        assert told[:35].min() > told[35:].max()


@pytest.mark.parametrize("name", ["colour images", "nine classes of grey images"])
def test_images_of_other_sides_are_rebuilt(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    config = kind.config(batch_size=64)
    model = load_model(kind.model, task=kind.task).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    images, labels = kind.samples[:1], kind.labels[:1]
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    names = [n for n, _ in model.named_parameters()]
    gradient = dict(zip(names, torch.autograd.grad(loss, list(model.parameters())), strict=True))
    how: dict[str, Any] = {
        "generator": torch.Generator().manual_seed(0),
        "shape": config.task.shape,
    }
    found = fk.privacy.match_gradient(
        model, before, gradient, labels, descents=2, within=math.inf, **how
    )
    assert found.shape == images.shape
    found = fk.privacy.match_direction(
        model, before, gradient, labels, steps=5, within=math.inf, **how
    )
    assert found.shape == images.shape


@pytest.mark.parametrize("attack", [fk.privacy.match_gradient, fk.privacy.match_direction])
def test_what_is_no_image_is_not_rebuilt_as_one(attack: Callable[..., object]) -> None:
    kind = KINDS["a table"]
    model = load_model(kind.model, task=kind.task)
    error = complaint(
        lambda: attack(
            *(model, model.state_dict(), {}, kind.labels[:1]),
            generator=torch.Generator(),
            shape=kind.task.shape,
        )
    )
    assert error.field == "shape"
    one_line(error)


def test_similarity_counts_colours_alike_and_needs_a_window() -> None:
    grey = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    noisy = (grey + 0.1).clamp(0, 1)
    same = ssim(noisy.expand(-1, 3, -1, -1), grey.expand(-1, 3, -1, -1))
    assert torch.allclose(same, ssim(noisy, grey))
    for small in (torch.rand(2, 3, 8, 8), torch.rand(2, 30)):
        one_line(complaint(lambda images=small: ssim(images, images)))


def test_the_crafted_model_is_the_tutorials() -> None:
    kind = KINDS["a table"]
    weights = load_model(kind.model, task=kind.task).state_dict()
    one_line(complaint(lambda: fk.privacy.crafted_weights(weights, kind.samples)))


@pytest.mark.parametrize("name", ["a table", "a regression", "text"])
def test_the_audit_judges_by_the_projects_loss(name: str) -> None:
    kind = KINDS[name]
    model, loss_of = load_model(kind.model, task=kind.task), criterion_of(kind.task)
    before = dict(model.state_dict())
    audit = audit_training(
        *(lambda shard: before, model, before, kind.shards[0], kind.test),
        generator=torch.Generator().manual_seed(0),
        loss_of=loss_of,
    )
    assert audit is not None


@pytest.mark.parametrize("name", KINDS)
def test_fine_tuning_follows_the_task(name: str) -> None:
    kind = KINDS[name]
    state = fk.seed_weights(kind.model)
    tuned = fk.fine_tune(
        *(state, kind.shards[0], kind.shards[0], kind.test),
        epochs=20,
        generator=torch.Generator().manual_seed(0),
        model=kind.model,
        task=kind.task,
    )
    better = tuned.own_after - tuned.own_before
    assert better < 0 if kind.task.labels == "numbers" else better >= 0
    assert kind.task.labels != "classes" or 0 <= tuned.common_after <= 1


def test_fine_tuning_without_a_metric_says_so() -> None:
    kind = KINDS["a table"]
    task = kind.task.model_validate({**kind.written, "metrics": []})
    shard = kind.shards[0]
    error = complaint(
        lambda: fk.fine_tune(
            *(fk.seed_weights(kind.model), shard, shard, shard),
            generator=torch.Generator(),
            model=kind.model,
            task=task,
        )
    )
    assert error.field == "task"


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_samples_can_be_looked_at(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    write_dataset(tmp_path / "shard.pt", *kind.shards[0])
    view = view_file(tmp_path, "shard.pt")
    assert view.kind == ("images" if kind.task.shape == (1, 28, 28) else "samples")
    assert "35" in " ".join(view.facts)
