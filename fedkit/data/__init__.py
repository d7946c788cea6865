"""The digits: where MNIST comes from, how it is dealt out, and the files that the real apps read.

`load_mnist` -> `by_digits` or `iid` -> `write_shard` into a datasite's private folder. A partition is a function
(labels, ..., generator) -> list of index tensors, one a participant; `take` alone cuts shards from indices.
"""

from fedkit.data.mnist import MNIST, data_dir, install_full, load_mnist
from fedkit.data.partition import TUTORIAL_GROUPS, by_digits, iid, split_by_digits, split_iid, take
from fedkit.data.samples import write_samples
from fedkit.data.shards import DATA_FILE, Shard, as_float, check_dataset, read_shard, write_shard

__all__ = [
    "DATA_FILE",
    "MNIST",
    "TUTORIAL_GROUPS",
    "Shard",
    "as_float",
    "by_digits",
    "check_dataset",
    "data_dir",
    "iid",
    "install_full",
    "load_mnist",
    "read_shard",
    "split_by_digits",
    "split_iid",
    "take",
    "write_samples",
    "write_shard",
]
