"""The table of endpoints (S2-048): it drives routing, authentication, limits, reading, caching,
the metrics' labels and the API document. Its order is that of product.md.
"""

from typing import Final

from api import inbox, people, places, questions, services
from api.route import Route
from protocol.rest.answers import Answer, AnswerRequest, Answers
from protocol.rest.devices import Device, DeviceRequest, Devices
from protocol.rest.domain_events import Events, EventsAccepted
from protocol.rest.notifications import (
    Accepted,
    Acks,
    InboxList,
    InboxQuery,
    Notify,
    ReadAll,
    UnreadCount,
    UnreadNow,
)
from protocol.rest.operation import PREFIX, Auth, Rate
from protocol.rest.paging import PageQuery
from protocol.rest.places import (
    Neighbourhoods,
    NeighbourhoodsQuery,
    Position,
    PositionState,
    Regions,
)
from protocol.rest.questions import Ask, Question, QuestionChange, Questions, QuestionsQuery
from protocol.rest.rooms import Broadcast, BroadcastRequest
from protocol.rest.sessions import Session, SessionRequest

NOBODY = Auth("none")
USER = Auth("user")
SELF = Auth("user", own="self")
OWNER = Auth("user", own="owner", admin=True)

DEFAULT = Rate("default")
ANONYMOUS = Rate("anonymous default")
SERVICE = Rate("service")


def service(scope: str) -> Auth:
    return Auth("service", scope=scope)


def a_minute(figure: int, by: str = "") -> Rate:
    return Rate(per_minute=figure, by=by)


ROUTES: Final = (
    Route(
        method="POST",
        path=f"{PREFIX}/auth/sessions",
        auth=service("auth:write"),
        rate=a_minute(10, by="userId"),
        summary="Open a session for a person you have authenticated",
        tag="people",
        body=SessionRequest,
        answer=Session,
        handler=people.open_session,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/devices",
        auth=USER,
        rate=DEFAULT,
        summary="Your devices",
        tag="people",
        answer=Devices,
        handler=people.devices,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/devices",
        auth=USER,
        rate=DEFAULT,
        summary="Register a device for push; a known token moves to you",
        tag="people",
        body=DeviceRequest,
        answer=Device,
        handler=people.add_device,
    ),
    Route(
        method="DELETE",
        path=f"{PREFIX}/devices/{{id}}",
        auth=USER,
        rate=DEFAULT,
        summary="Forget a device",
        tag="people",
        status=204,
        handler=people.remove_device,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/locations",
        auth=USER,
        rate=DEFAULT,
        summary="Tell where you are; kept as a cell of 0.7 km², with consent only",
        tag="places",
        body=Position,
        answer=PositionState,
        handler=people.locate,
    ),
    Route(
        method="DELETE",
        path=f"{PREFIX}/locations/me",
        auth=USER,
        rate=DEFAULT,
        summary="Forget where you are",
        tag="places",
        status=204,
        handler=people.forget_place,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/regions",
        auth=NOBODY,
        rate=ANONYMOUS,
        summary="Regions in force",
        tag="places",
        answer=Regions,
        cache_s=3600,
        handler=places.regions,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/neighbourhoods",
        auth=NOBODY,
        rate=ANONYMOUS,
        summary="Neighbourhoods, of one region or of all",
        tag="places",
        query=NeighbourhoodsQuery,
        answer=Neighbourhoods,
        cache_s=3600,
        handler=places.neighbourhoods,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/questions",
        auth=NOBODY,
        rate=a_minute(100),
        summary="Open questions, 20 a page",
        tag="questions",
        query=QuestionsQuery,
        answer=Questions,
        cache_s=300,
        handler=questions.listed,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/questions/{{id}}",
        auth=NOBODY,
        rate=a_minute(100),
        summary="One question; its place for signed-in people while it is open",
        tag="questions",
        answer=Question,
        handler=questions.one,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/questions/{{id}}/answers",
        auth=NOBODY,
        rate=a_minute(100),
        summary="Its answers, newest first",
        tag="questions",
        query=PageQuery,
        answer=Answers,
        handler=questions.its_answers,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/questions",
        auth=USER,
        rate=a_minute(5),
        summary="Ask; an urgent question needs a place and wakes the people near it",
        tag="questions",
        status=201,
        body=Ask,
        answer=Question,
        idempotent=True,
        handler=questions.ask,
    ),
    Route(
        method="PUT",
        path=f"{PREFIX}/questions/{{id}}",
        auth=OWNER,
        rate=DEFAULT,
        summary="Close a question",
        tag="questions",
        body=QuestionChange,
        answer=Question,
        handler=questions.change,
    ),
    Route(
        method="DELETE",
        path=f"{PREFIX}/questions/{{id}}",
        auth=OWNER,
        rate=DEFAULT,
        summary="Delete a question",
        tag="questions",
        status=204,
        handler=questions.delete,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/answers",
        auth=USER,
        rate=a_minute(5),
        summary="Answer a question",
        tag="questions",
        status=201,
        body=AnswerRequest,
        answer=Answer,
        idempotent=True,
        handler=questions.answer,
    ),
    Route(
        method="PUT",
        path=f"{PREFIX}/answers/{{id}}/accept",
        auth=Auth("user", own="asker"),
        rate=DEFAULT,
        summary="Accept an answer of your question; of two at once one wins",
        tag="questions",
        answer=Answer,
        handler=questions.accept,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/notifications",
        auth=service("notify:write"),
        rate=SERVICE,
        summary="Notify people; whoever has one under the same dedupKey is skipped",
        tag="inbox",
        status=202,
        body=Notify,
        answer=Accepted,
        idempotent=True,
        handler=inbox.tell,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/notifications/acks",
        auth=USER,
        rate=a_minute(100),
        summary="Shown, seen or read; ids that are not yours are ignored",
        tag="inbox",
        body=Acks,
        answer=UnreadNow,
        handler=inbox.ack,
    ),
    Route(
        method="PUT",
        path=f"{PREFIX}/notifications/read-all",
        auth=SELF,
        rate=a_minute(100),
        summary="Read everything made until a moment",
        tag="inbox",
        body=ReadAll,
        answer=UnreadNow,
        handler=inbox.read_all,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/notifications/{{userId}}",
        auth=Auth("user", own="self", admin=True),
        rate=a_minute(100),
        summary="A person's inbox, newest first",
        tag="inbox",
        query=InboxQuery,
        answer=InboxList,
        handler=inbox.listed,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/notifications/{{userId}}/unread-count",
        auth=SELF,
        rate=a_minute(100),
        summary="How many are unread, in all and by kind",
        tag="inbox",
        answer=UnreadCount,
        handler=inbox.unread_count,
    ),
    Route(
        method="PUT",
        path=f"{PREFIX}/notifications/{{id}}/read",
        auth=SELF,
        rate=a_minute(100),
        summary="Read one notification",
        tag="inbox",
        answer=UnreadNow,
        handler=inbox.read,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/rooms/{{room}}/broadcasts",
        auth=service("broadcast:write"),
        rate=SERVICE,
        summary="Publish an event to a room under your prefixes",
        tag="services",
        status=202,
        body=BroadcastRequest,
        answer=Broadcast,
        idempotent=True,
        handler=services.broadcast,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/events",
        auth=service("events:write"),
        rate=SERVICE,
        summary="Publish domain events, one or up to 100; each is applied once by its id",
        tag="services",
        status=202,
        body=Events,
        answer=EventsAccepted,
        max_items=20_000,
        handler=services.events,
    ),
)
