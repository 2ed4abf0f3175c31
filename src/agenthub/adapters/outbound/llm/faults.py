"""What went wrong at a model's provider, in the house's words and without its secrets."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from agenthub.domain.exceptions import (
    DeniedError,
    HubError,
    InvalidError,
    QuotaError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)

LONGEST_WORDS = 400
LONGEST_WAIT_S = 86_400.0
_SECRETS = re.compile(
    r"(?i)\b(?:sk|pk|key|api|token|xai|gsk|AIza)[-_][\w*.\-]{4,}|bearer\s+\S+|AIza\w+"
)


class Scrubber:
    """Takes the hub's own secret, and what looks like one, out of foreign words."""

    def __init__(self, *secrets: str) -> None:
        self._secrets = sorted((one for one in secrets if one), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _SECRETS.sub("***", text)
        words = " ".join(text.split())
        return words[:LONGEST_WORDS]


def of_status(status: int, words: str, retry_after_s: float | None) -> HubError:
    """Translate an HTTP status of a provider. `words` are its own, scrubbed."""
    error = _of_status(status, f" It says: {words}" if words else "", retry_after_s)
    error.http_status = status
    return error


def _of_status(status: int, said: str, retry_after_s: float | None) -> HubError:
    match status:
        case 401 | 403:
            # Its words are left out: providers repeat a part of the key in them.
            return DeniedError(
                f"The model's provider refuses the hub's key (HTTP {status}): check "
                "AGENTHUB_LLM__API_KEY.",
                code="model_unauthorized",
            )
        case 404:
            return InvalidError(
                f"The model's provider does not know it (HTTP 404).{said}", code="model_unknown"
            )
        case 429:
            return QuotaError(
                f"The model's provider has had too many requests.{said}",
                code="model_rate_limited",
                retry_after_s=retry_after_s,
            )
        case 408 | 504:
            return TimedOutError(
                f"The model's provider gave up (HTTP {status}).{said}", code="model_timeout"
            )
        case _ if status < 500:
            return InvalidError(
                f"The model's provider refuses the request (HTTP {status}).{said}",
                code="model_refused_request",
            )
        case _:
            return UpstreamError(
                f"The model's provider has a fault (HTTP {status}).{said}",
                code="model_fault",
                retry_after_s=retry_after_s,
            )


def of_wire(error: HubError) -> HubError:
    """Translate what the hub's own HTTP client says: the provider never answered, or broke off."""
    if error.code.startswith("model_"):
        return error
    if isinstance(error, TimedOutError):
        return TimedOutError("The model's provider did not answer in time.", code="model_timeout")
    found = UnavailableError(
        f"The model's provider cannot be reached. {error.message}",
        code="model_unavailable",
        retry_after_s=error.retry_after_s,
    )
    found.reached_server = error.reached_server
    return found


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After`, seconds or a date against the answer's own; None for nonsense."""
    text = headers.get("retry-after", "")
    try:
        wait_s = float(text) if text[:1].isdigit() else _until(text, headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


def _until(text: str, date: str) -> float:
    return (parsedate_to_datetime(text) - parsedate_to_datetime(date)).total_seconds()
