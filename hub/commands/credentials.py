"""Where the hub of a development machine is and a key for it, so that scripts can start at once."""

import os
from pathlib import Path
from typing import Final

import orjson

NAME: Final = "credentials.json"
"""In EMBEDDED_DIR."""


def write(directory: Path, url: str, key: str, redis: str | None, catcher: str | None) -> None:
    """Put them where scripts look (mode 0600). The key may do everything: in development only."""
    content = {"url": url, "serviceKey": key, "redisUrl": redis, "catcherUrl": catcher}
    path = directory / NAME
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    fresh.replace(path)


def redis_url(directory: Path) -> str:
    """Of the hub that runs there. Raises OSError or ValueError where none does."""
    found = orjson.loads((directory / NAME).read_bytes())
    if isinstance(found, dict) and isinstance(url := found.get("redisUrl"), str):
        return url
    raise ValueError("no redisUrl")
