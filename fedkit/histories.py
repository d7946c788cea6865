"""Reading what an aggregator's folders say about its projects: which there are, and how their rounds went."""

from __future__ import annotations

__all__ = []
