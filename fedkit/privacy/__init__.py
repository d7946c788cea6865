"""What an update reveals, and what protects it: attacks on the files that crossed the wire, and defences.

`fk.privacy.<name>` loads a name's module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedkit.privacy.attack_results import AttackResult, attack_result
    from fedkit.privacy.crafted import SeedCheck, check_seed, crafted_weights, read_bins
    from fedkit.privacy.curves import Roc, auc, roc
    from fedkit.privacy.dp_account import Mechanism, epsilon_of, noise_for
    from fedkit.privacy.dp_audit import (
        Audit,
        audit_guesses,
        audit_training,
        epsilon_lower_bound,
        pixel_canaries,
    )
    from fedkit.privacy.dp_clip import clip_rows, noisy_mean
    from fedkit.privacy.dp_noise import SeededNoise, SystemNoise
    from fedkit.privacy.dp_plan import example_mechanism, participant_mechanism
    from fedkit.privacy.dp_policy import PrivacyPolicy
    from fedkit.privacy.dp_spending import spent
    from fedkit.privacy.dp_training import dp_sgd
    from fedkit.privacy.exact import exact_batch
    from fedkit.privacy.inversion import match_direction, match_gradient
    from fedkit.privacy.keys import agree, new_secret, public_key
    from fedkit.privacy.labels import (
        count_labels,
        label_of,
        labels_of_batch,
        mean_prediction,
        whole_counts,
    )
    from fedkit.privacy.linear import invert_linear, invert_rows
    from fedkit.privacy.masks import mask_stream, pairwise_masks, remove_masks
    from fedkit.privacy.membership import confidence, lira, train_shadows
    from fedkit.privacy.properties import count_digits
    from fedkit.privacy.regression import gradient_coefficients
    from fedkit.privacy.report import PrivacyReport
    from fedkit.privacy.rowspace import row_space, row_space_residual
    from fedkit.privacy.scores import Scores, match, mse, psnr, score, ssim
    from fedkit.privacy.seen import Evidence, evidence, first_layer, last_bias
    from fedkit.privacy.shamir import join_shares, split_secret
    from fedkit.privacy.unmixing import unmix

_HOME: dict[str, str] = {
    "agree": "keys",
    "new_secret": "keys",
    "public_key": "keys",
    "mask_stream": "masks",
    "pairwise_masks": "masks",
    "remove_masks": "masks",
    "join_shares": "shamir",
    "split_secret": "shamir",
    "Evidence": "seen",
    "evidence": "seen",
    "first_layer": "seen",
    "invert_linear": "linear",
    "invert_rows": "linear",
    "row_space": "rowspace",
    "row_space_residual": "rowspace",
    "Scores": "scores",
    "match": "scores",
    "mse": "scores",
    "psnr": "scores",
    "score": "scores",
    "ssim": "scores",
    "exact_batch": "exact",
    "unmix": "unmixing",
    "count_labels": "labels",
    "label_of": "labels",
    "labels_of_batch": "labels",
    "mean_prediction": "labels",
    "count_digits": "properties",
    "last_bias": "seen",
    "Mechanism": "dp_account",
    "epsilon_of": "dp_account",
    "noise_for": "dp_account",
    "clip_rows": "dp_clip",
    "noisy_mean": "dp_clip",
    "SeededNoise": "dp_noise",
    "SystemNoise": "dp_noise",
    "dp_sgd": "dp_training",
    "PrivacyPolicy": "dp_policy",
    "spent": "dp_spending",
    "example_mechanism": "dp_plan",
    "participant_mechanism": "dp_plan",
    "Audit": "dp_audit",
    "audit_guesses": "dp_audit",
    "audit_training": "dp_audit",
    "epsilon_lower_bound": "dp_audit",
    "pixel_canaries": "dp_audit",
    "auc": "curves",
    "gradient_coefficients": "regression",
    "AttackResult": "attack_results",
    "attack_result": "attack_results",
    "PrivacyReport": "report",
    "match_gradient": "inversion",
    "match_direction": "inversion",
    "crafted_weights": "crafted",
    "read_bins": "crafted",
    "check_seed": "crafted",
    "SeedCheck": "crafted",
    "Roc": "curves",
    "roc": "curves",
    "confidence": "membership",
    "lira": "membership",
    "train_shadows": "membership",
    "whole_counts": "labels",
}

__all__ = [
    "AttackResult",
    "Audit",
    "Evidence",
    "Mechanism",
    "PrivacyPolicy",
    "PrivacyReport",
    "Roc",
    "Scores",
    "SeedCheck",
    "SeededNoise",
    "SystemNoise",
    "agree",
    "attack_result",
    "auc",
    "audit_guesses",
    "audit_training",
    "check_seed",
    "clip_rows",
    "confidence",
    "count_digits",
    "count_labels",
    "crafted_weights",
    "dp_sgd",
    "epsilon_lower_bound",
    "epsilon_of",
    "evidence",
    "exact_batch",
    "example_mechanism",
    "first_layer",
    "gradient_coefficients",
    "invert_linear",
    "invert_rows",
    "join_shares",
    "label_of",
    "labels_of_batch",
    "last_bias",
    "lira",
    "mask_stream",
    "match",
    "match_direction",
    "match_gradient",
    "mean_prediction",
    "mse",
    "new_secret",
    "noise_for",
    "noisy_mean",
    "pairwise_masks",
    "participant_mechanism",
    "pixel_canaries",
    "psnr",
    "public_key",
    "read_bins",
    "remove_masks",
    "roc",
    "row_space",
    "row_space_residual",
    "score",
    "spent",
    "split_secret",
    "ssim",
    "train_shadows",
    "unmix",
    "whole_counts",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fedkit.privacy' has no attribute {name!r}")
    value = getattr(import_module(f"fedkit.privacy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
