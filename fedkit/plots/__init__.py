"""Pictures of federated learning: each function returns a `matplotlib.figure.Figure` with one message, said by its title.

`fk.show(figure, alt)` puts one into a notebook. Colours are Okabe and Ito's, and colour is never the only sign.
"""

from fedkit.plots.bands import accuracy_bands, survival_curves
from fedkit.plots.coursemap import course_map
from fedkit.plots.digits import digit_grid, weight_images
from fedkit.plots.drift import drift_arrows
from fedkit.plots.folders import folder_tree
from fedkit.plots.knowledge import confusion, per_digit_accuracy
from fedkit.plots.masked import masked_rows
from fedkit.plots.multiples import small_multiples
from fedkit.plots.participants import label_bars, participant_bars
from fedkit.plots.privacy import digit_row, privacy_tradeoff
from fedkit.plots.reaching import reaching
from fedkit.plots.rebuilt import rebuilt_digits, share_table
from fedkit.plots.rights import permission_matrix
from fedkit.plots.roc import residual_dots, roc_curves
from fedkit.plots.rounds import accuracy_by_round, loss_curves
from fedkit.plots.skew import home_and_abroad, label_heatmap, shard_sizes
from fedkit.plots.timeline import round_timeline
from fedkit.plots.traffic import bytes_by_participant, what_crossed
from fedkit.plots.weight_rows import weight_rows

__all__ = [
    "accuracy_bands",
    "accuracy_by_round",
    "bytes_by_participant",
    "confusion",
    "course_map",
    "digit_grid",
    "digit_row",
    "drift_arrows",
    "folder_tree",
    "home_and_abroad",
    "label_bars",
    "label_heatmap",
    "loss_curves",
    "masked_rows",
    "participant_bars",
    "per_digit_accuracy",
    "permission_matrix",
    "privacy_tradeoff",
    "reaching",
    "rebuilt_digits",
    "residual_dots",
    "roc_curves",
    "round_timeline",
    "shard_sizes",
    "share_table",
    "small_multiples",
    "survival_curves",
    "weight_images",
    "weight_rows",
    "what_crossed",
]
