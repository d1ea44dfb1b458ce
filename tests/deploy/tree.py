"""Where the files of `deploy` are, and one check that all platforms share: their environment."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from hub.plumbing.settings.settings import Settings, variables

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MORE_PATH = f"/usr/sbin:{Path.home()}/go/bin"
"""Where Debian keeps servers, and Go what it has built, both left out of a user's PATH."""


def program(name: str) -> str | None:
    """Its path, or None where this machine has none; a test that needs it is then skipped."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{MORE_PATH}")


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def settings_of(environment: Mapping[str, object], folder: Path) -> Settings:
    """What a role reads there, where every platform has the same names (S4-01).

    Secrets that the platform mounts stand in `folder` instead. Raises AssertionError for a name
    that no setting has, SettingsError where a role would refuse to start.
    """
    rows = {name: row for row in variables() for name in (row.name, *row.aliases)}
    values: dict[str, str] = {}
    for name, value in environment.items():
        if name.startswith("PYTHON"):
            continue
        of_file = name.removesuffix("_FILE")
        if name in rows:
            values[name] = str(value)
        elif of_file in rows:
            assert rows[of_file].secret, f"{name}: only a secret is read from a file"
            path = folder / of_file
            path.write_text(example_secret(of_file))
            values[name] = str(path)
        else:
            raise AssertionError(f"{name} is no setting of the hub")
    return Settings.load(values)


def example_secret(name: str) -> str:
    """A value of the right form for each secret that a platform holds."""
    urls = {
        "DATABASE_URL": "postgresql://dongne:x@database:5432/dongne",
        "DATABASE_DIRECT_URL": "postgresql://dongne:x@database:5432/dongne",
        "REDIS_URL": "redis://:x@redis:6379/0",
        "SMTP_URL": "smtp://mail:587",
    }
    found = urls.get(name, name.lower() + "-" + "x" * 40)
    assert name not in urls or urlsplit(found).hostname
    return found
