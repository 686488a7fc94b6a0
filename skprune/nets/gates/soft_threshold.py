"""Soft-threshold reparameterisation: a learned threshold for every layer."""

import torch
from torch import nn

from skprune.nets.gates.base import Gate, Prunable


class SoftThresholdGate(Gate):
    r"""A layer that runs on its weights moved towards zero by a learned threshold.

    Kusupati et al. (2020) [1]_, equation 4: :math:`w = sign(\theta) \, relu(|\theta| -
    \sigma(s))`, with one s a layer. Weights below the threshold are exactly zero, and have no
    gradient until it comes down to them.

    Parameters
    ----------
    layer : Linear or Conv
        The layer.
    s_init : float, default=-5.0
        Where s starts. The paper's -3200 is for ResNet-50: its threshold is 0 in float32, and so
        is its gradient. That of -5 is 0.0067.

    References
    ----------
    .. [1] A. Kusupati et al., "Soft threshold weight reparameterization for learnable sparsity",
       2020.

    Examples
    --------
    >>> import torch
    >>> gate = SoftThresholdGate(torch.nn.Linear(2, 1), s_init=0.0)
    >>> _ = gate.weight.data.copy_(torch.tensor([[1.0, -0.25]]))
    >>> gate.thresholded().tolist()
    [[0.5, -0.0]]
    """

    # Past all weights there is no gradient that would bring a threshold back: it must go slowly.
    travel = 2.0

    def __init__(self, layer: Prunable, *, s_init: float = -5.0) -> None:
        super().__init__(layer, "weight")
        self.s = nn.Parameter(torch.tensor(s_init).to(self.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output; there is no noise."""
        return self.run(x, self.thresholded(), self.bias)

    def thresholded(self, shift: torch.Tensor | float = 0.0) -> torch.Tensor:
        """Give the weights that the layer runs on: equation 4."""
        weight = self.weight
        return torch.sign(weight) * torch.relu(self.scores() - shift)

    def penalty(self) -> torch.Tensor:
        """Compute half the square of s: the weight decay that drives the threshold up."""
        return 0.5 * self.s * self.s

    def is_open(self) -> torch.Tensor:
        """Tell which weights are above the threshold."""
        return self.scores() > 0

    def scores(self) -> torch.Tensor:
        """Give by how much each weight is above the threshold."""
        return self.weight.abs() - torch.sigmoid(self.s)

    def values(self) -> torch.Tensor:
        """Give the share of each weight that is above the threshold."""
        return self._shares(0.0)

    def closing_values(self, kept: torch.Tensor) -> torch.Tensor:
        """Give what is left of each weight under the threshold that parts the kept from the rest.

        With fewer weights to keep than are open, what is closed was cut off; with more, the
        threshold comes down to the least of them, so that none is kept that is zero.
        """
        lowest = torch.where(kept, self.scores(), torch.inf).min()
        # above the rounding of the scores, which are differences of these two
        slack = 1e-6 * torch.maximum(self.weight.abs().max(), torch.sigmoid(self.s))
        return self._shares(torch.clamp(lowest - slack, max=0.0)) * kept

    def _shares(self, shift: torch.Tensor | float) -> torch.Tensor:
        weight = self.weight
        return torch.where(weight == 0, 0.0, self.thresholded(shift) / weight).clamp(max=1)
