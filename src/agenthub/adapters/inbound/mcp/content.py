"""Content blocks and `_meta` on their way from a server to an agent.

Values are sliced out and put together again, never decoded, so numbers and texts stay as the
server wrote them. Raises MalformedError where the server's JSON is not of MCP's shape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from agenthub.adapters.inbound.mcp.envelope import PRIVATE
from agenthub.adapters.inbound.mcp.frames import members, text
from agenthub.adapters.inbound.mcp.versions import has_audio, has_resource_links
from agenthub.domain.entities.catalog.uris import expose_uri
from agenthub.domain.ports.outbound.mcp_client import RawObject

AUDIO_URI = b'"agenthub://audio"'
"""Stands where an embedded resource needs a URI but there is nothing to read."""

T = TypeVar("T")
ABSENT = msgspec.Raw(b"")
_slice_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_slice_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_text = msgspec.json.Decoder(str).decode


class MalformedError(Exception):
    """A server's JSON is not of the shape that MCP demands; the text says where."""


@dataclass(frozen=True, slots=True)
class Road:
    """From which server to which kind of agent something goes."""

    server: str
    namespaced: bool
    version: str

    def uri(self, raw: bytes) -> bytes:
        """Give a URI (JSON text) as this agent knows it."""
        return text(expose_uri(self.server, _read_text(raw))) if self.namespaced else raw


class Resource(msgspec.Struct):
    """The contents of a resource, as far as they must be looked at."""

    uri: str
    text: msgspec.Raw = ABSENT
    blob: msgspec.Raw = ABSENT
    meta: msgspec.Raw = msgspec.field(name="_meta", default=ABSENT)

    def check(self) -> None:
        if not is_text(self.text) and not is_text(self.blob):
            raise MalformedError("the contents of a resource need a text or a blob")

    def must_change(self, road: Road) -> bool:
        return road.namespaced or self.meta is not ABSENT


class Block(msgspec.Struct):
    """A content block, as far as it must be looked at. Types yet unknown pass."""

    type: str
    text: msgspec.Raw = ABSENT
    data: msgspec.Raw = ABSENT
    mime_type: msgspec.Raw = msgspec.field(name="mimeType", default=ABSENT)
    uri: msgspec.Raw = ABSENT
    name: msgspec.Raw = ABSENT
    resource: Resource | None = None
    meta: msgspec.Raw = msgspec.field(name="_meta", default=ABSENT)

    def check(self) -> None:
        match self.type:
            case "text":
                fits = is_text(self.text)
            case "image" | "audio":
                fits = is_text(self.data) and is_text(self.mime_type)
            case "resource_link":
                fits = is_text(self.uri) and is_text(self.name)
            case "resource":
                fits = self.resource is not None
            case _:
                fits = True
        if not fits:
            raise MalformedError(f"a content block of type {self.type!r} is incomplete")
        if self.resource is not None:
            self.resource.check()

    def must_change(self, road: Road) -> bool:
        if self.meta is not ABSENT:
            return True
        match self.type:
            case "text" | "image":
                return False
            case "audio":
                return not has_audio(road.version)
            case "resource_link":
                return road.namespaced or not has_resource_links(road.version)
            case "resource":
                return self.resource is not None and self.resource.must_change(road)
            case _:
                return self.type == "tool_result"


_read_blocks = msgspec.json.Decoder(list[Block]).decode
_read_block = msgspec.json.Decoder(Block).decode


def map_blocks(raw: bytes, road: Road) -> bytes:
    """Make an array of content blocks fit the agent; the same bytes where nothing must change."""
    blocks = decode(_read_blocks, raw)
    must_change = False
    for block in blocks:
        block.check()
        must_change = must_change or block.must_change(road)
    if not must_change:
        return raw
    parts = zip(_slice_array(raw), blocks, strict=True)
    return array([_changed(bytes(part), block, road) for part, block in parts])


def map_block(raw: bytes, road: Road) -> bytes:
    """Make one content block fit the agent."""
    block = decode(_read_block, raw)
    block.check()
    return _changed(raw, block, road)


def _changed(raw: bytes, block: Block, road: Road) -> bytes:
    if not block.must_change(road):
        return raw
    parts = slice_object(raw)
    put_meta(parts, road)
    match block.type:
        case "audio" if not has_audio(road.version):
            return _audio_as_resource(parts)
        case "resource_link":
            parts["uri"] = road.uri(parts["uri"])
            return members(parts) if has_resource_links(road.version) else _link_as_text(parts)
        case "resource":
            parts["resource"] = map_resource(parts["resource"], road)
        case "tool_result" if "content" in parts:
            parts["content"] = map_blocks(parts["content"], road)
        case _:
            pass
    return members(parts)


def map_resource(raw: bytes, road: Road) -> bytes:
    """Make the contents of a resource fit the agent."""
    parts = slice_object(raw)
    parts["uri"] = road.uri(parts["uri"])
    put_meta(parts, road)
    return members(parts)


def put_meta(parts: RawObject, road: Road) -> None:
    """Take what is private to the hop out of `_meta`, and let references to UIs follow."""
    raw = parts.get("_meta")
    if raw is None:
        return
    meta = {key: value for key, value in slice_object(raw).items() if not key.startswith(PRIVATE)}
    if not meta:
        del parts["_meta"]
        return
    if road.namespaced:
        _follow(meta, "ui/resourceUri", road)
        if meta.get("ui", b"")[:1] == b"{":
            ui = slice_object(meta["ui"])
            _follow(ui, "resourceUri", road)
            meta["ui"] = members(ui)
    parts["_meta"] = members(meta)


def _follow(holder: RawObject, name: str, road: Road) -> None:
    if holder.get(name, b"")[:1] == b'"':
        holder[name] = road.uri(holder[name])


def _audio_as_resource(parts: RawObject) -> bytes:
    resource = {"uri": AUDIO_URI, "mimeType": parts.pop("mimeType"), "blob": parts.pop("data")}
    return members({**parts, "type": b'"resource"', "resource": members(resource)})


def _link_as_text(parts: RawObject) -> bytes:
    words = f"Resource {_read_text(parts['name'])}: {_read_text(parts['uri'])}"
    if parts.get("description", b"")[:1] == b'"':
        words += f"\n{_read_text(parts['description'])}"
    return members({"type": b'"text"', "text": text(words)})


def is_text(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b'"'


def array(parts: list[bytes]) -> bytes:
    return b"[" + b",".join(parts) + b"]"


def slice_array(raw: bytes) -> list[bytes]:
    return [bytes(part) for part in decode(_slice_array, raw)]


def slice_object(raw: bytes) -> RawObject:
    return {name: bytes(value) for name, value in decode(_slice_object, raw).items()}


def decode(read: Callable[[bytes], T], raw: bytes) -> T:
    """Read JSON of a server. Raises MalformedError for another shape."""
    try:
        return read(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(str(error)) from error
