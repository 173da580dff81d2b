"""What the commands do: words of the command line in, acts of the registry, a few lines out."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

from chopmark.cli.passphrase import read_passphrase
from chopmark.cli.plain_text import plain
from chopmark.durable_file import read_file
from chopmark.errors import FormatError, StorageError
from chopmark.licence_type import LocalisedText
from chopmark.strict import time_encode
from rich.console import Console
from rich.table import Table

from chopmark_issuer.catalogue.catalogue import CatalogueType, type_in_use
from chopmark_issuer.catalogue.departments import Actor, grants
from chopmark_issuer.catalogue.terms import calendar_day, day_begins, read_day
from chopmark_issuer.commands.command_words import describe_fields, read_fields, read_holders, read_public_key
from chopmark_issuer.errors import AuthorityError, RefusedError
from chopmark_issuer.importing.import_folder import refused_path, run_under_way
from chopmark_issuer.importing.import_history import import_runs
from chopmark_issuer.importing.import_progress import BarProgress, PlainProgress
from chopmark_issuer.importing.importing import Importer, ImportReport
from chopmark_issuer.licences.records import StoredCredential, histories
from chopmark_issuer.licences.requests import Amendment, IssuedVersion, IssueRequest
from chopmark_issuer.lifecycle import Act
from chopmark_issuer.publishing.region_log import LogService, enrolment
from chopmark_issuer.qr import draw_credential
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.service.service_settings import DATABASE
from chopmark_issuer.settings import Settings

_MAX_FILE = 1024 * 1024
_SHOWN = 20
"""Refused rows that are printed; the file of refused rows has all."""
_TOLD = "inspectors learn of it with the next publication, a service's or that of: chopmark issuer publish"


class Office:
    """One command at work on one registry."""

    def __init__(self, data: Path, passphrase_file: Path | None) -> None:
        self._data = data
        self._passphrase_file = passphrase_file
        self._console = Console(highlight=False, soft_wrap=True)

    def init(
        self,
        region: str,
        names: tuple[str, str],
        witnesses: Sequence[Path],
        *,
        host: str | None,
        quorum: int | None,
        roots: int,
        threshold: int,
        service: tuple[str, Sequence[str], int, Path] | None,
        database: str | None,
    ) -> None:
        """Make a region; `service` is the URL of a served log, its vkeys, its number and the file of its policy."""
        if database is not None:
            DATABASE.check_can_keep(self._data, database)
        log_service = None
        if service is not None:
            url, vkeys, number, policy = service
            log_service = LogService(url, tuple(vkeys), _read_text(policy), number)
        plan = RegionPlan(region, LocalisedText(*names), tuple(witnesses), host, quorum, roots, threshold, log_service)
        with Region.create(replace(self._settings, database_url=database or self._database), plan) as made:
            if database is not None:
                DATABASE.keep(self._data, database)
            self._say(f"{made.region}: log {made.origin}, {roots} root keys, {threshold} must sign")
            for vkey in made.log.vkeys:
                self._say(f"vkey {vkey}")
            self._tell_enrolment(made)

    def log_client(self) -> None:
        """Tell how the operator of the region's log enrols this registry."""
        with Region.open(self._without_keys) as region:
            if region.log.url is None:
                raise RefusedError("the log runs in the registry's own process: there is nothing to enrol", where="log")
            self._tell_enrolment(region)

    def add_department(self, department: str, names: tuple[str, str]) -> None:
        """Enrol a department."""
        with self._region() as region:
            region.add_department(department, LocalisedText(*names))
            for key in region.keys_of(department):
                self._say(f"{key.use.value} key {key.kid}")

    def add_type(self, file: Path) -> None:
        """Take a licence type into the catalogue."""
        with self._region() as region:
            entry = region.add_type(_read(file), where=str(file))
            self._say(f"{entry.type.vct}: {plain(entry.type.name.zh_hans)}, {plain(entry.type.name.en)}")

    def grant(self, department: str, type_id: str, *, until: str | None, end: bool) -> None:
        """Grant a type to a department, or end that."""
        with self._region() as region:
            if end:
                region.end_grant(department, type_id)
                self._say(f"{department} may issue {type_id} no more; {_TOLD}")
                return
            last = None
            if until is not None:
                with region.database.reading() as connection:
                    zone = type_in_use(connection, type_id).zone
                last = day_begins(read_day(until, where="until") + timedelta(days=1), zone)
            region.grant(department, type_id, valid_until=last)
            end_of_it = "from now on" if until is None else f"until {until}"
            self._say(f"{department} may issue {type_id} {end_of_it}; {_TOLD}")

    def peer(self, other: Path, floor: Path | None) -> None:
        """Take another region as a peer."""
        text = None if floor is None else _read_text(floor)
        with self._region() as region:
            code = region.add_peer(other, floor=text)
            self._say(f"{code} is a peer of {region.region}; {_TOLD}")

    def issue(
        self,
        type_id: str,
        department: str | None,
        *,
        fields: Sequence[str],
        holders: Sequence[str],
        holder_codes: Sequence[str],
        holder_keys: Sequence[str],
        days: tuple[str, str | None],
        number: str | None,
        serial: str | None,
    ) -> None:
        """Issue one licence."""
        with self._region() as region:
            with region.database.reading() as connection:
                licence_type = type_in_use(connection, type_id)
            request = IssueRequest(
                type_id=type_id,
                fields=read_fields(licence_type, fields),
                holders=read_holders(holders, holder_codes),
                first_day=read_day(days[0], where="first day"),
                last_day=None if days[1] is None else read_day(days[1], where="last day"),
                holder_keys=tuple(read_public_key(text) for text in holder_keys),
                serial=serial,
                number=number,
            )
            actor = _actor(region, type_id, department)
            self._tell(region.registry.issue(actor, request, at=region.clock()))

    def renew(self, number: str, type_id: str | None, fields: Sequence[str], days: tuple[str, str | None]) -> None:
        """Renew a licence."""
        last_day = None if days[1] is None else read_day(days[1], where="last day")
        amendment = Amendment(first_day=read_day(days[0], where="first day"), last_day=last_day)
        self._amend(number, type_id, fields, amendment, renews=True)

    def change(self, number: str, type_id: str | None, fields: Sequence[str]) -> None:
        """Change a licence."""
        self._amend(number, type_id, fields, Amendment(), renews=False)

    def record(
        self, act: str, number: str, type_id: str | None, effective_from: str | None, reason: str | None
    ) -> None:
        """Suspend, return, revoke, withdraw, annul or close a licence."""
        with self._region() as region:
            actor, licence_type = _owner(region, number, type_id)
            begin = None
            if effective_from is not None:
                begin = day_begins(read_day(effective_from, where="effective from"), licence_type.zone)
            state = region.registry.record(
                actor,
                number,
                Act(act),
                at=region.clock(),
                effective_from=begin,
                reason=reason,
                type_id=licence_type.type.id,
            )
            self._say(f"{plain(number)}: {state.value}; inspectors learn it with the next publication")

    def import_file(
        self, file: Path, type_id: str, mapping: Path, department: str | None, *, dry: bool, hold_back: bool
    ) -> None:
        """Import a file, or find out what importing it would do, which needs no key."""
        shown = Console(stderr=True, highlight=False, soft_wrap=True)
        settings = self._without_keys if dry else self._settings
        with Region.open(settings) as region:
            importer = Importer(region.database, region.keys, region.settings.imports, clock=region.clock)
            told = (
                BarProgress(shown, time.monotonic)
                if shown.is_terminal
                else PlainProgress(lambda line: shown.print(line, markup=False), time.monotonic)
            )
            gc.freeze()  # a sixth of the time would go into looking through all that was loaded, again and again
            with told as progress:
                report = importer.run(
                    _actor(region, type_id, department),
                    file,
                    type_id=type_id,
                    mapping_data=_read(mapping),
                    mapping_name=str(mapping),
                    progress=progress,
                    dry=dry,
                    hold_back=hold_back,
                )
        self._tell_import(report, dry=dry)

    def imports(self, limit: int) -> None:
        """List the imports, newest first; no key is needed for that."""
        with Region.open(self._without_keys) as region:
            with region.database.reading() as connection:
                runs = import_runs(connection, limit=limit)
            folder = region.settings.imports
            under_way = run_under_way(folder)
        for run in runs:
            ended = run.finished_at is not None
            state = "finished" if ended else "under way" if run.id == under_way else "interrupted"
            done = ", ".join(f"{count} {name}" for name, count in asdict(run.counts).items())
            began = f"{run.id}  {time_encode(run.started_at)}  {plain(run.file_name)}  {run.type_id}"
            self._say(f"{began}  {state}, {run.rows} rows: {done}")
            path = refused_path(folder, run.file_name, run.id)
            if path.is_file():
                self._say(f"    refused rows: {path}")

    def publish(self, witness_passphrase_file: Path | None, patience: float) -> int:
        """Publish; answers how many things could not be published."""
        settings = replace(self._settings, log_patience=patience)
        if witness_passphrase_file is not None:
            settings = replace(settings, witness_passphrase=read_passphrase(witness_passphrase_file))
        with Region.open(settings) as region:
            done = region.publish()
        self._say(f"entries sent: {done.entries}, in the log: {done.size}, status lists signed: {done.status_lists}")
        if done.bundle is not None:
            self._say(f"trust bundle {done.bundle} signed")
        for origin in done.vouched:
            self._say(f"landmarks of {origin} vouched for")
        self._say(f"files changed in {settings.public}: {len(done.files)}")
        for problem in done.problems:
            self._say(f"! {plain(problem)}")
        return len(done.problems)

    def show(self, number: str, type_id: str | None) -> None:
        """Show a licence; no key is needed for that."""
        with Region.open(self._without_keys) as region:
            licence, versions = region.registry.licence(number, type_id=type_id)
            with region.database.reading() as connection:
                licence_type = type_in_use(connection, licence.type_id)
                history = histories(connection, [licence.id])[licence.id]
            stored = region.registry.credentials(versions[-1].number, type_id=licence.type_id)
        self._say(f"{plain(licence_type.type.name.zh_hans)} · {plain(licence_type.type.name.en)} ({licence.type_id})")
        self._say(f"{licence.state.value}, of {licence.department}")
        table = Table("version", "number", "issued", "from", "to", box=None)
        for version in versions:
            last = "no end" if version.last_day is None else str(calendar_day(version.last_day))
            days = (str(calendar_day(version.issued_on)), str(calendar_day(version.first_day)), last)
            table.add_row(str(version.version), plain(version.number), *days)
        self._console.print(table)
        acts = Table("act", "version", "has effect from", "learned", box=None)
        for act in history.acts:
            times = (time_encode(act.effective_from), time_encode(act.learned_at))
            acts.add_row(act.act.value, str(act.version), *times)
        self._console.print(acts)
        for name, value in describe_fields(licence_type, versions[-1].fields):
            self._say(f"{name}: {plain(value)}")
        for entry in stored:
            place = "not in the log yet" if entry.log_index is None else f"log entry {entry.log_index}"
            if entry.refused is not None:
                place = f"refused by the log: {plain(entry.refused)}"
            self._say(f"credential {entry.credential.digest.hex()[:16]}: {entry.status.name.lower()}, {place}")

    def qr(self, number: str, type_id: str | None, output: Path) -> None:
        """Draw a licence's QR code."""
        with self._region() as region:
            stored = _newest(region, number, type_id)
            picture = draw_credential(region.with_proofs(stored))
        _write(output, picture.png())
        self._say(f"{output}: QR version {picture.version}, {len(picture.text)} characters")

    def credential(self, number: str, type_id: str | None, output: Path) -> None:
        """Write a licence's credential for the holder's wallet."""
        with self._region() as region:
            stored = _newest(region, number, type_id)
            data = region.with_proofs(stored, tlog_proof=True).encode()
        _write(output, data)
        self._say(f"{output}: {len(data)} bytes")

    def _amend(
        self, number: str, type_id: str | None, fields: Sequence[str], amendment: Amendment, *, renews: bool
    ) -> None:
        with self._region() as region:
            actor, licence_type = _owner(region, number, type_id)
            amendment = replace(amendment, fields=read_fields(licence_type, fields))
            act: Callable[..., IssuedVersion] = region.registry.renew if renews else region.registry.change
            self._tell(act(actor, number, amendment, at=region.clock(), type_id=licence_type.type.id))

    @property
    def _settings(self) -> Settings:
        return replace(self._without_keys, passphrase=read_passphrase(self._passphrase_file))

    @property
    def _without_keys(self) -> Settings:
        return Settings(self._data, b"", database_url=self._database)

    @property
    def _database(self) -> str | None:
        return DATABASE.of(self._data)

    def _region(self) -> Region:
        return Region.open(self._settings)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)

    def _tell_enrolment(self, region: Region) -> None:
        key = region.log_client_key
        if key is None:
            return
        jwk, command = enrolment(region.region, key)
        self._say(f"The log at {region.log.url} must know this registry. Give its operator this key:")
        self._say(jwk)
        self._say("and this command, to run with that key as its input, LOG_DATA being the data folder of the log:")
        self._say(command)

    def _tell(self, issued: IssuedVersion) -> None:
        count = len(issued.credentials)
        self._say(f"{plain(issued.number)}: version {issued.version}, {count} credential{'s' if count > 1 else ''}")

    def _tell_import(self, report: ImportReport, *, dry: bool) -> None:
        self._say(
            f"{report.rows} rows of {report.licences} licences: {report.issued} issued, {report.changed} changed, "
            f"{report.unchanged} unchanged, {report.refused} refused"
        )
        if dry:
            self._say("a dry run: that is what an import would do; nothing was written into the registry")
        for refusal in report.refusals[:_SHOWN]:
            self._say(f"row {refusal.number}, {plain(refusal.column)}: {refusal.reason}")
        if report.refused_file is not None:
            self._say(f"all refused rows, with the reasons: {report.refused_file}")


