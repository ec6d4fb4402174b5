"""Which device, and which precision on it. Every part of the package asks here."""

import torch


def resolve_device(device: str) -> torch.device:
    """The device of torch that `device` names; "auto": the first GPU, or the CPU where there is none."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


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
