from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from chopmark import licence_number
from chopmark.bundle_entries import IssuerState
from chopmark.credential import Kind, Usage
from chopmark.entries import CredentialEntry
from chopmark.keys import Es256Signer
from chopmark.status import StatusValue
from chopmark_issuer.catalogue.departments import Actor, end_grant, set_state
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.errors import (
    AuthorityError,
    ConflictError,
    FieldError,
    LifecycleError,
    NotFoundError,
    RefusedError,
)
from chopmark_issuer.keys.keys import InventoryUse, inventory
from chopmark_issuer.licences import bulk_issue, issuing, registry
from chopmark_issuer.licences.requests import Amendment
from chopmark_issuer.licences.standing import apply_due_acts
from chopmark_issuer.lifecycle import Act, State
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.models import ACT, CREDENTIAL, HOLDER, LICENCE, LICENCE_VERSION, OUTBOX, STATUS_LIST, Table
from sqlalchemy import func, select

pytestmark = pytest.mark.both_databases

DAY = 86_400


def statuses(office: Any, number: str) -> list[StatusValue]:
    return [entry.status for entry in office.registry.credentials(number)]


def counts(office: Any) -> dict[str, int]:
    with office.database.reading() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in Table.metadata.sorted_tables
        }


def test_an_issued_licence_is_signed_numbered_and_waits_for_the_log(office: Any) -> None:
    issued = office.registry.issue(office.actor(), office.food(), at=office.now)
    number = licence_number.parse(issued.number)
    assert (number.type_code, number.issuer_code, number.serial, number.version) == (
        office.food_type.partition("/")[2],
        office.markets.partition("/")[2],
        "0000001",
        1,
    )
    credential = issued.credentials[0]
    with office.database.reading() as connection:
        key = inventory(connection, owner=office.markets, use=InventoryUse.CREDENTIAL)[0]
        entry = connection.execute(select(OUTBOX.c.entry)).scalar_one()
    credential.verify_signature(key.public_key)
    assert entry == CredentialEntry(office.markets, credential.digest).encode()
    assert credential.kind is Kind.BEARER
    assert credential.claims.licence_number == issued.number
    assert credential.claims.licence_type == f"{office.food_type}@1"
    assert credential.claims.issued_at == office.now
    assert credential.claims.status is not None
    assert credential.claims.status.uri == "https://cn-gd.example/status/1"
    stored = office.registry.credentials(issued.number)
    assert [entry.credential for entry in stored] == [credential]
    assert stored[0].log_index is None


def test_the_last_day_counts_in_full_in_the_zone_of_the_type(office: Any) -> None:
    issued = office.registry.issue(office.actor(), office.food(last_day=date(2026, 12, 31)), at=office.now)
    claims = issued.credentials[0].claims
    assert claims.not_before == 1_793_462_400  # 2026-11-01 00:00 +08:00
    assert claims.expires == 1_798_732_800  # 2027-01-01 00:00 +08:00
    open_ended = office.registry.issue(office.actor(), office.food(last_day=None), at=office.now)
    assert open_ended.credentials[0].claims.expires is None


def test_a_holder_bound_licence_has_one_credential_and_index_for_each_key(office: Any) -> None:
    keys = (office.holder_key.public_key, Es256Signer.generate().public_key)
    issued = office.registry.issue(office.actor(office.transport), office.driver(holder_keys=keys), at=office.now)
    assert [credential.claims.holder_key for credential in issued.credentials] == list(keys)
    assert all(credential.kind is Kind.HOLDER_BOUND for credential in issued.credentials)
    places = {credential.claims.status for credential in issued.credentials}
    assert len(places) == 2
    assert issued.credentials[0].claims.fields == {2: "B2"}
    assert issued.credentials[0].disclosed_fields() == {1: "示例从业人员", 2: "B2"}


def test_each_freshness_class_has_a_list_of_its_own(office: Any) -> None:
    office.registry.issue(office.actor(), office.food(), at=office.now)
    office.registry.issue(office.actor(office.transport), office.driver(), at=office.now)
    with office.database.reading() as connection:
        lists = connection.execute(select(STATUS_LIST).order_by(STATUS_LIST.c.number)).all()
    assert [(row.department_id, row.freshness, row.used) for row in lists] == [
        (office.markets, "trade", 1),
        (office.transport, "safety", 1),
    ]


