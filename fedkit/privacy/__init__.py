"""What an update reveals, and what protects it: attacks on the files that crossed the wire, and defences.

`fk.privacy.<name>` loads a name's module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedkit.privacy.exact import exact_batch
    from fedkit.privacy.keys import agree, new_secret, public_key
    from fedkit.privacy.labels import count_labels, label_of, labels_of_batch, mean_prediction
    from fedkit.privacy.linear import invert_linear, invert_rows
    from fedkit.privacy.masks import mask_stream, pairwise_masks, remove_masks
    from fedkit.privacy.properties import count_digits
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
}

__all__ = [
    "Evidence",
    "Scores",
    "agree",
    "count_digits",
    "count_labels",
    "evidence",
    "exact_batch",
    "first_layer",
    "invert_linear",
    "invert_rows",
    "join_shares",
    "label_of",
    "labels_of_batch",
    "last_bias",
    "mask_stream",
    "match",
    "mean_prediction",
    "mse",
    "new_secret",
    "pairwise_masks",
    "psnr",
    "public_key",
    "remove_masks",
    "row_space",
    "row_space_residual",
    "score",
    "split_secret",
    "ssim",
    "unmix",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fedkit.privacy' has no attribute {name!r}")
    value = getattr(import_module(f"fedkit.privacy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
