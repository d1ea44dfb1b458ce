"""Who is at the other end, with and without proxies we trust."""

import pytest
from aiohttp.test_utils import make_mocked_request

from api.peer import address_of, counted_as, origin_allowed


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "1.1.1.1", "9.9.9.9"),
        (1, None, "9.9.9.9"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (3, "1.1.1.1", "1.1.1.1"),
        (1, "not an address", "9.9.9.9"),
        (1, "2001:db8::1%eth0", "2001:db8::1"),
        (1, ",", "9.9.9.9"),
    ],
)
def test_the_address_is_what_a_trusted_proxy_wrote(
    hops: int, forwarded: str | None, address: str
) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = make_mocked_request("GET", "/", headers=headers).clone(remote="9.9.9.9")
    assert address_of(request, hops) == address


def test_a_household_counts_as_one() -> None:
    assert counted_as("1.2.3.4") == "1.2.3.4"
    assert counted_as("") == ""
    assert counted_as("2001:db8::1") == counted_as("2001:db8::ffff") == "2001:db8::/64"
    assert counted_as("::ffff:1.2.3.4") == "1.2.3.4"


@pytest.mark.parametrize(
    ("origin", "allowed", "passes"),
    [
        (None, (), True),
        ("http://hub.example:3003", (), True),
        ("https://hub.example:3003", (), True),
        ("http://hub.example", (), False),
        ("http://hub.example:3003.evil.example", (), False),
        ("https://app.example", ("https://app.example",), True),
        ("https://app.example.evil", ("https://app.example",), False),
        ("https://any.example", ("*",), True),
        ("null", (), False),
    ],
)
def test_origins(origin: str | None, allowed: tuple[str, ...], passes: bool) -> None:
    headers = {"Host": "hub.example:3003"} | ({} if origin is None else {"Origin": origin})
    assert origin_allowed(make_mocked_request("GET", "/", headers=headers), allowed) is passes
