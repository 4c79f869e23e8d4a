"""From windows to events: decode a half window by window and write what a DST says."""

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from footpass.data.cache import open_halves
from footpass.data.halves import HalfMatch
from footpass.data.logits import logits_path, made_by, read_logits
from footpass.data.provenance import Provenance, together, write_marked
from footpass.events import concat, predictions_path, select_halves
from footpass.files import DataError, fingerprint
from footpass.models.dst import DST, DSTConfig
from footpass.models.player_dst import PlayerDST
from footpass.models.public import load_reference, read_public
from footpass.models.transformer import FUSIONS
from footpass.schema import EOS, N_CLASSES, N_ROLES, N_SLOTS, N_STATE, SOS, TOLERANCE
from footpass.sequence.recipes import _MODELS, AnyDST
from footpass.sequence.sources import Recorded, Source
from footpass.sequence.tokens import decode
from footpass.sequence.windows import FixedWindows, WindowConfig, collate
from footpass.training.checkpoints import load_checkpoint, load_model
from footpass.training.distributed import gather, locked_by_first, rank_and_world

log = logging.getLogger(__name__)


def load_dst(path: str | Path, public: bool | str = False) -> tuple[AnyDST, WindowConfig]:
    """A trained DST of either kind on the CPU, and the windows that it is for.

    Parameters
    ----------
    public
        The file is a checkpoint of the public repository, at the published sizes.
    """
    if public:
        published = DST(DSTConfig(mask_memory=False))  # its decoder was trained to read padding
        load_reference(published, read_public(path), path)
        return published, WindowConfig()
    kinds = {kind: sizes for sizes, kind in _MODELS.items()}
    return load_model(path, kinds, "windows", WindowConfig)


def open_recorded(data_dir: str | Path, split: str, runs: Sequence[str | Path]) -> dict[str, Recorded]:
    """Halves of a split with the logits of up to four runs (`data.logits.logits_path`)."""
    return with_logits(open_halves(data_dir, split), [logits_path(run, split) for run in runs])


def with_logits(halves: Mapping[str, HalfMatch], stores: Sequence[Path]) -> dict[str, Recorded]:
    """Halves with their logits of up to four stores."""
    models = [made_by(store) for store in stores]
    return {
        name: Recorded(half, *(read_logits(store, half) for store in stores), models=models)
        for name, half in halves.items()
    }


def without_weights(model: AnyDST, weights: np.ndarray) -> AnyDST:
    """A DST that says classes as often as they are, after a training that weighted them.

    A weighted cross-entropy is lowest where each class is said with its weight times its odds, so the
    weights, ``(10,)`` as of `losses.token_weights`, are divided out of what the model says.
    """
    told = [*range(SOS), EOS]  # SOS is never said
    log_weights = torch.log(torch.as_tensor(weights[told], dtype=torch.float32))
    if not log_weights.any():
        return model
    model = copy.deepcopy(model)
    if isinstance(model, PlayerDST):  # an end is told by the step, so it has no weight
        model.log_weights = log_weights[:SOS]
    else:
        with torch.no_grad():
            model.heads.bias[told] -= log_weights
    return model


def written_by(model: AnyDST, checkpoint: str | Path, halves: Mapping[str, Source]) -> Provenance:
    """Of the events that a DST, read from a checkpoint, writes of halves."""
    data = together(half.provenance for half in halves.values())
    return data.by(f"{type(model).__name__} {fingerprint(Path(checkpoint))}")


def check_logits(checkpoint: str | Path, models: Iterable[str]) -> None:
    """Refuse to read logits of these (`Provenance.models`) with a DST that learned to read other kinds.

    Of others of the same kinds, it is said; their order counts too.
    """
    about = load_checkpoint(checkpoint)["config"].get("about", {})
    learned, given = about.get("provenance", {}).get("models", []), list(models)
    if given == learned or not learned or "unknown" in [*given, *learned]:
        return
    kinds, learned_kinds = ([model.split()[0] for model in models] for models in (given, learned))
    if kinds != learned_kinds or sorted(given) == sorted(learned):
        order = ", then ".join(learned)
        raise DataError(f"it learned from logits of {order}, not of {', then '.join(given)}", checkpoint)
    log.warning("%s: it learned from logits of %s, these are of %s", checkpoint, learned, given)


