"""DB_SHARDS: one text for every installation, read strictly."""

import pytest

from hub.plumbing.settings.settings import SettingsError
from tests.hub.plumbing.settings.test_settings import load

SHARDS = '{"jeju": {"url": "postgresql://u:p@a/hub"}, "busan": {"url": "postgresql://u:p@b/hub"}}'


@pytest.mark.parametrize("ours", ["a", "b"])
def test_one_text_of_shards_serves_every_installation(ours: str) -> None:
    """Whose URL names the database of DATABASE_URL is ours, whoever signs in there."""
    settings = load(
        DB_SHARDS=SHARDS, DATABASE_URL=f"postgresql://me@{ours}:5432/hub?sslmode=disable"
    )
    assert list(settings.database.shard_urls) == [{"a": "busan", "b": "jeju"}[ours]]
    assert "u:p" not in repr(settings) + repr([value for _, value, _ in settings.in_force()])


@pytest.mark.parametrize(
    "text",
    [
        "busan",
        "[]",
        '{"busan": "postgresql://b/hub"}',
        '{"busan": {"url": "mysql://b/hub"}}',
        '{"busan": {"url": "postgresql://b"}}',
        '{"busan": {"url": "postgresql://b/hub", "active": "yes"}}',
        '{"busan": {"url": "postgresql://b/hub", "redis": "r"}}',
        '{"default": {"url": "postgresql://b/hub"}}',
        '{"Busan!": {"url": "postgresql://b/hub"}}',
    ],
)
def test_shards_that_cannot_be_read_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="DB_SHARDS: "):
        load(DB_SHARDS=text)


def test_what_no_region_holds_needs_an_active_database() -> None:
    with pytest.raises(SettingsError, match="DEFAULT_REGION: must be active"):
        load(DB_SHARDS='{"jeju": {"url": "postgresql://b/hub", "active": false}}')
