"""Several processes: accelerate's data parallelism, or FSDP's sharding of every block; one checkpoint file."""

from __future__ import annotations

import functools
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)


@functools.cache
def accelerator() -> Accelerator:
    """One per process; under torchrun or `accelerate launch` it joins the others (gloo where there is no GPU)."""
    # While one process writes its last shards or weights, the others wait longer than NCCL's ten minutes.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=2))
    return Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[patience])


@torch.compiler.disable  # talk between processes is not for the compiler, which would look into the cache above
def mean(values: Tensor) -> Tensor:
    """Over all processes; without gradients."""
    return accelerator().reduce(values, "mean")


def to_device(value: object, device: torch.device) -> object:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(v, device) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(to_device(v, device) for v in value)
    return value


def shard(model: nn.Module) -> nn.Module:
    """Split a denoiser over all processes, block by block; mixers and text encoder are called on their own too."""
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for block in model.transformer.transformer_blocks:
        fully_shard(block)
        register_fsdp_forward_method(block, "mix")
    fully_shard(model)
    register_fsdp_forward_method(model, "embed")
    return model


def clip(model: nn.Module, most: float) -> Tensor:
    """Scale the gradients to a norm of at most `most` -> the norm before"""
    norm = nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], most)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


def full_state(model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module, sharded: bool) -> dict:
    """Whole tensors on the first process, however they are spread."""
    if not sharded:
        return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state_dict()}
    return {
        "model": get_model_state_dict(model, options=FULL),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=FULL),
        "average": get_model_state_dict(average, options=FULL),
    }


def whole(model: nn.Module, blank: nn.Module) -> nn.Module:
    """The weights of a sharded model in `blank`, an ordinary one of its shape; on the first process only."""
    state = get_model_state_dict(model, options=FULL)
    if accelerator().is_main_process:
        blank.load_state_dict(state)
    return blank


def load_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module, state: dict, sharded: bool
) -> None:
    if not sharded:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        return
    from torch.distributed.checkpoint.state_dict import set_model_state_dict

    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(model, state["model"], options=options)
    set_model_state_dict(average, state["average"], options=options)
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=options)
