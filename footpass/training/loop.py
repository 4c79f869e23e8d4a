"""One training loop for every model: TAAD, TAAD + GNN and DST.

A run is a pure function of its config, model and data. The order of the samples and all randomness
depend on the seed, the epoch and the place in the epoch alone. So no generator's state needs keeping, on
the CPU a run that is killed goes on from its last checkpoint to the very weights of an undisturbed one,
and several processes (``torchrun``, ``accelerate launch``) take the steps of one. What differs between
them are batch-norm statistics: each process counts its own share, and they are averaged.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm.auto import tqdm

from footpass.configs import plain
from footpass.files import DataError, atomic_write, revision
from footpass.processes import begun
from footpass.training.checkpoints import BEST, LAST, LOG, load_checkpoint, save_checkpoint
from footpass.training.config import TrainConfig
from footpass.training.distributed import (
    locked_by_first,
    rank_and_world,
    sum_over_processes,
    wait_for_all,
)
from footpass.training.optim import NotFinite, Updates, autocast

log = logging.getLogger(__name__)

# Of a model and a batch as the loader gives it (to move it to the model's device is the loss's job): the
# mean, or the mean and how much it is the mean of, in items or weights: then the mean over a step is
# right also where micro-batches differ in what is masked. Without it, all count alike.
Loss = Callable[[nn.Module, Any], Tensor | tuple[Tensor, Tensor | float]]
# Figures of the model, in evaluation mode, on a fixed validation set; all processes call it after each
# epoch. The best epoch has the highest ``macro_f1``; without figures it is the last.
Validate = Callable[[nn.Module], Mapping[str, float]]
# Given the row of each epoch and the model that is validated, by the first of several processes.
Track = Callable[[Mapping[str, Any], nn.Module], None]


_MAY_CHANGE = ("epochs", "workers", "save_every", "precision")  # of the config, when a run goes on


def train(
    model: nn.Module,
    config: TrainConfig,
    data: Callable[[int], Any],
    loss: Loss,
    run_dir: str | Path,
    validate: Validate | None = None,
    collate: Callable[[list], Any] | None = None,
    about: Mapping[str, Any] | None = None,
    track: Track | None = None,
) -> list[dict]:
    """Train a model; a run that was interrupted goes on, one that is finished is left as it is.

    Each epoch has a row in ``log.jsonl``, of which ``track`` (`training.tracking.tracker`) is told:
    epoch, step, loss, losses by step, lr, figures of ``validate``, seconds since it began, revision.

    Parameters
    ----------
    model
        With its config as ``model.config``, on the device to train on; it ends with the last weights.
    data
        Of an epoch: its samples, in the order in which they are taken. A sample depends on the epoch and
        its place alone; all epochs have equally many.
    run_dir
        Where ``last.pt``, ``best.pt`` and ``log.jsonl`` are. Of several processes the first one writes.
    about
        What else a checkpoint should say, plain values and configs; a run goes on only with the same.
    """
    (rank, world), run_dir, size = rank_and_world(), Path(run_dir), len(data(0))
    _check(model, config, size, world, about)
    of = {"model": getattr(model, "config", {}), "train": config, "samples": size, "about": about or {}}
    expected = {"kind": type(model).__name__, **of}
    settings = json.loads(json.dumps(expected, default=plain))  # fails now if it could not be read back
    run = Updates(model, config, per_epoch=ceil(ceil(size / config.batch) / config.accumulate))
    with locked_by_first(run_dir, waits=False):
        _go_on(run, run_dir, expected, settings)
        total = config.epochs * run.per_epoch
        with tqdm(total=total, initial=run.step, unit="step", disable=rank > 0) as bar:

            def after_step() -> None:
                bar.update(run.step - bar.n)
                bar.set_postfix(loss=f"{run.mean_loss:.4f}", refresh=False)
                due = config.save_every and run.step % config.save_every == 0
                if rank == 0 and due and run.step % run.per_epoch:
                    save_checkpoint(run_dir / LAST, settings, run.state_dict(began))

            while (epoch := run.step // run.per_epoch) < config.epochs:
                began = time.monotonic() - run.seconds
                micro = micro_batches(size, config, epoch, run.step % run.per_epoch, rank, world)
                batches = load_batches(data(epoch), size, micro, collate, config.workers, run.device)
                try:
                    with _repeatable(run.device):
                        net = _trainable(model, config, epoch, world)
                        run_epoch(net, batches, loss, run, after_step)
                except NotFinite as error:
                    run.go_back(run_dir / LAST, error)
                    continue
                _close_epoch(run, _row(run, epoch, began, validate), run_dir, settings, track)
        wait_for_all()  # nobody reads what the first process has yet to write
    return run.rows


def finished_rows(run_dir: str | Path, epochs: int) -> list[dict]:
    """Rows of a run that has all its epochs; none of one that has not, or is not there."""
    try:
        rows = [json.loads(line) for line in Path(run_dir, LOG).read_text().splitlines()]
    except (FileNotFoundError, ValueError):
        return []
    return rows if len(rows) >= epochs else []


def _close_epoch(
    run: Updates, row: dict, run_dir: Path, settings: dict[str, Any], track: Track | None
) -> None:
    """Note an epoch and save what it came to."""
    best = run.close_epoch(row)
    if rank_and_world()[0] > 0:
        return
    # Best, last, log: killed in between, the epoch is done again and writes the same once more.
    if best:
        content = {"model": run.averaged.state_dict(), "row": row}
        save_checkpoint(run_dir / BEST, settings, content)
    save_checkpoint(run_dir / LAST, settings, run.state_dict())
    _write_log(run_dir / LOG, run.rows)
    if track:
        track(row, run.averaged.eval())


def _go_on(run: Updates, run_dir: Path, expected: Mapping[str, Any], settings: dict[str, Any]) -> None:
    """Go on from the last checkpoint if there is one; remove what a killed run left half written."""
    if (run_dir / LAST).exists():
        try:
            content = load_checkpoint(run_dir / LAST, expected, _MAY_CHANGE)
        except DataError as error:
            reason = f"{error.reason}: delete it to train anew, or choose another folder"
            raise DataError(reason, error.file) from error
        run.load_state_dict(content, run_dir / LAST)
        log.info("%s: goes on after optimizer step %d", run_dir, run.step)
    if rank_and_world()[0] == 0:
        for leftover in run_dir.glob(".*.pt.*"):
            leftover.unlink()
        _write_log(run_dir / LOG, run.rows)
        untrained, begins = not run.config.epochs, not (run_dir / LAST).exists()
        if begins and untrained:  # there will be no epoch that does
            content = {"model": run.averaged.state_dict(), "row": {}}
            save_checkpoint(run_dir / BEST, settings, content)
        if begins and (untrained or run.scaler.is_enabled()):
            save_checkpoint(run_dir / LAST, settings, run.state_dict())  # to go back to


def _trainable(model: nn.Module, config: TrainConfig, epoch: int, world: int) -> nn.Module:
    """The model with what the epoch freezes frozen; made anew, for DDP looks at that only once."""
    if hasattr(model, "freeze"):
        cast(Any, model).freeze(None if epoch < config.frozen_epochs else config.frozen_blocks)
    return DistributedDataParallel(model, forward_sync_buffers=False) if world > 1 else model


def _row(run: Updates, epoch: int, began: float, validate: Validate | None) -> dict[str, Any]:
    """What the log says of an epoch, with the figures of the averaged model."""
    row = {"epoch": epoch, "step": run.step, "loss": run.mean_loss, "losses": run.losses, "lr": run.lr}
    figures = {}
    if validate:
        with torch.no_grad():
            figures = {name: float(value) for name, value in validate(run.averaged.eval()).items()}
        if "macro_f1" not in figures or figures.keys() & row.keys():
            raise DataError(f"validate gives {list(figures)}: needs macro_f1, and none of {list(row)}")
    return row | figures | {"seconds": round(time.monotonic() - began, 2), "revision": revision()}


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """On the CPU, add up gradients in one order; the threads behind ``table[indices]`` take any.

    Torch would also fill all memory that it has just allocated, for operations that read what none has
    written; there are none here, and it takes 7 to 23 % of a step.
    """
    before = torch.get_deterministic_debug_mode()
    deterministic: Any = torch.utils.deterministic  # its type does not tell of the setting
    filled = deterministic.fill_uninitialized_memory
    if device.type == "cpu":
        torch.set_deterministic_debug_mode("warn")
        deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        deterministic.fill_uninitialized_memory = filled


def run_epoch(
    model: nn.Module,
    batches: Iterable,
    loss: Loss,
    updates: Updates,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Learn from batches, each with its `MicroBatch`, as ``(micro, batch)``.

    Gradients become optimizer steps as ``updates`` says; ``after_step`` is called after each.
    """
    model.train()
    total = torch.zeros(2, device=updates.device)  # loss times weight, and weight
    for micro, batch in batches:
        torch.manual_seed(micro.seed)
        waits: AbstractContextManager = nullcontext()
        if not micro.last and isinstance(model, DistributedDataParallel):
            waits = model.no_sync()
        with waits:
            with autocast(updates.device, updates.precision):
                value = loss(model, batch)
            mean, weight = value if isinstance(value, tuple) else (value, 1.0)
            weight = torch.as_tensor(weight, device=updates.device) * micro.share
            total += torch.stack([mean.detach().float() * weight, weight])
            # Sums: how much the mean is to be taken of is known only at the end of the step.
            updates.scaler.scale(mean * weight).backward()
        if micro.last:
            updates.apply(*sum_over_processes(total).tolist())
            total.zero_()
            after_step()


