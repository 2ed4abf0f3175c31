"""Models through LiteLLM, which is imported beside a hub that is up already."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, Self

from agenthub.domain.exceptions import HubError, UnavailableError, UpstreamError
from agenthub.domain.ports.outbound.http import HttpClient
from agenthub.domain.ports.outbound.llm import Llm, ModelChunk, ModelRequest

SMALL_TEXT = 20_000
"""Characters that are counted in a few milliseconds; more of them are counted in a thread."""

_logger = logging.getLogger(__name__)


class Secret(Protocol):
    """A text that does not show itself."""

    def get_secret_value(self) -> str: ...


class _Sdk(Protocol):
    """What `_load` makes; its module is not imported here."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk]: ...

    def count(self, request: ModelRequest) -> int: ...

    def count_text(self, model: str, text: str) -> int: ...


class LiteLlm(Llm):
    """A resident. Without a model it never imports LiteLLM: neither its seconds nor its memory.

    With one, the import runs in a thread from the start; a call that comes before its end waits.
    """

    def __init__(
        self, *, api_base: str | None, api_key: Secret | None, http: HttpClient, model: str | None
    ) -> None:
        self._api_base = api_base
        self._api_key = api_key
        self._http = http
        self._model = model
        self._warming: asyncio.Task[_Sdk | HubError] | None = None
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        if self._model is not None:
            self._warming = self._tasks.create_task(self._warm(self._model), name="model-warm-up")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._warming is not None:
            self._warming.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    async def complete(self, request: ModelRequest) -> AsyncGenerator[ModelChunk]:
        sdk = await self._sdk()
        async with aclosing(sdk.stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def count(self, request: ModelRequest) -> int:
        sdk = await self._sdk()
        if sum(len(str(one)) for one in request.messages) <= SMALL_TEXT:
            return sdk.count(request)
        return await asyncio.to_thread(sdk.count, request)

    async def count_text(self, model: str, text: str) -> int:
        sdk = await self._sdk()
        if len(text) <= SMALL_TEXT:
            return sdk.count_text(model, text)
        return await asyncio.to_thread(sdk.count_text, model, text)

    async def _sdk(self) -> _Sdk:
        """Wait for LiteLLM. Raises what its start has met."""
        if self._warming is None:
            raise UnavailableError("The hub is not started, or is stopping.", code="stopping")
        await asyncio.wait([self._warming])
        if self._warming.cancelled():
            raise UnavailableError("The hub is stopping.", code="stopping")
        found = self._warming.result()
        if isinstance(found, HubError):
            raise found
        return found

    async def _warm(self, model: str) -> _Sdk | HubError:
        """Give the Sdk, or the error that every call shall get."""
        try:
            return await asyncio.to_thread(self._load, model)
        except HubError as error:
            _logger.error("there will be no model: %s", error.message)
            return error
        except Exception:
            _logger.exception("LiteLLM cannot be loaded")
            return UpstreamError("LiteLLM cannot be loaded; see the hub's log.", code="model_fault")

    def _load(self, model: str) -> _Sdk:
        from agenthub.adapters.outbound.llm.sdk import Sdk  # noqa: PLC0415  takes seconds: here

        key = self._api_key.get_secret_value() if self._api_key is not None else None
        sdk = Sdk(api_base=self._api_base, api_key=key, http=self._http, model=model)
        sdk.warm_up(model)
        return sdk
