"""What the parts of `fl_config.json` have in common: frozen, no unknown keys, and written as somebody wrote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

from fedkit.base.text import nearest

__all__ = ["NamedPart", "Part", "Slip"]


class Slip(ValueError):
    """A key that is near one that there is."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class Part(BaseModel):
    """The value of one key. What was left at its default is not written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_slip(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            near = None if key in cls.model_fields else nearest(str(key).lower(), cls.model_fields)
            if near is not None:
                raise Slip(f"is no key of it; did you mean {near!r}?", str(key)[:80])
        return values

    @model_serializer(mode="wrap")
    def _as_written(self, values: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in values(self).items() if key in self.model_fields_set}


class NamedPart(Part):
    """A part with a name and parameters of that name. example : a name, for whoever writes it without its braces."""

    example: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _no_name_alone(cls, values: Any) -> Any:
        if isinstance(values, str):
            raise ValueError(f'is a text, {values!r:.40}; write {{"name": "{cls.example}"}}')
        return values
