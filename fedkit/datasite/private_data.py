"""A participant's own samples, in the folder that nobody else ever sees.

    alice.private.put((samples, labels), task)
    samples, labels = alice.private.load(task)

They lie there as `mnist_label_0.pt` to `mnist_label_9.pt` where the task is of digits, as the real client reads them, else
as `shard.pt`; files that a person puts there by hand are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedkit.base.files import remove
from fedkit.base.names import DATA_FILE
from fedkit.config.task import DIGITS, Task
from fedkit.datasite.tree import entries

if TYPE_CHECKING:
    from fedkit.data.shards import Shard

__all__ = ["PrivateData"]


@dataclass(frozen=True)
class PrivateData:
    """The training data in a folder. Looking at their names needs no torch."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        """The data files that lie there, by name."""
        return [path for path in entries(self.folder) if DATA_FILE.fullmatch(path.name)]

    def put(self, shard: Shard, task: Task = DIGITS) -> list[Path]:
        """Keep (samples, labels) in the place of what was there; returns the files.

        For digits: images float32 [N,1,28,28] in 0..1, labels int64 [N]. Raises FedkitError, and changes nothing, if they
        are not what the task says.
        """
        from fedkit.data.shards import check_dataset, write_shard

        check_dataset(*shard, self.folder, task)
        for path in self.files:
            remove(path)
        return write_shard(self.folder, shard, task)

    def load(self, task: Task = DIGITS) -> Shard:
        """All that lies there as one shard, in the order in which it is trained on. Raises FedkitError as `read_shard`."""
        from fedkit.data.shards import read_shard

        return read_shard(self.folder, task)
