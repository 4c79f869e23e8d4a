"""The logit store: HDF5, a dataset for every half, written half by half and read back."""

from pathlib import Path

import h5py
import numpy as np

from footpass.data.halves import SLACK, HalfMatch
from footpass.data.hdf5 import PACKING, opened, plain_table
from footpass.files import DataError, fingerprint, tolerate
from footpass.schema import N_CLASSES, N_SLOTS


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of the classes, float32, of logits ``(9, ...)``."""
    from scipy.special import softmax  # slow to import

    return softmax(logits.astype(np.float32), axis=0)


def half_fingerprint(half: HalfMatch) -> str:
    """Fingerprint of what logits depend on in a half: positions and boxes."""
    return fingerprint(half.first_frame, half.state, half.boxes)


def _dataset(file: h5py.File, half: HalfMatch, made_by: str, made_of: str) -> h5py.Dataset:
    stored = file.create_dataset(
        half.name,
        (N_CLASSES, N_SLOTS, half.end_frame),
        "f2",
        chunks=(N_CLASSES, N_SLOTS, min(250, half.end_frame)),
        **PACKING,
    )
    stored.attrs["first_frame"] = half.first_frame
    stored.attrs["made_by"], stored.attrs["made_of"] = made_by, made_of  # checkpoint, and all inputs
    stored.attrs["half"] = half_fingerprint(half)
    return stored


def made_by(path: str | Path) -> str | None:
    """The model that made the logits of a store (`Provenance.models`); None if they do not say."""
    try:
        with opened(path) as file:
            makers = {plain_table(file, half).attrs.get("made_by") for half in file}
    except DataError:  # whoever reads its content says what is wrong
        return None
    return makers.pop() if len(makers) == 1 else None


def frames_per_second(path: str | Path) -> float | None:
    """How fast the logits of a store were made; None if there is none, or it does not say."""
    try:
        with opened(path) as file:
            halves = [plain_table(file, name) for name in file]
            frames = sum(half.shape[-1] - half.attrs["first_frame"] for half in halves)
            return float(frames / sum(half.attrs["seconds"] for half in halves))
    except (DataError, ZeroDivisionError):
        return None


def read_logits(path: str | Path, half: HalfMatch) -> np.ndarray:
    """Logits of a half's frames, float16 ``(9, 26, T)``, on the same axis as its other arrays.

    Where a store ends up to `SLACK` frames before the half, as after rows beyond the video's end,
    nothing is detected in the rest.
    """
    if not Path(path).is_file():
        raise DataError("no such file: predict the split with the run first", path)
    with opened(path, half.name) as file:
        stored = plain_table(file, half.name)
        expected = (N_CLASSES, N_SLOTS, half.end_frame)
        least = max(half.end_frame - SLACK, half.first_frame + 1)
        if stored.shape[:-1] != expected[:-1] or stored.shape[-1] < least:
            raise DataError(f"logits of shape {stored.shape} instead of {expected}", path, half.name)
        first = stored.attrs.get("first_frame", half.first_frame)
        if first != half.first_frame:
            reason = f"made of a half that begins at frame {first}, not {half.first_frame}"
            raise DataError(f"{reason}: predict it anew", path, half.name)
        part = half.window(half.first_frame, min(stored.shape[-1], half.end_frame))
        made_of = stored.attrs.get("half")  # others' logits do not say
        if made_of is not None and made_of != half_fingerprint(part):
            reason = "logits of other positions or boxes than the data's: of another season?"
            raise DataError(f"{reason} predict again", path, half.name)
        if stored.dtype.itemsize > 4:
            stored = stored.astype(np.float32)
        logits = stored[:, :, half.first_frame : half.end_frame]
    finite = np.isfinite(logits).all(axis=(0, 1))
    if not finite.all():
        frame = half.first_frame + int(finite.argmin())
        reason = "are not finite: the model that made them has diverged"
        raise DataError(f"the logits of frame {frame} {reason}", path, half.name)
    missing = half.n_frames - logits.shape[-1]
    if missing:
        reason = f"logits end {missing} frames before it: nothing is detected there"
        tolerate(DataError(reason, path, half.name))
        logits = np.pad(logits, ((0, 0), (0, 0), (0, missing)))
    return logits


def logits_path(run_dir: str | Path, split: str) -> Path:
    """The logit store of a run (`detectors.predict`) on a split."""
    return Path(run_dir, f"logits_{split}.h5")
