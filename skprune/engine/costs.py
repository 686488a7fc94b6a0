"""What a tile costs, in nanoseconds, as ``benchmarks/cost_model.py`` has measured and fitted it.

Measured on one core of a Zen 3 server. Only the ratios matter: they choose between kernels.
"""

# Bytes that stay at hand, of a tile's inputs and of the weights that a lone row reads.
NEAREST_CACHE = 2**15
SECOND_CACHE = 2**19

# For a kernel in tiles of a width: a multiply, what it costs more where it waits for memory, an
# output, and the layer.
COSTS: dict[str, dict[tuple[str, int], tuple[float, float, float, float]]] = {
    "avx2": {
        ("sparse", 1): (0.6346, 0, 0.07839, 40.17),
        ("sparse", 8): (0.4202, 0.05366, 1.136, 75.01),
        ("sparse", 16): (0.4766, 0.2632, 2.595, 134.5),
        ("sparse", 32): (0.7851, 0.9265, 6.167, 238),
        ("sparse", 64): (1.122, 3.523, 16.71, 485.9),
        ("dense", 1): (0.0495, 0.0624, 0, 9.0),
        ("dense", 8): (0.167, 0.03339, 3.447, 109.4),
        ("dense", 16): (0.2716, 0, 4.463, 0),
        ("dense", 32): (0.4962, 0.3554, 14.61, 0),
        ("dense", 64): (0.7043, 0.5789, 40.49, 0),
        ("blocks", 1): (0.1641, 0, 0.9504, 42.81),
        ("blocks", 8): (0.2128, 0.06571, 1.35, 75.19),
        ("blocks", 16): (0.3396, 0.166, 2.559, 142.5),
        ("blocks", 32): (0.67, 0.3287, 5.771, 273.3),
        ("blocks", 64): (1.253, 0.8453, 11.47, 563.6),
    },
    "baseline": {
        ("sparse", 1): (0.6499, 0, 0.1173, 56.19),
        ("sparse", 8): (0.5957, 0.2306, 1.549, 76.05),
        ("sparse", 16): (1.084, 0.1927, 5.122, 127.6),
        ("sparse", 32): (1.922, 1.188, 11.82, 249.2),
        ("sparse", 64): (3.681, 2.913, 25.18, 520.9),
        ("dense", 1): (0.09247, 0, 0, 8.963),
        ("dense", 8): (0.5463, 0.06631, 6.366, 29.63),
        ("dense", 16): (0.9654, 0, 25.95, 53.61),
        ("dense", 32): (1.565, 0.3858, 34.71, 0),
        ("dense", 64): (2.216, 1.683, 117.1, 0),
        ("blocks", 1): (0.2858, 0, 0.9488, 52.1),
        ("blocks", 8): (0.5718, 0.4055, 1.377, 139.9),
        ("blocks", 16): (1.181, 0.1149, 3.653, 360.2),
        ("blocks", 32): (2.135, 0.7809, 7.031, 313.6),
        ("blocks", 64): (4.021, 2.044, 15.88, 661),
    },
}

# To bring in a tile of a width: an input, and the tile.
COPY: dict[str, dict[int, tuple[float, float]]] = {
    "avx2": {
        1: (1.298, 23.83),
        8: (0.7582, 101.7),
        16: (1.708, 170.3),
        32: (4.142, 309.7),
        64: (9.5, 567.3),
    },
    "baseline": {
        1: (1.535, 31.21),
        8: (1.074, 129.5),
        16: (2.703, 165.6),
        32: (5.604, 418.9),
        64: (12.21, 597.9),
    },
}
