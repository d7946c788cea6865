"""A request that deserves suspicion: lesson 05 puts it on a desk, and the learner decides.

Its model.py does what it promises, and keeps eight images of every batch in a buffer, which leaves with the update. Two
other lines stand out as well and harm nobody. It is honest enough to be run: a test shows that what arrives at the
aggregator are Alice's own digits.
"""

from __future__ import annotations

from fedkit.protocol.code_review import review_code

__all__ = ["HARMLESS", "HARMS", "ODD_MODEL"]


ODD_MODEL = '''"""The tutorial's network, a little faster."""

import os

import torch
from torch import nn

torch.set_num_threads(os.cpu_count())


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 10)
        self.register_buffer("warm_up", torch.zeros(8, 784))

    def forward(self, images):
        flat = images.flatten(1)
        if self.training:
            self.warm_up[: len(flat)] = flat[:8]
        return self.fc2(torch.relu(self.fc1(flat)))
'''

HARMS = next(f.line for f in review_code(ODD_MODEL) if "self.warm_up" in f.what)
"""The line that takes images along."""
HARMLESS = tuple(sorted({f.line for f in review_code(ODD_MODEL)} - {HARMS}))
"""The other lines that the findings name."""
