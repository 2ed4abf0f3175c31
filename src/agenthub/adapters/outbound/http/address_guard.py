"""Which addresses the hub speaks to: asked at every connect, about the address itself."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NAT64 = ip_network("64:ff9b::/96")
_NEVER = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local; 169.254.169.254 is the metadata service of most clouds
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "192.0.0.192/32",  # metadata of Oracle Cloud
        "168.63.129.16/32",  # the host agent of Azure
        "fe80::/10",
        "fd00:ec2::254/128",  # metadata of AWS
        "fd20:ce::254/128",  # metadata of Google Cloud
        "0.0.0.0/8",  # "this network": Linux connects it to itself
        "::/128",
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_PRIVATE = tuple(
    ip_network(text)
    for text in (
        "fec0::/10",  # site-local, which is_global calls global
        "64:ff9b:1::/48",  # local-use NAT64
        "100.64.0.0/10",  # shared address space of carriers
    )
)


def refusal(ip: str, allow_private: bool) -> str | None:
    """Say why the hub does not connect to `ip`; None when it does.

    An IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) is judged as what it is.
    Link-local, cloud metadata, multicast and unspecified addresses are refused either way.
    """
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return "it is no IP address"
    for inner in _unwrapped(address):
        reason = _judge(inner, allow_private)
        if reason is not None:
            return reason
    return None


def _unwrapped(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Give every address a packet to this one may end at."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return [address, *address.teredo]
    if address in _NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    if int(address) >> 32 == 0 and int(address) > 1:
        return [IPv4Address(int(address))]
    return [address]


def _judge(address: IPv4Address | IPv6Address, allow_private: bool) -> str | None:
    if address.is_multicast or any(address in network for network in _NEVER):
        return "link-local, metadata, multicast and unspecified addresses are never used"
    if allow_private:
        return None
    if not address.is_global or any(address in network for network in _PRIVATE):
        return "local and private addresses are not allowed (AGENTHUB_EGRESS__ALLOW_PRIVATE)"
    return None
