"""What a tile costs, in nanoseconds, as ``benchmarks/cost_model.py`` has measured and fitted it.

Measured on one core of a Zen 3 server. Only the ratios matter: they choose between kernels.
"""

# Bytes of a tile's inputs that stay at hand; the rest is fetched again and again.
NEAREST_CACHE = 32768

# For a kernel in tiles of a width: a multiply, what it costs more where its input is not at hand,
# an output, and the layer.
COSTS: dict[str, dict[tuple[str, int], tuple[float, float, float, float]]] = {
    "avx2": {
        ("sparse", 1): (0.35, 0.0, 0.5, 50.0),
        ("sparse", 8): (0.33, 0.1, 2.0, 20.0),
        ("sparse", 16): (0.45, 0.15, 4.0, 20.0),
        ("sparse", 32): (0.8, 0.6, 8.0, 20.0),
        ("sparse", 64): (1.6, 2.0, 16.0, 20.0),
        ("dense", 1): (0.04, 0.0, 0.5, 50.0),
        ("dense", 8): (0.18, 0.0, 2.0, 20.0),
        ("dense", 16): (0.34, 0.0, 4.0, 20.0),
        ("dense", 32): (0.67, 0.0, 8.0, 20.0),
        ("dense", 64): (1.3, 0.1, 16.0, 20.0),
        ("blocks", 1): (0.06, 0.0, 0.5, 50.0),
        ("blocks", 8): (0.2, 0.0, 2.0, 20.0),
        ("blocks", 16): (0.36, 0.0, 4.0, 20.0),
        ("blocks", 32): (0.7, 0.0, 8.0, 20.0),
        ("blocks", 64): (1.4, 0.1, 16.0, 20.0),
    },
}

# To bring in a tile of a width: an input, and the tile.
COPY: dict[str, dict[int, tuple[float, float]]] = {
    "avx2": {
        1: (0.4, 100.0),
        8: (0.7, 50.0),
        16: (1.4, 50.0),
        32: (2.8, 50.0),
        64: (5.8, 50.0),
    },
}
