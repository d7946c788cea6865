"""What an update reveals, and what protects it: attacks on the files that crossed the wire, and defences.

`fk.privacy.<name>` loads a name's module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedkit.base.keys import agree, new_secret, public_key
    from fedkit.privacy.attacks.crafted_weights import (
        SeedCheck,
        check_seed,
        crafted_weights,
        read_bins,
    )
    from fedkit.privacy.attacks.evidence import Evidence, evidence, first_layer, last_bias
    from fedkit.privacy.attacks.exact_batch import exact_batch
    from fedkit.privacy.attacks.first_layer import (
        invert_linear,
        invert_rows,
        row_space,
        row_space_residual,
    )
    from fedkit.privacy.attacks.gradient_matching import match_direction, match_gradient
    from fedkit.privacy.attacks.image_scores import Scores, match, mse, psnr, score, ssim
    from fedkit.privacy.attacks.labels import (
        count_digits,
        count_labels,
        label_of,
        labels_of_batch,
        mean_prediction,
        whole_counts,
    )
    from fedkit.privacy.attacks.membership import (
        confidence,
        gradient_coefficients,
        lira,
        train_shadows,
    )
    from fedkit.privacy.attacks.roc import AttackResult, Roc, attack_result, auc, roc
    from fedkit.privacy.attacks.unmix import unmix
    from fedkit.privacy.dp.account import Mechanism, epsilon_of, noise_for
    from fedkit.privacy.dp.audit import (
        Audit,
        audit_guesses,
        audit_training,
        epsilon_lower_bound,
        pixel_canaries,
    )
    from fedkit.privacy.dp.budget import spent
    from fedkit.privacy.dp.clip import clip_rows, noisy_mean
    from fedkit.privacy.dp.mechanism import example_mechanism, participant_mechanism
    from fedkit.privacy.dp.noise import SeededNoise, SystemNoise
    from fedkit.privacy.dp.policy import PrivacyPolicy
    from fedkit.privacy.dp.training import dp_sgd
    from fedkit.privacy.report_page import PrivacyReport
    from fedkit.privacy.secagg.masks import mask_stream, pairwise_masks, remove_masks
    from fedkit.privacy.secagg.shamir import join_shares, split_secret

_HOME: dict[str, str] = {
    "agree": "base.keys",
    "new_secret": "base.keys",
    "public_key": "base.keys",
    "mask_stream": "privacy.secagg.masks",
    "pairwise_masks": "privacy.secagg.masks",
    "remove_masks": "privacy.secagg.masks",
    "join_shares": "privacy.secagg.shamir",
    "split_secret": "privacy.secagg.shamir",
    "Evidence": "privacy.attacks.evidence",
    "evidence": "privacy.attacks.evidence",
    "first_layer": "privacy.attacks.evidence",
    "invert_linear": "privacy.attacks.first_layer",
    "invert_rows": "privacy.attacks.first_layer",
    "row_space": "privacy.attacks.first_layer",
    "row_space_residual": "privacy.attacks.first_layer",
    "Scores": "privacy.attacks.image_scores",
    "match": "privacy.attacks.image_scores",
    "mse": "privacy.attacks.image_scores",
    "psnr": "privacy.attacks.image_scores",
    "score": "privacy.attacks.image_scores",
    "ssim": "privacy.attacks.image_scores",
    "exact_batch": "privacy.attacks.exact_batch",
    "unmix": "privacy.attacks.unmix",
    "count_labels": "privacy.attacks.labels",
    "label_of": "privacy.attacks.labels",
    "labels_of_batch": "privacy.attacks.labels",
    "mean_prediction": "privacy.attacks.labels",
    "count_digits": "privacy.attacks.labels",
    "last_bias": "privacy.attacks.evidence",
    "Mechanism": "privacy.dp.account",
    "epsilon_of": "privacy.dp.account",
    "noise_for": "privacy.dp.account",
    "clip_rows": "privacy.dp.clip",
    "noisy_mean": "privacy.dp.clip",
    "SeededNoise": "privacy.dp.noise",
    "SystemNoise": "privacy.dp.noise",
    "dp_sgd": "privacy.dp.training",
    "PrivacyPolicy": "privacy.dp.policy",
    "spent": "privacy.dp.budget",
    "example_mechanism": "privacy.dp.mechanism",
    "participant_mechanism": "privacy.dp.mechanism",
    "Audit": "privacy.dp.audit",
    "audit_guesses": "privacy.dp.audit",
    "audit_training": "privacy.dp.audit",
    "epsilon_lower_bound": "privacy.dp.audit",
    "pixel_canaries": "privacy.dp.audit",
    "auc": "privacy.attacks.roc",
    "gradient_coefficients": "privacy.attacks.membership",
    "AttackResult": "privacy.attacks.roc",
    "attack_result": "privacy.attacks.roc",
    "PrivacyReport": "privacy.report_page",
    "match_gradient": "privacy.attacks.gradient_matching",
    "match_direction": "privacy.attacks.gradient_matching",
    "crafted_weights": "privacy.attacks.crafted_weights",
    "read_bins": "privacy.attacks.crafted_weights",
    "check_seed": "privacy.attacks.crafted_weights",
    "SeedCheck": "privacy.attacks.crafted_weights",
    "Roc": "privacy.attacks.roc",
    "roc": "privacy.attacks.roc",
    "confidence": "privacy.attacks.membership",
    "lira": "privacy.attacks.membership",
    "train_shadows": "privacy.attacks.membership",
    "whole_counts": "privacy.attacks.labels",
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
