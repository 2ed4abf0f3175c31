"""Text that servers and agents wrote, as a person may see it."""

import unicodedata

_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")


def visible(text: str) -> str:
    """Write what steers a reader unseen (bidi, zero width, control) as `<U+202E>`."""
    return "".join(f"<U+{ord(c):04X}>" if is_invisible(c) else c for c in text)


def is_invisible(char: str) -> bool:
    """Say whether a character shows nothing, or turns what stands around it."""
    if char.isascii():
        return not char.isprintable() and char not in "\n\t\r"
    if char in _FILLERS or "\ufe00" <= char <= "\ufe0e" or "\U000e0100" <= char <= "\U000e01ef":
        return True
    return unicodedata.category(char) in ("Cf", "Cc", "Co", "Cs")
