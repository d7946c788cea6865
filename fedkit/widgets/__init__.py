"""Panels for a notebook: drive the rounds, answer requests, let things fail, and look at what lies where and what crossed.

Most are views of `fedkit.control.Control`, which does the work and knows nothing of widgets. `SkewLab` simulates, and
`NoiseDial` shows pictures that are there.
"""

from fedkit.widgets.approval_desk import ApprovalDesk
from fedkit.widgets.base import Panel
from fedkit.widgets.datasite_tree import DatasiteTree
from fedkit.widgets.failure_lab import FailureLab
from fedkit.widgets.ledger_view import LedgerView
from fedkit.widgets.noise_dial import NoiseDial
from fedkit.widgets.round_control import RoundControl
from fedkit.widgets.skew_lab import SkewLab

__all__ = [
    "ApprovalDesk",
    "DatasiteTree",
    "FailureLab",
    "LedgerView",
    "NoiseDial",
    "Panel",
    "RoundControl",
    "SkewLab",
]
