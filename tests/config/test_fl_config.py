"""The experiment's config: checked once at the door, every complaint with file, field and remedy."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import TUTORIAL_KEYS, FLConfig
from tests.support.helpers import ALICE, BOB, tutorial

FILE = Path("somewhere") / "fl_config.json"
DEVICES = ["CON", "nul", "aux", "COM1"]


def parse(values: Any) -> FLConfig:
    """Through the file's text, as everybody's config comes."""
    return FLConfig.parse(json.dumps(values), file=FILE)


def complaint(content: bytes | str) -> FedkitError:
    with pytest.raises(FedkitError) as caught:
        FLConfig.parse(content, file=FILE)
    error = caught.value
    assert error.file == FILE
    assert error.remedy, str(error)
    assert str(error).startswith(f"{FILE}: ")
    return error


# --------------------------------------------------------------------------------- what is accepted
def test_the_tutorials_eight_keys_are_enough() -> None:
    config = parse(tutorial())
    assert {key: getattr(config, key) for key in TUTORIAL_KEYS} == {
        **tutorial(),
        "participants": (ALICE, BOB),
    }
    assert config.model_class_name == "FLModel"
    assert config.test_dataset == "mnist_test_dataset.pt"
    assert config.quorum == 2
    assert config.unknown == ()


def test_ten_keys_are_written_and_what_was_added_stays() -> None:
    """The real aggregator demands ten; settings left at their default are not written, unknown keys are kept."""
    plain = json.loads(parse(tutorial()).to_json())
    assert list(plain) == [*TUTORIAL_KEYS, "model_class_name", "test_dataset"]
    extra = {"seed": 0, "colour": ["blue", None], "min_participants": 1, "é": "\ud800"}
    written = json.loads(parse(tutorial(**extra)).to_json())
    assert written == plain | extra


def test_unknown_keys_are_named_in_the_files_order() -> None:
    config = parse(tutorial(zebra=1, seed=3, apple=2))
    assert config.unknown == ("zebra", "apple")
    assert parse(json.loads(config.to_json())).unknown == ("zebra", "apple")


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Windows' editor writes one."""
    assert FLConfig.parse(b"\xef\xbb\xbf" + json.dumps(tutorial()).encode()).rounds == 3


def test_a_config_is_frozen_and_replace_checks() -> None:
    config = parse(tutorial(seed=4, colour="blue"))
    with pytest.raises(Exception, match="frozen"):
        config.rounds = 9  # type: ignore[misc]
    changed = config.replace(rounds=9)
    assert (changed.rounds, changed.seed, changed.unknown) == (9, 4, ("colour",))
    assert config.rounds == 3
    with pytest.raises(FedkitError) as caught:
        config.replace(rounds=0)
    assert caught.value._render_traceback_()[0].startswith(
        "FedkitError: "
    )  # as a notebook shows it


def test_save_and_load(tmp_path: Path) -> None:
    config = parse(tutorial(weighting="equal", approval="quorum", min_participants=1))
    config.save(tmp_path / "fl_config.json")
    assert FLConfig.load(tmp_path / "fl_config.json") == config


def test_a_missing_config_is_said(tmp_path: Path) -> None:
    with pytest.raises(FedkitError) as caught:
        FLConfig.load(tmp_path / "fl_config.json")
    assert caught.value.file == tmp_path / "fl_config.json"
    assert caught.value.remedy


