"""What a tile costs, in nanoseconds, as ``benchmarks/cost_model.py`` has measured and fitted it.

Only the ratios matter: they choose between kernels and tiles. The figures of NEON are derived from
those of AVX2, whose vectors are twice as wide: all are doubled but a layer's fixed cost and what
lone sparse rows, which run on scalars, cost. The tile of 8 rows of AVX-512 is one vector of AVX2's
width: of the Zen 5 it has the figures of AVX2 there.
"""

# Bytes that stay at hand, of a tile's inputs and of the weights that a lone row reads.
NEAREST_CACHE = 2**15
SECOND_CACHE = 2**19

# Where the figures of a set of instructions come from; `explain` shows it.
ORIGINS: dict[str, str] = {
    "baseline": "measured on AMD Zen 3",
    "avx2": "measured on AMD Zen 3",
    "avx512": "geometric mean of AMD Zen 5 and Intel Xeon (Sapphire Rapids or later)",
    "neon": "derived from avx2, measured on no machine",
}

# For a kernel in tiles of a width: a multiply, what it costs more where it
# waits for memory, an output, and the layer.
COSTS: dict[str, dict[tuple[str, int], tuple[float, float, float, float]]] = {
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
    "avx2": {
        ("sparse", 1): (0.6346, 0, 0.07839, 40.17),
        ("sparse", 8): (0.4202, 0.05366, 1.136, 75.01),
        ("sparse", 16): (0.4766, 0.2632, 2.595, 134.5),
        ("sparse", 32): (0.7851, 0.9265, 6.167, 238),
        ("sparse", 64): (1.122, 3.523, 16.71, 485.9),
        ("dense", 1): (0.0495, 0.0624, 0, 9),
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
    "avx512": {
        ("sparse", 1): (0.4476, 0, 0.06152, 22.71),
        ("sparse", 8): (0.239, 0.0566, 0.4481, 51.92),
        ("sparse", 16): (0.2773, 0.09271, 0.7121, 93.36),
        ("sparse", 32): (0.4297, 0.3105, 1.751, 155.9),
        ("sparse", 64): (0.6258, 0.9219, 4.426, 295),
        ("dense", 1): (0.02895, 0.05982, 0, 11.44),
        ("dense", 8): (0.139, 0.00969, 0.4408, 1.574),
        ("dense", 16): (0.1497, 0.01238, 0.8958, 21.38),
        ("dense", 32): (0.244, 0.02696, 4.227, 3.956),
        ("dense", 64): (0.463, 0.09162, 7.409, 0),
        ("blocks", 1): (0.117, 0.04518, 0.6218, 28.26),
        ("blocks", 8): (0.1534, 0.03586, 0.4686, 48.83),
        ("blocks", 16): (0.1665, 0.02927, 0.7355, 90.2),
        ("blocks", 32): (0.2682, 0.1324, 1.678, 172.8),
        ("blocks", 64): (0.4666, 0.403, 4.072, 337.1),
    },
    "neon": {
        ("sparse", 1): (0.6346, 0, 0.07839, 40.17),
        ("sparse", 8): (0.8404, 0.1073, 2.272, 75.01),
        ("sparse", 16): (0.9532, 0.5264, 5.19, 134.5),
        ("sparse", 32): (1.57, 1.853, 12.33, 238),
        ("sparse", 64): (2.244, 7.046, 33.42, 485.9),
        ("dense", 1): (0.099, 0.1248, 0, 9),
        ("dense", 8): (0.334, 0.06678, 6.894, 109.4),
        ("dense", 16): (0.5432, 0, 8.926, 0),
        ("dense", 32): (0.9924, 0.7108, 29.22, 0),
        ("dense", 64): (1.409, 1.158, 80.98, 0),
        ("blocks", 1): (0.3282, 0, 1.901, 42.81),
        ("blocks", 8): (0.4256, 0.1314, 2.7, 75.19),
        ("blocks", 16): (0.6792, 0.332, 5.118, 142.5),
        ("blocks", 32): (1.34, 0.6574, 11.54, 273.3),
        ("blocks", 64): (2.506, 1.691, 22.94, 563.6),
    },
}

# To bring in a tile of a width: an input, and the tile.
COPY: dict[str, dict[int, tuple[float, float]]] = {
    "baseline": {
        1: (1.535, 31.21),
        8: (1.074, 129.5),
        16: (2.703, 165.6),
        32: (5.604, 418.9),
        64: (12.21, 597.9),
    },
    "avx2": {
        1: (1.298, 23.83),
        8: (0.7582, 101.7),
        16: (1.708, 170.3),
        32: (4.142, 309.7),
        64: (9.5, 567.3),
    },
    "avx512": {
        1: (0.5195, 22.72),
        8: (0.4761, 62.26),
        16: (1.05, 102.6),
        32: (2.638, 186.5),
        64: (5.702, 308.9),
    },
    "neon": {
        1: (2.596, 23.83),
        8: (1.516, 101.7),
        16: (3.416, 170.3),
        32: (8.284, 309.7),
        64: (19, 567.3),
    },
}
