"""Which addresses may be connected to: the tricks of threat list rows 12 and 13."""

import pytest

from agenthub.adapters.outbound.http.address_guard import refusal

NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "::169.254.169.254",
    "255.255.255.255",
    "224.0.0.1",
    "ff02::1",
    "not an address",
    "",
]
PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "fec0::1",
    "64:ff9b:1::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "2002:0a00:0001::1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "::127.0.0.1",
    "2001:0:7f00:1::",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "2002:0101:0101::1"]


@pytest.mark.parametrize("ip", NEVER)
def test_some_addresses_are_refused_either_way(ip: str) -> None:
    assert refusal(ip, True) is not None
    assert refusal(ip, False) is not None


@pytest.mark.parametrize("ip", PRIVATE)
def test_private_addresses_are_a_matter_of_the_setting(ip: str) -> None:
    assert refusal(ip, False) is not None
    if not ip.startswith("2001:0:"):
        assert refusal(ip, True) is None


@pytest.mark.parametrize("ip", PUBLIC)
def test_public_addresses_are_never_refused(ip: str) -> None:
    assert refusal(ip, False) is None
    assert refusal(ip, True) is None
