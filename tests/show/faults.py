"""The kinds of faults that were found and mended: one line a kind, its tests and what they saw.

A test belongs to a kind by `@pytest.mark.fault(7)`; `record_property("seen", "…")` in it adds a
value to the line.
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import cache, partial
from pathlib import Path
from xml.etree import ElementTree

from tests.fuzz.first_bytes import PATIENCE, fuzz
from tests.show import Item, Verdict, attacks, returns

ROOT = Path(__file__).parents[2]

SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")

KINDS = {
    1: "one parser for each request",
    2: "a fault of one message ends no session",
    3: "what stock clients cannot decode enters no log",
    4: "one reading of forwarded addresses",
    5: "the old transport serves until the new one is confirmed",
    6: "one rule for origins at all doors",
    7: "Redis that answers but refuses counts as away",
    8: "refused or silent callers cost nothing",
    9: "production starts as the bench does",
    10: "what a store would refuse is refused at the door",
    11: "the time of a fact decides, not its arrival",
    12: "a late outcome touches only what it was sent to",
    13: "one cause counts once",
    14: "an answer is about the recipient, us, or the provider",
    15: "figures stay within the provider's range",
    16: "identity by normal form",
    17: "today's rules of domains, mail, links, circles and tokens",
    18: "what was told wrongly",
    19: "an end after which a client shall return",
    20: "base64 over polling as the official server takes it",
    21: "socketsLeave of others is obeyed",
    22: "timers of questions to other servers are bounded",
    23: "refusals and peers are named",
    24: "work that a packet starts is counted",
    25: "back-pressure holds for every road",
    26: "reserved names cannot be reached",
    27: "every connection has a deadline and a limit",
    28: "keys of different people never meet",
    29: "TLS to PostgreSQL verifies",
    30: "secrets, tokens and headers",
    31: "what dongne up started, it starts again",
}

INPUTS = {
    "five odd upgrades without a credential": ("test_an_odd_upgrade_is_answered_once_and_at_once",),
    "an event of eleven binary parts": (
        "test_what_stock_clients_cannot_decode_is_refused_with_a_code",
        "test_it_outlives_an_event_that_it_cannot_decode",
    ),
    "six sessions of one client behind four kinds of proxy": (
        "test_a_client_behind_a_proxy_is_counted_as_one",
    ),
    "half an emoji, a numeric name, a subprotocol, 70 query keys": (
        "test_half_an_emoji_comes_and_goes_whole",
        "test_numeric_names_of_javascript_are_names",
        "test_a_subprotocol_is_taken_as_the_official_server_takes_it",
        "test_any_number_of_query_keys",
    ),
    "upgrades that end with 5 at once or with 52": ("test_how_clients_end_an_upgrade",),
    "origins of native clients": ("test_both_transports_take_the_same_origins", "test_origins"),
    "a Redis that takes no writes": (
        "test_sockets_stay_and_the_hub_is_not_ready",
        "test_what_needs_no_redis_goes_on_and_the_rest_says_come_back",
    ),
    "one device over its rate": ("test_one_device_over_its_quota_stops_nobody_else",),
    "expiresAt beyond 28 days": ("test_no_time_to_live_is_over_four_weeks",),
    "a bounced address in other spellings": (
        "test_a_mailbox_that_is_none_is_left_alone_in_every_spelling",
    ),
    "long header lines, domains of IDNA 2008": (
        "test_lines_with_encoded_words_are_short",
        "test_domains_are_those_of_idna2008",
    ),
    "answers of 500": (
        "test_integers_over_64_bits",
        "test_times_that_have_no_utc",
        "test_a_device_token_over_what_the_index_takes",
        "test_bytes_that_are_not_utf_8_in_headers",
        "test_a_fact_that_comes_again_under_a_new_event_id_is_a_duplicate",
        "test_a_list_is_refused_whole_for_its_forms",
    ),
    "older news after newer, impossible times of answers": (
        "test_an_older_update_overwrites_nothing_newer",
        "test_registration_after_an_update_keeps_it_and_welcomes_once",
        "test_an_answer_of_an_impossible_year_is_refused",
    ),
    "labels, normal forms, links, longitude 180, endless tokens": (
        "test_nothing_a_caller_chooses_becomes_a_label",
        "test_one_word_in_any_normal_form_finds_its_questions",
        "test_an_id_is_one_segment_of_the_link",
        "test_somebody_beyond_the_antimeridian_is_as_near_as_anybody",
        "test_times_are_finite_numbers",
        "test_a_token_begins_at_nbf",
        "test_a_name_that_no_store_takes_is_no_name",
    ),
    "a gzip bomb of 0.9 MB": ("test_a_refused_caller_s_gzip_is_not_inflated",),
    "a broken APNs key, a key of another project": (
        "test_a_broken_apns_key_leaves_our_bearer_alone",
        "test_a_key_of_another_project_costs_no_device_and_is_told_once",
    ),
}
"""What failed once, in the words of whoever tried it, and the tests that hold the right value."""


@cache
def _run() -> dict[int, list[tuple[str, bool, str]]]:
    """All marked tests: by number, each test's name, whether it passed, what it saw."""
    found: dict[int, list[tuple[str, bool, str]]] = defaultdict(list)
    for case in [*_cases("fault and not story", *SIDE_BY_SIDE), *_cases("fault and story")]:
        properties = [(p.get("name"), p.get("value", "")) for p in case.iter("property")]
        seen = " ".join(value for name, value in properties if name == "seen")
        passed = not any(case.find(end) is not None for end in ("failure", "error", "skipped"))
        for name, value in properties:
            if name == "fault":
                found[int(value)].append((case.get("name", ""), passed, seen))
    return found


