"""What an import does with the rows of one licence, pure.

Rows follow each other by the mapping's order; the first issues the licence, each later one renews or changes it, and
the last one says what became of it. A row that the registry knows, unchanged, does nothing; one that says something
new of the version in force changes it. Nothing is put before what the registry holds already.

A row that cannot be read is refused alone, unless it might be the last: then nothing of the licence is taken, since
what governs it is not known. Who wants to correct rows of earlier terms has the whole licence held back for them.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from chopmark_issuer.catalogue.terms import day_begins
from chopmark_issuer.errors import FieldError
from chopmark_issuer.importing.mapping import Ending, ImportMapping, RowRefusedError, SourceRow
from chopmark_issuer.lifecycle import TRANSITIONS, Act, RecordedAct, State, Term, state_as_of

ELSEWHERE: Final = -1
MAX_ROWS: Final = 999
"""Rows of one licence: GB/T 36904 counts no more versions."""


@dataclass(frozen=True, slots=True)
class StagedRow:
    """A row of the file: as it was read, or why it was refused; `order` is None where that cannot be told."""

    number: int
    order: str | None
    row: SourceRow | RowRefusedError


@dataclass(frozen=True, slots=True)
class KnownRow:
    """What an earlier import made of a row; `version` is ELSEWHERE where that is a version of another licence."""

    version: int
    contents: bytes
    status: bytes


@dataclass(frozen=True, slots=True)
class KnownLicence:
    """A licence as the registry holds it; `last_order` is None where no import made it."""

    id: int
    department: str
    number: str
    current_version: int
    last_order: str | None
    acts: tuple[RecordedAct, ...]
    terms: Table[int, Term]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken, the column that is why, and the reason, which never repeats a value."""

    number: int
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlannedVersion:
    """A version that a row makes; it `corrects` where the row made an earlier version."""

    number: int
    row: SourceRow
    act: Act
    version: int
    term: Term
    effective_from: int
    corrects: bool


@dataclass(frozen=True, slots=True)
class PlannedEnding:
    """An act that the last row's status makes, on that version, with effect from that moment (POSIX seconds)."""

    act: Act
    version: int
    effective_from: int


@dataclass(frozen=True, slots=True)
class LicencePlan:
    """What is to be done with one licence; `restated` are known rows whose status alone reads differently now."""

    licence: str
    versions: tuple[PlannedVersion, ...] = ()
    ending: PlannedEnding | None = None
    restated: tuple[SourceRow, ...] = ()
    changed: int = 0
    unchanged: int = 0
    refused: tuple[Refusal, ...] = ()


def plan_licence(
    licence: str,
    rows: Sequence[StagedRow],
    *,
    mapping: ImportMapping,
    department: str,
    known: KnownLicence | None,
    known_rows: Table[str, KnownRow],
    at: int,
    hold_back: bool = False,
) -> LicencePlan:
    """Decide what the rows of one licence do.

    Args:
        licence: what the mapping's licence column says.
        rows: its rows in the file.
        mapping: of the file.
        department: which imports.
        known: the licence, where the registry holds it.
        known_rows: what earlier imports made of its rows, by row key.
        at: POSIX seconds.
        hold_back: whether nothing new is taken while any row is refused, so that it still finds its place corrected.
    """
    ordered = sorted(rows, key=lambda staged: (staged.order or "", staged.number))
    obstacle = _obstacle(ordered, mapping, department, known)
    try:
        plan = _Planner(mapping, known, known_rows, at, obstacle).plan(licence, ordered)
    except _EndingRefused as refused:
        # A term must not stand without what became of it.
        return _Planner(mapping, known, known_rows, at, refused.reason).plan(licence, ordered)
    if not (hold_back and plan.refused and (plan.versions or plan.restated)):
        return plan
    reason = RowRefusedError(
        f"held back: row {plan.refused[0].number} of the same licence was refused", where=mapping.licence
    )
    held = _Planner(mapping, known, known_rows, at, reason).plan(licence, ordered)
    own = {refusal.number: refusal for refusal in plan.refused}
    return replace(held, refused=tuple(own.get(refusal.number, refusal) for refusal in held.refused))


class _EndingRefused(Exception):  # noqa: N818 - never leaves this module
    """What became of the licence cannot be recorded."""

    def __init__(self, reason: RowRefusedError) -> None:
        self.reason = reason


