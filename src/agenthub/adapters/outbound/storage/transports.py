"""Transports in rows: `target` holds what a person may read, `secrets` the sealed rest as JSON."""

import json
from typing import Any

from sqlalchemy import Row

from agenthub.domain.entities.endpoints import HttpKind, HttpTransport, StdioTransport, Transport
from agenthub.domain.exceptions import HubError
from agenthub.domain.ports.outbound.secrets import SealBrokenError, SecretBox

STDIO = "stdio"


def columns_of(transport: Transport, box: SecretBox, context: str) -> dict[str, Any]:
    """Take a transport apart into `kind`, `target` and the sealed `secrets`."""
    kind, target, secrets = _taken_apart(transport)
    sealed = box.seal(json.dumps(secrets).encode(), context=context)
    return {"kind": kind, "target": target, "secrets": sealed}


def transport_of(row: Row[Any], box: SecretBox, context: str, server: str) -> Transport:
    """Put a row's transport together. Raises HubError where its seal is of another key."""
    try:
        secrets: dict[str, str] = json.loads(box.open(row.secrets, context=context))
    except SealBrokenError as error:
        raise HubError(
            f"The secrets of the server {server!r} cannot be opened: {error} Start the hub "
            f"with the key that sealed them (`secret.key` in the data folder).",
            code="secrets_unreadable",
        ) from error
    return _put_together(row.kind, row.target, secrets)


def _taken_apart(transport: Transport) -> tuple[str, dict[str, Any], dict[str, str]]:
    match transport:
        case StdioTransport(command=command, args=args, env=env, cwd=cwd):
            return STDIO, {"command": command, "args": list(args), "cwd": cwd}, env
        case HttpTransport(url=url, kind=kind, headers=headers):
            return kind.value, {"url": url}, headers


def _put_together(kind: str, target: dict[str, Any], secrets: dict[str, str]) -> Transport:
    if kind == STDIO:
        args = tuple(target["args"])
        return StdioTransport(command=target["command"], args=args, env=secrets, cwd=target["cwd"])
    return HttpTransport(url=target["url"], kind=HttpKind(kind), headers=secrets)
