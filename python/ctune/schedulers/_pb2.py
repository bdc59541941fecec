"""How PB2 chooses hyperparameters: a Gaussian process over what changed the score, and when.

Source: Parker-Holder et al., "Provably Efficient Online Hyperparameter Optimization with
Population-Based Bandits", NeurIPS 2020, on the time-varying bandit of Bogunovic et al.,
"Time-Varying Gaussian Process Bandit Optimization", AISTATS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.optimize import minimize

__all__ = ["GaussianProcess", "History", "suggest"]

_Array = npt.NDArray[np.float64]

_FIXED = 2  # columns that are given, not chosen: time, and the score before
_MOST_ROWS = 1000
_LEAST_WINDOW = 200
_STARTS = 10
# variance, lengthscale, epsilon (how fast the past is forgotten), noise
_FIRST = np.array([1.0, 1.0, 0.1, 1.0])
_LIMITS = [(1e-3, 1e3), (1e-5, 1.0), (0.0, 0.5), (1e-6, 1e3)]


class History:
    """What trials scored with which hyperparameters, in the order it was reported.

    Args:
        rows: (trial, time, hyperparameters, score) each, the larger the score the better.
    """

    def __init__(self, rows: Sequence[Sequence[Any]] = ()) -> None:
        self.rows = [(str(t), float(at), tuple(v), float(s)) for t, at, v, s in rows]

    def add(self, trial: str, time: float, values: Sequence[Any], score: float) -> None:
        self.rows.append((trial, float(time), tuple(values), float(score)))

    def last_time(self) -> float:
        """The largest time of all; -inf when there is none."""
        return max((row[1] for row in self.rows), default=-math.inf)

    def changes(self) -> tuple[list[str], _Array, _Array, _Array]:
        """How fast the score changed while a trial kept its hyperparameters.

        Returns:
            Of the last 1,000 such changes in order of time: the trials; float64[n, 2 + d] of
            time, score before, and the d hyperparameters; float64[n] of score per unit of
            time; float64[n] of the scores after. Changes in no time, and any that are not
            finite, are left out.
        """
        previous: dict[Any, tuple[float, float]] = {}
        found = []
        for trial, time, values, score in sorted(self.rows, key=lambda row: row[1]):
            before = previous.get((trial, values))
            previous[trial, values] = (time, score)
            if before is None or not time > before[0]:
                continue
            rate = (score - before[1]) / (time - before[0])
            row = [time, before[1], *(float(v) for v in values)]
            if math.isfinite(rate) and all(map(math.isfinite, row)):
                found.append((trial, row, rate, score))
        found = found[-_MOST_ROWS:]
        columns = len(self.rows[0][2]) + _FIXED if self.rows else _FIXED
        return (
            [trial for trial, _, _, _ in found],
            np.array([row for _, row, _, _ in found]).reshape(len(found), columns),
            np.array([rate for _, _, rate, _ in found]),
            np.array([score for _, _, _, score in found]),
        )


class GaussianProcess:
    """Regression with a kernel that forgets: points far apart in time tell little of each other.

    k(x, x') = variance * exp(-|x - x'|^2 / lengthscale) * (1 - epsilon)^(|t - t'| / 2), where
    t is the first column and x the others.

    Args:
        x: float64[n, d], scaled to about [0, 1].
        y: float64[n], standardised.
        theta: variance, lengthscale, epsilon, noise. Default: those of the largest likelihood.

    Attributes:
        theta: float64[4], as above.
        log_likelihood: Of y.
    """

    def __init__(self, x: _Array, y: _Array, theta: _Array | None = None) -> None:
        self._x, self._y = x, y
        self._square = _squared_distances(x[:, 1:], x[:, 1:])
        self._time = np.abs(x[:, :1] - x[:, 0])
        self.theta = self._fit() if theta is None else theta
        kernel, _ = self._kernel(self.theta)
        self._factor, self._alpha = self._solve(kernel, self.theta[3])
        self.log_likelihood = self._likelihood()

    def predict(self, x: _Array) -> tuple[float, float, _Array, _Array]:
        """Mean and variance (without noise) at one point, and their gradients.

        Args:
            x: float64[d].

        Returns:
            mean, variance, float64[d - 1] of the mean's derivatives by all columns but the
            first, the same of the variance.
        """
        variance, length, epsilon, _ = self.theta
        away = self._x[:, 1:] - x[1:]
        square = np.einsum("ij,ij->i", away, away)
        time = np.abs(self._x[:, 0] - x[0])
        k = variance * np.exp(-square / length) * (1 - epsilon) ** (time / 2)
        slope = k[:, None] * away * (2 / length)
        weights = cho_solve((self._factor, True), k)
        return (
            float(k @ self._alpha),
            max(0.0, float(variance - k @ weights)),
            slope.T @ self._alpha,
            -2 * slope.T @ weights,
        )

    def negative_log_likelihood(self, theta: _Array) -> tuple[float, _Array]:
        """Of y, and its gradient by theta: a float and float64[4]; inf when it has none."""
        kernel, parts = self._kernel(theta)
        try:
            factor, alpha = self._solve(kernel, theta[3])
        except LinAlgError:
            return math.inf, np.zeros(4)
        n = len(self._y)
        inverse = cho_solve((factor, True), np.eye(n))
        inner = np.outer(alpha, alpha) - inverse
        gradient = [-0.5 * float(np.sum(inner * part)) for part in parts]
        gradient.append(-0.5 * float(np.trace(inner)))
        value = (
            0.5 * float(self._y @ alpha)
            + float(np.sum(np.log(np.diag(factor))))
            + 0.5 * n * math.log(2 * math.pi)
        )
        return value, np.array(gradient)

    def _kernel(self, theta: _Array) -> tuple[_Array, list[_Array]]:
        """The kernel, and its derivatives by variance, lengthscale and epsilon."""
        variance, length, epsilon, _ = theta
        shape = np.exp(-self._square / length)
        fade = (1 - epsilon) ** (self._time / 2)
        unit = shape * fade
        kernel = variance * unit
        by_epsilon = -variance * shape * (self._time / 2) * (1 - epsilon) ** (self._time / 2 - 1)
        return kernel, [unit, kernel * self._square / length**2, by_epsilon]

    def _solve(self, kernel: _Array, noise: float) -> tuple[_Array, _Array]:
        n = len(self._y)
        matrix = kernel + noise * np.eye(n)
        try:
            factor = cholesky(matrix, lower=True)
        except LinAlgError:  # nearly singular
            factor = cholesky(matrix + 1e-3 * np.eye(n), lower=True)
        return factor, cho_solve((factor, True), self._y)

    def _likelihood(self) -> float:
        return -(
            0.5 * float(self._y @ self._alpha)
            + float(np.sum(np.log(np.diag(self._factor))))
            + 0.5 * len(self._y) * math.log(2 * math.pi)
        )

    def _fit(self) -> _Array:
        found = minimize(
            self.negative_log_likelihood,
            _FIRST,
            jac=True,
            bounds=_LIMITS,
            method="L-BFGS-B",
            options={"maxiter": 100},
        )
        theta: _Array = found.x
        return theta if np.all(np.isfinite(theta)) else _FIRST


def suggest(
    history: History,
    running: Sequence[Sequence[float]],
    bounds: Mapping[str, tuple[float, float]],
    trial: str,
) -> list[float] | None:
    """Chooses the hyperparameters with the largest upper confidence bound.

    Args:
        history: Of all trials; its hyperparameters are in the order of `bounds`.
        running: float64[m, d]: what was chosen at the same time already. These points lower
            the variance around them (Desautels et al., JMLR 2014).
        bounds: Hyperparameter -> lowest and highest value.
        trial: The one that is cloned: its latest time and score are where the choice starts.

    Returns:
        A value in its bounds for each hyperparameter, or None while nothing is known about
        the trial.
    """
    trials, x, y, _ = history.changes()
    if trial not in trials:
        return None
    start = x[len(trials) - 1 - trials[::-1].index(trial), :_FIXED]
    limits = np.array(list(bounds.values()), dtype=float).T
    keep = _window(x, y, limits)
    x, y = x[-keep:], y[-keep:]
    low, high = _limits_of(x, limits)
    fixed = _normalize(start, low[:_FIXED], high[:_FIXED])
    scaled, target = _normalize(x, low, high), _standardize(y)
    mean = GaussianProcess(scaled, target)
    spread = mean
    if len(running) > 0:
        chosen = _normalize(np.array(running, dtype=float), limits[0], limits[1])
        chosen = np.hstack([np.tile(fixed, (len(chosen), 1)), chosen])
        spread = GaussianProcess(
            np.vstack([scaled, chosen]), np.concatenate([target, np.zeros(len(chosen))])
        )
    best = _highest_bound(mean, spread, fixed, len(bounds), len(scaled))
    values = limits[0] + best * (limits[1] - limits[0])
    return [
        min(max(float(np.float32(v)), low), high)
        for v, (low, high) in zip(values, bounds.values(), strict=True)
    ]


def _highest_bound(
    mean: GaussianProcess, spread: GaussianProcess, fixed: _Array, free: int, n: int
) -> _Array:
    """The best of a few ascents of mean + kappa * variance, in [0, 1]."""
    kappa = math.sqrt(0.2 + max(0.0, math.log(0.4 * n)))

    def descend(x: _Array) -> tuple[float, _Array]:
        at = np.concatenate([fixed, x])
        m, _, m_slope, _ = mean.predict(at)
        _, v, _, v_slope = spread.predict(at)
        slope = (m_slope + kappa * v_slope)[_FIXED - 1 :]
        return -(m + kappa * v), -slope

    best, best_value = np.full(free, 0.5), math.inf
    for _ in range(_STARTS):
        found = minimize(
            descend,
            np.random.uniform(0, 1, free),
            jac=True,
            bounds=[(0, 1)] * free,
            method="L-BFGS-B",
            options={"maxiter": 200, "maxfun": 200},
        )
        if found.fun < best_value:
            best, best_value = found.x, found.fun
    clipped: _Array = np.clip(best, 0, 1)
    return clipped


def _window(x: _Array, y: _Array, limits: _Array) -> int:
    """How many of the latest rows to learn from: 200, 210, … whose likelihood is the largest.

    All are compared with the parameters that fit the shortest of them.
    """
    n = len(x)
    if n < _LEAST_WINDOW:
        return n
    theta, best, keep = None, -math.inf, _LEAST_WINDOW
    for length in range(_LEAST_WINDOW, n + 1, 10):
        low, high = _limits_of(x[-length:], limits)
        model = GaussianProcess(
            _normalize(x[-length:], low, high), _standardize(y[-length:]), theta
        )
        theta = model.theta
        if model.log_likelihood > best:
            best, keep = model.log_likelihood, length
    return keep


def _limits_of(x: _Array, limits: _Array) -> tuple[_Array, _Array]:
    """What is 0 and what is 1: of the data in the given columns, of the bounds in the others."""
    return (
        np.concatenate([x[:, :_FIXED].min(axis=0), limits[0]]),
        np.concatenate([x[:, :_FIXED].max(axis=0), limits[1]]),
    )


def _normalize(data: _Array, low: _Array, high: _Array) -> _Array:
    scaled: _Array = (data - low) / (high - low + 1e-8)
    return scaled


def _standardize(y: _Array) -> _Array:
    scaled: _Array = np.clip((y - y.mean()) / (y.std() + 1e-8), -2, 2)
    return scaled


def _squared_distances(a: _Array, b: _Array) -> _Array:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    clipped: _Array = np.maximum(square, 0.0)
    return clipped
