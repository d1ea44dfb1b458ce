"""Who is at the other end, with and without proxies we trust."""

from typing import Any

import pytest

from protocol.address import client_address, counted_as, said_by_proxy

from .doors import PEER, WAYS, Way


@pytest.mark.fault(4)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_address_is_what_a_trusted_proxy_wrote(way: Way) -> None:
    assert client_address(PEER, way.lines, way.hops) == way.address


@pytest.mark.fault(4)
def test_a_peer_is_told_in_its_normal_form() -> None:
    assert client_address("::ffff:10.0.0.1", (), 0) == "10.0.0.1"
    assert client_address("fe80::1%eth0", (), 0) == "fe80::1"
    assert client_address("", (), 0) == ""
    assert client_address("", ("unknown",), 1) == ""


@pytest.mark.fault(4)
def test_a_household_counts_as_one(record_property: Any) -> None:
    assert counted_as("1.2.3.4") == "1.2.3.4"
    assert counted_as("") == ""
    assert counted_as("2001:db8::1") == counted_as("2001:db8::ffff:1") == "2001:db8::/64"
    assert counted_as("2001:db8:0:1::1") != counted_as("2001:db8::1")
    assert counted_as("::ffff:1.2.3.4") == "1.2.3.4"
    assert counted_as("fe80::1%eth0") == "fe80::/64"
    assert counted_as("nonsense:") == "nonsense:"
    record_property("seen", f"2001:db8::1 counts as {counted_as('2001:db8::1')}")


def test_what_else_proxies_append_to() -> None:
    assert said_by_proxy(("http, https",), 1) == "https"
    assert said_by_proxy(("http", "https"), 2) == "http"
    assert said_by_proxy(("https",), 0) is None
    assert said_by_proxy((), 1) is None
