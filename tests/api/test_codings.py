"""What a body's Content-Encoding may be."""

import gzip
import zlib

import pytest

from tests.api.conftest import Door
from tests.api.test_what_stores_refuse import Seen, heard, session

pytestmark = pytest.mark.fault(10)


@pytest.mark.parametrize(
    "coding", ["br", "zstd", "compress", "foo", "gzip, gzip", "\u00e9", "identity, br"]
)
async def test_a_content_encoding_nobody_knows(
    door: Door, coding: str, record_property: Seen
) -> None:
    """RFC 9110 §15.5.16: 415, with the codings we take."""
    head = session(door.key, b"Content-Encoding: " + coding.encode())
    status, text = await heard(door, head)
    assert (status, "INVALID_PAYLOAD" in text) == (415, True)
    assert "accept-encoding: gzip" in text.lower()
    record_property("seen", f"{coding}: {status}")


async def test_the_codings_we_know(door: Door) -> None:
    body = b'{"userId":"u"}'
    packed = {b"gzip": gzip.compress(body), b"deflate": zlib.compress(body), b"identity": body}
    for coding, sent in packed.items():
        status, _ = await heard(door, session(door.key, b"Content-Encoding: " + coding), sent)
        assert status == 200, coding
    status, text = await heard(door, session(door.key, b"Content-Encoding: gzip"), body)
    assert (status, "INVALID_PAYLOAD" in text) == (400, True), "it says gzip and is not"
