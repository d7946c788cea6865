"""Panels for a notebook: drive the rounds, answer requests, let things fail, and look at what lies where and what crossed.

Each one is a view of `fedkit.control.Control`, which does the work and knows nothing of widgets.
"""

from fedkit.widgets.base import Panel

__all__ = ["Panel"]
