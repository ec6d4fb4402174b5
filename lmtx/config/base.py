"""What every section of parameters shares: its rules, and the types of its values."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Wording = Literal["tag", "product-category", "encyclopedia-category", "related-page", "api-page"]
Prompt = Literal["question", "strict"]
"""How a pair is put to a model: the document and a question about each label, or strict instructions."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Section(BaseModel):
    """A group of parameters: frozen, strict about types, and closed to unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def sections_of(annotation: Any) -> list[type[Section]]:
    """The sections that a parameter's annotation admits: one, several for a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in sections_of(inner)]
