"""Several processes for one job, as started by ``torchrun`` or ``accelerate launch``."""

import atexit
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from footpass.files import DataError, locked
from footpass.processes import keep_memory


def join_processes() -> torch.device:
    """This process's GPU, or the CPU; where a launcher started several, it first joins the others.

    More processes than there are GPUs share them: each decodes videos on a core of its own.
    """
    keep_memory()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    world, here, local = (
        int(os.environ.get(name, alone))
        for name, alone in (("WORLD_SIZE", 1), ("LOCAL_WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    device = torch.device("cuda", local % gpus) if gpus else torch.device("cpu")
    if gpus:
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        backend = "nccl" if 0 < here <= gpus else "gloo"  # NCCL demands a GPU for each process
        # One may wait for hours for others that resume their halves; by default it gives up in minutes.
        dist.init_process_group(backend, timeout=timedelta(days=7))
        atexit.register(dist.destroy_process_group)
    return device


def rank_and_world() -> tuple[int, int]:
    """Number of this process, and of all processes: 0 and 1 where there is but one."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def gather(value: Any) -> list[Any]:
    """What each process has, in their order, for all of them; it must be picklable."""
    values = [value] * rank_and_world()[1]
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


@contextmanager
def locked_by_first(folder: str | Path, waits: bool = True) -> Iterator[None]:
    """Lock a folder for all processes that compute together, as `footpass.files.locked` does for one."""
    with ExitStack() as stack:
        refused: list[DataError | None] = [None]
        if rank_and_world()[0] == 0:
            try:
                stack.enter_context(locked(folder, waits))
            except DataError as error:
                refused = [error]
        if dist.is_initialized():
            dist.broadcast_object_list(refused)
        if refused[0]:
            raise refused[0]
        yield


def wait_for_all() -> None:
    """Return when all processes have come to this point."""
    if dist.is_initialized():
        dist.barrier()


def average_buffers(model: nn.Module) -> None:
    """Give all processes the mean of their batch-norm statistics."""
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    _, world = rank_and_world()
    if world == 1 or not buffers:
        return
    mean = sum_over_processes(torch.cat([buffer.flatten() for buffer in buffers])) / world
    for buffer, part in zip(buffers, mean.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(part.view_as(buffer))