def test_serials_go_on_and_a_given_one_is_taken_once(office: Any) -> None:
    actor = office.actor()
    first = office.registry.issue(actor, office.food(), at=office.now)
    second = office.registry.issue(actor, office.food(), at=office.now)
    named = office.registry.issue(actor, office.food(serial="2430599"), at=office.now)
    assert [licence_number.parse(entry.number).serial for entry in (first, second, named)] == [
        "0000001",
        "0000002",
        "2430599",
    ]
    with pytest.raises(ConflictError, match="already"):
        office.registry.issue(actor, office.food(serial="2430599"), at=office.now)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "1.2.3"},
        {"serial": "short"},
        {"holders": ()},
        {"holders": (Holder("示例", "110105194912310021", "111"),)},
        {"holders": (Holder("示例", "11440000MB2D0P8Q31", "001"),)},
        {"holders": (Holder("示例", "4711"),)},
        {"last_day": date(2026, 10, 31)},
        {"last_day": date(9999, 12, 31)},
        {"issued_on": date(2026, 11, 23)},
        {"fields": {}},
    ],
)
def test_a_request_that_is_none_is_refused_and_leaves_nothing(office: Any, changes: dict[str, Any]) -> None:
    before = counts(office)
    with pytest.raises(FieldError):
        office.registry.issue(office.actor(), office.food(**changes), at=office.now)
    assert counts(office) == before


def test_right_holder_codes_are_taken(office: Any) -> None:
    holders = (Holder("示例", "11010519491231002X", "111"), Holder("示例", "11440000MB2D0P8Q30", "001"))
    office.registry.issue(office.actor(), office.food(holders=holders), at=office.now)
    with office.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(HOLDER)).scalar_one() == 2


def test_keys_belong_to_bound_types_only(office: Any) -> None:
    with pytest.raises(FieldError, match="none is given"):
        office.registry.issue(office.actor(office.transport), office.driver(holder_keys=()), at=office.now)
    request = office.food(holder_keys=(office.holder_key.public_key,))
    with pytest.raises(FieldError, match="names no holder key"):
        office.registry.issue(office.actor(), request, at=office.now)
    request = office.driver(holder_keys=(office.holder_key.public_key,) * 2)
    with pytest.raises(FieldError, match="twice"):
        office.registry.issue(office.actor(office.transport), request, at=office.now)


def test_a_type_without_numbering_takes_the_number_of_the_department(office: Any) -> None:
    issued = office.registry.issue(office.actor(), office.permit(), at=office.now)
    assert issued.number == "STALL 17"
    renewed = office.registry.renew(
        office.actor(), "STALL 17", Amendment(first_day=date(2026, 11, 20), last_day=None), at=office.now
    )
    assert (renewed.number, renewed.version) == ("STALL 17", 2)
    with pytest.raises(FieldError, match="gives the number"):
        office.registry.issue(office.actor(), office.food(type_id=office.permit_type), at=office.now)


def test_a_department_without_a_grant_is_refused_whatever_the_actor_says(office: Any) -> None:
    with pytest.raises(AuthorityError, match="no grant"):
        office.registry.issue(office.actor(office.transport), office.food(), at=office.now)
    forged = Actor(office.transport, frozenset({office.food_type}))
    with pytest.raises(AuthorityError, match="no grant"):
        office.registry.issue(forged, office.food(), at=office.now)
    narrowed = Actor(office.markets, frozenset({office.permit_type}))
    with pytest.raises(AuthorityError, match="client"):
        office.registry.issue(narrowed, office.food(), at=office.now)


