"""Calibration of a detector's logits: their softmax becomes how often it is so."""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.optimize import minimize
from scipy.special import log_softmax

from footpass.data.halves import HalfMatch
from footpass.detectors.clips import asked_about
from footpass.detectors.spotting import LogitAdjustment
from footpass.files import DataError
from footpass.schema import TOLERANCE

_EVERY = 5  # frames; neighbours say the same


def fit_calibration(
    logits: Mapping[str, np.ndarray], halves: Mapping[str, HalfMatch], without_box: bool = False
) -> LogitAdjustment:
    """The scale of all logits and the offset of each class that make the truth most likely.

    The truth of a player at a frame is the class of an own event within the tolerance, if there is one
    (temperature and vector scaling together; Guo et al. 2017, arXiv 1706.04599). The background's offset
    is 0, since only differences count. Logits, ``(9, 26, T)`` each, are of halves with labels that the
    detector has not learned from.
    """
    said, true = [], []
    for name, half in halves.items():
        asked = asked_about(half, without_box)
        asked[:, np.arange(half.n_frames) % _EVERY > 0] = False
        if half.labels is None:
            raise DataError("no labels to calibrate logits by", half=name)
        # Of two events nearer to each other than that, which are rare, the higher class.
        near = maximum_filter1d(half.labels, 2 * TOLERANCE + 1, axis=-1)
        said.append(logits[name][:, asked].T.astype(np.float64))
        true.append(near[asked])
    if not sum(map(len, true)):
        raise DataError("no halves to calibrate logits on")
    x, y = np.concatenate(said), np.concatenate(true)  # (N, 9), (N,)
    hit = y[:, None] == np.arange(x.shape[1])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_scale, offsets = parameters[0], np.concatenate(([0.0], parameters[1:]))
        scaled = np.exp(log_scale) * x
        log_p = log_softmax(scaled + offsets, axis=1)
        slope = (np.exp(log_p) - hit) / len(x)
        return -log_p[hit].mean(), np.concatenate(([(slope * scaled).sum()], slope[:, 1:].sum(axis=0)))

    limits = [(-3.0, 3.0), *[(-20.0, 20.0)] * (x.shape[1] - 1)]  # a class that never occurs has no best
    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", bounds=limits)
    offsets = (0.0, *found.x[1:].tolist())
    return LogitAdjustment(scale=float(np.exp(found.x[0])), offsets=offsets)