def predict_events(
    model: AnyDST,
    halves: Mapping[str, Source],
    config: WindowConfig,
    stride: int | None = None,
    batch: int = 64,
    max_events: int = 50,
    beams: int = 1,
) -> pd.DataFrame:
    """Events of halves, as the model, put into evaluation mode, writes them window by window.

    Windows overlap, by default by half, and each answers for its own frames only (`windows.windows`), so
    an event near a border is taken from the window that sees it whole. Where two windows disagree about
    the frame, and both claim the event, the better one is kept. So many windows as in ``batch`` are
    decoded together; ``max_events`` and ``beams`` are those of `DST.write`.

    Returns
    -------
    pd.DataFrame
        ``half, frame, team, jersey, cls, score``, by half and frame; the score is the probability of the
        class. Events of players whose jersey is never known have jersey -1.
    """
    data = FixedWindows(halves, config, stride or max(1, config.window_length // 2))
    device = next(model.parameters()).device
    model.eval()
    rows, names, owners = [], list(halves), []
    places = enumerate(data.places)
    for samples in DataLoader(data, batch_size=batch, collate_fn=collate):
        features, frames = samples.features.to(device), samples.frames.to(device)
        _check_inputs(model, features)
        for written in model.write(features, frames, max_events, beams):
            owner, (half, window) = next(places)
            events = decode(written.tokens.cpu().numpy(), window.start)  # (n, 3)
            own = (events[:, 0] >= window.own_start) & (events[:, 0] < window.own_stop)
            frame, slots, cls = events[own].T
            score = written.scores.cpu().numpy()[own]
            jersey = half.jersey_at(slots, frame)
            code = np.full(len(frame), names.index(half.name))
            rows.append(np.stack([code, frame, slots // N_ROLES, jersey, cls, score], axis=1))
            owners.append(np.full(len(frame), owner))
    code, *values = np.concatenate(rows).T
    table = pd.DataFrame({"half": pd.Categorical.from_codes(code.astype(int), categories=names)})
    table[["frame", "team", "jersey", "cls"]] = np.stack(values[:4], axis=1).astype(np.int64)
    table["score"] = values[4]
    return table.drop(index=_claimed_twice(table, np.concatenate(owners))).sort_values(
        ["half", "frame"], kind="stable", ignore_index=True
    )


def predict_shared(model: AnyDST, halves: Mapping[str, Source], config: WindowConfig) -> pd.DataFrame:
    """As `predict_events`; of several processes each takes every n-th half, and all get the events."""
    rank, world = rank_and_world()
    mine = {name: halves[name] for name in list(halves)[rank::world]}
    tables = gather(predict_events(model, mine, config) if mine else None)
    events = select_halves(concat(table for table in tables if table is not None), halves)
    return events.sort_values(["half", "frame"], kind="stable", ignore_index=True)


def write_predictions(
    checkpoint: str | Path,
    halves: Mapping[str, Source],
    out: str | Path,
    split: str,
    device: torch.device | str = "cpu",
    public: bool | str = False,
) -> pd.DataFrame:
    """Events that a DST, read from a checkpoint, finds in a split, after writing them to ``out``."""
    model, windows = load_dst(checkpoint, public)
    with locked_by_first(out):  # what cannot be made is found before decoding
        events = predict_shared(model.to(device), halves, windows)
        if rank_and_world()[0] == 0:
            write_marked(events, predictions_path(out, split), written_by(model, checkpoint, halves))
    return events


def _check_inputs(model: AnyDST, features: Tensor) -> None:
    if features.shape[-1] == model.config.inputs:
        return
    fusion = model.config.fusion
    given = (features.shape[-1] - N_STATE) // (N_SLOTS * N_CLASSES)
    wanted = FUSIONS[fusion]
    raise DataError(f"fusion {fusion!r} reads the logits of {wanted} model(s), the halves have {given}")


def _claimed_twice(table: pd.DataFrame, owner: np.ndarray) -> np.ndarray:
    """Rows of events that the window before or after claims too, with a better score."""
    who = ["half", "team", "jersey", "cls"]
    order = np.lexsort([table["frame"], *(table[column] for column in who[1:]), table["half"].cat.codes])
    a, b = order[:-1], order[1:]  # neighbours of a player and class
    same = (table[who].to_numpy()[a] == table[who].to_numpy()[b]).all(axis=1)
    frame, score = table["frame"].to_numpy(), table["score"].to_numpy()
    twice = same & (owner[a] != owner[b]) & (frame[b] - frame[a] <= TOLERANCE)
    return np.where(score[a] < score[b], a, b)[twice]
