"""Hard-concrete gates: L0 regularisation."""

from math import log

import torch
from torch import nn

from skprune.nets.gates.base import Gate, Prunable

# Louizos 2018, section 4: the temperature, and the interval over which the sigmoid is stretched
TEMPERATURE = 2 / 3
STRETCH = (-0.1, 1.1)


class HardConcreteGate(Gate):
    r"""A gate that is exactly 0 or 1 with positive probability, and has a gradient between.

    Louizos, Welling and Kingma (2018) [1]_: with u uniform on (0, 1), equations 10 and 11,

    .. math::
        s = \sigma((\log u - \log(1 - u) + \log\alpha) / \beta), \qquad
        z = \min(1, \max(0, s (\zeta - \gamma) + \gamma)).

    Parameters
    ----------
    layer : Linear or Conv
        The layer.
    per : {"unit", "weight"}, default="unit"
        What has a gate of its own.
    droprate_init : float in (0, 1), default=0.5
        `log_alpha` starts at N(log((1 - p) / p), 0.01), p being this.
    temperature : float, default=2/3
        Beta.
    stretch : (float, float), default=(-0.1, 1.1)
        Gamma < 0 and zeta > 1.

    References
    ----------
    .. [1] C. Louizos, M. Welling and D. P. Kingma, "Learning sparse neural networks through L0
       regularization", 2018.

    Examples
    --------
    >>> import torch
    >>> gate = HardConcreteGate(torch.nn.Linear(3, 2))
    >>> _ = gate.log_alpha.data.copy_(torch.tensor([-9.0, 0.0, 9.0]))
    >>> [round(value, 3) for value in gate.values().tolist()]
    [0.0, 0.5, 1.0]
    """

    def __init__(
        self,
        layer: Prunable,
        per: str = "unit",
        *,
        droprate_init: float = 0.5,
        temperature: float = TEMPERATURE,
        stretch: tuple[float, float] = STRETCH,
    ) -> None:
        super().__init__(layer, per)
        self.temperature = temperature
        self.gamma, self.zeta = stretch
        mean = log((1 - droprate_init) / droprate_init)
        start = torch.randn(self.group_shape()) * 0.01 + mean
        self.log_alpha = nn.Parameter(start.to(self.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output, with one sample of the gates for the whole batch."""
        if not self.training:
            return self.run_folded(x)
        z = self.sample()
        if self.side == "inputs":
            return self.run(x * z, self.weight, self.bias)
        return self.run(x, self.weight * self.on_weights(z), self.on_bias(z))

    def sample(self) -> torch.Tensor:
        """Draw a value of each gate: equations 10 and 11."""
        noise = torch.empty_like(self.log_alpha).uniform_(1e-6, 1 - 1e-6).logit_()
        return self._stretched(torch.sigmoid((noise + self.log_alpha) / self.temperature))

    def open_probability(self) -> torch.Tensor:
        """Give P(z != 0): equation 12."""
        return torch.sigmoid(self.log_alpha - self.temperature * log(-self.gamma / self.zeta))

    def penalty(self) -> torch.Tensor:
        """Compute the expected number of weights that stay: equation 9, groups by their size."""
        return self.group_size * self.open_probability().sum()

    def values(self) -> torch.Tensor:
        """Give the gates at test time, without temperature: equation 13."""
        return self._stretched(torch.sigmoid(self.log_alpha))

    def is_open(self) -> torch.Tensor:
        """Tell which gates are not 0 at test time."""
        return self.values() > 0

    def scores(self) -> torch.Tensor:
        """Give `log_alpha`."""
        return self.log_alpha

    def closing_values(self, kept: torch.Tensor) -> torch.Tensor:
        """Give the test-time gates of what stays, of what they had closed a small one."""
        # below sigmoid(log_alpha) lies where the stretched sigmoid has left [0, 1]: both are small
        is_open, values = self.is_open(), self.values()
        smallest = torch.where(is_open, values, torch.inf).min()
        small = torch.minimum(torch.sigmoid(self.log_alpha), smallest).clamp_min(1e-6)
        return torch.where(is_open, values, small) * kept

    def _stretched(self, s: torch.Tensor) -> torch.Tensor:
        return torch.clamp(s * (self.zeta - self.gamma) + self.gamma, 0, 1)
