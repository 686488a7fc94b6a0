"""The compiled kernels (csrc/binding.cpp): unchecked, as their callers have checked already."""

from typing import Any

import numpy as np

def available_isas() -> list[str]: ...

class Network:
    def __init__(
        self,
        n_features: int,
        inputs: np.ndarray,
        fill: np.ndarray,
        steps: np.ndarray,
        isa: str,
        /,
    ) -> None: ...
    def add_layer(
        self,
        n_out: int,
        starts: np.ndarray,
        columns: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray,
        activation: int,
        alpha: float,
        layouts: np.ndarray,
        height: int,
        order: np.ndarray,
        /,
    ) -> None: ...
    def run(self, X: Any, n_threads: int, depth: int, /) -> np.ndarray | None: ...
    def run_csr(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        starts: np.ndarray,
        n_threads: int,
        depth: int,
        /,
    ) -> np.ndarray: ...

class Tree:
    def __init__(
        self,
        feature: np.ndarray,
        threshold: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        value: np.ndarray,
        missing_left: np.ndarray,
        columns: np.ndarray,
        n_features: int,
        allow_nan: bool,
        isa: str,
        /,
    ) -> None: ...
    def predict(self, X: Any, n_threads: int, /) -> np.ndarray | None: ...
    def apply(self, X: Any, n_threads: int, /) -> np.ndarray | None: ...
    def predict_csr(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        starts: np.ndarray,
        n_threads: int,
        /,
    ) -> np.ndarray: ...
    def apply_csr(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        starts: np.ndarray,
        n_threads: int,
        /,
    ) -> np.ndarray: ...

class Forest:
    def __init__(
        self,
        feature: np.ndarray,
        threshold: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        value: np.ndarray,
        missing_left: np.ndarray,
        tree_starts: np.ndarray,
        outputs: np.ndarray,
        base: np.ndarray,
        divisor: float,
        link: int,
        groups: np.ndarray,
        set: np.ndarray,
        sets: np.ndarray,
        category_columns: np.ndarray,
        category_starts: np.ndarray,
        categories: np.ndarray,
        columns: np.ndarray,
        n_features: int,
        is_double: bool,
        allow_nan: bool,
        allow_infinity: bool,
        isa: str,
        /,
    ) -> None: ...
    def predict(self, X: Any, n_threads: int, /) -> np.ndarray | None: ...
    def decide(self, X: Any, n_threads: int, /) -> np.ndarray | None: ...
    def apply(self, X: Any, n_threads: int, /) -> np.ndarray | None: ...
    def predict_csr(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        starts: np.ndarray,
        n_threads: int,
        /,
    ) -> np.ndarray: ...
    def decide_csr(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        starts: np.ndarray,
        n_threads: int,
        /,
    ) -> np.ndarray: ...
    def apply_csr(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        starts: np.ndarray,
        n_threads: int,
        /,
    ) -> np.ndarray: ...
