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
    from fedkit.privacy.attacks.evidence import Evidence, evidence
    from fedkit.privacy.attacks.exact_batch import exact_batch
    from fedkit.privacy.attacks.first_layer import (
        first_layer,
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
        last_bias,
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
    from fedkit.privacy.dp.trust import accuracy_by_trust, noise_by_trust, shuffled_epsilon
    from fedkit.privacy.dp.worst_case import WorstCaseAudit, audit_dp_sgd, audit_strategy
    from fedkit.privacy.report_page import PrivacyReport
    from fedkit.privacy.secagg.masks import mask_stream, pairwise_masks, remove_masks
    from fedkit.privacy.secagg.shamir import join_shares, split_secret

_NAMES = {
    "base.keys": "agree new_secret public_key",
    "privacy.attacks.crafted_weights": "SeedCheck check_seed crafted_weights read_bins",
    "privacy.attacks.evidence": "Evidence evidence",
    "privacy.attacks.exact_batch": "exact_batch",
    "privacy.attacks.first_layer": "first_layer invert_linear invert_rows row_space row_space_residual",
    "privacy.attacks.gradient_matching": "match_direction match_gradient",
    "privacy.attacks.image_scores": "Scores match mse psnr score ssim",
    "privacy.attacks.labels": (
        "count_digits count_labels label_of labels_of_batch last_bias mean_prediction whole_counts"
    ),
    "privacy.attacks.membership": "confidence gradient_coefficients lira train_shadows",
    "privacy.attacks.roc": "AttackResult Roc attack_result auc roc",
    "privacy.attacks.unmix": "unmix",
    "privacy.dp.account": "Mechanism epsilon_of noise_for",
    "privacy.dp.audit": "Audit audit_guesses audit_training epsilon_lower_bound pixel_canaries",
    "privacy.dp.budget": "spent",
    "privacy.dp.clip": "clip_rows noisy_mean",
    "privacy.dp.mechanism": "example_mechanism participant_mechanism",
    "privacy.dp.noise": "SeededNoise SystemNoise",
    "privacy.dp.policy": "PrivacyPolicy",
    "privacy.dp.training": "dp_sgd",
    "privacy.dp.trust": "accuracy_by_trust noise_by_trust shuffled_epsilon",
    "privacy.dp.worst_case": "WorstCaseAudit audit_dp_sgd audit_strategy",
    "privacy.report_page": "PrivacyReport",
    "privacy.secagg.masks": "mask_stream pairwise_masks remove_masks",
    "privacy.secagg.shamir": "join_shares split_secret",
}
"""Module -> the names that it gives."""
_HOME: dict[str, str] = {name: home for home, names in _NAMES.items() for name in names.split()}

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
    "WorstCaseAudit",
    "accuracy_by_trust",
    "agree",
    "attack_result",
    "auc",
    "audit_dp_sgd",
    "audit_guesses",
    "audit_strategy",
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
    "noise_by_trust",
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
    "shuffled_epsilon",
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
