"""The layers of a policy as a configuration file holds them: the hub's, its servers', their tools'.

A server is meant by its name, for a file is written by a person; so a layer may wait for a server
that is not registered yet.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from agenthub.domain.entities.resilience.checks import Loc, raise_for
from agenthub.domain.entities.resilience.layers import Document, Level, canonical, merged
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.exceptions import FieldFault, InvalidError

_SERVER_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class FileLayers:
    """Valid layers: each by itself, and each over those above it."""

    hub: Document = field(default_factory=Document)
    servers: dict[str, Document] = field(default_factory=dict[str, Document])
    tools: dict[tuple[str, str], Document] = field(default_factory=dict[tuple[str, str], Document])

    def of(self, server: str | None, tool: str | None) -> Document:
        """Give the layer of the hub, of a server, or of its tool; empty where there is none."""
        if server is None:
            return self.hub
        if tool is None:
            return self.servers.get(server, {})
        return self.tools.get((server, tool), {})

    def names(self, server: str | None) -> bool:
        """Say whether a server, or a tool of it, has a layer."""
        return server in self.servers or any(name == server for name, _ in self.tools)


def file_layers_of(document: Mapping[str, Any]) -> FileLayers:
    """Read `{fields..., servers: {NAME: {fields..., tools: {TOOL: {fields...}}}}}`.

    Raises InvalidError, which names every field at fault by its path.
    """
    reading = _Reading()
    hub, servers = reading.split(document, "servers", ())
    base = reading.over(GatewayPolicy(), hub, Level.HUB, ())
    layers = FileLayers(hub=reading.clean(hub))
    for name, body in servers.items():
        loc: Loc = ("servers", name[:_MAX_NAME])
        if not _SERVER_NAME.fullmatch(name):
            reading.faults.append(FieldFault(loc, "is no name of a server"))
            continue
        server, tools = reading.split(body, "tools", loc)
        under = reading.over(base, server, Level.SERVER, loc)
        layers.servers[name] = reading.clean(server)
        for tool, inner in tools.items():
            place: Loc = (*loc, "tools", tool[:_MAX_NAME])
            fields, _ = reading.split(inner, None, place)
            reading.over(under, fields, Level.TOOL, place)
            layers.tools[name, tool] = reading.clean(fields)
    raise_for(reading.faults)
    return layers


class _Reading:
    """Collects the faults of a whole document."""

    def __init__(self) -> None:
        self.faults: list[FieldFault] = []

    def split(self, body: object, inner: str | None, loc: Loc) -> tuple[Document, Document]:
        """Part the fields of a layer from the layers inside it."""
        if not _is_mapping(body):
            self.faults.append(FieldFault(loc, "must be an object"))
            return {}, {}
        fields = {str(name): value for name, value in body.items()}
        below: object = fields.pop(inner, {}) if inner is not None else {}
        if _is_mapping(below):
            return fields, {str(name): value for name, value in below.items()}
        self.faults.append(FieldFault((*loc, str(inner)), "must be an object"))
        return fields, {}

    def over(self, base: GatewayPolicy, layer: Document, level: Level, loc: Loc) -> GatewayPolicy:
        try:
            return merged(base, layer, level=level, loc=loc)
        except InvalidError as error:
            self.faults += error.faults
            return base

    def clean(self, layer: Document) -> Document:
        return {} if self.faults else canonical(layer)


def _is_mapping(value: object) -> TypeGuard[Mapping[object, Any]]:
    return isinstance(value, Mapping)
