"""Pictures of federated learning: each function returns a `matplotlib.figure.Figure` with one message, said by its title.

`fk.show(figure, alt)` puts one into a notebook. Colours are Okabe and Ito's, and colour is never the only sign. Looking at
folders, files and rounds needs no torch: what does imports it in its function.
"""

from fedkit.teaching.plots.accuracy import (
    accuracy_bands,
    accuracy_by_round,
    loss_curves,
    metric_by_round,
    reaching,
    survival_curves,
)
from fedkit.teaching.plots.class_picture import class_picture
from fedkit.teaching.plots.course_map import course_map
from fedkit.teaching.plots.datasite import folder_tree, permission_matrix
from fedkit.teaching.plots.drift import drift_arrows
from fedkit.teaching.plots.participants import (
    confusion,
    home_and_abroad,
    label_bars,
    label_heatmap,
    participant_bars,
    per_digit_accuracy,
    shard_sizes,
)
from fedkit.teaching.plots.pixels import (
    digit_grid,
    digit_row,
    masked_rows,
    rebuilt_digits,
    weight_images,
    weight_rows,
)
from fedkit.teaching.plots.privacy import (
    privacy_tradeoff,
    residual_dots,
    roc_curves,
    share_table,
    trust_curves,
)
from fedkit.teaching.plots.roads import road_costs, who_could_open
from fedkit.teaching.plots.small_multiples import small_multiples
from fedkit.teaching.plots.timeline import round_timeline
from fedkit.teaching.plots.traffic import bytes_by_participant, what_crossed

__all__ = [
    "accuracy_bands",
    "accuracy_by_round",
    "bytes_by_participant",
    "class_picture",
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
    "metric_by_round",
    "participant_bars",
    "per_digit_accuracy",
    "permission_matrix",
    "privacy_tradeoff",
    "reaching",
    "rebuilt_digits",
    "residual_dots",
    "road_costs",
    "roc_curves",
    "round_timeline",
    "shard_sizes",
    "share_table",
    "small_multiples",
    "survival_curves",
    "trust_curves",
    "weight_images",
    "weight_rows",
    "what_crossed",
    "who_could_open",
]
