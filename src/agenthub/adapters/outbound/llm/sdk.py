# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""LiteLLM itself. Importing this takes seconds and 130 MB: only ever in a thread."""

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

# It reads these when it is imported: no price list and no `.env` file from anywhere.
os.environ |= {
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
}

import httpx
import litellm
from litellm.exceptions import AuthenticationError
from litellm.llms.custom_httpx.http_handler import (  # pyright: ignore[reportMissingTypeStubs]
    AsyncHTTPHandler,
)

from agenthub.adapters.outbound.llm.answers import Answer
from agenthub.adapters.outbound.llm.faults import Scrubber, of_status, of_wire
from agenthub.adapters.outbound.llm.transport import (
    CURRENT,
    ClosedTransport,
    Exchange,
    HouseTransport,
)
from agenthub.domain.exceptions import DeniedError, HubError, InvalidError, UpstreamError
from agenthub.domain.ports.outbound.http import HttpClient
from agenthub.domain.ports.outbound.llm import ModelChunk, ModelRequest

NO_KEY = "none"
"""Sent where an address is set without a key, lest a key of the environment goes there."""
CALL_HEADER = "X-Client-Request-Id"
"""Lets a provider's own log be laid beside the ledger."""
_WAY_OUT = HouseTransport()
_LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router")


class Sdk:
    """One provider, reached through LiteLLM and the hub's HTTP client."""

    def __init__(
        self, *, api_base: str | None, api_key: str | None, http: HttpClient, model: str
    ) -> None:
        _quiet()
        _through(http)
        self._api_base = api_base
        self._api_key = api_key or (NO_KEY if api_base else None)
        self._scrub = Scrubber(api_key or "")
        self._provider = _provider_of(model)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk]:
        """Make one completion. Errors are translated here, and without their chain.

        The chain would hold the provider's words as they came, and with them what it repeats of
        the key.
        """
        self._require_own(request.model)
        exchange, answer = Exchange(), Answer()
        try:
            response = await self._begin(request, exchange)
            try:
                async for part in _parts(response):
                    chunk = answer.take(part)
                    if chunk is not None:
                        yield chunk
                last = answer.end(response)
            finally:
                await response.aclose()
        except HubError:
            raise
        except Exception as error:  # noqa: BLE001  LiteLLM raises anything
            raise self._translated(error, exchange) from None
        yield last

    def count(self, request: ModelRequest) -> int:
        """Count without fetching anything. Raises InvalidError for messages of no known form."""
        self._require_own(request.model)
        try:
            return litellm.token_counter(
                model=request.model,
                messages=[_without_sounds(one) for one in request.messages],
                tools=request.tools or None,  # pyright: ignore[reportArgumentType]
                use_default_image_token_count=True,
            )
        except Exception as error:  # noqa: BLE001  LiteLLM raises anything
            raise InvalidError.at(
                "messages",
                message=f"LiteLLM cannot read them: {self._scrub(str(error))}",
                code="model_refused_request",
            ) from None

    def count_text(self, model: str, text: str) -> int:
        return litellm.token_counter(model=model, text=text)

    def warm_up(self, model: str) -> None:
        """Have everything loaded that the first call would load, without a word to anybody."""
        hello = [{"role": "user", "content": "Hello"}]
        self.count(ModelRequest(model=model, messages=hello))
        told: Any = litellm.completion(
            model="openai/warm-up", messages=hello, mock_response="Hello", stream=True
        )
        for _ in told:
            pass

    async def _begin(self, request: ModelRequest, exchange: Exchange) -> Any:
        token = CURRENT.set(exchange)
        try:
            return await litellm.acompletion(**self._arguments(request))
        finally:
            CURRENT.reset(token)

    def _arguments(self, request: ModelRequest) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": request.model,
            "messages": request.messages,
            "max_tokens": request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "timeout": request.timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "api_base": self._api_base,
            "api_key": self._api_key,
        }
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if request.call_id:
            arguments["extra_headers"] = {CALL_HEADER: request.call_id}
        if request.stop:
            arguments["stop"] = list(request.stop)
        if request.tools:
            # Without it, LiteLLM 1.106 imports its MCP gateway with every call that has tools.
            arguments |= {"tools": request.tools, "_skip_mcp_handler": True}
            if request.tool_choice is not None:
                arguments["tool_choice"] = request.tool_choice
        return arguments

    def _require_own(self, model: str) -> None:
        """Refuse models of other providers: the key is for this one, and so is the address."""
        if "://" in model or _provider_of(model) != self._provider:
            raise InvalidError.at(
                "model",
                message=f"the hub speaks to the provider {self._provider!r} only "
                "(AGENTHUB_LLM__MODEL); name one of its models, with the provider before it",
                code="model_unknown",
            )

    def _translated(self, error: Exception, exchange: Exchange) -> HubError:
        if exchange.error is not None:
            return of_wire(exchange.error)
        words = self._scrub(getattr(error, "message", None) or str(error))
        if exchange.status is not None and exchange.status >= 400:
            return of_status(exchange.status, words, exchange.retry_after_s)
        found = self._unsent(error, words) if exchange.status is None else None
        return found or UpstreamError(
            f"The model's provider answered with what LiteLLM cannot read. It says: {words}",
            code="model_fault",
        )

    def _unsent(self, error: Exception, words: str) -> HubError:
        """Translate what LiteLLM refuses before anything is sent."""
        if isinstance(error, AuthenticationError):
            found: HubError = DeniedError(
                "There is no key for the model's provider: set AGENTHUB_LLM__API_KEY.",
                code="model_unauthorized",
            )
        else:
            found = InvalidError(
                f"LiteLLM refuses the request. It says: {words}", code="model_refused_request"
            )
        found.reached_server = False
        return found