def _cases(marked: str, *arguments: str) -> list[ElementTree.Element]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-m",
                marked,
                f"--junitxml={report}",
                "-o",
                "junit_family=xunit1",  # the one that holds what a test has seen
                *arguments,
            ],
            cwd=ROOT,
            env={**os.environ},
            capture_output=True,
            check=False,
        )
        return list(ElementTree.parse(report).iter("testcase"))


def kind(number: int) -> Verdict:
    tests = _run().get(number, [])
    failed = [name for name, passed, _ in tests if not passed]
    names = sorted({name.partition("[")[0] for name, _, _ in tests})
    seen = "; ".join(dict.fromkeys(seen for _, _, seen in tests if seen))
    said = f"{len(tests)} tests ({', '.join(names)}) {seen}".strip()
    return Verdict(bool(tests) and not failed, said + "".join(f" FAILED {f}" for f in failed))


def inputs() -> Verdict:
    cases: dict[str, list[bool]] = defaultdict(list)
    for tests in _run().values():
        for name, passed, _ in tests:
            cases[name.partition("[")[0]].append(passed)
    wrong = [
        f"{said} ({test})"
        for said, tests in INPUTS.items()
        for test in tests
        if not cases[test] or not all(cases[test])
    ]
    count = sum(len(cases[test]) for tests in INPUTS.values() for test in tests)
    figures = f"{len(INPUTS)} inputs, {count} cases, wrong={'; '.join(wrong) or 'none'}"
    return Verdict(not wrong, figures)


async def first_bytes(count: int = 100_000, seed: int = 20261126) -> Verdict:
    report = await fuzz(count, seed)
    figures = f"heads={report.inputs} (each sent twice) in {report.seconds:.0f} s, "
    figures += f"p99={report.p99 * 1000:.0f}ms max={max(report.waited) * 1000:.0f}ms, "
    figures += f"endings={dict(report.endings)}, wrong={report.wrong or 'nothing'}"
    return Verdict(not report.wrong and max(report.waited) <= PATIENCE, figures)


ITEMS = [
    *(Item(f"1.{number}", title, partial(kind, number)) for number, title in KINDS.items()),
    Item("2", "inputs that failed once", inputs),
    Item("3", "a hub under each attack, as its users see it", attacks.measure),
    Item("4", "100,000 heads through the listening socket", first_bytes),
    Item("5", "clients of four languages come back", returns.show),
]
