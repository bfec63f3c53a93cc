"""Several devices: ``torchrun`` starts a process for each. The first does everything; the others help it to train."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

#: The first process may be busy for long (another kind of model, the data set) while the others wait for work.
_PATIENCE = timedelta(days=7)


@contextmanager
def joined() -> Iterator[bool]:
    """Join the processes of ``torchrun``, if it started this one; True in those that are to help the first. When that
    leaves without an error, `shared` gives the others None."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield False
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cpu:gloo,cuda:nccl", timeout=_PATIENCE)
    else:
        distributed.init_process_group("gloo", timeout=_PATIENCE)
    yield not is_first()
    if is_first():
        shared(None)
    # None leaves while another still talks to it, nor with a network that the group's threads wait on.
    gc.collect()
    distributed.barrier()
    distributed.destroy_process_group()


def size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    return own().start in (None, 0)


def own() -> slice:
    """This process's rows of a batch."""
    return slice(distributed.get_rank(), None, size()) if size() > 1 else slice(None)


def device() -> torch.device:
    """Where this process trains."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def shared(value: Any) -> Any:
    """The first process's ``value``, in all of them."""
    if size() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def alike(module: nn.Module) -> nn.Module:
    """``module``, with the first process's weights, and gradients that are the mean of all processes'."""
    if size() == 1:
        return module
    # In some batches no window has a label for one of the tasks.
    return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)


def mean(value: float) -> float:
    """Of all processes' values."""
    if size() == 1:
        return value
    values = torch.tensor(value)
    distributed.all_reduce(values)
    return values.item() / size()
