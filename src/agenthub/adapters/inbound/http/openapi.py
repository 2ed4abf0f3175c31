"""The OpenAPI description: complete, so that every answer a client can get stands in it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from agenthub.adapters.inbound.http.problems import PROBLEM
from agenthub.adapters.inbound.http.wire_events import HUB_EVENT

ABOUT = """Servers, groups, keys, tools, resources and prompts of a hub.

`{id}` is an id or a name. Lists take `limit` and `cursor`. Errors are RFC 9457 problems whose
`code` stays the same over releases. MCP itself is served at `/mcp`, `/groups/{slug}/mcp` and
`/servers/{name}/mcp`, not here.
"""
OPEN = frozenset({"/livez", "/readyz"})

EVERYWHERE = {
    400: "The headers contradict each other.",
    421: "The hub does not answer to this `Host`.",
    431: "The headers are too large.",
}
WITH_TOKEN = {
    401: "No token, or a wrong, expired or revoked one.",
    403: "The token lacks the scope, or the `Origin` is not allowed.",
    503: "The database, or the server behind the hub, cannot be reached now.",
}
WITH_PARAMETERS = {422: "A field breaks a rule; `errors` names it."}
WITH_BODY = {
    400: "The body is no strict JSON, or broke off.",
    408: "The body did not arrive in time.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not `application/json`.",
}


class FieldProblem(BaseModel):
    """One field that breaks a rule."""

    loc: list[int | str]
    message: str
    code: str


class Problem(BaseModel):
    """An error (RFC 9457). `errors` comes with 422, `rpc_code` with an error of a server."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] | None = None
    rpc_code: int | None = None


Responses = dict[int | str, dict[str, Any]]


def problems(**described: str) -> Responses:
    """Describe refusals: `problems(_404="There is no such server.")`."""
    return {int(name[1:]): _problem(text) for name, text in described.items()}


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {PROBLEM: {"schema": schema}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """Make the whole description, once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=ABOUT, routes=app.routes
        )
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                _complete(path, method, operation)
        _add_schemas(made["components"]["schemas"])
        app.openapi_schema = made
    return app.openapi_schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    answers: dict[str, Any] = operation["responses"]
    answers.pop("422", None) if _is_default(answers.get("422")) else None
    common = dict(EVERYWHERE)
    if path not in OPEN:
        common |= WITH_TOKEN
    if operation.get("parameters") or operation.get("requestBody"):
        common |= WITH_PARAMETERS
    if method in ("post", "patch", "put"):
        common |= WITH_BODY
    for status, text in common.items():
        answers.setdefault(str(status), _problem(text))
    operation["responses"] = dict(sorted(answers.items()))


def _is_default(answer: dict[str, Any] | None) -> bool:
    return answer is not None and "HTTPValidationError" in str(answer)


def _add_schemas(schemas: dict[str, Any]) -> None:
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    place = "#/components/schemas/{model}"
    problem = Problem.model_json_schema(ref_template=place)
    event = HUB_EVENT.json_schema(ref_template=place)
    for one in (problem, event):
        schemas.update(one.pop("$defs", {}))
    schemas["Problem"] = problem
    schemas["HubEvent"] = event
