"""The key: where it comes from, who may read it, and how it is replaced."""

import base64
import stat
import threading
from pathlib import Path

import pytest

from agenthub.adapters.outbound.secrets.envelope import EnvelopeSecretBox, parse_key
from agenthub.domain.exceptions import HubError
from agenthub.domain.ports.outbound.secrets import SealBrokenError

KEY = bytes(range(224, 256))


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.mark.parametrize(
    "text",
    [
        encoded(KEY),
        f"  {encoded(KEY)}\n",
        encoded(KEY).rstrip("="),
        base64.urlsafe_b64encode(KEY).decode(),
        KEY.hex(),
        KEY.hex().upper(),
    ],
)
def test_a_key_may_be_given_in_base64_or_hex(text: str) -> None:
    assert parse_key(text) == KEY


@pytest.mark.parametrize("text", ["", "secret-word", encoded(KEY[:31]), KEY.hex()[:-2], "é" * 43])
def test_anything_else_is_no_key_and_is_not_repeated(text: str) -> None:
    with pytest.raises(HubError) as refused:
        parse_key(text)
    assert refused.value.code == "secret_key_invalid"
    assert not text or text not in str(refused.value)


def test_the_first_use_makes_a_key_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    box = EnvelopeSecretBox(key_path=path)
    assert not path.parent.exists()
    sealed = box.seal(b"secret", context="here")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]
    assert EnvelopeSecretBox(key_path=path).open(sealed, context="here") == b"secret"


def test_a_given_key_touches_no_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    EnvelopeSecretBox(key=encoded(KEY), key_path=path).seal(b"x", context="here")
    assert not path.exists()


def test_a_key_file_that_others_can_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.write_text(encoded(KEY))
    path.chmod(0o644)
    sealed = EnvelopeSecretBox(key_path=path).seal(b"x", context="here")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert EnvelopeSecretBox(key=KEY.hex(), key_path=path).open(sealed, context="here") == b"x"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff\xfe"])
def test_a_broken_key_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    with pytest.raises(HubError) as refused:
        EnvelopeSecretBox(key_path=path).seal(b"x", context="here")
    assert refused.value.code == "secret_key_invalid"
    assert path.read_bytes() == content


def test_hubs_that_start_at_once_share_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    boxes = [EnvelopeSecretBox(key_path=path) for _ in range(8)]
    barrier = threading.Barrier(len(boxes))
    sealed: list[bytes] = []

    def seal(box: EnvelopeSecretBox) -> None:
        barrier.wait(5)
        sealed.append(box.seal(b"x", context="here"))

    threads = [threading.Thread(target=seal, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert [boxes[0].open(each, context="here") for each in sealed] == [b"x"] * len(boxes)


def test_the_same_value_is_never_sealed_to_the_same_bytes() -> None:
    box = EnvelopeSecretBox(key=KEY.hex(), key_path=Path("/nowhere"))
    assert len({box.seal(b"x", context="here") for _ in range(100)}) == 100


def test_a_former_key_still_opens_and_a_new_one_seals(tmp_path: Path) -> None:
    former, new = encoded(KEY), encoded(b"n" * 32)
    nowhere = tmp_path / "none"
    sealed = EnvelopeSecretBox(key=former, key_path=nowhere).seal(b"x", context="here")
    rotating = EnvelopeSecretBox(key=new, former_keys=(former,), key_path=nowhere)
    again = rotating.seal(rotating.open(sealed, context="here"), context="here")
    rotated = EnvelopeSecretBox(key=new, key_path=nowhere)
    assert rotated.open(again, context="here") == b"x"
    with pytest.raises(SealBrokenError):
        rotated.open(sealed, context="here")
