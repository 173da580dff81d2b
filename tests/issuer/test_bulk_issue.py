"""Many licences in one act: each judged by itself, and what is written is what issuing them one by one writes."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from chopmark import licence_number
from chopmark.status import StatusValue
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.errors import AuthorityError, ConflictError, FieldError, NotFoundError, RefusedError
from chopmark_issuer.licences.bulk_issue import issue_all
from chopmark_issuer.licences.records import credentials, find_licence, holders, versions
from chopmark_issuer.licences.requests import IssuedVersion
from chopmark_issuer.licences.standing import refresh_standing
from chopmark_issuer.lifecycle import State
from chopmark_issuer.storage.models import CREDENTIAL, LICENCE, OUTBOX
from sqlalchemy import func, select

pytestmark = pytest.mark.both_databases


def issue(office: Any, *requests: Any, actor: Any = None) -> list[Any]:
    with office.database.writing() as connection:
        return issue_all(connection, office.keys, actor or office.actor(), requests, at=office.now)


def number_of_licences(office: Any) -> int:
    with office.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(LICENCE)).scalar_one())


def test_each_licence_has_its_number_credential_index_and_entry(office: Any) -> None:
    requests = [
        office.food(fields={"business_name": f"示例 {place}"}, holders=(Holder(f"示例 {place}"), Holder("另一人")))
        for place in range(40)
    ]
    issued = issue(office, *requests)
    assert [licence_number.parse(each.number).serial for each in issued] == [f"{n:07}" for n in range(1, 41)]
    with office.database.reading() as connection:
        for place, each in enumerate(issued):
            licence = find_licence(connection, each.number)
            assert (licence.id, licence.state, licence.current_version) == (each.licence_id, State.VALID, 1)
            (version,) = versions(connection, licence.id)
            assert version.fields == {1: f"示例 {place}"}
            assert [holder.name for holder in holders(connection, version.id)] == [f"示例 {place}", "另一人"]
            (stored,) = credentials(connection, version.id)
            assert stored.credential == each.credentials[0]
            assert stored.credential.claims.licence_number == each.number
        places = connection.execute(select(CREDENTIAL.c.status_index)).scalars().all()
        assert len(set(places)) == 40
        entries = connection.execute(select(OUTBOX.c.entry).order_by(OUTBOX.c.id)).scalars().all()
        assert all(each.credentials[0].digest in entry for each, entry in zip(issued, entries, strict=True))


def test_the_signatures_are_those_of_the_departments_key(office: Any) -> None:
    for each in issue(office, office.food(), office.food()):
        credential = each.credentials[0]
        credential.verify_signature(office.keys.signer(credential.kid.hex()).public_key)


def test_a_bad_request_spoils_no_neighbour(office: Any) -> None:
    requests = [
        office.food(),
        office.food(fields={}),
        office.food(type_id="CN-GD/nothing"),
        office.driver(),
        office.food(holders=()),
        office.food(serial="short"),
        office.permit(),
        office.food(fields={"business_name": "示例", "scope": ["示" * 400] * 10}),
        office.food(),
    ]
    outcomes = issue(office, *requests)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [
        IssuedVersion,
        FieldError,
        NotFoundError,
        AuthorityError,
        FieldError,
        FieldError,
        IssuedVersion,
        FieldError,
        IssuedVersion,
    ]
    assert number_of_licences(office) == 3
    assert outcomes[6].number == "STALL 17"


def test_one_number_is_given_once_within_a_list_and_across_lists(office: Any) -> None:
    first, second, other = issue(office, office.permit(), office.permit(), office.food(serial="2430599"))
    assert isinstance(first, IssuedVersion)
    assert isinstance(second, ConflictError)
    assert isinstance(other, IssuedVersion)
    outcomes = issue(office, office.food(serial="2430599"), office.permit(), office.food())
    assert [type(outcome) for outcome in outcomes] == [ConflictError, ConflictError, IssuedVersion]


def test_a_serial_that_was_named_before_it_is_drawn_is_passed_over(office: Any) -> None:
    issue(office, office.food(serial="0000002"), office.food(serial="0000004"))
    issued = issue(office, office.food(), office.food(), office.food(serial="0000005"), office.food())
    serials = [licence_number.parse(each.number).serial for each in issued]
    assert serials[2] == "0000005"
    assert len({*serials, "0000002", "0000004"}) == 6


def test_licences_of_several_types_and_of_bound_holders_come_in_one_list(office: Any) -> None:
    with office.database.reading():
        actor = office.actor(office.transport)
    driver, none = issue(office, office.driver(), office.food(), actor=actor)
    assert isinstance(none, AuthorityError)
    assert driver.credentials[0].claims.holder_key == office.holder_key.public_key
    assert len(driver.credentials[0].disclosures) == 1


@pytest.mark.parametrize(
    ("days", "state"),
    [
        ((date(2026, 11, 1), date(2027, 10, 31)), State.VALID),
        ((date(2025, 11, 1), date(2026, 10, 31)), State.EXPIRED),
        ((date(2027, 11, 1), date(2028, 10, 31)), State.VALID),
        ((date(2026, 11, 1), None), State.VALID),
    ],
)
def test_the_state_is_what_the_acts_add_up_to(office: Any, days: tuple[date, date | None], state: State) -> None:
    (issued,) = issue(office, office.food(first_day=days[0], last_day=days[1]))
    with office.database.writing() as connection:
        assert find_licence(connection, issued.number).state is state
        refresh_standing(connection, [issued.licence_id], at=office.now)
        assert find_licence(connection, issued.number).state is state
        (version,) = versions(connection, issued.licence_id)
        assert credentials(connection, version.id)[0].status is StatusValue.VALID


def test_nothing_is_issued_of_nothing(office: Any) -> None:
    assert issue(office) == []


def test_a_list_of_refusals_leaves_nothing(office: Any) -> None:
    (refused,) = issue(office, office.food(fields={}))
    assert isinstance(refused, RefusedError)
    assert number_of_licences(office) == 0
