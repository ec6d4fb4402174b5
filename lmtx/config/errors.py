"""What is wrong with parameters, said with their keys."""

import difflib
from pathlib import Path
from typing import get_args, get_origin

from pydantic import ValidationError

from lmtx.config.base import Section, sections_of
from lmtx.config.sections import Config


class ConfigError(ValueError):
    """A parameter that is unknown, of the wrong type, or out of range; the message names its key."""


def explain(error: ValidationError, path: Path) -> str:
    """Turn pydantic's findings into one line a key: file, key, value, what is expected."""
    lines = []
    for found in error.errors():
        key, allowed = _reach(found["loc"])
        kind, context = found["type"], found.get("ctx", {})
        tag = f"{key}.{context['discriminator'].strip(chr(39))}" if kind.startswith("union_tag") else ""
        if kind == "extra_forbidden":
            close = difflib.get_close_matches(key.rpartition(".")[2], allowed, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(allowed)}"
            lines.append(f"`{key}` is not a parameter; {hint}")
        elif kind in ("missing", "union_tag_not_found"):
            lines.append(f"`{tag or key}` is missing")
        elif kind == "union_tag_invalid":
            lines.append(f"`{tag}` is {context['tag']!r}: expected one of {context['expected_tags']}")
        elif kind in ("model_type", "model_attributes_type"):
            lines.append(f"`{key}` is {found['input']!r}: expected a section, one `name: value` a line")
        else:
            message = found["msg"].removeprefix("Value error, ")
            expected = message if message != found["msg"] else message[:1].lower() + message[1:]
            lines.append(f"`{key}` is {found['input']!r}: {expected}" if key else expected)
    return "\n".join(f"{path}: {line}" for line in lines)


def _reach(location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """The dotted key of a finding's location, and the parameters of the section it lies in.

    Within a union of sections pydantic's location also names the member chosen, and "[key]" stands
    behind a dictionary's key that is at fault; neither is part of the key.
    """
    keys, allowed, here = [], [], Config
    for part in map(str, location):
        if part == "[key]":
            continue
        if get_origin(here) is dict:
            keys.append(part)
            here = get_args(here)[1]
            continue
        sections = sections_of(here)
        if len(sections) > 1:
            here = next((section for section in sections if part in _tags(section)), None)
            continue
        keys.append(part)
        fields = sections[0].model_fields if sections else {}
        allowed = list(fields)
        here = fields[part].annotation if part in fields else None
    return ".".join(keys), allowed


def _tags(section: type[Section]) -> list[str]:
    """The words that choose this section within a union: the values of its literal parameters."""
    return [word for field in section.model_fields.values() for word in get_args(field.annotation)]
