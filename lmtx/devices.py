"""Which device, and which precision on it. Every part of the package asks here."""

import ctypes
from contextlib import suppress

import torch

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of glibc's mallopt(3)


def resolve_device(device: str) -> torch.device:
    """The device of torch that `device` names; "auto": the first GPU, or the CPU where there is none."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        _keep_freed_memory()
    return torch.device(device)


def _keep_freed_memory() -> None:
    """Let glibc keep up to 512 MiB that are free, for the next product of matrices.

    Otherwise it returns the memory of each product, and the system clears every page of it for the next one,
    which takes a fifth of an encoder's time. Blocks of more than 32 MiB are still returned. Other C libraries
    are left as they are.
    """
    with suppress(AttributeError, OSError, TypeError):  # no mallopt, no library
        c_library = ctypes.CDLL(None)
        c_library.mallopt(_MMAP_THRESHOLD, 32 << 20)
        c_library.mallopt(_TRIM_THRESHOLD, 512 << 20)


def resolve_precision(precision: str, device: torch.device) -> str:
    """ "bf16" or "fp32"; "auto" is bf16 where the hardware of `device` multiplies it."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16(device) else "fp32"


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware of `device` multiplies bf16; elsewhere torch converts it at each product."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
