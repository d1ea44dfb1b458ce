"""Search, popularity, trending hashtags and points over REST."""

from typing import Any

import msgspec
import pytest

from hub.domain import statistics
from hub.domain.places.geometry import cell_of
from hub.domain.questions import words
from hub.domain.questions.words import Where
from protocol.normal import normal
from tests.api.conftest import JEJU, PREFIX, Door
from tests.api.test_questions import listed, seed


async def said(door: Door, id: str, title: str, content: str = "…", **changes: Any) -> None:
    await seed(door, 1, prefix=id, **changes)
    await door.domain.pool.execute(
        "UPDATE questions SET title = $2, content = $3 WHERE id = $1 || '-1'", id, title, content
    )


async def found(door: Door, q: str, **more: str) -> dict[str, Any]:
    reply = await door.call("GET", f"{PREFIX}/search", params={"q": q, **more})
    assert reply.status == 200, reply.body
    assert isinstance(reply.body, dict)
    return reply.body


async def ids(door: Door, q: str, **more: str) -> list[str]:
    return [row["id"].removesuffix("-1") for row in (await found(door, q, **more))["questions"]]


@pytest.mark.parametrize(
    ("title", "q"),
    [
        ("문 연 약국이 있나요", "약국"),
        ("문 연 약국이 있나요", "문연약국"),
        ("제주시외버스터미널", "버스 터미널"),
        ("제주시외버스터미널", "터미널"),
        ("약", "약"),
        ("ＰＨＡＲＭＡＣＹ near the 港", "pharmacy"),
        ("Straße nach Seogwipo", "STRASSE"),
        ("\u1112\u1161\u11ab\u1105\u1161\u1109\u1161\u11ab", "한라산"),  # as macOS writes it
        ("한라산", "\u1112\u1161\u11ab\u1105\u1161\u1109\u1161\u11ab"),
        ("한\u200b라산 등산", "한라산"),
    ],
)
async def test_korean_is_found_without_spaces_and_in_any_spelling(
    door: Door, title: str, q: str
) -> None:
    await said(door, "it", title)
    await said(door, "other", "주차장 요금")
    assert await ids(door, q) == ["it"]
    assert [row["id"] for row in (await listed(door, f"q={q}"))["questions"]] == ["it-1"]


async def test_words_may_stand_apart_and_all_are_needed(door: Door) -> None:
    await said(door, "both", "연동의 밤", "약국을 찾아요")
    await said(door, "one", "약국")
    assert await ids(door, "약국 연동") == ["both"]
    assert await ids(door, "약국") == ["one", "both"], "a title says more than a text"
    assert await ids(door, "병원") == []


async def test_what_is_closed_or_elsewhere_is_not_found(door: Door) -> None:
    await said(door, "jeju", "약국")
    await said(door, "busan", "약국", region="busan", tags=["약국24시", "밤"])
    await said(door, "closed", "약국")
    await door.domain.pool.execute("UPDATE questions SET status = 'closed' WHERE id = 'closed-1'")
    assert set(await ids(door, "약국")) == {"jeju", "busan"}
    assert await ids(door, "약국", region="busan") == ["busan"]
    only_tags = await found(door, "약국", kind="tags")
    assert (only_tags["questions"], only_tags["tags"]) == ([], [{"tag": "약국24시", "count": 1}])
    assert only_tags["pagination"]["total"] == 0
    only_questions = await found(door, "약국", kind="questions")
    assert (len(only_questions["questions"]), only_questions["tags"]) == (2, [])


LOAD = """
INSERT INTO users (id, nickname) VALUES ('asker', 'asker');
INSERT INTO questions (id, user_id, title, content, region_code, hashtags, urgency, created_at,
        updated_at)
    SELECT 'q' || n, 'asker', '질문 ' || n, concat(CASE WHEN n > 650 THEN '버스' END,
        CASE WHEN n % 9 = 0 THEN '약국' END, CASE WHEN n % 2 = 0 THEN '바다' END), 'jeju',
        '{}', 'normal', now() - n / 3 * interval '1 minute', now()
    FROM generate_series(1, 700) n
"""
"""Each moment is three questions'."""


