"""What a round asks for: learning rate, local epochs and who trains, fixed when the round begins.

The config says it for the whole project. A person at the aggregator may change it from the next round on
(`change_settings`), where the config that everybody approved says so in its key `adjustable`. What differs from the config
travels as a small file beside the global model, which the real apps ignore. A plan is written down before it is sent, so a
round that was cut off is the same round afterwards.
"""

from __future__ import annotations

__all__ = []
