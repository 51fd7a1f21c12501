"""How much of a low-dimensional input survives a random ReLU layer (arXiv:1801.04381, figure 1 and appendix A).

A spiral in the plane is mapped by a random matrix into ``dim`` channels, passed through ReLU, and mapped back by the
matrix's pseudo-inverse. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.errors import AblateError

Floats = NDArray[np.float64]

DIMS = (2, 3, 5, 15, 30)  # of figure 1
PLANE = 2  # dimensions of the spiral
MOST_DIMS = 10_000
MOST_DRAWS = 1_000_000


class InformationError(AblateError):
    """A number of dimensions or draws that is out of range."""


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """What many random matrices left of the spiral.

    Attributes:
        dims: channels of the random layer, (D,).
        errors: of ``relative_error``, from 0 (the spiral itself) to 1, (D, draws).
        lost: share of the points with fewer than 2 positive channels, which no function can invert, (D, draws).
    """

    dims: tuple[int, ...]
    errors: Floats
    lost: Floats


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InformationError(f"{name} must be from {low} to {high}, got {value}")


def spiral(points: int = 1000, turns: float = 2.5) -> Floats:
    """An Archimedean spiral around the origin, radius from 0 to 1: (points, 2).

    Example:
        >>> spiral(3, turns=0.5).round(2).tolist()
        [[0.0, 0.0], [0.0, 0.5], [-1.0, 0.0]]
    """
    radius = np.linspace(0.0, 1.0, points)
    angle = 2 * np.pi * turns * radius
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def embed(points: Floats, dim: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """The points through a random matrix and ReLU, and that matrix.

    Args:
        points: (N, 2).
        dim: channels of the layer, from 2.
        generator: draws the matrix, standard normal.

    Returns:
        activations (N, dim), not negative, and the matrix (dim, 2).

    Raises:
        InformationError: ``dim`` is below 2 or above 10,000.
    """
    _check("dim", dim, PLANE, MOST_DIMS)
    matrix = generator.standard_normal((dim, points.shape[1]))
    return np.maximum(points @ matrix.T, 0.0), matrix


def recover(activations: Floats, matrix: Floats) -> Floats:
    """The activations (N, dim) back in the plane by the matrix's pseudo-inverse: (N, 2).

    ReLU sets half of the channels to zero on average, so for many channels this tends to half of each point.
    """
    return activations @ np.linalg.pinv(matrix).T


def relative_error(recovered: Floats, points: Floats) -> float:
    """Root mean square distance from the points, over their own, at the scale of ``recovered`` that fits best.

    The scale is free because ``recover`` returns about half of each point. 0: the same shape; 1: nothing is left.
    """
    overlap = float((recovered * points).sum())
    size = float((recovered**2).sum()) * float((points**2).sum())
    return float(np.sqrt(max(0.0, 1.0 - overlap**2 / size))) if size else 1.0


def reconstruct(dims: Sequence[int] = DIMS, *, draws: int = 1000, seed: int = 0, points: int = 200) -> Reconstructions:
    """The spiral through ``draws`` random layers of each width.

    Args:
        dims: numbers of channels.
        draws: random matrices for each.
        seed: of the matrices; each width draws from a stream of its own, so further widths change no other.
        points: of the spiral.

    Raises:
        InformationError: a number out of range.

    Example:
        >>> found = reconstruct((2, 30), draws=50)
        >>> bool(found.errors[0].mean() > found.errors[1].mean())
        True
    """
    for dim in dims:
        _check("dim", dim, PLANE, MOST_DIMS)
    _check("draws", draws, 1, MOST_DRAWS)
    _check("seed", seed, 0, 2**63)
    curve = spiral(points)
    errors, lost = np.empty((2, len(dims), draws))
    for row, dim in enumerate(dims):
        generator = np.random.default_rng([seed, dim])
        for draw in range(draws):
            activations, matrix = embed(curve, dim, generator)
            errors[row, draw] = relative_error(recover(activations, matrix), curve)
            lost[row, draw] = ((activations > 0).sum(axis=1) < PLANE)[1:].mean()  # the origin itself maps to zero
    return Reconstructions(dims=tuple(dims), errors=errors, lost=lost)


def expected_loss(dim: int) -> float:
    """The share of points that a random layer loses on average: at most one of ``dim`` fair coins shows heads.

    Each channel of a random layer is positive with probability 1/2; two positive ones determine a point of the plane.

    Example:
        >>> expected_loss(3)
        0.5
    """
    return (dim + 1) / 2.0**dim
