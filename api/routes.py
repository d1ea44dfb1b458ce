"""The table of endpoints (S2-048), a line each: who may call, how often, and what is done.

A row drives routing, authentication, limits, reading, caching, the labels of metrics and the API
document; the forms of requests and answers are those of the handler's annotations (api.route.row).
"""

from typing import Final

from api.handlers import (
    admin,
    answers,
    devices,
    domain_events,
    explain,
    mail,
    notifications,
    places,
    points,
    questions,
    reports,
    rooms,
    search,
    sessions,
    users,
)
from api.route import Route, delete, get, html, post, put
from protocol.rest.operation import PREFIX, Auth, Rate

NOBODY: Final = Auth("none")
USER: Final = Auth("user")
USER_OR_PRESENCE: Final = Auth("user", admin=True, scope="presence:read")
SELF: Final = Auth("user", own="self")
SELF_OR_ADMIN: Final = Auth("user", own="self", admin=True)
SELF_OR_READS: Final = Auth("user", own="self", admin=True, scope="users:read")
SELF_OR_WRITES: Final = Auth("user", own="self", admin=True, scope="users:write")
OWNER: Final = Auth("user", own="owner", admin=True)
ASKER: Final = Auth("user", own="asker")
AUTH: Final = Auth("service", scope="auth:write")
ADMIN_OR_AUTH: Final = Auth("admin", scope="auth:write")
COOKIE: Final = Auth("none", proof="refresh token or cookie+csrf")
NOTIFY: Final = Auth("service", scope="notify:write")
BROADCAST: Final = Auth("service", scope="broadcast:write")
PRESENCE: Final = Auth("service", scope="presence:read", admin=True)
MEMBER: Final = Auth("user", own="member")
ADMIN_OR_EXPLAIN: Final = Auth("admin", scope="explain:read")
ADMIN: Final = Auth("admin")
LINK: Final = Auth("link")
FEEDBACK: Final = Auth("service", scope="mail:feedback")
EVENTS: Final = Auth("service", scope="events:write")

DEFAULT: Final = Rate("default")
ANONYMOUS: Final = Rate("anonymous default")
SERVICE: Final = Rate("service")
FREE_WITH_LINK: Final = Rate("none when the signature holds, else anonymous default")
OFTEN: Final = Rate(per_minute=100)
HALF: Final = Rate(per_minute=50)
SELDOM: Final = Rate(per_minute=5)
TEN: Final = Rate(per_minute=10)
TEN_A_LOGIN: Final = Rate(per_minute=10, by="token family", unverified=30)
TEN_A_PERSON: Final = Rate(per_minute=10, by="userId")

HOUR: Final = 3600
DAY: Final = 86_400