class MicroBatch(NamedTuple):
    """One micro-batch of one process.

    A stand-in counts nothing: the last step of an epoch may have fewer micro-batches than there are
    processes, and all must take part.
    """

    samples: list[int]  # their places in the epoch
    seed: int  # of everything random in it
    last: bool  # whether an optimizer step follows
    share: float  # 0 for a stand-in, else 1


def micro_batches(
    size: int, config: TrainConfig, epoch: int, first: int = 0, rank: int = 0, world: int = 1
) -> list[MicroBatch]:
    """The micro-batches of a process in an epoch of ``size`` samples, from optimizer step ``first``."""
    batches = np.array_split(np.arange(size), ceil(size / config.batch))
    result = []
    for start in range(first * config.accumulate, len(batches), config.accumulate):
        step = range(start, min(start + config.accumulate, len(batches)))
        mine = step[rank::world] or step[:1]
        for number in mine:
            seed = np.random.SeedSequence([config.seed, epoch, number]).generate_state(1, np.uint64)
            last, share = number == mine[-1], float(rank < len(step))
            result.append(MicroBatch(batches[number].tolist(), int(seed[0]), last, share))
    return result


def _check(
    model: nn.Module,
    config: TrainConfig,
    size: int,
    world: int,
    about: Mapping[str, Any] | None = None,
) -> None:
    device = next(model.parameters()).device
    if not (config.epochs or (about or {}).get("start")):  # the fingerprint of what it begins with
        raise DataError("epochs = 0, and nothing to start from: the weights would be random ones")
    if not size:
        raise DataError("no samples to train on")
    if config.precision == "fp16" and device.type != "cuda":
        raise DataError(
            f"precision fp16 needs a CUDA device, and the model is on {device.type}: use bf16 or fp32"
        )
    if config.accumulate % world:
        idle = f"accumulate = {config.accumulate} is no multiple of {world} processes: some of them idle"
        log.warning("%s; take --accumulate %d, or a multiple, and a smaller --batch", idle, world)
    if (config.frozen_epochs or config.frozen_blocks) and not hasattr(model, "freeze"):
        raise DataError(f"{type(model).__name__} has no video backbone that could be frozen")