def test_rights_end_with_the_grant_and_with_the_department(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    with office.database.writing() as connection:
        end_grant(connection, office.markets, office.food_type, at=office.now + 10)
    with pytest.raises(AuthorityError, match="no grant"):
        office.registry.record(actor, issued.number, Act.REVOKE, at=office.now + 10)
    with office.database.writing() as connection:
        set_state(connection, office.markets, IssuerState.SUSPENDED, at=office.now + 20, reason="audit")
    with pytest.raises(AuthorityError, match="not active"):
        office.registry.issue(actor, office.permit(), at=office.now + 20)


def test_another_departments_licence_can_not_be_touched(office: Any) -> None:
    issued = office.registry.issue(office.actor(), office.food(), at=office.now)
    with pytest.raises(NotFoundError):
        office.registry.record(office.actor(office.transport), issued.number, Act.REVOKE, at=office.now)


def test_renewal_makes_a_version_that_supersedes_the_one_before(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    renewed = office.registry.renew(
        actor,
        issued.number,
        Amendment(first_day=date(2026, 11, 22), last_day=date(2028, 10, 31), fields={"seats": 12}),
        at=office.now + 60,
    )
    assert licence_number.parse(renewed.number).version == 2
    assert renewed.credentials[0].claims.fields == {1: "示例餐饮有限公司", 4: 12}
    assert statuses(office, issued.number) == [StatusValue.SUPERSEDED]
    assert statuses(office, renewed.number) == [StatusValue.VALID]
    versions = office.registry.licence(issued.number)[1]
    assert [entry.supersedes for entry in versions] == [None, issued.number]
    with pytest.raises(LifecycleError, match="superseded"):
        office.registry.record(actor, issued.number, Act.SUSPEND, at=office.now + 60)


def test_a_renewal_made_ahead_supersedes_on_its_first_day(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(last_day=date(2026, 11, 30)), at=office.now)
    renewed = office.registry.renew(
        actor, issued.number, Amendment(first_day=date(2026, 12, 1), last_day=date(2027, 11, 30)), at=office.now
    )
    assert statuses(office, issued.number) == [StatusValue.VALID]
    assert statuses(office, renewed.number) == [StatusValue.VALID]
    assert apply_due_acts(office.database, at=office.now + DAY) == 0
    assert apply_due_acts(office.database, at=office.now + 9 * DAY) == 1
    assert statuses(office, issued.number) == [StatusValue.SUPERSEDED]
    assert statuses(office, renewed.number) == [StatusValue.VALID]
    assert apply_due_acts(office.database, at=office.now + 9 * DAY) == 0


def test_a_bound_credential_is_not_signed_before_its_first_day(office: Any) -> None:
    with pytest.raises(FieldError, match="before its first day"):
        office.registry.issue(office.actor(office.transport), office.driver(first_day=date(2026, 12, 1)), at=office.now)


def test_a_change_keeps_the_term_and_the_holder_keys(office: Any) -> None:
    actor = office.actor(office.transport)
    issued = office.registry.issue(actor, office.driver(), at=office.now)
    changed = office.registry.change(actor, issued.number, Amendment(fields={"vehicle_class": "A2"}), at=office.now + 5)
    before, after = issued.credentials[0].claims, changed.credentials[0].claims
    assert (after.not_before, after.expires, after.holder_key) == (before.not_before, before.expires, before.holder_key)
    assert changed.credentials[0].disclosed_fields() == {1: "示例从业人员", 2: "A2"}
    assert statuses(office, issued.number) == [StatusValue.SUPERSEDED]


@pytest.mark.parametrize(
    ("acts", "state", "status"),
    [
        ([Act.SUSPEND], State.SUSPENDED, StatusValue.SUSPENDED),
        ([Act.SUSPEND, Act.RETURN], State.VALID, StatusValue.VALID),
        ([Act.REVOKE], State.REVOKED, StatusValue.INVALID),
        ([Act.WITHDRAW], State.WITHDRAWN, StatusValue.INVALID),
        ([Act.ANNUL], State.ANNULLED, StatusValue.INVALID),
        ([Act.CLOSE], State.CLOSED, StatusValue.INVALID),
        ([Act.SUSPEND, Act.REVOKE, Act.CLOSE], State.CLOSED, StatusValue.INVALID),
    ],
)
def test_acts_show_in_the_registry_and_in_the_status(
    office: Any, acts: list[Act], state: State, status: StatusValue
) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    reached = [office.registry.record(actor, issued.number, act, at=office.now + 1) for act in acts]
    assert reached[-1] is state
    assert office.registry.licence(issued.number)[0].state is state
    assert statuses(office, issued.number) == [status]


def test_annulment_makes_older_versions_invalid_too(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    changed = office.registry.change(actor, issued.number, Amendment(fields={"seats": 3}), at=office.now + 1)
    office.registry.record(actor, changed.number, Act.ANNUL, at=office.now + 2)
    assert statuses(office, issued.number) == statuses(office, changed.number) == [StatusValue.INVALID]


def test_a_change_that_says_nothing_makes_no_version(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    with pytest.raises(FieldError, match="nothing changes"):
        office.registry.change(actor, issued.number, Amendment(), at=office.now + 10)
    assert office.registry.licence(issued.number)[0].current_version == 1


def test_an_act_out_of_order_is_refused_and_changes_nothing(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    before = counts(office)
    with pytest.raises(LifecycleError, match="can not be returned"):
        office.registry.record(actor, issued.number, Act.RETURN, at=office.now)
    with pytest.raises(RefusedError, match="makes a new version"):
        office.registry.record(actor, issued.number, Act.RENEW, at=office.now)
    with pytest.raises(LifecycleError, match="can not have effect before"):
        office.registry.record(actor, issued.number, Act.REVOKE, at=office.now, effective_from=0)
    assert counts(office) == before


def test_a_suspension_ahead_shows_from_its_day_on(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    ahead = office.now + DAY
    assert office.registry.record(actor, issued.number, Act.SUSPEND, at=office.now, effective_from=ahead) is State.VALID
    assert statuses(office, issued.number) == [StatusValue.VALID]
    assert apply_due_acts(office.database, at=ahead) == 1
    assert statuses(office, issued.number) == [StatusValue.SUSPENDED]


def test_an_act_that_something_later_overtakes_is_refused(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    office.registry.record(actor, issued.number, Act.SUSPEND, at=office.now + 100)
    office.registry.record(actor, issued.number, Act.RETURN, at=office.now + 200)
    with pytest.raises(LifecycleError, match="overtakes"):
        office.registry.record(actor, issued.number, Act.SUSPEND, at=office.now + 300, effective_from=office.now + 50)
    assert office.registry.licence(issued.number)[0].state is State.VALID


def test_a_clock_set_back_brings_nothing_back_to_life(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    office.registry.record(actor, issued.number, Act.REVOKE, at=office.now + 100)
    digest = issued.credentials[0].digest
    earlier = office.now + 50
    with pytest.raises(LifecycleError, match="clock"):
        office.registry.record(actor, issued.number, Act.SUSPEND, at=earlier)
    with pytest.raises(LifecycleError, match="clock"):
        office.registry.change(actor, issued.number, Amendment(), at=earlier)
    with pytest.raises(LifecycleError, match="clock"):
        office.registry.withdraw_credential(actor, digest, at=earlier)
    assert statuses(office, issued.number) == [StatusValue.INVALID]


def test_a_revocation_learned_after_the_end_of_the_term_is_recorded_from_its_day(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(last_day=date(2026, 11, 24)), at=office.now)
    later = office.now + 30 * DAY
    assert office.registry.record(actor, issued.number, Act.REVOKE, at=later, effective_from=office.now + DAY) is (
        State.REVOKED
    )
    assert statuses(office, issued.number) == [StatusValue.INVALID]


def test_what_was_valid_on_a_day_as_known_on_another_can_be_asked(office: Any) -> None:
    actor = office.actor()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    office.registry.record(
        actor, issued.number, Act.REVOKE, at=office.now + 5 * DAY, effective_from=office.now + 2 * DAY
    )

    def state(day: int, known_at: int) -> State | None:
        standing = office.registry.status_as_of(
            issued.number, day=office.now + day * DAY, known_at=office.now + known_at * DAY
        )
        return None if standing is None else standing.state

    assert state(3, known_at=4) is State.VALID
    assert state(3, known_at=5) is State.REVOKED
    assert state(1, known_at=5) is State.VALID
    assert state(1000, known_at=4) is State.EXPIRED
    assert state(3, known_at=-1) is None


def test_a_lost_phone_ends_one_credential_for_good(office: Any) -> None:
    actor = office.actor(office.transport)
    issued = office.registry.issue(actor, office.driver(), at=office.now)
    second = Es256Signer.generate().public_key
    added = office.registry.add_credential(actor, issued.number, holder_key=second, usage=None, at=office.now + 1)
    office.registry.withdraw_credential(actor, issued.credentials[0].digest, at=office.now + 2)
    assert statuses(office, issued.number) == [StatusValue.INVALID, StatusValue.VALID]
    office.registry.record(actor, issued.number, Act.SUSPEND, at=office.now + 3)
    office.registry.record(actor, issued.number, Act.RETURN, at=office.now + 4)
    assert statuses(office, issued.number) == [StatusValue.INVALID, StatusValue.VALID]
    changed = office.registry.change(actor, issued.number, Amendment(fields={"vehicle_class": "A1"}), at=office.now + 5)
    assert [credential.claims.holder_key for credential in changed.credentials] == [added.claims.holder_key]
    with pytest.raises(NotFoundError):
        office.registry.withdraw_credential(office.actor(), added.digest, at=office.now + 6)


def test_the_paper_form_of_a_bound_licence_hides_nothing_and_says_that_it_is_paper(office: Any) -> None:
    actor = office.actor(office.transport)
    issued = office.registry.issue(actor, office.driver(), at=office.now)
    with pytest.raises(FieldError, match="paper"):
        office.registry.add_credential(actor, issued.number, holder_key=None, usage=None, at=office.now)
    paper = office.registry.add_credential(
        actor, issued.number, holder_key=None, usage=Usage(role="paper", medium="paper"), at=office.now
    )
    assert paper.kind is Kind.BEARER
    assert paper.claims.fields == {1: "示例从业人员", 2: "B2"}
    office.registry.record(actor, issued.number, Act.SUSPEND, at=office.now)
    with pytest.raises(LifecycleError, match="no more credentials"):
        office.registry.add_credential(
            actor, issued.number, holder_key=Es256Signer.generate().public_key, usage=None, at=office.now
        )


def test_a_department_without_a_key_in_use_can_not_sign(office: Any) -> None:
    with pytest.raises(NotFoundError, match="no credential key"):
        office.registry.issue(office.actor(), office.food(), at=office.now + 2 * 10**8)


@pytest.mark.parametrize(
    "step", ["prepare_versions", "write_prepared", "write_acts", "enqueue", "reserve", "draft_credential"]
)
def test_a_fault_at_any_step_leaves_nothing_behind(office: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    actor = office.actor()
    before = counts(office)
    owner: Any = {"enqueue": outbox, "reserve": issuing, "draft_credential": issuing}.get(step, bulk_issue)
    real: Callable[..., Any] = getattr(owner, step)

    def failing(*arguments: Any, **named: Any) -> Any:
        real(*arguments, **named)
        raise OSError("the power failed")

    monkeypatch.setattr(owner, step, failing)
    with pytest.raises(OSError, match="power"):
        office.registry.issue(actor, office.food(), at=office.now)
    assert counts(office) == before
    monkeypatch.undo()
    issued = office.registry.issue(actor, office.food(), at=office.now)
    after = counts(office)
    for table in (LICENCE, LICENCE_VERSION, HOLDER, CREDENTIAL, OUTBOX, ACT):
        assert after[table.name] == before[table.name] + 1
    assert licence_number.parse(issued.number).serial == "0000001"


def test_status_indexes_are_never_used_twice_even_with_poor_luck(office: Any) -> None:
    draws = iter([bytes(3), bytes(3), b"\0\0\1", bytes(3), b"\0\0\1", b"\0\0\2"])
    unlucky = registry.Registry(
        office.database, office.keys, random=lambda size: next(draws) if size == 3 else bytes([size]) * size
    )
    actor = office.actor()
    numbers = [
        replace(office.food(), serial=f"000100{position}", fields={"business_name": f"示例 {position}"})
        for position in range(3)
    ]
    issued = [unlucky.issue(actor, request, at=office.now) for request in numbers]
    indexes = [entry.credentials[0].claims.status.index for entry in issued if entry.credentials[0].claims.status]
    assert indexes == [0, 1, 2]