ROUTES: Final[tuple[Route, ...]] = (
    post("/auth/sessions", AUTH, TEN_A_PERSON, sessions.open_one),
    post("/auth/refresh", COOKIE, TEN_A_LOGIN, sessions.refresh),
    post("/auth/logout", USER, TEN, sessions.logout),
    post("/auth/revoke", ADMIN_OR_AUTH, TEN, sessions.revoke),
    get("/users/{userId}", SELF_OR_READS, DEFAULT, users.find),
    put("/users/{userId}", SELF_OR_WRITES, DEFAULT, users.change),
    get("/users/{userId}/preferences", SELF, DEFAULT, users.preferences_of),
    put("/users/{userId}/preferences", SELF, DEFAULT, users.prefer),
    put("/users/{id}/block", USER, DEFAULT, users.block),
    delete("/users/{id}/block", USER, DEFAULT, users.unblock),
    get("/devices", USER, DEFAULT, devices.listed),
    post("/devices", USER, DEFAULT, devices.add),
    delete("/devices/{id}", USER, DEFAULT, devices.remove),
    post("/devices/{id}/test", USER, SELDOM, devices.test, status=202),
    get("/push/web-key", NOBODY, ANONYMOUS, devices.web_key),
    post("/locations", USER, DEFAULT, places.locate),
    delete("/locations/me", USER, DEFAULT, places.forget),
    get("/locations/nearby", USER_OR_PRESENCE, DEFAULT, places.nearby),
    get("/regions", NOBODY, ANONYMOUS, places.regions, cache_s=HOUR, edge_s=DAY),
    get("/neighbourhoods", NOBODY, ANONYMOUS, places.neighbourhoods, cache_s=HOUR, edge_s=DAY),
    put("/admin/regions/{code}", ADMIN, DEFAULT, places.put_region),
    put("/admin/neighbourhoods/{code}", ADMIN, DEFAULT, places.put_neighbourhood),
    get("/search", NOBODY, HALF, search.find, cache_s=600),
    get("/trending", NOBODY, HALF, search.trending, cache_s=600),
    get("/questions", NOBODY, OFTEN, questions.listed, cache_s=300),
    get("/questions/{id}", NOBODY, OFTEN, questions.one),
    get("/questions/{id}/answers", NOBODY, OFTEN, answers.listed),
    post("/questions", USER, SELDOM, questions.ask, status=201, once=True),
    put("/questions/{id}", OWNER, DEFAULT, questions.change),
    delete("/questions/{id}", OWNER, DEFAULT, questions.delete),
    put("/questions/{id}/like", USER, OFTEN, questions.like),
    delete("/questions/{id}/like", USER, OFTEN, questions.unlike),
    post("/answers", USER, SELDOM, answers.give, status=201, once=True),
    put("/answers/{id}", OWNER, DEFAULT, answers.rewrite),
    delete("/answers/{id}", OWNER, DEFAULT, answers.take_back),
    put("/answers/{id}/accept", ASKER, DEFAULT, answers.accept),
    get("/points/{userId}", SELF_OR_ADMIN, DEFAULT, points.listed),
    post("/notifications", NOTIFY, SERVICE, notifications.tell, status=202, once=True),
    post("/notifications/acks", USER, OFTEN, notifications.ack),
    put("/notifications/read-all", SELF, OFTEN, notifications.read_all),
    get("/notifications/{userId}", SELF_OR_ADMIN, OFTEN, notifications.listed),
    get("/notifications/{userId}/unread-count", SELF, OFTEN, notifications.unread_count),
    put("/notifications/{id}/read", SELF, OFTEN, notifications.read),
    delete("/notifications/{id}", SELF, OFTEN, notifications.remove),
    post("/rooms/{room}/broadcasts", BROADCAST, SERVICE, rooms.broadcast, status=202, once=True),
    post("/rooms/{room}/remove", BROADCAST, SERVICE, rooms.remove),
    get("/rooms/{room}/presence", PRESENCE, SERVICE, rooms.presence),
    get("/rooms/{room}/messages", MEMBER, DEFAULT, rooms.messages),
    post("/reports", USER, SELDOM, reports.add, status=202),
    get("/admin/reports", ADMIN, DEFAULT, reports.listed),
    post("/admin/reports/{id}/close", ADMIN, DEFAULT, reports.close),
    get("/explain", ADMIN_OR_EXPLAIN, SERVICE, explain.one),
    html("GET", "/unsubscribe/{token}", LINK, FREE_WITH_LINK, mail.ask),
    html("POST", "/unsubscribe/{token}", LINK, FREE_WITH_LINK, mail.unsubscribe),
    post("/mail/feedback", FEEDBACK, SERVICE, mail.feedback),
    get("/admin/queues", ADMIN, DEFAULT, admin.listed),
    post("/admin/queues/{queue}/dead/{id}/retry", ADMIN, DEFAULT, admin.retry),
    get("/admin/slo", ADMIN, DEFAULT, admin.slo),
    post("/events", EVENTS, SERVICE, domain_events.publish, status=202, max_items=20_000),
)


def in_force(*, qa_api: bool) -> tuple[Route, ...]:
    """Without QA_API_ENABLED another service is where people ask and answer, and tells by events:
    what would write a question or an answer is no path here. Likes are ours in any case.
    """
    return tuple(route for route in ROUTES if qa_api or not _writes_of_qa(route))


def _writes_of_qa(route: Route) -> bool:
    noun = route.path.removeprefix(PREFIX).split("/")[1]
    return (
        noun in ("questions", "answers")
        and route.method != "GET"
        and not route.path.endswith("/like")
    )
