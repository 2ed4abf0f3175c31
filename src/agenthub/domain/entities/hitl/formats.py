"""The four string formats that a form may ask for, decided as their own standards say."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf'{_ATOM}(?:\.{_ATOM})*|"(?:[ !#-\[\]-~]|\\[ -~])*"')
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_LOCAL, _MAX_DOMAIN, _MAX_LABEL = 64, 255, 63

_PCT = r"%[0-9A-Fa-f]{2}"
_PLAIN = r"A-Za-z0-9._~!$&'()*+,;=\-"
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?://([^/?#]*))?"
    rf"((?:[{_PLAIN}:@/]|{_PCT})*)"
    rf"(?:\?(?:[{_PLAIN}:@/?]|{_PCT})*)?"
    rf"(?:#(?:[{_PLAIN}:@/?]|{_PCT})*)?"
)
_AUTHORITY = re.compile(
    rf"(?:(?:[{_PLAIN}:]|{_PCT})*@)?(?:\[([^\]@]*)\]|(?:[{_PLAIN}]|{_PCT})*)(?::[0-9]*)?"
)
_IP_FUTURE = re.compile(rf"[vV][0-9A-Fa-f]+\.[{_PLAIN}:]+")


def is_date(text: str) -> bool:
    """RFC 3339 full-date, from the year 1 on (as Python's own calendar)."""
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_date_time(text: str) -> bool:
    """RFC 3339 date-time; a leap second only where UTC can have one."""
    if len(text) < 20 or text[10] not in "Tt" or not is_date(text[:10]):
        return False
    match = _TIME.fullmatch(text, 11)
    if match is None:
        return False
    hour, minute, second = (int(part) for part in match.group(1, 2, 3))
    off_hour, off_minute = int(match[5] or 0), int(match[6] or 0)
    if hour > 23 or minute > 59 or off_hour > 23 or off_minute > 59:
        return False
    if second < 60:
        return True
    offset = off_hour * 60 + off_minute
    utc = hour * 60 + minute + (offset if match[4] == "-" else -offset)
    return second == 60 and utc % 1440 == 1439


def is_email(text: str) -> bool:
    """RFC 5321 Mailbox, ASCII only (RFC 6531 is `idn-email`)."""
    local, at, domain = text.rpartition("@")
    if not at or len(local) > _MAX_LOCAL or not _LOCAL.fullmatch(local):
        return False
    if domain.startswith("[") and domain.endswith("]"):
        return _is_address_literal(domain[1:-1])
    return (
        len(domain) <= _MAX_DOMAIN
        and _DOMAIN.fullmatch(domain) is not None
        and all(len(label) <= _MAX_LABEL for label in domain.split("."))
    )


def is_uri(text: str) -> bool:
    """RFC 3986 URI: with a scheme, ASCII only, what is not plain percent-encoded."""
    match = _URI.fullmatch(text)
    if match is None:
        return False
    authority, path = match[1], match[2]
    if authority is None:
        return True
    inside = _AUTHORITY.fullmatch(authority)
    if inside is None or (path and not path.startswith("/")):
        return False
    literal = inside[1]
    return literal is None or _is_ipv6(literal) or _IP_FUTURE.fullmatch(literal) is not None


def _is_address_literal(text: str) -> bool:
    if text[:5].lower() == "ipv6:":
        return _is_ipv6(text[5:])
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return "%" not in text


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date": is_date,
    "date-time": is_date_time,
    "email": is_email,
    "uri": is_uri,
}
"""Source: MCP 2026-07-28, StringSchema.format; JSON Schema 2020-12 validation, section 7.3."""
