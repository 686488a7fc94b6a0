"""How gates learn: their optimizer, what they cost, and what they come to in the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from skprune.masks.groups import Groups
from skprune.nets.gates.base import Gate
from skprune.nets.gates.pressure import Pressure, Run
from skprune.nets.rows import as_array

_RATES = (1e-3, 0.1)  # of the gates' own optimizer, unless the user says otherwise


@dataclass(eq=False)
class Learning:
    """The gates of one run.

    Attributes
    ----------
    gates : dict of str to Gate
        By the names of the layers.
    groups : Groups
        What the gates open and close, under the same names.
    pressure : Pressure
        What makes the gates close.
    sparsity : float or None
        To be reached when the gates are folded; None leaves it to their own rule.
    lr : float or None
        Of the gates' own Adam; None for 1e-3, or more where a run is short.
    folded : bool
        Whether they are plain weights now.
    """

    gates: dict[str, Gate]
    groups: Groups
    pressure: Pressure
    sparsity: float | None
    lr: float | None = None
    optimizer: torch.optim.Adam | None = field(default=None, init=False)
    cost: float = field(default=0.0, init=False)
    folded: bool = field(default=False, init=False)

    def begin(self, run: Run) -> None:
        """Make the gates' optimizer, and start the pressure."""
        rate = self.lr
        if rate is None:
            travel = max(gate.travel for gate in self.gates.values())
            rate = float(np.clip(travel / run.n_steps, *_RATES))
        own = [
            {"params": [parameter], "lr": rate * gate.pace.get(name, 1.0)}
            for gate in self.gates.values()
            for name, parameter in gate.own_parameters().items()
        ]
        # one pass over the parameters: seven times as fast on a CPU where every weight has one
        fused = all(g.weight.device.type in ("cpu", "cuda") for g in self.gates.values())
        self.optimizer = torch.optim.Adam(own, lr=rate, fused=fused)
        self.pressure.begin(run)

    def add_cost(self, epoch: float) -> None:
        """Add the gradients of what the gates cost, at a time in epochs."""
        cost = self.pressure.loss(self.gates, self.expected_density, epoch)
        if cost.requires_grad:
            cost.backward()
        self.cost = float(torch.as_tensor(cost).detach()) + 0.0  # never -0

    def step(self) -> None:
        """Take a step with the gates' own parameters."""
        assert self.optimizer is not None
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.pressure.after_step()

    def expected_density(self) -> Any:
        """Return the expected fraction of the weights that stay, with its gradient."""
        return self._density(lambda gate: gate.open_probability())

    def density(self) -> float:
        """Return the fraction of the weights that stay by the gates' own rule."""
        return float(self._density(lambda gate: gate.is_open().to(gate.weight.dtype)))

    def _density(self, chance: Callable[[Gate], torch.Tensor]) -> Any:
        return self.groups.density({name: chance(gate) for name, gate in self.gates.items()})

    @torch.no_grad()
    def fold(self) -> dict[str, torch.Tensor]:
        """Write what the gates come to into the weights.

        Returns
        -------
        masks : dict of str to Tensor of bool
            By the names of the parameters; True where a weight or a bias stays.
        """
        kept = self._kept()
        outputs = self.groups.outputs(kept)
        masks = {}
        for name, mask in self.groups.spread(kept).items():
            gate = self.gates[name]
            values = gate.closing_values(_tensor(kept[name], gate))
            gate.weight.copy_(gate.weight * gate.on_weights(values))
            masks[f"{name}.weight".lstrip(".")] = _tensor(mask, gate)
            if gate.bias is not None:
                gate.bias.copy_(gate.on_bias(values))
                if name in outputs:
                    masks[f"{name}.bias".lstrip(".")] = _tensor(outputs[name], gate)
        self.folded = True
        return masks

    def _kept(self) -> dict[str, np.ndarray]:
        if self.sparsity is None:
            return {name: gate.is_open().cpu().numpy() for name, gate in self.gates.items()}
        scores = {name: as_array(gate.scores()) for name, gate in self.gates.items()}
        return self.groups.keep(scores, self.sparsity)

    @torch.no_grad()
    def record(self, sparsity: float) -> dict[str, Any]:
        """Return how the gates stand, for the history."""
        if self.folded:
            return {"expected_sparsity": sparsity, "penalty": 0.0, "dual": None}
        entry: dict[str, Any] = {
            "expected_sparsity": 1 - float(self.expected_density()),
            "penalty": self.cost,
            "dual": self.pressure.dual,
        }
        of_units = {
            name: gate.open_probability().float().cpu().numpy()
            for name, gate in self.gates.items()
            if gate.side != "weights"
        }
        return {**entry, "gates": of_units} if of_units else entry


def _tensor(mask: np.ndarray, gate: Gate) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask)).to(gate.weight.device)
