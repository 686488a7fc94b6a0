"""Bayesian compression: a normal posterior for the scale of every group of weights."""

from typing import Any, ClassVar

import torch
from torch import nn

from skprune.nets.gates.base import Gate, Prunable
from skprune.nets.gates.variational_dropout import negative_kl

_TINY = 1e-8


class _KLFromNormal(torch.autograd.Function):
    """KL(N(mean, variance) || N(0, 1)), summed; its gradients by hand cost half of autograd's."""

    @staticmethod
    def forward(ctx: Any, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        variance = log_variance.exp()
        ctx.save_for_backward(mean, variance)
        return 0.5 * (variance.sum() + mean.square().sum() - mean.numel() - log_variance.sum())

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, variance = ctx.saved_tensors
        return scale * mean, 0.5 * scale * (variance - 1)


class GroupPosteriorGate(Gate):
    r"""A layer whose weights share, group by group, a scale with a normal-Jeffreys prior.

    Louizos, Ullrich and Welling (2017) [1]_, section 4.1: :math:`z_g \sim N(\mu_g, \sigma_g^2)`
    under the log-uniform prior, weights :math:`N(z_g \mu, z_g^2 \sigma^2)` with prior
    :math:`N(0, z_g^2)`. Outputs are drawn instead of weights, equation 8. A group whose
    :math:`\alpha = \sigma_g^2 / \mu_g^2` is large is noise, and goes. Biases have no posterior
    here.

    Parameters
    ----------
    layer : Linear or Conv
        Groups are input units of a Linear, output maps of a Conv.
    threshold : float, default=0.0
        A group goes where log alpha is at least this.
    log_variance_init : float, default=-9.0
        Where the logarithms of all variances start.

    References
    ----------
    .. [1] C. Louizos, K. Ullrich and M. Welling, "Bayesian compression for deep learning", 2017.

    Examples
    --------
    >>> import torch
    >>> gate = GroupPosteriorGate(torch.nn.Linear(3, 2))
    >>> _ = gate.z_mean.data.copy_(torch.tensor([1.0, 1e-3, -1.0]))
    >>> gate.is_open()
    tensor([ True, False,  True])
    """

    pace: ClassVar = {"z_mean": 0.1}  # from 1 to 0; all others are logarithms

    def __init__(
        self, layer: Prunable, *, threshold: float = 0.0, log_variance_init: float = -9.0
    ) -> None:
        super().__init__(layer, "unit")
        self.threshold = threshold
        one = self.weight.new_ones(self.group_shape())
        self.z_mean = nn.Parameter(one + 0.01 * torch.randn(one.shape).to(one))
        self.z_log_variance = nn.Parameter(one * log_variance_init)
        self.weight_log_variance = nn.Parameter(torch.full_like(self.weight, log_variance_init))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Draw the layer's output: a scale for each row and group, then a normal output."""
        if not self.training:
            return self.run_folded(x)
        if self.side == "inputs":
            x = x * self._scales(x.shape)
            return self._noisy(x) + self._bias(1)
        output = self._noisy(x)
        n_spatial = self.weight.ndim - 2
        z = self._scales((*output.shape[: -1 - n_spatial], len(self.z_mean)))
        return (output + self._bias(n_spatial)) * z.reshape(*z.shape, *[1] * n_spatial)

    def _scales(self, shape: tuple[int, ...]) -> torch.Tensor:
        noise = torch.randn(shape, dtype=self.weight.dtype, device=self.weight.device)
        return self.z_mean + torch.exp(0.5 * self.z_log_variance) * noise

    def _noisy(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.run(x, self.weight, None)
        variance = self.run(x * x, self.weight_log_variance.exp(), None)
        return mean + torch.sqrt(variance + _TINY) * torch.randn_like(mean)

    def _bias(self, n_spatial: int) -> torch.Tensor | float:
        if self.bias is None:
            return 0.0
        return self.bias if self.side == "inputs" else self.bias.reshape(-1, *[1] * n_spatial)

    def log_alpha(self) -> torch.Tensor:
        """Give log alpha of every group."""
        return self.z_log_variance - torch.log(self.z_mean * self.z_mean + _TINY)

    def penalty(self) -> torch.Tensor:
        """Compute both divergences: of scales from log-uniform, of weights from N(0, 1)."""
        of_weights = _KLFromNormal.apply(self.weight, self.weight_log_variance)
        return of_weights - negative_kl(self.log_alpha()).sum()

    def is_open(self) -> torch.Tensor:
        """Tell where log alpha is below the threshold."""
        return self.log_alpha() < self.threshold

    def scores(self) -> torch.Tensor:
        """Give minus log alpha."""
        return -self.log_alpha()

    def values(self) -> torch.Tensor:
        """Give the mean scales."""
        return self.z_mean