class _OrError(Dataset):
    """Samples, or the error of one in its place: raised in a worker, it would come as text."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __getitem__(self, index: int) -> Any:
        try:
            return self.samples[index]
        except (DataError, OSError, MemoryError) as error:
            return error


def _collated(collate: Callable[[list], Any], samples: list) -> Any:
    error = next((sample for sample in samples if isinstance(sample, Exception)), None)
    return error or collate(samples)


def load_batches(
    samples: Any,
    size: int,
    micro: list[MicroBatch],
    collate: Callable[[list], Any] | None,
    workers: int,
    device: torch.device,
) -> Iterator[tuple[MicroBatch, Any]]:
    """Micro-batches, each with its samples, which workers load ahead."""
    if len(samples) != size:
        raise DataError(f"an epoch of {len(samples)} samples; the first has {size}")
    places = [part.samples for part in micro]
    return zip(micro, loaded(samples, places, workers, device, collate), strict=True)


def loaded(
    samples: Any,
    places: Sequence[list[int]],
    workers: int,
    device: torch.device,
    collate: Callable[[list], Any] | None = None,
) -> Iterator[Any]:
    """Batches of the samples at some places, which workers load ahead; their errors are raised here."""
    loader = DataLoader(
        _OrError(samples),
        batch_sampler=places,
        collate_fn=partial(_collated, collate or default_collate),
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    for batch in begun(loader):
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _write_log(path: Path, rows: list[dict]) -> None:
    with atomic_write(path) as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
