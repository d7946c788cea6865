"""Panels for a notebook: drive the rounds, answer requests, let things fail, and look at what lies where and what crossed.

Most are views of `Control`, which does the work and knows nothing of widgets. `SkewLab` simulates, and
`NoiseDial` shows pictures that are there.
"""

from fedkit.teaching.widgets.approval_desk import ApprovalDesk
from fedkit.teaching.widgets.class_room import ClassRoom
from fedkit.teaching.widgets.datasite_tree import DatasiteTree
from fedkit.teaching.widgets.failure_lab import FailureLab
from fedkit.teaching.widgets.ledger_view import LedgerView
from fedkit.teaching.widgets.noise_dial import NoiseDial
from fedkit.teaching.widgets.panel import Panel
from fedkit.teaching.widgets.quiz import Quiz
from fedkit.teaching.widgets.round_control import RoundControl
from fedkit.teaching.widgets.skew_lab import SkewLab

__all__ = [
    "ApprovalDesk",
    "ClassRoom",
    "DatasiteTree",
    "FailureLab",
    "LedgerView",
    "NoiseDial",
    "Panel",
    "Quiz",
    "RoundControl",
    "SkewLab",
]
