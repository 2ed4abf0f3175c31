"""One pass of an SDK client over the whole table, directly at a server or through the hub."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from tests.integration.real_servers.table import Completion, Expected, filled


@dataclass(frozen=True, slots=True)
class Names:
    """What a server's things are called for the client: its own names, or those of `/mcp`."""

    server: str | None = None

    def name(self, own: str) -> str:
        return own if self.server is None else f"{self.server}__{own}"

    def uri(self, own: str) -> str:
        if self.server is None:
            return own
        if own.startswith("ui://"):
            return f"ui://{self.server}/{own.removeprefix('ui://')}"
        return f"{self.server}+{own}"

    def owns(self, name: str) -> bool:
        """Whether a listed tool, prompt or URI is this server's."""
        beginnings = (f"{self.server}__", f"{self.server}+", f"ui://{self.server}/")
        return self.server is None or name.startswith(beginnings)


async def accept(
    context: ClientRequestContext, params: types.ElicitRequestParams
) -> types.ElicitResult | types.ErrorData:
    if isinstance(params, types.ElicitRequestURLParams):
        return types.ElicitResult(action="accept")
    return types.ElicitResult(action="accept", content=answers(params.requested_schema))


def answers(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A fitting answer for each required property of a form."""
    fitting: dict[str, object] = {
        "boolean": True,
        "integer": 1,
        "number": 1,
        "array": [],
        "string": "Ada",
    }
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    return {name: fitting[properties[name]["type"]] for name in schema.get("required", [])}


async def complete_text(
    context: ClientRequestContext, params: types.CreateMessageRequestParams
) -> types.CreateMessageResult | types.ErrorData:
    content = types.TextContent(type="text", text="Because of the bees.")
    return types.CreateMessageResult(role="assistant", content=content, model="test-model")


def spelled(result: BaseModel) -> str:
    """The whole answer as text, for looking into."""
    return json.dumps(result.model_dump(by_alias=True, mode="json"), ensure_ascii=False)


async def listed_tools(client: Client) -> set[str]:
    names: set[str] = set()
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        names.update(tool.name for tool in page.tools)
        cursor = page.next_cursor
        if cursor is None:
            return names


async def listed_resources(client: Client) -> set[str]:
    uris: set[str] = set()
    cursor: str | None = None
    while True:
        page = await client.list_resources(cursor=cursor)
        uris.update(resource.uri for resource in page.resources)
        cursor = page.next_cursor
        if cursor is None:
            return uris


async def listed_templates(client: Client) -> set[str]:
    found: set[str] = set()
    cursor: str | None = None
    while True:
        page = await client.list_resource_templates(cursor=cursor)
        found.update(template.uri_template for template in page.resource_templates)
        cursor = page.next_cursor
        if cursor is None:
            return found


async def listed_prompts(client: Client) -> set[str]:
    names: set[str] = set()
    cursor: str | None = None
    while True:
        page = await client.list_prompts(cursor=cursor)
        names.update(prompt.name for prompt in page.prompts)
        cursor = page.next_cursor
        if cursor is None:
            return names


class Pass:
    """Uses everything of one server through `client` and notes what is not as expected."""

    def __init__(
        self, client: Client, expected: Expected, names: Names, words: Mapping[str, str]
    ) -> None:
        self._client = client
        self._expected = expected
        self._names = names
        self._words = words
        self._complaints: list[str] = []

    async def run(self) -> list[str]:
        """What was wrong, one line each."""
        await self._tools()
        if self._expected.resources:
            await self._resources()
            await self._templates()
        if self._expected.prompts:
            await self._prompts()
        return self._complaints

    def _compare(self, what: str, listed: set[str], expected: set[str]) -> None:
        own = {name for name in listed if self._names.owns(name)}
        if own != expected:
            missing, surplus = sorted(expected - own), sorted(own - expected)
            self._complaints.append(f"{what}: missing {missing}, surplus {surplus}")

    def _look_for(self, what: str, says: str, answer: BaseModel) -> None:
        said = spelled(answer)
        if filled(says, self._words) not in said:
            self._complaints.append(f"{what}: no {says!r} in {said}")

    async def _tools(self) -> None:
        expected = {self._names.name(call.tool) for call in self._expected.calls}
        self._compare("tools", await listed_tools(self._client), expected)
        for call in self._expected.calls:
            name = self._names.name(call.tool)
            try:
                answer = await self._client.call_tool(name, filled(call.arguments, self._words))
            except MCPError as error:
                self._complaints.append(f"{name}: {error}")
                continue
            if bool(answer.is_error) != call.is_error:
                self._complaints.append(f"{name}: {spelled(answer)}")
            self._look_for(name, call.says, answer)

    async def _resources(self) -> None:
        listed = {uri for uri in await listed_resources(self._client) if self._names.owns(uri)}
        missing = {self._names.uri(uri) for uri in self._expected.resources} - listed
        if missing:
            self._complaints.append(f"resources: missing {sorted(missing)}")
        for uri in listed:
            if not (await self._client.read_resource(uri)).contents:
                self._complaints.append(f"{uri}: empty")
        for uri, holds in self._expected.resources.items():
            await self._read(uri, holds)

    async def _templates(self) -> None:
        expected = {self._names.uri(template) for template in self._expected.templates}
        if expected:
            self._compare("templates", await listed_templates(self._client), expected)
        for uri, holds in self._expected.templates.values():
            await self._read(uri, holds)

    async def _read(self, uri: str, holds: str) -> None:
        named = self._names.uri(uri)
        try:
            answer = await self._client.read_resource(named)
        except MCPError as error:
            self._complaints.append(f"{named}: {error}")
            return
        if [content.uri for content in answer.contents] != [named]:
            self._complaints.append(f"{named}: came as {answer.contents}")
        self._look_for(named, holds, answer)

    async def _prompts(self) -> None:
        expected = {self._names.name(call.prompt) for call in self._expected.prompts}
        self._compare("prompts", await listed_prompts(self._client), expected)
        for call in self._expected.prompts:
            name = self._names.name(call.prompt)
            try:
                answer = await self._client.get_prompt(name, dict(call.arguments))
            except MCPError as error:
                self._complaints.append(f"{name}: {error}")
                continue
            self._look_for(name, call.says, answer)
        for completion in self._expected.completions:
            await self._complete(completion)

    async def _complete(self, completion: Completion) -> None:
        ref: types.PromptReference | types.ResourceTemplateReference
        if "://" in completion.of:
            uri = self._names.uri(completion.of)
            ref = types.ResourceTemplateReference(type="ref/resource", uri=uri)
        else:
            name = self._names.name(completion.of)
            ref = types.PromptReference(type="ref/prompt", name=name)
        argument = {"name": completion.argument, "value": completion.value}
        try:
            answer = await self._client.complete(ref, argument)
        except MCPError as error:
            self._complaints.append(f"completing {completion.of}: {error}")
            return
        if completion.offers not in answer.completion.values:
            self._complaints.append(f"{completion.of}: completes to {answer.completion.values}")
