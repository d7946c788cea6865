"""The "MNIST 2NN" of McMahan et al. 2017: two hidden layers of 200 units, 199,210 weights."""

import torch
from torch import Tensor, nn


class FLModel(nn.Module):
    """784 -> 200 -> 200 -> 10: an image float32 [N,1,28,28] becomes logits [N,10]."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 200)
        self.fc2 = nn.Linear(200, 200)
        self.fc3 = nn.Linear(200, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.fc1(images.flatten(1)))
        return self.fc3(torch.relu(self.fc2(hidden)))