# ---------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "line 1"),
        (b'{"rounds": 3,\n "epoch": }', "line 2"),
        (b"rounds: 3", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[" * 5000, "not valid JSON"),
        (b"[]", "holds a list, not a JSON object"),
        (b"3", "holds a int"),
        (b'"text"', "holds a str"),
        (b"null", "not a JSON object"),
        (b'{"rounds": 3, "rounds": 4}', "'rounds' stands there twice"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_what_is_no_json_object(content: bytes, says: str) -> None:
    assert says in complaint(content).what


PATHS = ["a/b", "../x", "..", "C:x", "\\\\x", "x\0y", "x" * 300, "", " ", "x.", "/etc/x", *DEVICES]
REFUSED: list[tuple[str, Any, str]] = [
    *(("project_name", name, "") for name in [*PATHS, 3, None, ["a"], True]),
    *(
        ("model_arch", f"{name}.py", "")
        for name in ["a/b", "..", "C:x", "x\0", "x" * 300, *DEVICES]
    ),
    *(("model_arch", name, "ends? in .py") for name in ["model", "model.pt", "model.py.sh"]),
    *(("model_weight", f"{n}.pt", "") for n in ["../w", "a\\b", "C:x", "x\0", "x" * 300, *DEVICES]),
    ("model_weight", "weights.bin", "end in .pt or .pth"),
    *(("test_dataset", f"{n}.pt", "") for n in ["../t", "a\\b", "C:x", "x\0", "x" * 300, *DEVICES]),
    ("test_dataset", "test.csv", "end in .pt or .pth"),
    *(("aggregator", email, "") for email in ["", "alice", "a/b@example.org", 3, None, "a@b.test"]),
    *(("aggregator", f"{d}.a@example.org", "Windows") for d in DEVICES),
    ("aggregator", "a\0@example.org", ""),
    ("aggregator", f"{'a' * 300}@example.org", "300|312"),
    ("participants", [], "empty"),
    ("participants", None, "list|tuple"),
    ("participants", ALICE, "list|tuple"),
    ("participants", {"a": ALICE}, "list|tuple"),
    ("participants", [ALICE, ALICE], "twice"),
    ("participants", [ALICE, ALICE.upper()], "twice"),
    *(("participants", [BOB, e], "") for e in ["", "../x", "x", 3, None, [], "a/b@example.org"]),
    *(("rounds", value, "") for value in [0, -1, 1.5, "3", None, True, [], 10**30]),
    *(("epoch", value, "") for value in [0, -1, 2.5, "3", None, False, 10**30]),
    *(("learning_rate", v, "number") for v in [math.nan, math.inf, -math.inf, 0, -0.1]),
    *(("learning_rate", v, "number") for v in ["0.1", None, True, [], 10**400]),
    ("model_class_name", "FL Model", ""),
    ("model_class_name", "os.system", ""),
    ("model_class_name", "", ""),
    ("model_class_name", 3, ""),
    ("seed", -1, ""),
    ("seed", 1.5, ""),
    ("seed", 2**63, ""),
    ("batch_size", 0, ""),
    ("weighting", "sample", "samples"),
    ("min_participants", 0, ""),
    ("min_participants", 3, "3 of 2"),
    ("participants_per_round", 3, "3 of 2"),
    ("adjustable", ["rounds"], ""),
    ("round_timeout_s", 0, "number"),
    ("round_timeout_s", math.nan, "number"),
    ("approval", "quorum", "min_participants"),
    ("approval", "nobody", ""),
    ("linger_s", -1, ""),
    ("linger_s", math.nan, ""),
    ("linger_s", math.inf, ""),
]


@pytest.mark.parametrize(("field", "value", "says"), REFUSED, ids=lambda value: repr(value)[:30])
def test_a_wrong_value_names_file_field_and_remedy(field: str, value: Any, says: str) -> None:
    error = complaint(json.dumps(tutorial(**{field: value})))
    assert error.field is not None
    assert error.field.split(".")[0] == field
    if says:
        assert re.search(says, str(error)), str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize("field", TUTORIAL_KEYS)
def test_a_missing_key_is_named(field: str) -> None:
    error = complaint(json.dumps(tutorial(**{field: ...})))
    assert error.field == field
    assert "missing" in error.what
    assert "add" in str(error.remedy)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model_weight": "w.pt", "test_dataset": "W.PT"[:2] + "pt"}, "same name"),
        ({"model_weight": "same.pt", "test_dataset": "same.pt"}, "same name"),
        ({"aggregator": "Alice@example.org"}, "aggregator"),
    ],
)
def test_two_things_of_one_name_are_refused(one: dict[str, Any], other: str) -> None:
    """On a file system that ignores case, the second would overwrite the first."""
    assert other in str(complaint(json.dumps(tutorial(**one))))


def test_a_wrong_position_in_the_list_is_named() -> None:
    assert complaint(json.dumps(tutorial(participants=[ALICE, "bob"]))).field == "participants.1"


# ---------------------------------------------------------------------------------------- any input
KEYS = st.sampled_from([*FLConfig.model_fields, "unknown", "quorum", "model_config", "__class__"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([ALICE, "model.py", "w.pt", "samples", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=6,
)


def outcome(values: dict[str, Any]) -> FLConfig | FedkitError:
    """A config or an error for people; anything else that is raised fails the test."""
    try:
        return FLConfig.parse(json.dumps(values), file=FILE)
    except FedkitError as error:
        return error


@given(st.dictionaries(KEYS | st.text(max_size=8), VALUES, max_size=6))
@example({"learning_rate": 10**400})
@example({"project_name": [[[[]]]]})
def test_any_json_object_gives_a_config_or_an_error_for_people(changes: dict[str, Any]) -> None:
    found = outcome(tutorial() | changes)
    if isinstance(found, FedkitError):
        assert found.remedy
        assert found.file == FILE
        return
    again = FLConfig.parse(found.to_json())
    assert json.loads(again.to_json(), parse_constant=str) == json.loads(
        found.to_json(), parse_constant=str
    )


@given(st.binary(max_size=60))
def test_any_bytes_give_an_error_for_people(content: bytes) -> None:
    with pytest.raises(FedkitError) as caught:
        FLConfig.parse(content)
    assert caught.value.remedy


@pytest.mark.parametrize("key", ["project_name", "participants", "learning_rate", "whatever"])
@pytest.mark.parametrize("depth", [2, 100, 900])
def test_a_deep_value_is_no_trap(key: str, depth: int) -> None:
    """Python's stack ends at about a thousand levels; what we accept, we can also write."""
    found = outcome(tutorial(**{key: json.loads("[" * depth + "]" * depth)}))
    if isinstance(found, FLConfig):
        assert found.to_json()
    else:
        assert found.remedy
    assert isinstance(found, FLConfig) == (key == "whatever" and depth == 2)


# ------------------------------------------------------------------------------------ in a cell
def test_a_call_in_python_gives_fedkits_words_and_is_caught_as_before() -> None:
    for wrong, says in (
        ({"rounds": 0}, "rounds: is 0 -> write a number of at least 1"),
        ({"rounds": "3"}, "rounds: is '3' -> write a whole number, without quotes"),
        ({"weighting": "none"}, "weighting: is 'none' -> write one of 'samples' or 'equal'"),
        ({"participants": []}, "participants: is empty"),
    ):
        for kind in (FedkitError, ValueError):
            with pytest.raises(kind) as caught:
                FLConfig(**tutorial(**wrong))
            assert says in str(caught.value)
            assert "pydantic" not in str(caught.value)
        with pytest.raises(FedkitError) as written:
            FLConfig.from_dict(tutorial(**wrong))
        assert says in str(written.value)


def test_keys_that_are_not_known_are_named_in_a_cell_with_the_nearest() -> None:
    values = tutorial(epochs=5, lr=3, DP={"unit": "example"}, colour="blue")
    with pytest.warns(UserWarning, match="does not know the key") as told:
        config = FLConfig(**values)
    assert [str(one.message).partition(": ")[2] for one in told] == [
        "did you mean 'epoch'?",
        "did you mean 'learning_rate'?",
        "did you mean 'dp'?",
        "it stays in the config, and changes nothing",
    ]
    assert all(one.filename == __file__ for one in told)
    assert config.unknown == ("epochs", "lr", "DP", "colour")
    known = FLConfig.from_dict(tutorial())
    with pytest.warns(UserWarning, match="'epoch'") as told:
        known.replace(epochs=5)
    assert len(told) == 1


@pytest.mark.parametrize("given", [{"rounds": 3}, "fl_config.json", b"{}"])
def test_what_stands_without_a_name_is_refused_with_what_takes_it(given: Any) -> None:
    with pytest.raises(
        FedkitError, match=r"by name.*FLConfig\.from_dict takes a dict, FLConfig\.load a file"
    ):
        FLConfig(given)


def test_a_change_in_place_says_what_makes_a_changed_copy() -> None:
    config = parse(tutorial())
    with pytest.raises(FedkitError, match=r"rounds: is frozen.*config\.replace\(rounds="):
        config.rounds = 5
    assert config.rounds == 3


@pytest.mark.parametrize("three", [np.int64(3), np.uint8(3), torch.tensor(3)])
def test_a_number_out_of_an_array_is_a_number(three: Any) -> None:
    config = FLConfig(**tutorial(rounds=three, learning_rate=np.float32(0.5)))
    assert config.to_json() == FLConfig(**tutorial(rounds=3, learning_rate=0.5)).to_json()
    assert config.replace(epoch=three).epoch == 3
    with pytest.raises(FedkitError, match="rounds"):
        FLConfig(**tutorial(rounds=np.array([1, 2])))


PARTS = {
    "dp": ({"unit": "example", "Epsilon": 3.0, "delta": 1e-5, "clip": 1.0}, "epsilon"),
    "optimizer": ({"name": "sgd", "Momentum": 0.9}, "momentum"),
    "schedule": ({"name": "step", "evry": 2}, "every"),
    "validation": ({"SHARE": 0.2}, "share"),
    "secure_aggregation": ({"Threshold": 2}, "threshold"),
    "task": ({"samples": "vectors", "shape": [3], "outputs": 2, "Loss": "mse"}, "loss"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_slip_in_a_part_of_the_config_is_told_with_the_nearest_key(part: str) -> None:
    value, meant = PARTS[part]
    with pytest.raises(
        FedkitError, match=rf"{part}\.\w+: is no key of it -> did you mean '{meant}'"
    ):
        FLConfig(**tutorial(**{part: value}))


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("epsilon", "dp"),
        ("dp.epsilon", "dp"),
        ("DP.Epsilon", "dp"),
        ("mu", "strategy"),
        ("local_epochs", "epoch"),
    ],
)
def test_a_key_from_inside_a_part_or_from_elsewhere_names_what_it_belongs_to(
    key: str, meant: str
) -> None:
    with pytest.warns(UserWarning, match=f"did you mean '{meant}'"):
        FLConfig(**tutorial(**{key: 4}))
