"""Training curves and pictures for TensorBoard or Weights & Biases, beside ``log.jsonl``.

Nothing is sent anywhere unless it is asked for, and TensorBoard's files stay in the run directory.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from footpass.files import DataError, make_folder
from footpass.metrics import Counts
from footpass.schema import ACTION_LABELS
from footpass.training.loop import Track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Write = Callable[[dict[str, float], "Figure | None", int], None]


def f1_figures(counts: Counts) -> dict[str, float]:
    """``macro_f1``, ``micro_f1``, and ``f1/pass`` and so on, as `training.loop.train` takes them."""
    by_class = {f"f1/{label}": float(f1) for label, f1 in zip(ACTION_LABELS, counts.f1, strict=True)}
    return {"macro_f1": counts.macro_f1, "micro_f1": counts.micro["f1"], **by_class}


def tracker(
    kind: str, run_dir: str | Path, picture: "Callable[[nn.Module], Figure] | None" = None
) -> Track:
    """What `training.loop.train` calls after each epoch to write its losses, rates and figures.

    Parameters
    ----------
    kind
        One of `config.TRACKERS`. ``"wandb"`` sends them to the project ``footpass`` of whoever is logged
        in there (``WANDB_MODE=offline``: to nobody).
    picture
        Of the model at work, for each epoch.
    """
    try:
        write = {"tensorboard": _tensorboard, "wandb": _wandb}[kind](Path(run_dir))
    except ImportError as error:
        raise DataError(f"{kind} is not installed: pip install {kind}") from error

    def track(row: Mapping[str, Any], model: nn.Module) -> None:
        write(dict(_scalars(row)), picture(model) if picture else None, row["epoch"])

    return track


def _scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of a row but its epoch and step; those of a table by names such as ``lr/features.``."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _scalars({key or "all": part for key, part in value.items()}, f"{name}/")
        elif isinstance(value, (int, float)) and name not in ("epoch", "step"):
            yield prefix + name, value


def _tensorboard(run_dir: Path) -> _Write:
    """As torch's `SummaryWriter`, but in no thread, which prints a traceback when the disk is full."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter
    from torch.utils.tensorboard import summary

    path = run_dir / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"

    def write(scalars: dict[str, float], figure: "Figure | None", epoch: int) -> None:
        parts = [summary.scalar(name, value) for name, value in scalars.items()]
        if figure:
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())[..., :3]
            parts.append(summary.image("detections", pixels, dataformats="HWC"))
        first = [] if path.exists() else [Event(wall_time=time.time(), file_version="brain.Event:2")]
        events = [Event(wall_time=time.time(), step=epoch, summary=part) for part in parts]
        with open(path, "ab") as stream:
            records = RecordWriter(stream)
            for event in first + events:
                records.write(event.SerializeToString())

    return write


def _wandb(run_dir: Path) -> _Write:
    import wandb

    make_folder(run_dir)
    # Of several models that a process trains, each has a run of its own.
    run = wandb.init(project="footpass", name=run_dir.name, dir=run_dir, reinit="create_new")

    def write(scalars: dict[str, float], figure: "Figure | None", epoch: int) -> None:
        run.log(scalars | ({"detections": wandb.Image(figure)} if figure else {}), step=epoch)

    return write