def _quiet() -> None:
    """Let LiteLLM print nothing, log nothing, and fetch no tokenizer."""
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    for name in _LOGGERS:
        # What it logs repeats requests and keys; every fault is told by `_translated`.
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.CRITICAL + 1)
    for name in ("httpx", "openai"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _through(http: HttpClient) -> None:
    """Give every client that LiteLLM makes the hub's own way out."""
    _WAY_OUT.use(http)
    if litellm.aclient_session is None:
        litellm.aclient_session = httpx.AsyncClient(
            transport=_WAY_OUT, follow_redirects=False, trust_env=False
        )
        # Providers that are not reached through OpenAI's library: there is no setting for them.
        AsyncHTTPHandler.create_async_transport = staticmethod(_way_out)  # pyright: ignore[reportAttributeAccessIssue]
        # What blocks the loop, such as fetching the pictures of a message, is not done at all.
        litellm.sync_transport = ClosedTransport()  # pyright: ignore[reportAttributeAccessIssue]


def _way_out(*args: Any, **kwargs: Any) -> HouseTransport:
    return _WAY_OUT


def _provider_of(model: str) -> str:
    try:
        return str(litellm.get_llm_provider(model)[1])
    except Exception:  # noqa: BLE001  LiteLLM raises anything
        raise InvalidError.at(
            "model",
            message=f"LiteLLM knows no provider of {model!r}; write it before the name, as in "
            "openai/gpt-5.5",
            code="model_unknown",
        ) from None


def _without_sounds(message: dict[str, Any]) -> dict[str, Any]:
    """LiteLLM 1.106 counts no sounds, and refuses to count what is beside them."""
    content: Any = message.get("content")
    if not isinstance(content, list):
        return message
    kept: list[Any] = [
        part
        for part in content
        if not (isinstance(part, dict) and part.get("type") == "input_audio")
    ]
    return message | {"content": kept}


async def _parts(response: Any) -> AsyncIterator[Any]:
    async for part in response:
        yield part
