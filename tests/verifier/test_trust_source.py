"""Where the service has its trust store from: refreshed by itself, or by another process."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from chopmark.errors import FormatError
from chopmark.trust_store import TrustStore
from chopmark_verifier.service import make_application
from chopmark_verifier.service_settings import VerifierSettings, read_settings
from chopmark_verifier.trust_source import WatchedFolder, open_trust_source

from specs.vectors.sample_world import NOW
from tests.ledger.asgi import ask, running
from tests.sdk.published_server import serving


async def until(condition: Any) -> None:
    """Poll until it holds; fails at the deadline."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        await asyncio.sleep(0.01)


def test_a_newer_bundle_is_taken_while_another_source_is_away(out: Any) -> None:
    bundle = out.world.home.bundle(at=NOW)
    published = {
        "root/1.note": out.world.home.root_epoch,
        "bundle.note": bundle,
        "bundle.tlog-proof": out.world.home.log_bundle(bundle, at=NOW),
    }

    async def scenario(home: str, away: str) -> None:
        settings = VerifierSettings(trust=out.trust, source=(f"CN-SH={home}", f"CN-GD={away}"), image_processes=1)
        application = make_application(
            settings, open_trust=lambda told: open_trust_source(told, clock=out.clock), clock=out.clock
        )
        async with running(application):
            trust = application.state.service.trust
            before = trust.store.bundle("CN-SH").seq
            await until(lambda: trust.status().rounds)
            found = (await ask(application, "GET", "/status")).json()
            regions = {each["region"]: each for each in found["regions"]}
            assert regions["CN-SH"]["seq"] == before + 1
            refreshed = {each["region"]: each for each in found["refresh"]["regions"]}
            assert refreshed["CN-SH"]["changed"] == NOW
            assert (refreshed["CN-GD"]["reached"], refreshed["CN-GD"]["problems"] > 0) == (None, True)
            assert away not in json.dumps(found)
            assert (await ask(application, "GET", "/readyz")).status == 200

    with serving(published, {}) as (home, away):
        url = away.url
        away.close()
        asyncio.run(scenario(home.url, url))


def test_what_another_process_puts_is_taken_and_what_it_breaks_is_not(out: Any) -> None:
    folder = WatchedFolder(TrustStore.open(out.trust, roots=out.world.home.roots))
    first = folder.store
    folder.look()
    assert folder.store is first
    bundle = out.world.home.bundle(at=NOW)
    out.store.put_bundle(bundle, out.world.home.log_bundle(bundle, at=NOW), now=NOW)
    folder.look()
    assert folder.store.home.seq == first.home.seq + 1
    second = folder.store
    (out.trust / "store.json").write_text("{")
    folder.look()
    assert folder.store is second


@pytest.mark.parametrize(
    "flags",
    [
        {"source": ("CN-GD",)},
        {"source": ("CN-GD=ftp://a.example/",)},
        {"source": ("CN-GD=https://a.example/", "CN-GD=https://b.example/")},
        {"key": "inspector.key"},
        {"records": "records"},
        {"clients": "clients.json"},
        {"port": 70_000},
        {"recrods": "records"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        read_settings({"trust": "trust", **flags})


def test_settings_come_from_flags_the_environment_and_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "verifier.toml"
    config.write_text('trust = "store"\nsource = ["CN-GD=https://a.example/"]\nport = 1\n')
    monkeypatch.setenv("CHOPMARK_VERIFIER_PORT", "2")
    monkeypatch.setenv("CHOPMARK_VERIFIER_LOG_LEVEL", "debug")
    settings = read_settings({"log_level": "error"}, config=config)
    assert (settings.trust, settings.port, settings.log_level) == (tmp_path / "store", 2, "error")
    assert settings.sources() == {"CN-GD": "https://a.example/"}
    monkeypatch.setenv("CHOPMARK_VERIFIER_SOURCE", "CN-GD=https://b.example/ CN-SH=https://c.example/")
    settings = read_settings({}, config=config)
    assert settings.sources() == {"CN-GD": "https://b.example/", "CN-SH": "https://c.example/"}
