"""A covariance for sums of one-parameter effects: a few measurements can teach these, but no interactions yet."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.gaussian_process.kernels import Kernel, NormalizedKernelMixin, StationaryKernelMixin

from tools.planner.cost.resources import Floats


class MainEffects(StationaryKernelMixin, NormalizedKernelMixin, Kernel):  # type: ignore[misc]
    """``k(x, y) = 1 - mean_i |x_i - y_i|`` for points within the unit cube.

    Each column's term is the triangular kernel. Its process is piecewise linear between the levels seen (Rasmussen and
    Williams 2006, section 4.2). The mean of the terms gives functions that are a sum of one function per column
    (Duvenaud et al. 2011, "Additive Gaussian processes", first order). The kernel has no hyper-parameters."""

    def __init__(self) -> None:
        """scikit-learn reads a kernel's parameters from this signature."""

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        covariance = 1 - cdist(X, X if Y is None else Y, "cityblock") / X.shape[1]
        return (covariance, np.empty((len(X), len(X), 0))) if eval_gradient else covariance
