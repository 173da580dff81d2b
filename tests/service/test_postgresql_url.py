"""URLs of PostgreSQL databases: what is one, and that no part of a password is told."""

from __future__ import annotations

import pytest
from chopmark.errors import StorageError
from chopmark_service.postgresql import database_url, describe, holds_password


def told(source: str) -> str:
    with pytest.raises(StorageError) as caught:
        database_url(source, otherwise="it is a file")
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://u:Geh@eimnis@host/name",
        "postgresql://u:a/b@Geheimnis@host/name",
        "postgresql://u/Geheimnis@host/name",
        "postgresql://u:x@host:Geheimnis/name",
        "postgresql://u:x@[host/name:Geheimnis@x",
        "Geheimnis",
    ],
)
def test_no_part_of_what_is_no_url_is_repeated(source: str) -> None:
    assert "imnis" not in told(source)


def test_an_at_sign_in_a_password_is_to_be_encoded() -> None:
    assert "Percent-encode" in told("postgresql://u:Geh@eimnis@host/name")
    url = database_url("postgresql://u:Geh%40eimnis@host/name", otherwise="it is a file")
    assert url.password == "Geh@eimnis"
    assert describe(url) == "database name on host"


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("postgresql://u@host/name", False),
        ("postgresql://u@host/name?sslmode=verify-full&passfile=/etc/pass", False),
        ("postgresql://u:secret@host/name", True),
        ("postgresql://u:x#y@host/name", True),
        ("postgresql://u:a/b@host/name", True),
        ("postgresql:///name?password=secret", True),
        ("postgresql://u@host/name?sslpassword=secret", True),
    ],
)
def test_a_password_is_seen_wherever_it_may_stand(source: str, holds: bool) -> None:
    assert holds_password(database_url(source, otherwise="it is a file")) is holds


def test_several_hosts_are_named_one_after_the_other() -> None:
    url = database_url("postgresql://u@/name?host=one:5432&host=two:5432", otherwise="it is a file")
    assert describe(url) == "database name on one:5432, two:5432"
