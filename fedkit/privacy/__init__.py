"""What an update reveals, and what protects it: attacks on the files that crossed the wire, and defences.

`fk.privacy.<name>` loads a name's module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedkit.base.keys import agree, new_secret, public_key
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
    "agree": "base.keys",
    "new_secret": "base.keys",
    "public_key": "base.keys",
    "mask_stream": "privacy.masks",
    "pairwise_masks": "privacy.masks",
    "remove_masks": "privacy.masks",
    "join_shares": "privacy.shamir",
    "split_secret": "privacy.shamir",
    "Evidence": "privacy.seen",
    "evidence": "privacy.seen",
    "first_layer": "privacy.seen",
    "invert_linear": "privacy.linear",
    "invert_rows": "privacy.linear",
    "row_space": "privacy.rowspace",
    "row_space_residual": "privacy.rowspace",
    "Scores": "privacy.scores",
    "match": "privacy.scores",
    "mse": "privacy.scores",
    "psnr": "privacy.scores",
    "score": "privacy.scores",
    "ssim": "privacy.scores",
    "exact_batch": "privacy.exact",
    "unmix": "privacy.unmixing",
    "count_labels": "privacy.labels",
    "label_of": "privacy.labels",
    "labels_of_batch": "privacy.labels",
    "mean_prediction": "privacy.labels",
    "count_digits": "privacy.properties",
    "last_bias": "privacy.seen",
    "Mechanism": "privacy.dp_account",
    "epsilon_of": "privacy.dp_account",
    "noise_for": "privacy.dp_account",
    "clip_rows": "privacy.dp_clip",
    "noisy_mean": "privacy.dp_clip",
    "SeededNoise": "privacy.dp_noise",
    "SystemNoise": "privacy.dp_noise",
    "dp_sgd": "privacy.dp_training",
    "PrivacyPolicy": "privacy.dp_policy",
    "spent": "privacy.dp_spending",
    "example_mechanism": "privacy.dp_plan",
    "participant_mechanism": "privacy.dp_plan",
    "Audit": "privacy.dp_audit",
    "audit_guesses": "privacy.dp_audit",
    "audit_training": "privacy.dp_audit",
    "epsilon_lower_bound": "privacy.dp_audit",
    "pixel_canaries": "privacy.dp_audit",
    "auc": "privacy.curves",
    "gradient_coefficients": "privacy.regression",
    "AttackResult": "privacy.attack_results",
    "attack_result": "privacy.attack_results",
    "PrivacyReport": "privacy.report",
    "match_gradient": "privacy.inversion",
    "match_direction": "privacy.inversion",
    "crafted_weights": "privacy.crafted",
    "read_bins": "privacy.crafted",
    "check_seed": "privacy.crafted",
    "SeedCheck": "privacy.crafted",
    "Roc": "privacy.curves",
    "roc": "privacy.curves",
    "confidence": "privacy.membership",
    "lira": "privacy.membership",
    "train_shadows": "privacy.membership",
    "whole_counts": "privacy.labels",
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
    value = getattr(import_module(f"fedkit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