@pytest.mark.parametrize("q", ["약국", "버스", "바다", "바다 약국", "질문", "없다"])
async def test_the_newest_are_found_whichever_way_is_taken(door: Door, q: str) -> None:
    """In the sample alone, by the index, and among the newest behind the sample."""
    await door.domain.pool.execute(LOAD)
    rows = await door.domain.pool.fetch(
        "SELECT id FROM questions WHERE (SELECT bool_and(strpos(words, word) > 0)"
        " FROM unnest($1::text[]) word) ORDER BY created_at DESC, id DESC LIMIT 200",
        q.split(),
    )
    expected = [row["id"] for row in rows]
    async with door.domain.pool.acquire() as conn:
        assert await words.newest(conn, Where(), await words.wanted(conn, q)) == expected


async def test_a_found_page_is_a_page_of_the_list(door: Door) -> None:
    await seed(door, 25)
    await door.domain.pool.execute("UPDATE questions SET title = '감귤 농장'")
    second = await found(door, "감귤", page="2")
    assert second["pagination"] == {
        "current_page": 2,
        "per_page": 20,
        "total": 25,
        "total_pages": 2,
    }
    assert len(second["questions"]) == 5
    assert second["questions"][0]["author"]["regionCode"] == "default"
    assert second["questions"][0]["location"] is None


@pytest.mark.parametrize("q", ["", "x" * 101, "\u200b", " ", "%00"])
async def test_nothing_to_search_for_is_refused(door: Door, q: str) -> None:
    reply = await door.call("GET", f"{PREFIX}/search?q={q}")
    assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD")


async def test_both_sides_have_the_same_normal_form(door: Door) -> None:
    """The index is made in SQL, what is searched for is brought into its form in Python."""
    blocks = [(0x20, 0x600), (0x1100, 0x1200), (0x1E00, 0x2100), (0x3000, 0x3200)]
    blocks += [(0xA960, 0xA980), (0xAC00, 0xB000), (0xFB00, 0xFB20), (0xFF00, 0xFFF0)]
    letters = [f"가{chr(point)}b" for first, end in blocks for point in range(first, end)]
    odd = await door.domain.pool.fetch(
        "SELECT raw, form FROM unnest($1::text[], $2::text[]) AS t (raw, form)"
        " WHERE search_form(raw) <> search_form(form)",
        letters,
        [normal(text) for text in letters],
    )
    assert odd == []


async def test_likes_and_answers_make_popular(door: Door) -> None:
    await seed(door, 3)
    liked, answered = f"{PREFIX}/questions/q-3/like", f"{PREFIX}/questions/q-2/like"
    for who in ("a", "b", "b"):
        assert (await door.call("PUT", liked, as_=who)).status == 204
    await door.answer("q-2", "c")
    assert [row["id"] for row in (await listed(door, "sortBy=popularity"))["questions"]] == [
        "q-3",
        "q-2",
        "q-1",
    ]
    assert (await door.call("GET", f"{PREFIX}/questions/q-3")).body["likeCount"] == 2
    for path in (liked, liked, answered):
        assert (await door.call("DELETE", path, as_="b")).status == 204
    assert (await door.call("GET", f"{PREFIX}/questions/q-3")).body["likeCount"] == 1
    assert await door.count("question_likes") == 1
    assert (await door.call("PUT", f"{PREFIX}/questions/none/like", as_="b")).status == 404
    assert (await door.call("PUT", liked)).status == 401


async def test_trending_is_what_the_job_counted(door: Door) -> None:
    await seed(door, 2, tags=["감귤", "밤"])
    await seed(door, 1, prefix="b", region="busan", tags=["바다", "밤"])
    path = f"{PREFIX}/trending"
    expected = [{"tag": "밤", "count": 3}, {"tag": "감귤", "count": 2}, {"tag": "바다", "count": 1}]
    assert (await door.call("GET", path)).body == {"trendingTags": expected, "window": "24h"}
    await statistics.count_trending(door.domain)
    await door.domain.pool.execute("UPDATE questions SET hashtags = '{}'")
    busan = (await door.call("GET", f"{path}?region=busan")).body["trendingTags"]
    assert busan == [{"tag": "바다", "count": 1}, {"tag": "밤", "count": 1}]
    name = f"{door.domain.keys.prefix}trending:tags:24h"
    told = await door.domain.redis.exists(name, f"{name}:jeju")
    assert told == 2


