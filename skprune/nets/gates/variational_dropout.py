"""Sparse variational dropout: a noise level for every weight."""

import torch
from torch import nn
from torch.nn import functional

from skprune.nets.gates.base import Gate, Prunable

# of the approximation of the KL divergence: Molchanov 2017, equation 14
K1, K2, K3 = 0.63576, 1.87320, 1.48695
_BOUND = 8.0  # of log alpha
_TINY = 1e-8


def negative_kl(log_alpha: torch.Tensor) -> torch.Tensor:
    r"""Approximate the negative KL divergence of a weight from its log-uniform prior.

    Molchanov, Ashukha and Vetrov (2017), equation 14:
    :math:`k_1 \sigma(k_2 + k_3 \log\alpha) - \frac12 \log(1 + \alpha^{-1}) - k_1`.

    Parameters
    ----------
    log_alpha : Tensor
        Of any shape.

    Returns
    -------
    negative_kl : Tensor
        Of the same shape; grows to 0 with alpha.

    Examples
    --------
    >>> import torch
    >>> round(float(negative_kl(torch.tensor(0.0))), 4)
    -0.4312
    """
    return K1 * torch.sigmoid(K2 + K3 * log_alpha) - 0.5 * functional.softplus(-log_alpha) - K1


class VariationalDropoutGate(Gate):
    r"""A layer whose every weight is normal, with a variance of its own.

    Molchanov, Ashukha and Vetrov (2017) [1]_. A weight is :math:`N(\theta, \sigma^2)`, in the
    additive form of equation 11, in which the gradient by :math:`\theta` does not grow with
    :math:`\alpha = \sigma^2 / \theta^2`; outputs are drawn instead of weights (local
    reparameterisation, equation 17). A weight whose alpha is large is noise, and goes.

    Parameters
    ----------
    layer : Linear or Conv
        Its weights are the means.
    threshold : float, default=3.0
        A weight goes where log alpha is at least this.
    log_sigma2_init : float, default=-10.0
        Where the logarithms of the variances start.

    References
    ----------
    .. [1] D. Molchanov, A. Ashukha and D. Vetrov, "Variational dropout sparsifies deep neural
       networks", 2017.

    Examples
    --------
    >>> import torch
    >>> gate = VariationalDropoutGate(torch.nn.Linear(2, 1))
    >>> _ = gate.weight.data.copy_(torch.tensor([[1.0, 1e-3]]))
    >>> gate.is_open()
    tensor([[ True, False]])
    """

    def __init__(
        self, layer: Prunable, *, threshold: float = 3.0, log_sigma2_init: float = -10.0
    ) -> None:
        super().__init__(layer, "weight")
        self.threshold = threshold
        self.log_sigma2 = nn.Parameter(torch.full_like(self.weight, log_sigma2_init))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Draw the layer's output from its normal distribution."""
        if not self.training:
            return self.run_folded(x)
        mean = self.run(x, self.weight, self.bias)
        variance = self.run(x * x, self.log_sigma2.exp(), None)
        return mean + torch.sqrt(variance + _TINY) * torch.randn_like(mean)

    def log_alpha(self) -> torch.Tensor:
        """Give log alpha of every weight, within [-8, 8]."""
        log_alpha = self.log_sigma2 - torch.log(self.weight * self.weight + _TINY)
        return log_alpha.clamp(-_BOUND, _BOUND)

    def penalty(self) -> torch.Tensor:
        """Compute the KL divergence from the log-uniform prior."""
        return -negative_kl(self.log_alpha()).sum()

    def is_open(self) -> torch.Tensor:
        """Tell where log alpha is below the threshold."""
        return self.log_alpha() < self.threshold

    def scores(self) -> torch.Tensor:
        """Give minus log alpha, unbounded, so that few weights tie."""
        return torch.log(self.weight * self.weight + _TINY) - self.log_sigma2

    def values(self) -> torch.Tensor:
        """Give 1: the means stay as they are."""
        return torch.ones_like(self.weight)
