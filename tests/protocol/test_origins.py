"""Which site a request may come from."""

import pytest

from protocol.origins import is_allowed, own_hosts, parse_origin

from .doors import SITES, Site


@pytest.mark.fault(6)
@pytest.mark.parametrize("site", SITES, ids=str)
def test_origins(site: Site) -> None:
    assert is_allowed(site.origins, [site.host], site.listed) is site.passes


@pytest.mark.fault(6)
def test_without_a_host_nothing_is_our_own() -> None:
    assert not is_allowed(["http://h"], own_hosts(None, (), 0), ())
    assert not is_allowed(["http://h"], [""], ())


@pytest.mark.fault(6, 30)
def test_a_forwarded_host_is_ours_behind_a_trusted_proxy_only() -> None:
    assert own_hosts("inner:3001", ("hub.example.kr",), 0) == ["inner:3001"]
    assert own_hosts("inner:3001", ("hub.example.kr",), 1) == ["inner:3001", "hub.example.kr"]
    assert own_hosts("inner:3001", ("evil.example, hub.example.kr",), 1)[1:] == ["hub.example.kr"]


@pytest.mark.parametrize("text", ["*", "https://a/b", "https://a?b", "://a", "a", "https://a:b"])
def test_what_is_no_origin(text: str) -> None:
    assert parse_origin(text) is None
