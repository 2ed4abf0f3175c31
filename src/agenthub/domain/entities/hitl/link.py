"""A link a server asks a person to open: shown in full, warned of, and never fetched."""

import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, quote, urlsplit

from agenthub.domain.exceptions import InvalidError

MAX_URL_LENGTH = 8_000
_PORTS = {"http": 80, "https": 443}
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_MAX_HOST, _MAX_LABEL = 253, 63
_HEX = frozenset("0123456789abcdef")
_URL_SIGNS = "%/:?#[]@!$&'()*+,;=-._~^{|}"
_LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa")
_SCRIPTS_TOGETHER = (
    frozenset({"LATIN", "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)
"""Scripts that one word may mix. Source: UTS 39, section 5.2 (highly restrictive)."""


@dataclass(frozen=True, slots=True)
class Link:
    """`host` and `url` are plain ASCII: what a browser will ask for, and nothing that deceives."""

    host: str
    """Without port; an IPv6 address without brackets."""
    url: str
    """To show and to open: the server's link with its host in ASCII, other letters encoded."""
    warnings: tuple[str, ...] = ()


def check_link(url: str) -> Link:
    """Judge a link. Raises InvalidError `link_refused` for one that nobody should open.

    What browsers and URL parsers read differently is refused, so that the host shown is the host
    opened. Source: MCP 2026-07-28, elicitation, URL mode security; WHATWG URL, host parsing.
    """
    parts = _split(url)
    written = parts.hostname or ""
    user, at, place = parts.netloc.rpartition("@")
    address = _address(written, place.startswith("["))
    host = written if address is not None else _ascii_host(written)
    port = _port(parts)
    shown = f"[{host}]" if ":" in host else host
    netloc = f"{user}{at}{shown}{'' if port is None else f':{port}'}"
    warnings = [
        *_way_warnings(parts, at, port),
        *_host_warnings(written, host, address),
    ]
    whole = parts._replace(netloc=netloc).geturl()
    return Link(host, quote(whole, safe=_URL_SIGNS), tuple(warnings))


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise _refused(f"it has more than {MAX_URL_LENGTH:,} characters")
    if any(sign == "\\" or unicodedata.category(sign)[0] in "CZ" for sign in url):
        raise _refused("it has a space, a backslash, a control or an invisible character")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _refused("it is no URL") from error
    if parts.scheme not in _PORTS:
        raise _refused("only http and https links may be opened")
    if not parts.hostname:
        raise _refused("it names no host")
    return parts


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError as error:
        raise _refused("its port is none") from error
    if port == 0:
        raise _refused("its port is none")
    return port


def _address(host: str, in_brackets: bool) -> IPv4Address | IPv6Address | None:
    """Give the IP address that a host is; refuse one that is written to look like a name."""
    if in_brackets:
        if "%" in host:
            raise _refused("its address names a network zone")
        try:
            return IPv6Address(host)
        except ValueError as error:
            raise _refused("its host is no address") from error
    last = host.rstrip(".").rpartition(".")[2]
    is_hex = last.startswith("0x") and set(last[2:]) <= _HEX
    if not is_hex and not (last.isascii() and last.isdigit()):
        return None
    try:
        return IPv4Address(host)
    except ValueError as error:
        raise _refused("its host is an address in disguise") from error


def _ascii_host(host: str) -> str:
    if unicodedata.normalize("NFKC", host).lower() != host:
        raise _refused("its host is written in look-alike characters")
    labels = [_ascii_label(label) for label in host.removesuffix(".").split(".")]
    name = ".".join(labels)
    if len(name) > _MAX_HOST:
        raise _refused("its host is too long")
    return name


def _ascii_label(label: str) -> str:
    if not label:
        raise _refused("its host has an empty part")
    is_plain = label.isascii()
    if not all(map(_is_of_host, label)) or (not is_plain and label.startswith("xn--")):
        raise _refused("its host has characters that no host has")
    name = label if is_plain else "xn--" + label.encode("punycode").decode("ascii")
    if len(name) > _MAX_LABEL:
        raise _refused("its host is too long")
    return name


def _is_of_host(sign: str) -> bool:
    return sign in _HOST if sign.isascii() else unicodedata.category(sign)[0] in "LMN"


def _way_warnings(parts: SplitResult, at: str, port: int | None) -> list[str]:
    warnings: list[str] = []
    if parts.scheme == "http":
        warnings.append("The link is not encrypted (http).")
    if at:
        warnings.append("The link has a user name before the host; what stands there is no host.")
    if port not in (None, _PORTS[parts.scheme]):
        warnings.append(f"The link leads to an unusual port ({port}).")
    return warnings


def _host_warnings(written: str, host: str, address: IPv4Address | IPv6Address | None) -> list[str]:
    if address is not None:
        warnings = ["The link leads to an IP address, not to a name."]
        return warnings if address.is_global else [*warnings, _OWN_NETWORK]
    warnings: list[str] = []
    if any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES):
        warnings.append(_OWN_NETWORK)
    if "xn--" in host:
        readable = ".".join(_readable(label) for label in host.split("."))
        warnings.append(f"The host has foreign letters: {host} is shown elsewhere as {readable}.")
        if any(_is_mixed(label) for label in readable.split(".")):
            warnings.append("The host mixes scripts; it may imitate another one.")
    return warnings


_OWN_NETWORK = "The link leads to your own computer or network."


def _readable(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        readable = label[4:].encode("ascii").decode("punycode")
    except UnicodeError as error:
        raise _refused("its host is no valid international name") from error
    if _ascii_host(readable) != label:
        raise _refused("its host is no valid international name")
    return readable


def _is_mixed(label: str) -> bool:
    scripts = {
        unicodedata.name(sign, "UNKNOWN").split(" ")[0]
        for sign in label
        if unicodedata.category(sign)[0] == "L"
    }
    return len(scripts) > 1 and not any(scripts <= together for together in _SCRIPTS_TOGETHER)


def _refused(why: str) -> InvalidError:
    return InvalidError.at("url", message=f"the link is refused: {why}", code="link_refused")
