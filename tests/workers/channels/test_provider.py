"""The table of providers: who is there, who serves whom, what is loaded."""

import subprocess
import sys
from importlib import import_module

import pytest

from hub.domain.rules.kinds import Channel
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.product import Channels
from hub.plumbing.settings.settings import Settings
from tests.conftest import SECRETS
from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from tests.workers.channels.conftest import push, to
from workers.channels.outcome import Sent
from workers.channels.provider import Providers, open_providers
from workers.channels.table import PROVIDERS


async def opened(life: Lifecycle, **environ: str) -> Providers:
    settings = Settings.load(
        {
            "APP_ENV": "test",
            "DATABASE_URL": "postgres://localhost/none",
            "REDIS_URL": "redis://localhost",
            "PUBLIC_BASE_URL": "https://dongne.example",
            **SECRETS,
            **environ,
        }
    )
    return await open_providers(life, settings.channels)


async def test_without_credentials_nobody_is_there() -> None:
    life = Lifecycle()
    providers = await opened(life)
    assert list(providers) == []
    assert not providers.has(Channel.PUSH)
    assert providers.serving(Channel.PUSH, to("device-1")) is None
    assert providers.timeout_s(Channel.PUSH) == 0
    with pytest.raises(LookupError):
        providers.named("fcm")
    await life.close()


async def test_each_is_there_by_its_own_settings(fcm: FakeFcm, smtp: FakeSmtp) -> None:
    life = Lifecycle()
    providers = await opened(
        life,
        FCM_CREDENTIALS_FILE=str(fcm.credentials_file),
        FCM_URL=fcm.url,
        SMTP_URL=smtp.url,
        MAIL_FROM="no-reply@dongne.example",
        PUSH_TIMEOUT="1000",
        MAIL_TIMEOUT="2000",
    )
    assert {one.row.name for one in providers} >= {"fcm", "smtp"}
    assert (providers.timeout_s(Channel.PUSH), providers.timeout_s(Channel.EMAIL)) == (1.0, 2.0)
    phone = to("device-1")
    found = providers.serving(Channel.PUSH, phone)
    assert found is providers.named("fcm")
    assert isinstance(await found.send(phone, push()), Sent)
    assert fcm.received[0]["token"] == "device-1"
    assert providers.serving(Channel.PUSH, to("browser", "web")) is None
    assert providers.serving(Channel.EMAIL, to("a@b.example", "", "")) is providers.named("smtp")
    await life.close()


def test_a_row_has_a_folder_and_its_needs_are_settings() -> None:
    for row in PROVIDERS:
        assert row.channel in Channel
        assert row.needs, f"{row.name} would be there without credentials"
        assert set(row.needs) <= set(Channels.model_fields)
        for name in ("sender", "message", "answers"):
            import_module(f"workers.channels.{row.name}.{name}")


def test_a_providers_library_is_loaded_only_where_it_is_configured() -> None:
    code = (
        "import sys, workers.channels.provider\n"
        "print([m for m in sys.modules if m.startswith('workers.channels.') and m.count('.') > 2])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
