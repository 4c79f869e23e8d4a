"""Class weights from frequencies."""

import numpy as np

from footpass.files import DataError

# Weight of a class seen n times, before normalising. "effective" is the effective number of samples
# of Cui et al. 2019 (arXiv 1901.05555), eq. 2; "sqrt" is the choice of arXiv 2606.09679.
EFFECTIVE_BETA = 0.999
_SCHEMES = {
    "none": np.ones_like,
    "inverse": lambda n: 1 / n,
    "sqrt": lambda n: 1 / np.sqrt(n),
    "effective": lambda n: (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**n),
}
WEIGHTINGS = tuple(_SCHEMES)


def class_weights(counts: np.ndarray, scheme: str) -> np.ndarray:
    """Weight of each class from how often it occurs; the mean weight is 1.

    Parameters
    ----------
    counts
        ``(C,)`` number of training events per class.
    scheme
        One of `WEIGHTINGS`: equal weights, 1/n, 1/sqrt(n), or one over the effective number.

    Returns
    -------
    np.ndarray
        ``(C,)`` float64. A class that never occurs has weight 1: no target carries it, and an infinite
        weight would push all others to zero.

    Raises
    ------
    DataError
        If the scheme is unknown or a count is negative or not finite.
    """
    if scheme not in _SCHEMES:
        raise DataError(f"class weights {scheme!r}: choose one of {', '.join(WEIGHTINGS)}")
    counts = np.asarray(counts, dtype=np.float64)
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise DataError(f"class counts {counts.tolist()} are not all finite and at least 0")
    seen = counts > 0
    weights = np.ones_like(counts)
    if seen.any():
        raw = _SCHEMES[scheme](counts[seen])
        weights[seen] = raw / raw.mean()
    return weights
