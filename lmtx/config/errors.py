"""Errors in parameters, by their keys."""

import difflib
from pathlib import Path
from typing import get_args, get_origin

from pydantic import ValidationError

from lmtx.config.base import Section, sections_of
from lmtx.config.sections import Config


class ConfigError(ValueError):
    """A parameter that is unknown, of the wrong type, or out of range; the message names its key."""


def explain(error: ValidationError, path: Path) -> str:
    """Turn pydantic's errors into one line each: file, key, value, expected value."""
    lines = []
    for fault in error.errors():
        key, allowed = _reach(fault["loc"])
        kind, context = fault["type"], fault.get("ctx", {})
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
            lines.append(f"`{key}` is {fault['input']!r}: expected a section, one `name: value` a line")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            expected = message if message != fault["msg"] else message[:1].lower() + message[1:]
            lines.append(f"`{key}` is {fault['input']!r}: {expected}" if key else expected)
    return "\n".join(f"{path}: {line}" for line in lines)


def _reach(location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return the dotted key of an error's location, and the parameters of its section.

    In a union of sections, pydantic's location also names the chosen member, and "[key]" follows a wrong key
    of a dictionary; neither belongs to the dotted key.
    """
    keys, allowed, annotation = [], [], Config
    for name in map(str, location):
        if name == "[key]":
            continue
        if get_origin(annotation) is dict:
            keys.append(name)
            annotation = get_args(annotation)[1]
            continue
        sections = sections_of(annotation)
        if len(sections) > 1:
            annotation = next((section for section in sections if name in _tags(section)), None)
            continue
        keys.append(name)
        fields = sections[0].model_fields if sections else {}
        allowed = list(fields)
        annotation = fields[name].annotation if name in fields else None
    return ".".join(keys), allowed


def _tags(section: type[Section]) -> list[str]:
    """Return the words that choose this section in a union: the values of its literal parameters."""
    return [word for field in section.model_fields.values() for word in get_args(field.annotation)]
