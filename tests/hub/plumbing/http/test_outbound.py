"""Addresses that somebody else wrote: which of them may be connected to."""

import pytest

from hub.plumbing.http.outbound import Outbound


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1", "240.0.0.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "2001:db8::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1",
        "64:ff9b::7f00:1", "2002:a00:1::", "2002:7f00:1::1", "", "localhost", "8.8.8",
    ],
)  # fmt: skip
@pytest.mark.refused
def test_ours_and_nobodys_are_refused(address: str) -> None:
    assert not Outbound().permits(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_ones_are_permitted(address: str) -> None:
    assert Outbound().permits(address)


def test_exceptions_open_only_what_they_name() -> None:
    outbound = Outbound(["127.0.0.1", "10.0.0.0/8"])
    assert outbound.permits("127.0.0.1")
    assert outbound.permits("10.200.0.1")
    assert not outbound.permits("127.0.0.2")
    assert not outbound.permits("192.168.0.1")
    assert outbound.excepts("10.0.0.1")
    assert not outbound.excepts("8.8.8.8")
    assert not outbound.excepts("localhost")


@pytest.mark.parametrize("network", ["10.0.0.1/8", "example.org", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        Outbound([network])
