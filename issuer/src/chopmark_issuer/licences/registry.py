"""The registry: what a department does with licences, each act in one database transaction.

A transaction writes the licence, its version, its credentials with their status indexes, the act, and the outbox rows
that carry the credentials to the log, or nothing of them. Rights are checked inside it (`departments.check_authority`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from chopmark.credential import Credential, Usage
from chopmark.keys import PublicKey
from chopmark.licence_type import HolderBinding
from sqlalchemy import Connection, select, update

from chopmark_issuer.catalogue.catalogue import type_in_use
from chopmark_issuer.catalogue.departments import Actor, check_authority
from chopmark_issuer.catalogue.holders import checked_holders
from chopmark_issuer.catalogue.numbering import next_number
from chopmark_issuer.catalogue.terms import calendar_day, day_of
from chopmark_issuer.errors import FieldError, LifecycleError, NotFoundError, RefusedError
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.licences import records
from chopmark_issuer.licences.bulk_issue import issue_all
from chopmark_issuer.licences.issuing import (
    ActDraft,
    CredentialDraft,
    VersionDraft,
    check_binding,
    write_acts,
    write_credentials,
    write_versions,
)
from chopmark_issuer.licences.records import Licence, StoredCredential, Version, find_licence
from chopmark_issuer.licences.requests import Amendment, IssuedVersion, IssueRequest
from chopmark_issuer.licences.standing import check_clock, refresh_standing
from chopmark_issuer.lifecycle import Act, Standing, State, next_state, state_as_of
from chopmark_issuer.storage.database import Database
from chopmark_issuer.storage.models import CREDENTIAL, LICENCE


class Registry:
    """The acts of departments on licences. All times are POSIX seconds, given by the caller."""

    def __init__(self, database: Database, keys: KeyProvider, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self.database = database
        self._keys = keys
        self._random = random

    def issue(self, actor: Actor, request: IssueRequest, *, at: int) -> IssuedVersion:
        """Issue a licence.

        Raises:
            AuthorityError: the department may not issue this type.
            FieldError: a value that the type does not allow.
            ConflictError: the number is given away already.
            NotFoundError: no such type.
        """
        with self.database.writing() as connection:
            (outcome,) = issue_all(connection, self._keys, actor, [request], at=at, random=self._random)
            if isinstance(outcome, RefusedError):
                raise outcome
            return outcome

    def renew(
        self, actor: Actor, number: str, amendment: Amendment, *, at: int, type_id: str | None = None
    ) -> IssuedVersion:
        """Renew a licence: a new version for a new term, which supersedes the one of that number.

        Raises:
            LifecycleError: its state does not allow it, or the number is superseded already.
            RefusedError: and others as `issue`.
        """
        if amendment.first_day is None:
            raise FieldError("a renewal says from when it holds", where="first day")
        return self._amend(actor, number, amendment, Act.RENEW, at=at, type_id=type_id)

    def change(
        self, actor: Actor, number: str, amendment: Amendment, *, at: int, type_id: str | None = None
    ) -> IssuedVersion:
        """Change what a licence says: a new version from now on; its term stays unless the change names another.

        Raises:
            FieldError: the amendment says nothing.
            LifecycleError: its state does not allow it, or the number is superseded already.
            RefusedError: and others as `issue`.
        """
        return self._amend(actor, number, amendment, Act.CHANGE, at=at, type_id=type_id)

    def record(
        self,
        actor: Actor,
        number: str,
        act: Act,
        *,
        at: int,
        effective_from: int | None = None,
        reason: str | None = None,
        type_id: str | None = None,
    ) -> State:
        """Suspend, return, revoke, withdraw, annul or close the licence of that number; answers its state now.

        Args:
            effective_from: from when the act has effect, if not from now; the status list tells it from then on.
            reason: kept in the registry; it is not published.
            type_id: where licences of several types have that number.

        Raises:
            LifecycleError: the state of the licence does not allow it, or the number is superseded.
            AuthorityError: the licence is another department's, or the grant has ended.
            NotFoundError: there is no such licence.
        """
        if act.makes_version:
            raise RefusedError(f"{act.value} makes a new version", remedy="Use issue, renew or change")
        with self.database.writing() as connection:
            licence, versions = self._own(connection, actor, number, at, type_id)
            effective_from = at if effective_from is None else effective_from
            if effective_from < versions[0].term.begin:
                raise LifecycleError(
                    f"the licence begins on {calendar_day(versions[0].first_day)}, the act can not have effect before"
                )
            expected = next_state(_standing(connection, licence, at, day=min(at, effective_from)).state, act)
            due = effective_from <= at
            write_acts(
                connection,
                [ActDraft(licence.id, licence.current_version, act, at, effective_from, due, reason)],
            )
            reached = refresh_standing(connection, [licence.id], at=at)[licence.id].state
            if due and reached not in (expected, State.EXPIRED):
                raise LifecycleError(
                    f"dated so far back, it would leave the licence {reached.value}: something later overtakes it",
                    remedy="Give a later day from which it has effect",
                )
            return reached

    def add_credential(
        self,
        actor: Actor,
        number: str,
        *,
        holder_key: PublicKey | None,
        usage: Usage | None,
        at: int,
        type_id: str | None = None,
    ) -> Credential:
        """Sign one more credential for the version in force: another device, an agent, a copy, the paper form.

        Raises:
            FieldError: a bearer credential of a bound licence that is not for paper.
            RefusedError: and others as `issue`.
        """
        with self.database.writing() as connection:
            licence, versions = self._own(connection, actor, number, at, type_id)
            standing = _standing(connection, licence, at)
            if standing.state is not State.VALID:
                raise LifecycleError(f"the licence is {standing.state.value}: no more credentials are signed for it")
            licence_type = type_in_use(connection, licence.type_id)
            version = versions[-1]
            bound = licence_type.type.holder is HolderBinding.BOUND
            if bound and holder_key is None and (usage is None or usage.medium != "paper"):
                raise FieldError("without a holder key only the paper form is signed", where="holder key")
            if not bound and holder_key is not None:
                raise FieldError("a bearer licence names no holder key", where="holder key")
            draft = CredentialDraft(
                version.id, version.number, licence_type, version.fields, version.term, holder_key, usage
            )
            return write_credentials(connection, self._keys, actor.department, [draft], at=at, random=self._random)[0]

    def withdraw_credential(self, actor: Actor, digest: bytes, *, at: int) -> None:
        """End one credential alone, for good: a lost phone, an agent whose errand is done.

        Raises:
            NotFoundError: the department has no such credential.
            AuthorityError: its grant has ended.
        """
        with self.database.writing() as connection:
            row = connection.execute(
                select(CREDENTIAL.c.id, LICENCE.c.type_id, LICENCE.c.id.label("licence_id"))
                .select_from(records.CREDENTIALS_OF_LICENCES)
                .where(CREDENTIAL.c.digest == digest, LICENCE.c.department_id == actor.department)
            ).first()
            if row is None:
                raise NotFoundError("the department has no such credential", where=digest.hex()[:16])
            check_authority(connection, actor, row.type_id, at=at)
            connection.execute(
                update(CREDENTIAL)
                .where(CREDENTIAL.c.id == row.id, CREDENTIAL.c.withdrawn_at.is_(None))
                .values(withdrawn_at=at)
            )
            refresh_standing(connection, [row.licence_id], at=at)

    def licence(self, number: str, *, type_id: str | None = None) -> tuple[Licence, list[Version]]:
        """A licence by any of its numbers, and its versions.

        Raises:
            NotFoundError: there is none.
            ConflictError: licences of several types have that number.
        """
        with self.database.reading() as connection:
            licence = find_licence(connection, number, type_id=type_id)
            return licence, records.versions(connection, licence.id)

    def credentials(self, number: str, *, type_id: str | None = None) -> list[StoredCredential]:
        """The credentials of the version that has this number, or of the newest of several that have it.

        Raises:
            NotFoundError, ConflictError: as `licence`.
        """
        with self.database.reading() as connection:
            licence = find_licence(connection, number, type_id=type_id)
            version = [entry for entry in records.versions(connection, licence.id) if entry.number == number][-1]
            return records.credentials(connection, version.id)

    def status_as_of(self, number: str, *, day: int, known_at: int, type_id: str | None = None) -> Standing | None:
        """What a licence was at the moment `day`, as the registry knew at the moment `known_at`.

        Raises:
            NotFoundError, ConflictError: as `licence`.
        """
        with self.database.reading() as connection:
            licence = find_licence(connection, number, type_id=type_id)
            history = records.histories(connection, [licence.id])[licence.id]
            return state_as_of(history.acts, history.terms, at=day, known_at=known_at)

    def _amend(
        self, actor: Actor, number: str, amendment: Amendment, act: Act, *, at: int, type_id: str | None
    ) -> IssuedVersion:
        with self.database.writing() as connection:
            licence, versions = self._own(connection, actor, number, at, type_id)
            standing = _standing(connection, licence, at)
            next_state(standing.state, act)
            if act is Act.CHANGE and amendment == Amendment():
                raise _nothing_changes()
            licence_type = type_in_use(connection, licence.type_id)
            old = versions[-1]
            first_day = calendar_day(old.first_day) if amendment.first_day is None else amendment.first_day
            if day_of(first_day) < old.first_day:
                raise FieldError("the new version begins before the one it supersedes", where="first day")
            last_day = amendment.last_day
            if last_day is None and act is Act.CHANGE and old.last_day is not None:
                last_day = calendar_day(old.last_day)
            term = licence_type.term(first_day, last_day, at)
            same_schema = old.schema_version == licence_type.type.schema
            fields = licence_type.read_fields(amendment.fields, carried=old.fields if same_schema else None)
            old_keys = _carried_keys(records.credentials(connection, old.id))
            holder_keys = old_keys if amendment.holder_keys is None else amendment.holder_keys
            check_binding(licence_type, holder_keys)
            old_holders = records.holders(connection, old.id)
            holders = old_holders if amendment.holders is None else checked_holders(amendment.holders)
            version = old.version + 1
            draft = VersionDraft(
                licence_id=licence.id,
                version=version,
                number=next_number(licence_type, old.number, version),
                type=licence_type,
                fields=fields,
                issued_on=licence_type.day_of_issue(amendment.issued_on, at),
                first_day=day_of(first_day),
                last_day=None if last_day is None else day_of(last_day),
                term=term,
                holders=holders,
                holder_keys=holder_keys,
                supersedes=old.number,
            )
            was = (old.fields, old.first_day, old.last_day, old_holders, set(old_keys))
            becomes = (fields, draft.first_day, draft.last_day, holders, set(holder_keys))
            if act is Act.CHANGE and same_schema and amendment.issued_on is None and was == becomes:
                raise _nothing_changes()
            effective_from = term.begin if act is Act.RENEW else max(at, term.begin)
            return self._write(connection, actor, draft, act, at=at, effective_from=effective_from)

    def _write(
        self, connection: Connection, actor: Actor, draft: VersionDraft, act: Act, *, at: int, effective_from: int
    ) -> IssuedVersion:
        written = write_versions(connection, self._keys, actor.department, [draft], at=at, random=self._random)[0]
        due = effective_from <= at
        write_acts(connection, [ActDraft(draft.licence_id, draft.version, act, at, effective_from, due)])
        connection.execute(
            update(LICENCE).where(LICENCE.c.id == draft.licence_id).values(current_version=draft.version)
        )
        refresh_standing(connection, [draft.licence_id], at=at)
        return IssuedVersion(draft.licence_id, draft.version, draft.number, written.credentials)

    def _own(
        self, connection: Connection, actor: Actor, number: str, at: int, type_id: str | None
    ) -> tuple[Licence, list[Version]]:
        """The actor's own licence whose newest version has this number."""
        licence = find_licence(connection, number, department=actor.department, type_id=type_id)
        check_authority(connection, actor, licence.type_id, at=at)
        versions = records.versions(connection, licence.id)
        if versions[-1].number != number:
            raise LifecycleError(
                "the number is superseded", where=number, remedy=f"The licence now has the number {versions[-1].number}"
            )
        return licence, versions


def _nothing_changes() -> FieldError:
    return FieldError(
        "nothing changes, and a new version would make the code in the holder's hand a superseded one",
        where="change",
        remedy="Name what is different: fields, days, holders or their keys",
    )


def _standing(connection: Connection, licence: Licence, at: int, *, day: int | None = None) -> Standing:
    """What a licence is, as known now, at a moment (now); one that has not begun counts as it will be when it does."""
    history = records.histories(connection, [licence.id])[licence.id]
    check_clock(history, at)
    begins = min(act.effective_from for act in history.acts)
    standing = state_as_of(history.acts, history.terms, at=max(at if day is None else day, begins), known_at=at)
    assert standing is not None  # noqa: S101 - every licence was issued, and by then that has effect
    return standing


def _carried_keys(stored: Sequence[StoredCredential]) -> tuple[PublicKey, ...]:
    """The holder keys that go on: those of the holder's own credentials that were not withdrawn."""
    keys = {
        entry.credential.claims.holder_key: None
        for entry in stored
        if entry.credential.claims.holder_key is not None
        and entry.credential.claims.usage is None
        and entry.withdrawn_at is None
    }
    return tuple(key for key in keys if key is not None)
