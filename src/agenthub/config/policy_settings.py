"""The gateway's policies as settings: `[gateway]` in agenthub.toml and `AGENTHUB_GATEWAY__...`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeGuard

from pydantic import AfterValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from agenthub.domain.entities.resilience.filed import FileLayers, file_layers_of
from agenthub.domain.exceptions import FieldFault, InvalidError

FIELD = "gateway"
_NESTED = "__"


def _layers(document: dict[str, Any]) -> dict[str, Any]:
    """Have the policies checked by the domain; each fault is told of a setting of its own."""
    try:
        file_layers_of(document)
    except InvalidError as error:
        details = [_detail(fault) for fault in error.faults]
        raise ValidationError.from_exception_data(FIELD, details) from error
    return document


def _detail(fault: FieldFault) -> InitErrorDetails:
    # The words are filled in, for a template must not hold the braces that they may hold.
    told = PydanticCustomError("policy", "{words}", {"words": fault.message})
    return InitErrorDetails(type=told, loc=fault.loc, input=None)


Gateway = Annotated[dict[str, Any], AfterValidator(_layers)]


class Environment(EnvSettingsSource):
    """The environment, which has nothing but texts: those of policies are read as JSON."""

    def explode_env_vars(
        self, field_name: str, field: FieldInfo, env_vars: Mapping[str, str | None]
    ) -> dict[str, Any]:
        if field_name != FIELD:
            return super().explode_env_vars(field_name, field, env_vars)
        found: dict[str, Any] = {}
        prefix = f"{self.env_prefix}{FIELD}{_NESTED}".lower()
        for name, text in env_vars.items():
            if name.lower().startswith(prefix) and text is not None:
                _put(found, name[len(prefix) :].split(_NESTED), text)
        return found


class PolicySettings(BaseSettings):
    """The policies alone, without a look at the other settings."""

    model_config = SettingsConfigDict(
        env_prefix="AGENTHUB_", env_nested_delimiter=_NESTED, frozen=True, extra="ignore"
    )
    gateway: Gateway = Field(default_factory=dict[str, Any])


def layers_of(gateway: dict[str, Any], call_timeout_s: float | None) -> FileLayers:
    """Make layers of what was read. `call_timeout_s` is the older setting for `timeout_s`."""
    older = {} if call_timeout_s is None else {"timeout_s": call_timeout_s}
    return file_layers_of({**older, **gateway})


def read_policies(path: Path, call_timeout_s: float | None = None) -> FileLayers:
    """Read the policies of a file, and of the environment, which wins.

    Raises pydantic.ValidationError, tomllib.TOMLDecodeError, OSError.
    """

    class FiledSettings(PolicySettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (Environment(settings_cls), TomlConfigSettingsSource(settings_cls, path))

    return layers_of(FiledSettings().gateway, call_timeout_s)


def _put(found: dict[str, Any], path: list[str], text: str) -> None:
    first, *rest = path
    if not rest:
        found[first] = _value(first, text)
        return
    inner: object = found.get(first)
    below = inner if _is_object(inner) else {}
    found[first] = below
    _put(below, rest, text)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _value(name: str, text: str) -> Any:
    """Read a number, a truth value or an object; everything else, and money, is a text."""
    if name == "price_usd":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
