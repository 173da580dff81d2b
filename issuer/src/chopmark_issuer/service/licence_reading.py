"""What a client may read of its department's licences, as the service answers it.

A licence of another department, or of a type that the client is narrowed from, is not there for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from chopmark_issuer.catalogue.catalogue import all_types, type_in_use, type_of_schema
from chopmark_issuer.errors import NotFoundError
from chopmark_issuer.licences import records
from chopmark_issuer.licences.records import Licence, StoredCredential, Version, find_licence
from chopmark_issuer.lifecycle import Act, RecordedAct, Standing, State, state_as_of
from chopmark_issuer.service import api_answers
from chopmark_issuer.service.api_requests import moment
from chopmark_issuer.service.clients import DepartmentClient, client_actor
from chopmark_issuer.service.search import ActOfLicence, Found, Wanted, acts_of, find_licences


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading transaction of a client, at a time (POSIX seconds)."""

    connection: Connection
    client: DepartmentClient
    at: int

    def types(self) -> list[dict[str, Any]]:
        """The newest schema version of every type of the catalogue."""
        newest = {entry.type.id: entry for entry in all_types(self.connection)}
        granted = self._granted()
        return [api_answers.licence_type(entry, granted=entry.type.id in granted) for entry in newest.values()]

    def type(self, type_id: str) -> dict[str, Any]:
        """The newest schema version of a type.

        Raises:
            NotFoundError: there is none.
        """
        try:
            entry = type_in_use(self.connection, type_id)
        except NotFoundError as error:
            raise NotFoundError("the catalogue has no such type", where=type_id[:100]) from error
        return api_answers.licence_type(entry, granted=type_id in self._granted())

    def search(self, wanted: Wanted) -> list[Found]:
        """The licences that are looked for."""
        return find_licences(self.connection, self.client, wanted, at=self.at)

    def licence(self, number: str, type_id: str | None) -> dict[str, Any]:
        """A licence as the version of that number says.

        Raises:
            NotFoundError, ConflictError: as `records.find_licence`.
        """
        licence, versions = self._find(number, type_id)
        version = _of_number(versions, number)
        return api_answers.licence(
            type_of_schema(self.connection, licence.type_id, version.schema_version),
            self._state(licence, versions),
            version,
            records.holders(self.connection, version.id),
            records.credentials(self.connection, version.id),
            newest=versions[-1].number,
        )

    def history(self, number: str, type_id: str | None, day: str | None, known_at: str | None) -> dict[str, Any]:
        """The history of a licence; with a day or moment also what it was then, as known at another moment or now.

        Raises:
            NotFoundError, ConflictError: as `licence`.
            FormatError, FieldError: no day or moment.
        """
        licence, versions = self._find(number, type_id)
        acts = acts_of(self.connection, licence.id)
        shown = api_answers.history(versions, acts)
        if day is not None or known_at is not None:
            zone = type_in_use(self.connection, licence.type_id).zone
            known = self.at if known_at is None else moment(known_at, zone, where="known_at")
            then = known if day is None else moment(day, zone, where="day")
            standing = _standing(acts, versions, at=then, known_at=known)
            shown["as_of"] = api_answers.as_of(standing, moment=then, known_at=known)
        return shown

    def status(self, number: str, type_id: str | None) -> dict[str, Any]:
        """Where a licence stands now, and what its status list is to show of each credential of that version.

        Raises:
            NotFoundError, ConflictError: as `licence`.
        """
        licence, versions = self._find(number, type_id)
        version = _of_number(versions, number)
        return {
            **api_answers.numbered(version, newest=versions[-1].number),
            "state": self._state(licence, versions).value,
            "version": version.version,
            "credentials": [api_answers.credential(each) for each in records.credentials(self.connection, version.id)],
        }

    def credential(self, number: str, type_id: str | None, digest: str | None) -> StoredCredential:
        """The newest credential of the version of that number that was not withdrawn, or the one of that digest.

        Raises:
            NotFoundError: there is none; and as `licence`.
        """
        _, versions = self._find(number, type_id)
        version = _of_number(versions, number)
        stored = records.credentials(self.connection, version.id)
        fitting = [
            each
            for each in stored
            if (each.withdrawn_at is None if digest is None else each.credential.digest.hex() == digest)
        ]
        if not fitting:
            raise NotFoundError("the licence has no such credential", where=number)
        return fitting[-1]

    def _find(self, number: str, type_id: str | None) -> tuple[Licence, list[Version]]:
        licence = find_licence(self.connection, number, department=self.client.department, type_id=type_id)
        if not self.client.sees(licence.type_id):
            raise NotFoundError("there is no licence of that number", where=number[:200])
        return licence, records.versions(self.connection, licence.id)

    def _granted(self) -> frozenset[str]:
        return client_actor(self.connection, self.client, self.at).types

    def _state(self, licence: Licence, versions: Sequence[Version]) -> State:
        """Where it stands now; one that has not begun counts as it will be when it does."""
        standing = _standing(acts_of(self.connection, licence.id), versions, at=self.at, known_at=self.at)
        return State.VALID if standing is None else standing.state


def _standing(acts: Sequence[ActOfLicence], versions: Sequence[Version], *, at: int, known_at: int) -> Standing | None:
    recorded = [RecordedAct(Act(each.kind), each.version, each.learned_at, each.effective_from) for each in acts]
    return state_as_of(recorded, {each.version: each.term for each in versions}, at=at, known_at=known_at)


def _of_number(versions: list[Version], number: str) -> Version:
    return [version for version in versions if version.number == number][-1]
