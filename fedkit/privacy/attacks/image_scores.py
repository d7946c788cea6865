"""How good is a rebuilt image? MSE, PSNR and SSIM, after pairing a rebuilt batch with the originals in the best way.

A batch has no order on the wire, so a score first finds the pairing with the smallest total error (the assignment problem).
Pixels go from 0 to 1. Notebook 08.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fedkit.base.errors import FedkitError

__all__ = ["Scores", "match", "mse", "psnr", "score", "ssim"]


SIDE = 28
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class Scores:
    """One entry an original, in the originals' order.

    order : which rebuilt image is paired with it. mse : mean squared error. psnr : in dB. ssim : -1 to 1.
    """

    order: Tensor
    mse: Tensor
    psnr: Tensor
    ssim: Tensor


def mse(rebuilt: Tensor, originals: Tensor) -> Tensor:
    """Mean squared error over the pixels, image by image: float64 [N]."""
    return (_flat(rebuilt) - _flat(originals)).square().mean(1)


def psnr(rebuilt: Tensor, originals: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, image by image: -10 log10(MSE), for pixels from 0 to 1. float64 [N].

    20 dB is an error of a tenth of full ink (root mean square), 60 dB one of a thousandth; at most 200.
    """
    return -10 * mse(rebuilt, originals).clamp_min(1e-20).log10()


def ssim(rebuilt: Tensor, originals: Tensor) -> Tensor:
    """Structural similarity, the mean over all windows, image by image: float64 [N], 1 for equal images.

    SSIM = (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2)), with means and (co)variances weighted
    by a Gaussian of 11 x 11 pixels (sigma 1.5), C1 = 0.01^2, C2 = 0.03^2 (Wang et al. 2004, equation 13). Windows lie
    entirely inside the image; colours count alike. originals : [N,C,H,W], or [N,784]. Raises FedkitError for what is no
    image.
    """
    channels, *sides = originals.shape[1:] if originals.ndim == 4 else (1, SIDE, SIDE)
    if channels * math.prod(sides) != originals[0].numel() or min(sides) < WINDOW:
        raise FedkitError(
            f"of shape {list(originals.shape)} are no images of at least {WINDOW} x {WINDOW} pixels",
            field="originals",
            remedy="give images [N,C,H,W], or compare by mse",
        )
    x, y = (_flat(images).reshape(-1, 1, *sides) for images in (rebuilt, originals))
    away = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = torch.exp(-away.square() / (2 * SIGMA**2))
    window = torch.outer(line, line)[None, None] / line.sum() ** 2
    m_x, m_y = F.conv2d(x, window), F.conv2d(y, window)
    s_x = F.conv2d(x * x, window) - m_x**2
    s_y = F.conv2d(y * y, window) - m_y**2
    s_xy = F.conv2d(x * y, window) - m_x * m_y
    ratio = (2 * m_x * m_y + C1) * (2 * s_xy + C2)
    each = (ratio / ((m_x**2 + m_y**2 + C1) * (s_x + s_y + C2))).mean((1, 2, 3))
    return each.reshape(-1, channels).mean(1)


def match(rebuilt: Tensor, originals: Tensor) -> Tensor:
    """For each original the rebuilt image paired with it, int64 [N]: the pairing with the smallest sum of squared errors.

    rebuilt : at least as many as originals. Raises FedkitError if there are fewer.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    if len(rebuilt) < len(originals):
        raise FedkitError(
            f"are {len(rebuilt)}, the originals {len(originals)}",
            field="rebuilt",
            remedy="give at least one rebuilt image an original",
        )
    cost = torch.cdist(_flat(originals), _flat(rebuilt)).square()
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def score(rebuilt: Tensor, originals: Tensor) -> Scores:
    """All scores of a rebuilt batch after the best pairing. Both float [., 784] or [., C, H, W], 0 to 1."""
    order = match(rebuilt, originals)
    paired = rebuilt[order]
    return Scores(order, mse(paired, originals), psnr(paired, originals), ssim(paired, originals))


def _flat(images: Tensor) -> Tensor:
    return images.detach().double().reshape(len(images), -1)