def _actor(region: Region, type_id: str, department: str | None) -> Actor:
    if department is None:
        with region.database.reading() as connection:
            held = [grant for grant in grants(connection) if grant.licence_type == type_id]
        able = sorted({grant.issuer for grant in held if grant.covers(region.clock())})
        if len(able) != 1:
            raise AuthorityError(
                f"{len(able) or 'no'} departments hold a grant for {type_id}",
                where="department",
                remedy="Name one: --department ID" if able else "The region grants types: chopmark issuer grant",
            )
        department = able[0]
    return region.actor(department)


def _owner(region: Region, number: str, type_id: str | None) -> tuple[Actor, CatalogueType]:
    """The department whose licence it is, and the licence's type."""
    licence, _ = region.registry.licence(number, type_id=type_id)
    with region.database.reading() as connection:
        licence_type = type_in_use(connection, licence.type_id)
    return region.actor(licence.department), licence_type


def _newest(region: Region, number: str, type_id: str | None) -> StoredCredential:
    """The newest credential of the version of that number that was not withdrawn."""
    stored = [entry for entry in region.registry.credentials(number, type_id=type_id) if entry.withdrawn_at is None]
    if not stored:
        raise RefusedError("every credential of the licence was withdrawn", where=number)
    return stored[-1]


def _read(path: Path) -> bytes:
    data = read_file(path, max_size=_MAX_FILE)
    if data is None:
        raise StorageError("there is no such file", where=str(path))
    return data


def _read_text(path: Path) -> str:
    try:
        return _read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("not UTF-8", where=str(path)) from error


def _write(path: Path, data: bytes) -> None:
    """Write a holder's file, readable by the owner only."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise StorageError(f"it cannot be written: {error.strerror}", where=str(path)) from error
