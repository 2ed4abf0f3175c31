"""Pictures and sounds count for no less than a provider may bill for them."""

from typing import Any

from agenthub.domain.entities.media import PICTURE_TOKENS, media_tokens

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def counted(*content: Any, model: str = "m") -> tuple[int, int]:
    return media_tokens([{"role": "user", "content": list(content)}], model)


def sound(size: int, kind: str = "mp3") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": "A" * size, "format": kind}}


def test_texts_have_none() -> None:
    assert media_tokens([{"content": "image_url"}, {"content": None}, {}], "m") == (0, 0)
    assert counted("words", {"type": "text", "text": "x"}) == (0, 0)


def test_every_picture_counts_also_what_a_tool_gave() -> None:
    nested = {"type": "tool_result", "content": [PICTURE, {"type": "image"}]}
    assert counted(PICTURE, nested) == (3 * PICTURE_TOKENS, 0)


def test_pictures_are_dear_where_tokens_are_cheap() -> None:
    assert counted(PICTURE, model="openai/gpt-4o-mini") == (50_000, 0)


def test_sounds_count_by_their_size() -> None:
    assert counted(sound(4_000), sound(4_000)) == (0, 202)
    assert counted(sound(3_000, "wav")) == (0, 11)


def test_a_sound_without_data_counts_hardly() -> None:
    assert counted({"type": "input_audio"}, {"type": "input_audio", "input_audio": {}}) == (0, 1)
