"""A region whose log another process serves, from the registry's first batch to the inspector of a peer."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chopmark import qr_text
from chopmark.checkpoint import Checkpoint
from chopmark.cli.trust import folder_reader
from chopmark.landmark import LandmarkFile
from chopmark.licence_type import LocalisedText
from chopmark.refresh import refresh
from chopmark.root_epoch import Roots
from chopmark.tlog_policy import TlogPolicy
from chopmark.trust_store import TrustStore
from chopmark.verdict import Outcome
from chopmark.verifier import Verifier
from chopmark_issuer.commands.issuer_commands import issuer
from chopmark_issuer.errors import RefusedError
from chopmark_issuer.licences.requests import IssuedVersion
from chopmark_issuer.publishing import vouching
from chopmark_issuer.publishing.peers import WatchedLog, peer_logs
from chopmark_issuer.publishing.region_log import LogService, client_name
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_ledger.commands.log_commands import log as log_commands
from chopmark_ledger.errors import LogUnreachableError, NotPublishedError, UnauthenticatedError
from chopmark_ledger.service.log_clients import add_client, make_client, remove_client
from typer.testing import CliRunner

from tests.issuer.conftest import FOOD, MARKETS, PASSPHRASE, food_request, type_definition
from tests.ledger.served_log import CHEAP, ServedLog, until
from tests.ledger.served_log import PASSPHRASE as WITNESS_PASSPHRASE

SAMPLE = LocalisedText("示例", "Sample")


@dataclass
class Served:
    """A log that a process serves, with two witnesses, and the registry of CN-GD that writes to it."""

    log: ServedLog
    region: Region

    def enrol(self, region: str | None = "CN-GD", issuers: tuple[str, ...] = ()) -> None:
        """Let the registry write to the log."""
        key = self.region.log_client_key
        assert key is not None
        add_client(self.log.data, make_client(client_name("CN-GD", key), [key], issuers, region), replace=True)

    def issue(self) -> IssuedVersion:
        today = datetime.now(UTC).date()
        request = food_request(first_day=today - timedelta(days=2), last_day=today + timedelta(days=300))
        return self.region.registry.issue(self.region.actor(MARKETS), request, at=self.region.clock())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    log = ServedLog(folder / "log")
    with closing(log):
        log.set_up()
        log.start()
        plan = RegionPlan("CN-GD", SAMPLE, log_service=service(log))
        settings = Settings(folder / "cn-gd", PASSPHRASE, CHEAP, log_patience=30)
        with Region.create(settings, plan) as region:
            region.add_department(MARKETS, SAMPLE)
            region.add_type(json.dumps(type_definition(FOOD)).encode())
            region.grant(MARKETS, FOOD)
            made = Served(log, region)
            made.enrol()
            yield made


@pytest.fixture(scope="module")
def peer(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """CN-SH, whose log runs in its registry's process; each is the other's peer."""
    served.region.publish()
    settings = Settings(
        tmp_path_factory.mktemp("peer") / "cn-sh", PASSPHRASE, CHEAP, witness_passphrase=WITNESS_PASSPHRASE
    )
    plan = RegionPlan("CN-SH", SAMPLE, (served.log.witnesses[1].folder,))
    with Region.create(settings, plan) as region:
        region.publish()
        region.add_peer(served.region.settings.data)
        served.region.add_peer(settings.data)
        yield region


def service(log: ServedLog) -> LogService:
    return LogService(log.url, (log.keys.vkey, log.keys.pq_vkey), log.policy)


def test_a_licence_goes_into_the_served_log_and_verifies_in_the_other_region(
    served: Served, peer: Region, tmp_path: Path
) -> None:
    issued = served.issue()
    published = served.region.publish()
    assert published.problems == ()
    assert published.entries >= 3
    assert peer.publish().problems == ()
    pin = (peer.settings.public / "root" / "1.note").read_bytes()
    store = TrustStore.create(tmp_path / "trust", roots=Roots.pin(pin))
    now = int(time.time())
    store.put_root("CN-SH", pin, now=now)
    for region in (peer, served.region, peer):
        done = refresh(store, region.region, folder_reader(region.settings.public), now=now)
    assert not done.problems
    stored = served.region.registry.credentials(issued.number)[0]
    credential = served.region.with_proofs(stored)
    assert credential.landmark_proof is not None
    verdict = Verifier(store).verify(qr_text.encode(credential.encode()))
    assert verdict.outcome is Outcome.VALID, verdict.checks
    wallet = served.region.with_proofs(stored, tlog_proof=True)
    assert wallet.tlog_proof is not None
    assert len(wallet.encode()) < 8192


def test_publishing_again_changes_nothing(served: Served) -> None:
    served.region.publish()
    size = published_size(served)
    again = served.region.publish()
    assert (again.entries, again.bundle, again.files) == (0, None, ())
    assert published_size(served) == size


def published_size(served: Served) -> int:
    note = served.region.ledger.checkpoint()
    assert note is not None
    return Checkpoint.parse(note).size


def test_a_peers_landmarks_are_recomputed_from_the_url_that_its_bundle_names(served: Served, peer: Region) -> None:
    assert not served.region.settings.log.exists(), "nothing of the log is in the registry's folder"
    with peer.database.reading() as connection:
        (watched,), problems = peer_logs(connection, at=peer.clock())
    assert (watched.place, problems) == (served.log.url, [])
    served.issue()
    served.region.publish()
    assert served.region.origin in peer.publish().vouched
    vouched = (peer.settings.public / "landmarks" / "CN-GD" / "1.landmarks").read_bytes()
    assert vouched == (served.log.public / "landmarks").read_bytes()[: len(vouched)]
    assert len(LandmarkFile.parse(vouched)) > 0


def test_a_peer_whose_log_is_away_or_too_slow_is_told_and_holds_up_nothing(
    served: Served, peer: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = (TlogPolicy.parse(served.region.policy),)
    own = WatchedLog("CN-SH", 1, peer.origin, peer.settings.log / "public", (TlogPolicy.parse(peer.policy),))
    away = WatchedLog("CN-GD", 1, served.region.origin, "http://127.0.0.1:9", policies)
    assert "cannot be fetched" in vouching.vouch(peer.database, peer.settings.vouched, own, [away]).problems[0]
    monkeypatch.setattr(vouching, "_MAX_SECONDS", -1)
    slow = replace(away, place=served.log.url)
    assert "not there after" in vouching.vouch(peer.database, peer.settings.vouched, own, [slow]).problems[0]
    with pytest.raises(LogUnreachableError):
        vouching.vouch(peer.database, peer.settings.vouched, slow, [])


def test_a_missing_quorum_is_named_and_what_was_sent_is_published_once_it_is_back(served: Served) -> None:
    served.region.publish()
    before = (served.region.settings.public / "bundle.tlog-proof").read_bytes()
    issued = served.issue()
    served.log.witnesses[0].is_down = True
    impatient = replace(served.region.settings, log_patience=1)
    with Region.open(impatient) as region, pytest.raises(NotPublishedError) as caught:
        region.publish()
    assert "too few witnesses cosign: cn-sh.example/witness" in str(caught.value)
    assert "published by itself" in str(caught.value)
    assert (served.region.settings.public / "bundle.tlog-proof").read_bytes() == before
    index = served.region.registry.credentials(issued.number)[0].log_index
    assert index is not None, "it is in the log, durably"
    served.log.witnesses[0].is_down = False
    until(lambda: published_size(served) > index)
    assert "bundle.tlog-proof" in served.region.publish().files
    assert served.region.with_proofs(served.region.registry.credentials(issued.number)[0]).landmark_proof is not None


def test_entries_that_the_log_refuses_are_told_and_taken_once_it_lets_the_registry(served: Served) -> None:
    served.region.publish()
    served.enrol(region=None, issuers=("CN-GD/11440000006939748G",))  # that of another department
    problems: list[str] = []

    def refuses() -> bool:
        issued.append(served.issue())
        problems[:] = served.region.publish().problems
        return bool(problems)

    issued: list[IssuedVersion] = []
    until(refuses)  # the log looks at its list of clients now and then
    assert len(problems) == 1
    assert "the log refuses credential" in problems[0]
    assert f"may not add entries of {MARKETS}" in problems[0]
    stored = served.region.registry.credentials(issued[-1].number)[0]
    assert stored.refused is not None
    with pytest.raises(RefusedError, match="the log refuses the licence"):
        served.region.with_proofs(stored)
    served.enrol()
    until(lambda: served.region.publish().problems == ())
    assert served.region.registry.credentials(issued[-1].number)[0].log_index is not None


def test_a_registry_that_the_log_does_not_know_is_told_how_to_be_enrolled(served: Served) -> None:
    remove_client(served.log.data, client_name("CN-GD", served.region.log_client_key))
    try:
        with pytest.raises(UnauthenticatedError, match="chopmark issuer log-client"):
            until(lambda: send_one(served) < 0)
    finally:
        served.enrol()
    until(lambda: can_send(served.region))
    assert send_one(served) == 1
    assert served.region.send() == 0


def send_one(served: Served) -> int:
    served.issue()
    return served.region.send()


def can_send(region: Region) -> bool:
    """Whether the log knows the registry; it looks at its list of clients now and then."""
    try:
        region.send()
    except UnauthenticatedError:
        return False
    return True


def test_a_log_that_is_away_is_told_and_the_batch_is_sent_again(served: Served) -> None:
    served.issue()
    moved = replace(served.region.log, url="http://127.0.0.1:9")
    with Region.open(replace(served.region.settings, log_patience=0.1)) as region:
        region.log = moved
        with pytest.raises(LogUnreachableError, match="cannot be used"):
            region.publish()
    assert served.region.publish().problems == ()


def test_the_commands_make_a_region_with_a_served_log(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passphrase").write_text("correct horse\n")
    (tmp_path / "policy").write_text(served.log.policy)
    monkeypatch.setenv("CHOPMARK_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    monkeypatch.setenv("CHOPMARK_DATA", str(tmp_path / "data"))
    runner = CliRunner()
    names = ("--name-zh", "示例", "--name-en", "Sample", "--region", "CN-ZZ")
    words = ["init", str(tmp_path / "data"), *names, "--log-url", served.log.url, "--policy", str(tmp_path / "policy")]
    assert runner.invoke(issuer, words).exit_code == 2
    for vkey in service(served.log).vkeys:
        words += ["--log-vkey", vkey]
    made = runner.invoke(issuer, words)
    assert made.exit_code == 0, made.output
    jwk, command = (line for line in made.output.splitlines() if line.startswith(("{", "chopmark log add-client")))
    assert runner.invoke(issuer, ["log-client"]).output.splitlines()[-3] == jwk
    unknown = runner.invoke(issuer, ["publish", "--patience", "1"])
    assert unknown.exit_code == 3
    assert "chopmark issuer log-client" in unknown.output
    told = [str(served.log.data) if word == "LOG_DATA" else word for word in shlex.split(command)]
    assert runner.invoke(log_commands, told[2:], input=jwk).exit_code == 0
    until(lambda: runner.invoke(issuer, ["publish", "--patience", "20"]).exit_code == 0)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "either a --witness or a --log-url"),
        (("--log-vkey", "x"), "give its --log-url"),
        (("--log-url", "http://127.0.0.1:1", "--log-vkey", "x"), "needs --log-vkey and --policy"),
        (("--log-url", "http://127.0.0.1:1", "--witness", "x"), "stand in its --policy"),
    ],
)
def test_options_of_two_kinds_of_logs_do_not_mix(tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    names = ("--name-zh", "示例", "--name-en", "Sample", "--region", "CN-GD")
    result = CliRunner().invoke(issuer, ["init", str(tmp_path / "data"), *names, *words], env={"COLUMNS": "300"})
    assert (result.exit_code, text in result.output) == (2, True), result.output
    assert not (tmp_path / "data").exists()


def test_only_a_registry_of_a_served_log_has_something_to_enrol(peer: Region) -> None:
    result = CliRunner().invoke(issuer, ["log-client", "--data", str(peer.settings.data)])
    assert result.exit_code == 1
    assert "nothing to enrol" in result.output
