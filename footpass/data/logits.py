"""The logit store: HDF5, a dataset for every half, written half by half and read back."""

from pathlib import Path

import h5py
import numpy as np

from footpass.data.halves import HalfMatch
from footpass.files import DataError, fingerprint
from footpass.schema import N_CLASSES, N_SLOTS


def half_fingerprint(half: HalfMatch) -> str:
    """Fingerprint of what logits depend on in a half: positions and boxes."""
    return fingerprint(half.first_frame, half.state, half.boxes)


def _dataset(file: h5py.File, half: HalfMatch, made_by: str, made_of: str) -> h5py.Dataset:
    stored = file.create_dataset(
        half.name,
        (N_CLASSES, N_SLOTS, half.end_frame),
        "f2",
        chunks=(N_CLASSES, N_SLOTS, min(250, half.end_frame)),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    stored.attrs["first_frame"] = half.first_frame
    stored.attrs["made_by"], stored.attrs["made_of"] = made_by, made_of  # checkpoint, and all inputs
    stored.attrs["half"] = half_fingerprint(half)
    return stored


def frames_per_second(path: str | Path) -> float | None:
    """How fast the logits of a store were made; None if there is none, or it does not say."""
    try:
        with h5py.File(path) as file:
            frames = sum(half.shape[-1] - half.attrs["first_frame"] for half in file.values())
            return float(frames / sum(half.attrs["seconds"] for half in file.values()))
    except (OSError, KeyError, ZeroDivisionError):
        return None


def read_logits(path: str | Path, half: HalfMatch) -> np.ndarray:
    """Logits of a half's frames, float16 ``(9, 26, T)``, on the same axis as its other arrays."""
    if not Path(path).is_file():
        raise DataError("no such file: predict the split with the run first", path)
    try:
        with h5py.File(path) as file:
            stored = file.get(half.name)
            if not isinstance(stored, h5py.Dataset):
                raise DataError(f"no half {half.name}; it has {', '.join(file) or 'none'}", path)
            expected = (N_CLASSES, N_SLOTS, half.end_frame)
            if stored.shape[:2] != expected[:2] or stored.shape[2] < half.end_frame:
                raise DataError(
                    f"logits of shape {stored.shape} instead of {expected}", path, half=half.name
                )
            return stored[:, :, half.first_frame : half.end_frame]
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"cannot be read or is damaged: {error}", path) from error


def logits_path(run_dir: str | Path, split: str) -> Path:
    """The logit store of a run (`detectors.predict`) on a split."""
    return Path(run_dir, f"logits_{split}.h5")
