"""Files of a model: where they are on this machine, and how they come from the Hugging Face hub."""

import hashlib
import os
from pathlib import Path

from lmtx.llm.faults import TeacherError

TEXT_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
WEIGHTS = ("*.safetensors",)
_IN_FOLDERS = "*/*"  # copies of the weights in other formats
_TIMEOUT = 5.0  # seconds


def model_folder() -> Path:
    """Where GGUF files of the hub are kept on this machine: LMTX_MODELS, or ~/.cache/lmtx."""
    return Path(os.environ.get("LMTX_MODELS") or Path.home() / ".cache" / "lmtx")


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(error: object) -> str:
    """An error in one line, for a message that names cause and remedy."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def reach(repository: str) -> None:
    """Ask the hub for a model once, which fails at once; a download would try again for minutes.

    What it raises is of the HTTP library that the hub's client happens to use: catch `Exception`.
    """
    from huggingface_hub import HfApi

    HfApi().model_info(repository, timeout=_TIMEOUT)


def fetch_file(repository: str, file: str, folder: Path | None = None) -> Path:
    """Fetch a file of a model into `folder`; None: the hub's cache, which may have it. Raises as `reach`."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if folder is not None:
        reach(repository)
        return Path(hf_hub_download(repository, file, local_dir=folder))
    try:
        return Path(hf_hub_download(repository, file, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        reach(repository)
        return Path(hf_hub_download(repository, file))


def fetch_snapshot(name: str, commit: str | None, patterns: tuple[str, ...]) -> Path:
    """The folder of a model's files in the hub's cache, those fetched that it lacks; None: the newest commit.

    Raises `TeacherError` when the download breaks off.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name, revision=commit, allow_patterns=list(patterns), ignore_patterns=[_IN_FOLDERS]
            )
        )
    except Exception as error:  # see `reach`
        raise TeacherError(
            f"{name} cannot be fetched from the hub ({first_line(error)}); run again to go on, "
            f"or fetch it by hand: hf download {name}"
        ) from None


def find_snapshot(name: str) -> Path:
    """The newest commit of a model, its small files fetched; without a network, what the cache has.

    Raises `TeacherError` when the model is not in the hub, or neither there nor in the cache.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        reach(name)
    except RepositoryNotFoundError as error:
        raise TeacherError(
            f"{name!r} is neither a folder here nor a model on the hub that this account may read "
            f"({first_line(error)}); check teacher.model, and HF_TOKEN for a private or gated model"
        ) from None
    except Exception as error:  # see `reach`
        reason = first_line(error)
    else:
        # By the branch's name, so that the cache knows later what the name stands for.
        return fetch_snapshot(name, None, TEXT_FILES)
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
        raise TeacherError(
            f"{name!r} is no folder here and not in the hub's cache, and the hub cannot be reached{offline}: "
            f"{reason}. Set teacher.model to the folder of a downloaded model, or fetch it where there is a "
            f"network: hf download {name}"
        ) from None