class _Planner:
    """Goes through the rows of one licence; with an obstacle, nothing new of it is taken."""

    def __init__(
        self,
        mapping: ImportMapping,
        known: KnownLicence | None,
        known_rows: Table[str, KnownRow],
        at: int,
        obstacle: RowRefusedError | None,
    ) -> None:
        self.mapping = mapping
        self.known_rows = known_rows
        self.at = at
        self.obstacle = obstacle
        self.acts: list[RecordedAct] = [] if known is None else list(known.acts)
        self.terms: dict[int, Term] = {} if known is None else dict(known.terms)
        self.version = 0 if known is None else known.current_version
        self.last_order = "" if known is None else known.last_order or ""

    def plan(self, licence: str, ordered: Sequence[StagedRow]) -> LicencePlan:
        versions: list[PlannedVersion] = []
        restated: list[SourceRow] = []
        refused: list[Refusal] = []
        changed = unchanged = 0
        latest: SourceRow | None = None
        for staged in ordered:
            try:
                if isinstance(staged.row, RowRefusedError):
                    raise staged.row
                row, before = staged.row, self.known_rows.get(staged.row.key)
                if before is not None and (before.contents, before.status) == (row.contents, row.status):
                    unchanged += 1
                    continue
                if self.obstacle is not None:
                    raise self.obstacle
                if before is not None and before.contents == row.contents:
                    restated.append(row)
                    changed += 1
                    latest = row if before.version == self.version else latest
                else:
                    versions.append(self._version(staged.number, row, before))
                    changed += before is not None
                    latest = row
            except RowRefusedError as error:
                refused.append(Refusal(staged.number, error.where, error.what))
        ending = None if latest is None else self._ending(latest.ending)
        return LicencePlan(licence, tuple(versions), ending, tuple(restated), changed, unchanged, tuple(refused))

    def _version(self, number: int, row: SourceRow, before: KnownRow | None) -> PlannedVersion:
        mapping = self.mapping
        if before is not None and before.version == ELSEWHERE:
            raise RowRefusedError("an earlier import made another licence of this row", where=mapping.licence)
        if before is not None and before.version != self.version:
            raise RowRefusedError("the row was changed, and a later term has superseded it", where=mapping.row[0])
        if before is None and row.order < self.last_order:
            raise RowRefusedError(
                "it comes before the term that the registry holds: to correct such rows, import with --hold-back",
                where=mapping.order[0],
            )
        try:
            term = mapping.licence_type.term(row.first_day, row.last_day, self.at)
            mapping.licence_type.day_of_issue(row.issued_on, self.at)
        except FieldError as error:
            where = mapping.issued_on if error.where == "issued on" else mapping.first_day
            raise RowRefusedError(error.what, where=where[0]) from error
        if self.version and term.begin < self.terms[self.version].begin:
            raise RowRefusedError("the term begins before the one it follows", where=mapping.first_day[0])
        act = self._act(row, before)
        effective_from = max(self.at, term.begin) if before is not None else term.begin
        self.version += 1
        self.terms[self.version] = term
        self.acts.append(RecordedAct(act, self.version, self.at, effective_from))
        self.last_order = max(self.last_order, row.order)
        return PlannedVersion(number, row, act, self.version, term, effective_from, before is not None)

    def _act(self, row: SourceRow, before: KnownRow | None) -> Act:
        if not self.version:
            return Act.ISSUE
        state = self._state(self.at)
        if state not in (None, State.VALID, State.EXPIRED):
            raise RowRefusedError(f"the registry holds the licence as {state.value}", where=self.mapping.licence)
        if before is not None:
            return Act.CHANGE
        if row.act is Act.ISSUE:
            raise RowRefusedError(
                "it issues a licence that was issued before", where=self.mapping.act_column or self.mapping.licence
            )
        return row.act

    def _ending(self, ending: Ending | None) -> PlannedEnding | None:
        """What the last row says became of the licence; back in force, it ends a suspension."""
        if ending is None:
            state = self._state(self.at)
            if state in (None, State.VALID, State.EXPIRED):
                return None
            act, effective_from = Act.RETURN, self.at
        elif ending.effective_from is None:
            end = self.terms[self.version].end
            act, effective_from = ending.act, self.at if end is None else min(end, self.at)
        else:
            act, effective_from = ending.act, day_begins(ending.effective_from, self.mapping.licence_type.zone)
        self.acts.append(RecordedAct(act, self.version, self.at, effective_from))
        reached = self._state(max(self.at, effective_from))
        if reached is not TRANSITIONS[act][1] and not (act is Act.RETURN and reached is State.EXPIRED):
            raise _EndingRefused(
                RowRefusedError(
                    "what became of the licence does not follow from what was known of it",
                    where=self.mapping.status_column,
                )
            )
        return PlannedEnding(act, self.version, effective_from)

    def _state(self, at: int) -> State | None:
        standing = state_as_of(self.acts, self.terms, at=at, known_at=self.at)
        return None if standing is None else standing.state


def _obstacle(
    ordered: Sequence[StagedRow], mapping: ImportMapping, department: str, known: KnownLicence | None
) -> RowRefusedError | None:
    """Why nothing new of a licence can be taken, if so."""
    if known is not None and (known.department != department or known.last_order is None):
        return RowRefusedError("a licence of that number exists, which no such import made", where=mapping.licence)
    if len(ordered) > MAX_ROWS:
        return RowRefusedError(f"more than {MAX_ROWS} rows of one licence", where=mapping.licence)
    for staged in ordered:
        unknown_place = staged.order is None
        if isinstance(staged.row, RowRefusedError) and (unknown_place or staged is ordered[-1]):
            return RowRefusedError(
                f"held back: row {staged.number} of the same licence was refused and may be the one that governs it",
                where=mapping.licence,
            )
    return None
