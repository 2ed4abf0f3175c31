"""Every setting of the hub: environment first, then `agenthub.toml` in the data folder."""

import base64
import binascii
import os
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from agenthub.config import data_folder
from agenthub.config.policy_settings import Environment, Gateway, layers_of
from agenthub.domain.entities.cost import NANO_PER_USD
from agenthub.domain.entities.resilience.filed import FileLayers

CONFIG_FILE = data_folder.CONFIG_FILE
SETTINGS_ERRORS = (ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError)
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


def _key_bytes(text: str) -> str:
    try:
        size = len(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError("must be base64") from error
    if size != 32:
        raise ValueError("must be 32 bytes in base64")
    return text


def _words(value: Any) -> Any:
    """Read a list from the environment: words parted by commas or spaces."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EgressSettings(_Group):
    """What the hub may speak to."""

    allow_private: bool | None = None
    """Private and loopback addresses; unset: only while the hub itself is bound to loopback."""
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=65_536, le=1 << 30)


class LogSettings(_Group):
    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class UpstreamSettings(_Group):
    """Calls to the registered servers."""

    call_timeout_s: Seconds = 300
    """For the server's own work; time in which a person is asked does not count.

    The older name of `timeout_s` in `[gateway]`, which outdoes it.
    """
    settle_timeout_s: Seconds = 20
    """How long a registration waits for the first connection."""
    drain_timeout_s: Seconds = 10
    """How long a removed instance may finish its calls."""


class McpSettings(_Group):
    """The hub's own MCP endpoints."""

    max_request_bytes: int = Field(default=4 * 1024 * 1024, ge=65_536, le=1 << 28)
    session_idle_s: Seconds = 1_800
    max_sessions: int = Field(default=10_000, ge=1, le=1_000_000)


class LlmSettings(_Group):
    """The language model the hub speaks to, by LiteLLM's names. Without `model` there is none."""

    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    api_base: Annotated[str, Field(max_length=2_000, pattern=r"^https?://")] | None = None
    api_key: SecretStr | None = None
    max_tokens: int = Field(default=4_096, ge=1, le=1_000_000)
    """The longest answer, and what a call gets that names no length."""
    prices_file: Path | None = None


class BudgetSettings(_Group):
    """The budget of the hub that is made at the first start."""

    monthly_usd: Annotated[
        Decimal, Field(ge=0, le=9_000_000, decimal_places=9, allow_inf_nan=False)
    ] = Decimal(100)
    """0: none is made."""

    @property
    def monthly_nano_usd(self) -> int:
        return int(self.monthly_usd * NANO_PER_USD)


class UsageSettings(_Group):
    """The ledger of calls."""

    keep_days: int = Field(default=90, ge=1, le=36_500)
    """For single entries; their daily sums are kept for good."""
    journal_sync: bool = False
    """Whether every call waits for the disk, so that a power cut loses none of them."""


class HitlSettings(_Group):
    """Questions that wait for somebody."""

    enabled: bool = True
    """Whether people at the hub answer; else only agents do."""
    ttl_s: Seconds = 600
    hold_s: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = 30
    """How long a call is held open while a person is asked, before its agent gets a ticket."""
    keep_days: int = Field(default=90, ge=1, le=36_500)
    """For questions that have ended."""


class EventSettings(_Group):
    keep: int = Field(default=10_000, ge=10_000, le=10_000_000)


class TelemetrySettings(_Group):
    """Traces; off without an address."""

    otlp_endpoint: Annotated[str, Field(pattern="^https?://", max_length=2_048)] | None = None
    """Base address of an OTLP/HTTP collector; `/v1/traces` is put behind it."""
    headers: dict[str, str] = Field(default_factory=dict[str, str], repr=False)
    """Sent with each export; may hold a credential."""
    sample_share: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)


class Settings(BaseSettings):
    """All settings. Unknown names in `agenthub.toml` are refused, so a typo is seen."""

    model_config = SettingsConfigDict(
        env_prefix="AGENTHUB_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("agenthub")))
    database_url: str | None = None
    owner_token: Annotated[str, Field(min_length=16, max_length=512)] | None = None
    secret_key: Annotated[str, AfterValidator(_key_bytes)] | None = None
    allowed_hosts: Words = ()
    allowed_origins: Words = ()

    budget: BudgetSettings = BudgetSettings()
    egress: EgressSettings = EgressSettings()
    events: EventSettings = EventSettings()
    gateway: Gateway = Field(default_factory=dict[str, Any])
    hitl: HitlSettings = HitlSettings()
    llm: LlmSettings = LlmSettings()
    log: LogSettings = LogSettings()
    mcp: McpSettings = McpSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    upstream: UpstreamSettings = UpstreamSettings()
    usage: UsageSettings = UsageSettings()

    @property
    def is_loopback(self) -> bool:
        return self.host in ("127.0.0.1", "::1", "localhost")

    @property
    def egress_allow_private(self) -> bool:
        chosen = self.egress.allow_private
        return self.is_loopback if chosen is None else chosen

    @property
    def chosen_call_timeout_s(self) -> float | None:
        """The older setting, where somebody has set it."""
        is_chosen = "call_timeout_s" in self.upstream.model_fields_set
        return self.upstream.call_timeout_s if is_chosen else None

    @property
    def policies(self) -> FileLayers:
        """The gateway's policies as they were at the start."""
        return layers_of(self.gateway, self.chosen_call_timeout_s)

    @property
    def effective_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'agenthub.db'}"


def load_settings(**given: Any) -> Settings:
    """Read the settings; `given` (command-line options) wins over the environment and the file.

    Raises one of SETTINGS_ERRORS; `faults_of` puts it in words.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    data_dir = Path(
        chosen.get("data_dir")
        or os.environ.get("AGENTHUB_DATA_DIR")
        or platformdirs.user_data_dir("agenthub")
    ).absolute()

    class FiledSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = TomlConfigSettingsSource(settings_cls, data_dir / CONFIG_FILE)
            return (init_settings, Environment(settings_cls), file)

    values: dict[str, Any] = {**chosen, "data_dir": data_dir}
    return FiledSettings(**values)


def faults_of(error: Exception) -> list[str]:
    """Say what is wrong with the settings: one line for each fault."""
    if isinstance(error, ValidationError):
        return [f"setting {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    if isinstance(error, OSError):
        return [f"{CONFIG_FILE} cannot be read: {error.strerror or error}"]
    return [f"{CONFIG_FILE} is no TOML: {error}"]
