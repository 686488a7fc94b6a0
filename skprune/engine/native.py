"""The compiled kernels, if they were built, and the instruction set that they run on."""

from __future__ import annotations

import os

try:
    from skprune.engine import _kernels as kernels
except ImportError:  # an odd platform, or a build without a C++ compiler
    kernels = None  # type: ignore[assignment]

ENGINES = ("auto", "native", "scipy")


def _choose_isa() -> str:
    """Return the best instruction set, or the lower one that ``SKPRUNE_ISA`` asks for."""
    usable: list[str] = kernels.available_isas() if kernels else ["baseline"]
    wanted = os.environ.get("SKPRUNE_ISA", "")
    if wanted and wanted not in usable:
        raise ValueError(
            f"SKPRUNE_ISA={wanted!r} cannot be used: this machine and build run "
            f"{', '.join(usable)}. Unset it to use the best."
        )
    return wanted or usable[-1]


_ISA = _choose_isa()


def isa() -> str:
    """Return the instruction set that the kernels run on.

    It is the best of "baseline", "avx2", "avx512" (or "neon") that this processor knows. The
    environment variable ``SKPRUNE_ISA``, read on import, chooses a lower one; a value that cannot
    run here is an error.

    Examples
    --------
    >>> isa() in {"baseline", "avx2", "avx512", "neon"}
    True
    """
    return _ISA


def choose_engine(requested: str) -> str:
    """Return "native" or "scipy" for the ``engine`` of a model."""
    if requested not in ENGINES:
        raise ValueError(f"engine must be one of {ENGINES}, but it is {requested!r}.")
    if requested == "native" and kernels is None:
        raise ImportError(
            "engine='native' needs the extension module skprune.engine._kernels, which this "
            "installation lacks. Reinstall skprune with a C++ compiler, or use engine='scipy'."
        )
    if requested == "auto":
        return "scipy" if kernels is None else "native"
    return requested