async def test_points_come_in_pages_with_the_balance(door: Door) -> None:
    await door.domain.pool.execute("INSERT INTO users (id, nickname) VALUES ('haru', 'h')")
    await door.domain.pool.execute(
        "INSERT INTO point_transactions (user_id, amount, reason, answer_id, created_at)"
        " SELECT 'haru', 10, 'answer_accepted', n, now() FROM generate_series(1, 45) n"
    )
    path, seen, after = f"{PREFIX}/points/haru", [], ""
    for size in (20, 20, 5):
        page = (await door.call("GET", path + after, as_="haru")).body
        assert (page["balance"], len(page["items"])) == (450, size)
        seen += [row["answerId"] for row in page["items"]]
        after = f"?after={page['next']}"
    assert seen == [str(n) for n in range(45, 0, -1)]
    assert page["next"] is None
    assert (await door.call("GET", path, as_="minji")).code == "FORBIDDEN"
    root = door.token("root", role="admin")
    assert (await door.call("GET", path, as_=root)).body["balance"] == 450
    assert (await door.call("GET", f"{PREFIX}/points/nobody", as_=root)).body["items"] == []
    assert (await door.call("GET", f"{path}?after=0", as_="haru")).status == 400


async def test_open_questions_nearby_are_the_nearest_first(door: Door) -> None:
    near = await door.ask("a", lat=JEJU["lat"] + 0.001, lng=JEJU["lng"])
    far = await door.ask("b", lat=JEJU["lat"] + 0.01, lng=JEJU["lng"])
    await door.ask("c", lat=JEJU["lat"] + 0.05, lng=JEJU["lng"])
    closed = await door.ask("d", **JEJU)
    await door.call("DELETE", f"{PREFIX}/questions/{closed['id']}", as_="d")
    path = f"{PREFIX}/locations/nearby"
    where = {**{k: str(v) for k, v in JEJU.items()}, "radiusM": "2000"}
    reply = await door.call("GET", path, params=where, as_="haru")
    rows = reply.body["questions"]
    assert [row["question"]["id"] for row in rows] == [near["id"], far["id"]]
    assert [row["distanceM"] for row in rows] == [157, 1157]
    unsaid = await door.call("GET", path, params={**where, "radiusM": "2000"}, as_="haru")
    del where["radiusM"]
    assert (await door.call("GET", path, params=where, as_="haru")).body == unsaid.body
    assert rows[0]["question"]["location"] is None
    for odd in ({"radiusM": "499"}, {"lat": "91"}, {"kind": "people"}):
        assert (await door.call("GET", path, params=where | odd, as_="haru")).status == 400
    assert (await door.call("GET", path, params=where)).status == 401


@pytest.mark.parametrize(("people", "told"), [(4, 0), (5, 5), (11, 10)])
async def test_how_many_answerers_are_near_is_told_in_steps(
    door: Door, people: int, told: int
) -> None:
    await _crowd(door, people)
    where = {**{k: str(v) for k, v in JEJU.items()}, "radiusM": "1000", "kind": "answerers"}
    path = f"{PREFIX}/locations/nearby"
    root = door.token("root", role="admin")
    for who in (door.key, root):
        assert (await door.call("GET", path, params=where, as_=who)).body["answerers"] == told
    assert (await door.call("GET", path, params=where, as_="haru")).code == "FORBIDDEN"


async def _crowd(door: Door, people: int) -> None:
    pool = door.domain.pool
    await pool.execute(
        "INSERT INTO users (id, nickname, is_local_verified)"
        " SELECT 'p' || n, 'p', true FROM generate_series(1, $1) n",
        people,
    )
    await pool.execute("INSERT INTO notification_preferences SELECT id FROM users WHERE id ~ '^p'")
    await pool.execute(
        "INSERT INTO user_locations (user_id, cell, region_code, expires_at)"
        " SELECT id, $1, 'jeju', now() + interval '1 hour' FROM users WHERE id ~ '^p'",
        cell_of(**JEJU),
    )


async def test_who_is_in_a_region_hears_what_is_used_there(door: Door) -> None:
    await seed(door, 1, prefix="b", region="busan", tags=["바다"])
    await statistics.count_trending(door.domain)
    rows = await door.domain.pool.fetch("SELECT payload FROM outbox ORDER BY id")
    emits = [msgspec.msgpack.decode(row["payload"])["emit"] for row in rows]
    told = {one["rooms"][0]: one for one in emits if one["event"] == "trending:updated"}
    assert set(told) == {"region:busan", "region:default", "region:jeju"}
    busan = told["region:busan"]
    assert (busan["klass"], busan["key"]) == ("volatile", "busan")
    assert busan["data"]["tags"] == [{"tag": "바다", "count": 1}]
    assert busan["data"]["window"] == "24h"
    assert told["region:jeju"]["data"]["tags"] == []
