"""The bundled demo server: a little of everything MCP can do, in both eras, over stdio.

Run as a program of its own (`python -m agenthub.demo`); the hub never imports it.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve, Sample
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    CreateMessageResult,
    PromptReference,
    ResourceTemplateReference,
    SamplingMessage,
    TextContent,
    ToolAnnotations,
)
from pydantic import BaseModel, Field

READ_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=False)

NOTES = {
    "welcome": "AgentHub joins your MCP servers behind one endpoint.",
    "eras": "This server speaks MCP before and since 2026-07-28; the hub bridges the two.",
    "next": "Register a server of your own: agenthub add my-server -- npx -y some-mcp-server",
}
LANGUAGES = ("English", "French", "German", "Korean", "Spanish")

server = MCPServer(
    "agenthub-demo",
    title="AgentHub demo",
    instructions="Try greet, weather, countdown, plan_trip and summarise.",
)


class Weather(BaseModel):
    """A weather report, made up from the city's name."""

    city: str
    temperature_c: float
    sky: Literal["clear", "cloudy", "rain"]


class Trip(BaseModel):
    """What the traveller chose."""

    destination: str = Field(description="Where to?", min_length=1)
    nights: int = Field(default=2, description="How many nights?", ge=1, le=30)
    breakfast: bool = Field(default=True, description="With breakfast?")


@server.tool(title="Greet", annotations=READ_ONLY)
def greet(name: str) -> str:
    """Say hello to somebody by name."""
    return f"Hello, {name}! This answer came through AgentHub."


@server.tool(title="Weather", annotations=READ_ONLY)
def weather(city: str) -> Weather:
    """Report the (made-up) weather of a city as structured data."""
    seed = sum(city.encode())
    skies: tuple[Literal["clear", "cloudy", "rain"], ...] = ("clear", "cloudy", "rain")
    return Weather(city=city, temperature_c=seed % 35 - 5 + 0.5, sky=skies[seed % 3])


@server.tool(title="Count down", annotations=READ_ONLY)
async def countdown(
    ctx: Context, seconds: Annotated[int, Field(ge=1, le=120, description="How long")] = 5
) -> str:
    """Count down slowly, with progress every second."""
    for second in range(seconds):
        await ctx.report_progress(second, seconds, f"{seconds - second} s to go")
        await anyio.sleep(1)
    await ctx.report_progress(seconds, seconds, "done")
    return f"Counted {seconds} seconds."


async def _ask_for_trip() -> Elicit[Trip]:
    return Elicit("Where would you like to go?", Trip)


@server.tool(title="Plan a trip")
def plan_trip(trip: Annotated[Trip, Resolve(_ask_for_trip)]) -> str:
    """Ask the person where to travel (elicitation), then confirm the plan."""
    board = "with" if trip.breakfast else "without"
    return f"{trip.nights} nights in {trip.destination}, {board} breakfast."


async def _ask_model(text: str) -> Sample:
    question = TextContent(type="text", text=f"Summarise in one sentence: {text}")
    return Sample([SamplingMessage(role="user", content=question)], max_tokens=200)


@server.tool(title="Summarise")
def summarise(text: str, answer: Annotated[CreateMessageResult, Resolve(_ask_model)]) -> str:
    """Have the agent's model summarise a text (sampling)."""
    content = answer.content
    return content.text if isinstance(content, TextContent) else f"[{content.type}]"


@server.resource("demo://clock", title="Clock", mime_type="text/plain")
def clock() -> str:
    """The time at the server, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")  # noqa: TID251  a guest: no ports here


@server.resource("demo://notes/{name}", title="Note", mime_type="text/plain")
def note(name: str) -> str:
    """A note by name: welcome, eras or next."""
    return NOTES.get(name, f"There is no note {name!r}; try one of {', '.join(NOTES)}.")


@server.prompt(title="Translate")
def translate(text: str, language: str) -> str:
    """Ask for a translation of a text."""
    return f"Translate into {language}, and give nothing but the translation:\n\n{text}"


@server.completion()
async def complete(
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion | None:
    known = {"language": LANGUAGES, "name": tuple(NOTES)}.get(argument.name, ())
    begun = argument.value.lower()
    values = [value for value in known if value.lower().startswith(begun)]
    return Completion(values=values, total=len(values), has_more=False)
