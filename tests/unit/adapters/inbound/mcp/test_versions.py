"""Which revision is spoken, and what it knows."""

import pytest

from agenthub.adapters.inbound.mcp import versions
from agenthub.adapters.inbound.mcp.envelope import FaultyMessageError
from agenthub.domain.entities.endpoints import Era


@pytest.mark.parametrize("version", versions.LEGACY_VERSIONS)
def test_a_known_legacy_revision_is_taken_as_asked(version: str) -> None:
    assert versions.negotiate(version) == version
    assert versions.era_of(version) is Era.LEGACY


@pytest.mark.parametrize("asked", ["2026-07-28", "2099-01-01", "1.0", ""])
def test_whatever_has_no_handshake_gets_the_newest_that_has_one(asked: str) -> None:
    assert versions.negotiate(asked) == "2025-11-25"


def test_the_modern_revision_is_served() -> None:
    assert versions.require_modern("2026-07-28") == "2026-07-28"
    assert versions.era_of("2026-07-28") is Era.MODERN


@pytest.mark.parametrize("asked", ["2025-11-25", "2027-01-01", 7, None])
def test_another_revision_is_refused_with_the_ones_that_are_served(asked: object) -> None:
    with pytest.raises(FaultyMessageError) as caught:
        versions.require_modern(asked, b"3")
    error = caught.value
    assert (error.code, error.status, error.raw_id) == (-32022, 400, b"3")
    assert error.data["requested"] == asked
    assert error.data["supported"][0] == "2026-07-28"


@pytest.mark.parametrize(
    ("feature", "since"),
    [
        (versions.has_audio, "2025-03-26"),
        (versions.has_progress_message, "2025-03-26"),
        (versions.has_tool_annotations, "2025-03-26"),
        (versions.has_completions_capability, "2025-03-26"),
        (versions.has_resource_links, "2025-06-18"),
        (versions.has_structured_content, "2025-06-18"),
        (versions.has_titles, "2025-06-18"),
        (versions.has_icons, "2025-11-25"),
        (versions.has_extensions, "2025-11-25"),
        (versions.has_content_lists, "2025-11-25"),
        (versions.has_any_structured_content, "2026-07-28"),
    ],
)
def test_a_feature_is_known_from_its_revision_on(feature: object, since: str) -> None:
    assert callable(feature)
    known = [version for version in sorted(versions.ALL_VERSIONS) if feature(version)]
    assert known == [version for version in sorted(versions.ALL_VERSIONS) if version >= since]
