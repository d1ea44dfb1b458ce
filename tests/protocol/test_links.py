"""Links in mails: only what we signed is read, whatever a person is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.links import MOST_CHARS, Unsubscription, read_unsubscription, sign_unsubscription
from protocol.names import is_plain

SECRET = "l" * 40
ids = st.text(min_size=1, max_size=128).filter(is_plain)
wishes = st.builds(Unsubscription, ids, st.sampled_from(["digest", "all"]))


@given(wishes)
def test_property_a_link_says_what_was_signed_and_fits_a_path(wish: Unsubscription) -> None:
    token = sign_unsubscription(SECRET, wish)
    assert read_unsubscription(SECRET, token) == wish
    assert read_unsubscription("m" * 40, token) is None
    assert read_unsubscription("", token) is None
    assert len(token) <= MOST_CHARS
    assert token.replace("-", "").replace("_", "").isalnum()


@given(wishes, st.data())
@pytest.mark.refused
def test_property_a_link_that_was_changed_is_none(
    wish: Unsubscription, data: st.DataObject
) -> None:
    token = sign_unsubscription(SECRET, wish)
    at = data.draw(st.integers(0, len(token) - 2))  # the last character may hold unused bits
    other = data.draw(st.sampled_from("ABCabc012-_").filter(lambda one: one != token[at]))
    assert read_unsubscription(SECRET, token[:at] + other + token[at + 1 :]) is None


@given(st.text(max_size=2000))
def test_property_rubbish_is_none(text: str) -> None:
    assert read_unsubscription(SECRET, text) is None
