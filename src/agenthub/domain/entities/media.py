"""How many tokens the pictures and sounds of a prompt can be: their sizes are not looked at."""

from collections.abc import Iterable, Sequence
from typing import Any

PICTURE_TOKENS = 5_000
"""More than any provider bills for a picture that it scales down itself; counts say 250."""
DEAR_PICTURES = {"gpt-4o-mini": 50_000}
"""Models whose tokens are cheap, and whose pictures are as dear as elsewhere."""
CHARACTERS_PER_TOKEN = {"wav": 300}
"""Of a sound's base64: 8,000 bytes a second at least, at 32 tokens, the most that one is."""
FEWEST_CHARACTERS_PER_TOKEN = 40
"""Of other sounds: 1,000 bytes a second."""
_PICTURES = ("image", "image_url", "input_image")


def media_tokens(messages: Sequence[dict[str, Any]], model: str) -> tuple[int, int]:
    """Give the most tokens that the pictures and the sounds of a chat's messages can be."""
    parts = [part for message in messages for part in _parts(message.get("content"))]
    dear = (each for name, each in DEAR_PICTURES.items() if name in model)
    pictures = sum(1 for part in parts if part.get("type") in _PICTURES)
    return pictures * next(dear, PICTURE_TOKENS), sum(map(_sound_tokens, parts))


def _parts(content: object) -> Iterable[dict[str, Any]]:
    """List the parts of a message, and of what tools have given in it."""
    found: list[Any] = content if isinstance(content, list) else []  # pyright: ignore[reportUnknownVariableType]
    for part in found:
        if isinstance(part, dict):
            yield part
            yield from _parts(part.get("content"))  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]


def _sound_tokens(part: dict[str, Any]) -> int:
    sound: Any = part.get("input_audio")
    if part.get("type") != "input_audio" or not isinstance(sound, dict):
        return 0
    size = len(str(sound.get("data", "")))  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]
    kind = str(sound.get("format"))  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]
    return size // CHARACTERS_PER_TOKEN.get(kind, FEWEST_CHARACTERS_PER_TOKEN) + 1
