"""Random: any weight returns."""

from skprune.nets.criteria import Random
from skprune.nets.criteria.base import Tensors


class RandomAnew(Random):
    """Score each weight by a random number, another one at every update.

    Mocanu et al. (2018), "Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science": connections grow at random places.
    """

    def scores(self, weights: Tensors, seen: object) -> Tensors:
        """Return new numbers."""
        return {name: self.score(weight, {}) for name, weight in weights.items()}
