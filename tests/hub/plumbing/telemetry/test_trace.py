import asyncio
import re
import uuid

import pytest
from multidict import CIMultiDict

from hub.plumbing.telemetry.trace import current, outgoing_headers, request_id, traced

CALLER = CIMultiDict(
    {
        "x-request-id": "app-17/a",
        "X-B3-TraceId": "a" * 32,
        "X-B3-SpanId": "b" * 16,
        "X-B3-Sampled": "1",
    }
)


def test_ids_of_the_caller_go_on_to_the_next_call() -> None:
    with traced(CALLER) as work:
        sent = outgoing_headers()
    assert sent["X-Request-ID"] == "app-17/a"
    assert sent["X-B3-TraceId"] == "a" * 32
    assert work.parent_span_id == "b" * 16
    assert sent["X-B3-SpanId"] == work.span_id  # what is called is caused by this work
    assert sent["X-B3-ParentSpanId"] == "b" * 16
    assert re.fullmatch("[0-9a-f]{16}", work.span_id)
    assert sent["X-B3-Sampled"] == "1"
    assert "X-B3-Flags" not in sent


def test_a_job_goes_on_where_the_request_was() -> None:
    with traced(CALLER):
        kept = outgoing_headers()
    with traced(kept) as job:
        assert job.request_id == "app-17/a"
        assert job.trace_id == "a" * 32
        assert job.parent_span_id == kept["X-B3-SpanId"]


def test_without_a_caller_ids_are_made() -> None:
    with traced() as one, traced({}) as other:
        assert uuid.UUID(one.request_id) != uuid.UUID(other.request_id)
        assert one.trace_id != other.trace_id
        assert one.parent_span_id is None


def test_outside_of_any_work_there_is_nothing_to_pass_on() -> None:
    assert outgoing_headers() == {}
    assert current() is None
    assert uuid.UUID(request_id())


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, "a\nlevel=fatal", "한라산"])
def test_ids_of_another_form_are_replaced(bad: str) -> None:
    with traced({"X-Request-ID": bad, "X-B3-TraceId": bad, "X-B3-SpanId": bad}) as work:
        assert uuid.UUID(work.request_id)
        assert re.fullmatch("[0-9a-f]{32}", work.trace_id)
        assert work.parent_span_id is None


async def test_work_side_by_side_keeps_its_own_ids() -> None:
    async def one(name: str) -> str:
        with traced({"X-Request-ID": name}):
            await asyncio.sleep(0)
            return request_id()

    assert await asyncio.gather(*(one(f"r{i}") for i in range(20))) == [f"r{i}" for i in range(20)]
