"""Request bodies: strict JSON for every route, checked in one place before any route reads it."""

import re
from collections.abc import Iterator
from typing import Any

import jiter
import msgspec

from agenthub.adapters.inbound.gate import App, Message, Receive, RefusedRequestError, Scope, Send
from agenthub.adapters.inbound.gate import read_body as read
from agenthub.adapters.inbound.http.problems import of_hub_error, problem
from agenthub.domain.exceptions import HubError

BODY = "agenthub.body"
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class StrictBodies:
    """Refuses what two JSON readers could understand in two ways, and what no database keeps.

    400: no JSON, duplicate keys, NaN, lone surrogates, NUL, deeper than 200, integers of more than
    4,300 digits. 408, 413, 415 as `read_body` and the type say.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "\x00" in scope["path"]:
            await problem(404, code="not_found", detail="Not Found")(scope, receive, send)
            return
        if scope["type"] != "http" or scope["method"] not in WITH_BODY:
            await self._app(scope, receive, send)
            return
        try:
            body = await read(receive, scope)
            if body:
                _require_json_type(scope)
                _require_strict(body)
        except HubError as error:
            await of_hub_error(error)(scope, receive, send)
            return
        scope[BODY] = body
        await self._app(scope, _again(body, receive), send)


def members_of(scope: Scope) -> dict[str, bytes]:
    """Give the members of the request's JSON object as they were written, unread."""
    return {name: bytes(value) for name, value in _members.decode(scope[BODY]).items()}


def _again(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def receive_again() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _require_json_type(scope: Scope) -> None:
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    kinds = [one.partition(b";")[0].strip().lower() for one in types]
    if kinds != [b"application/json"]:
        text = "Send the body as Content-Type: application/json."
        raise RefusedRequestError(415, text, code="unsupported_media_type")


_EXPONENT = re.compile(rb"[0-9][eE]")


def _require_strict(body: bytes) -> None:
    try:
        value = jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True)
        if _EXPONENT.search(body):
            msgspec.json.decode(body)  # jiter reads 1e999 as infinity, whatever it is told
    except ValueError as error:
        raise RefusedRequestError(
            400, f"The body is no JSON: {error}", code="invalid_json"
        ) from error
    if b"\\u0000" in body and any("\x00" in text for text in texts_of(value)):
        raise RefusedRequestError(400, "The body holds a NUL character.", code="invalid_json")


def texts_of(value: Any) -> Iterator[str]:
    """Give every text in a JSON value, names of members included."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]  # pyright: ignore[reportUnknownVariableType]
        elif isinstance(one, list):
            waiting += one  # pyright: ignore[reportUnknownVariableType]
        elif isinstance(one, str):
            yield one
