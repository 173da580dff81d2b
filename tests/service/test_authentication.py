"""Tokens: who asks, once, and only for this log."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from chopmark.keys import Algorithm, Ed25519Signer, Es256Signer, Signer, load_signer
from chopmark_ledger.errors import ClientListError
from chopmark_ledger.service.log_clients import FILE_NAME, ClientList, LogClient, add_client, begin_clients, make_client
from chopmark_service.authentication import AHEAD, MAX_LIFETIME, Authenticator, TokenMemory, make_token
from chopmark_service.errors import BackpressureError, UnauthenticatedError
from chopmark_service.json_web_key import to_jwk
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

ORIGIN = "cn-gd.example/log/2026"
ISSUER = "CN-GD/11440000MB2D0P8Q3X"
BEGAN = 1_795_339_800.5
SIGNER = Ed25519Signer(b"\x01" * 32)
P256_SIGNER = Es256Signer.from_private_bytes(b"\x02" * 32)
STRANGER = Ed25519Signer(b"\x03" * 32)
OTHER = Ed25519Signer(b"\x04" * 32)


@dataclass
class Door:
    """An authenticator that began at `BEGAN`, and the time, a second later."""

    authenticator: Authenticator[LogClient]
    memory: TokenMemory
    folder: Path
    now: float = BEGAN

    def ask(self, token: str) -> str:
        return self.authenticator.authenticate(f"Bearer {token}").name

    def claims(self, **changes: Any) -> dict[str, Any]:
        self.made = getattr(self, "made", 0) + 1
        now = self.now
        claims = {
            "iss": "registry",
            "sub": "registry",
            "aud": ORIGIN,
            "iat": now,
            "exp": now + 60,
            "jti": f"{self.made}",
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not ...}


@pytest.fixture
def door(tmp_path: Path) -> Door:
    begin_clients(tmp_path)
    add_client(tmp_path, make_client("registry", [SIGNER.public_key, P256_SIGNER.public_key], [ISSUER], None))
    add_client(tmp_path, make_client("other", [OTHER.public_key], [], "CN-GD"))
    memory = TokenMemory(bound=5)
    made: list[Door] = []

    def clock() -> float:
        return made[0].now if made else BEGAN

    authenticator = Authenticator(ClientList(tmp_path / FILE_NAME), audience=ORIGIN, clock=clock, memory=memory)
    made.append(Door(authenticator, memory, tmp_path, BEGAN + 1))
    return made[0]


def private(signer: Ed25519Signer | Es256Signer) -> Any:
    raw = signer.private_bytes()
    if signer.public_key.algorithm is Algorithm.ED25519:
        return ed25519.Ed25519PrivateKey.from_private_bytes(raw)
    return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())


def signed(claims: dict[str, Any], signer: Ed25519Signer | Es256Signer = SIGNER, **header: Any) -> str:
    """A token by PyJWT's own signatures."""
    name = "EdDSA" if signer.public_key.algorithm is Algorithm.ED25519 else "ES256"
    return jwt.encode(claims, private(signer), algorithm=name, headers=header)


def raw(header: dict[str, Any], claims: Any, signer: Signer = SIGNER) -> str:
    """A token signed by hand, whatever it says."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = f"{part(json.dumps(header).encode())}.{part(body)}"
    return f"{text}.{part(signer.sign(text.encode()))}"


@pytest.mark.parametrize("signer", [SIGNER, P256_SIGNER])
def test_a_token_of_ours_is_taken_and_others_read_it(door: Door, signer: Ed25519Signer | Es256Signer) -> None:
    token = make_token(signer, name="registry", audience=ORIGIN, now=door.now)
    key = jwt.PyJWK.from_dict(to_jwk(signer.public_key))
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, key, audience=ORIGIN, options=options)
    assert claims["iss"] == claims["sub"] == "registry"
    assert jwt.get_unverified_header(token)["kid"] == key.key_id
    assert door.ask(token) == "registry"


@pytest.mark.parametrize("signer", [SIGNER, P256_SIGNER])
def test_a_token_that_others_made_is_taken(door: Door, signer: Ed25519Signer | Es256Signer) -> None:
    assert door.ask(signed(door.claims(), signer)) == "registry"
    assert door.ask(signed(door.claims(), signer, kid=to_jwk(signer.public_key)["kid"])) == "registry"
    assert door.ask(signed(door.claims(nbf=door.now, more={"of": "this"}), signer)) == "registry"


@pytest.mark.parametrize("header", [None, "", "Basic cmVnaXN0cnk6", "bearer x", "Bearer", "Bearer ", "Bearer a.b.c"])
def test_without_a_token_nobody_is_let_in(door: Door, header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        door.authenticator.authenticate(header)


@pytest.mark.parametrize(
    "change",
    [
        *({name: ...} for name in ("iss", "sub", "aud", "iat", "exp", "jti")),
        {"iss": "nobody", "sub": "nobody"},
        {"iss": "other", "sub": "other"},
        {"iss": ["registry"]},
        {"sub": "other"},
        {"aud": "cn-sh.example/log/2026"},
        {"aud": [ORIGIN]},
        {"aud": ORIGIN + "/"},
        {"iat": BEGAN},
        {"iat": BEGAN - 10},
        {"iat": int(BEGAN)},
        {"iat": True},
        {"iat": str(BEGAN)},
        {"iat": -1},
        {"iat": BEGAN + 1 + AHEAD + 0.1, "exp": BEGAN + 60},
        {"nbf": BEGAN + 60},
        {"nbf": "now"},
        {"exp": BEGAN + 1},
        {"exp": BEGAN + 1 + MAX_LIFETIME + 0.5},
        {"exp": None},
        {"exp": BEGAN - 5},
        {"jti": ""},
        {"jti": "x" * 129},
        {"jti": 7},
    ],
)
def test_a_token_with_wrong_claims_is_refused(door: Door, change: dict[str, Any]) -> None:
    # signed by hand: PyJWT refuses to write some of these
    token = raw({"alg": "EdDSA"}, door.claims(**change))
    with pytest.raises(UnauthenticatedError):
        door.ask(token)


def test_a_token_is_good_for_one_request(door: Door) -> None:
    token = signed(door.claims())
    assert door.ask(token) == "registry"
    with pytest.raises(UnauthenticatedError, match="used before"):
        door.ask(token)
    door.now += 61
    with pytest.raises(UnauthenticatedError, match="expired"):
        door.ask(token)


def test_the_same_id_counts_once_whatever_else_the_token_says(door: Door) -> None:
    door.ask(signed(door.claims(jti="same")))
    door.now += 5
    with pytest.raises(UnauthenticatedError, match="used before"):
        door.ask(signed(door.claims(jti="same")))
    assert door.ask(signed(door.claims(jti="same", iss="other", sub="other"), OTHER)) == "other"


def test_a_refused_token_is_not_used_up(door: Door) -> None:
    with pytest.raises(UnauthenticatedError):
        door.ask(signed(door.claims(jti="same", aud="elsewhere")))
    assert door.ask(signed(door.claims(jti="same"))) == "registry"


def test_a_stranger_or_another_clients_key_is_refused(door: Door) -> None:
    for signer in (STRANGER, OTHER):
        with pytest.raises(UnauthenticatedError, match="no client of this service"):
            door.ask(signed(door.claims(), signer))


def test_the_algorithm_is_that_of_the_key(door: Door) -> None:
    claims = door.claims()
    for header in (
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES256"},
        {"alg": "ES256", "kid": to_jwk(SIGNER.public_key)["kid"]},
        {"alg": "eddsa"},
        {"alg": None},
        {},
    ):
        with pytest.raises(UnauthenticatedError):
            door.ask(raw(header, claims))
    with pytest.raises(UnauthenticatedError):
        door.ask(raw({"alg": "none"}, claims).rpartition(".")[0] + ".")
    secret = jwt.encode(claims, SIGNER.public_key.raw, algorithm="HS256")  # the public key as a shared secret
    with pytest.raises(UnauthenticatedError):
        door.ask(secret)


@pytest.mark.parametrize("header", [{"kid": "another"}, {"kid": 7}, {"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}])
def test_a_header_that_asks_for_something_else_is_refused(door: Door, header: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        door.ask(raw({"alg": "EdDSA", **header}, door.claims()))


def test_two_names_in_one_object_are_refused(door: Door) -> None:
    body = json.dumps(door.claims()).encode()
    with pytest.raises(UnauthenticatedError, match="twice"):
        door.ask(raw({"alg": "EdDSA"}, b'{"iss": "other", ' + body[1:]))


def test_a_huge_token_is_not_read(door: Door) -> None:
    with pytest.raises(UnauthenticatedError, match="more than"):
        door.ask(raw({"alg": "EdDSA"}, door.claims(more="x" * 4000)))


def test_a_full_memory_refuses_and_forgets_nothing(door: Door) -> None:
    tokens = [signed(door.claims(exp=door.now + 10 + number)) for number in range(5)]
    for token in tokens:
        door.ask(token)
    with pytest.raises(BackpressureError) as caught:
        door.ask(signed(door.claims()))
    assert caught.value.retry_after == 10
    for token in tokens:
        with pytest.raises(UnauthenticatedError, match="used before"):
            door.ask(token)
    assert door.ask(signed(door.claims(iss="other", sub="other"), OTHER)) == "other", "one client filled it for another"
    door.now += 10
    assert door.ask(signed(door.claims())) == "registry"
    with pytest.raises(UnauthenticatedError, match="expired"):
        door.ask(tokens[0])


def test_a_token_does_not_come_back_when_the_clock_goes_back(door: Door) -> None:
    token = signed(door.claims())
    door.ask(token)
    door.now += 100
    door.ask(signed(door.claims()))  # forgets what has expired
    door.now -= 80
    with pytest.raises(UnauthenticatedError, match="expired"):
        door.ask(token)


def test_a_clock_that_was_wrong_and_is_set_right_keeps_nobody_out(door: Door) -> None:
    now, month = door.now, 30 * 86_400.0
    used = signed(door.claims())
    door.ask(used)
    door.now += month
    door.ask(signed(door.claims()))
    door.now += 100
    of_the_wrong_time = signed(door.claims(exp=door.now + MAX_LIFETIME))
    door.ask(of_the_wrong_time)  # forgets what has expired
    assert door.memory.forgotten_until > now + month
    door.now = now + 1
    with pytest.raises(UnauthenticatedError, match="before this service began"):
        door.ask(used)
    door.now += 1
    assert door.ask(signed(door.claims())) == "registry"
    door.now = now + month + 105
    with pytest.raises(UnauthenticatedError, match="used before"):
        door.ask(of_the_wrong_time)


def test_a_clock_that_is_set_back_wrongly_and_right_again_gives_no_token_a_second_use(door: Door) -> None:
    used = signed(door.claims())
    door.ask(used)
    door.now -= 3600
    with pytest.raises(UnauthenticatedError, match="for a later time"):
        door.ask(used)
    door.now += 3601
    with pytest.raises(UnauthenticatedError, match="used before"):
        door.ask(used)
    assert door.ask(signed(door.claims())) == "registry"


def test_a_service_that_began_at_a_time_to_come_lets_clients_in_once_its_clock_is_set_right(door: Door) -> None:
    door.now -= 86_400
    with pytest.raises(UnauthenticatedError, match="before this service began"):
        door.ask(signed(door.claims()))
    door.now += 1
    assert door.ask(signed(door.claims())) == "registry"


class Compared(float):
    """A moment that counts how often it is held against another one."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return float(self) == other

    def __lt__(self, other: float) -> bool:
        Compared.times += 1
        return float(self) < float(other)

    __hash__ = float.__hash__


def test_a_full_memory_refuses_without_looking_at_all_of_it() -> None:
    bound = 10_000
    memory = TokenMemory(bound=bound)
    for number in range(bound):
        memory.use("registry", str(number), expires=Compared(BEGAN + 60 + number % 100), now=BEGAN)
    before = Compared.times
    for number in range(200):
        with pytest.raises(BackpressureError):
            memory.use("registry", f"more {number}", expires=BEGAN + 60, now=BEGAN)
    assert before > 0
    assert Compared.times - before < bound, "each refusal looks at the next that expires only"
    memory.use("registry", "later", expires=BEGAN + 120, now=BEGAN + 60)


def test_a_client_that_is_removed_or_a_broken_list_shuts_the_door(door: Door) -> None:
    (door.folder / FILE_NAME).write_text("{")
    with pytest.raises(ClientListError):
        door.ask(signed(door.claims()))
    (door.folder / FILE_NAME).unlink()
    begin_clients(door.folder)
    with pytest.raises(UnauthenticatedError):
        door.ask(signed(door.claims()))


@given(position=st.integers(0, 400), character=st.sampled_from("ABab01-_.=~"))
def test_no_changed_token_is_taken(position: int, character: str) -> None:
    memory = TokenMemory()
    clients = _Fixed()
    authenticator = Authenticator(clients, audience=ORIGIN, clock=lambda: BEGAN, memory=memory)
    token = make_token(SIGNER, name="registry", audience=ORIGIN, now=BEGAN + 1, random=lambda size: b"\x05" * size)
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed == token:
        assert authenticator.authenticate(f"Bearer {token}").name == "registry"
    else:
        with pytest.raises(UnauthenticatedError):
            authenticator.authenticate(f"Bearer {changed}")


class _Fixed:
    def find(self, name: str) -> Any:
        return make_client("registry", [SIGNER.public_key], [ISSUER], None) if name == "registry" else None


def test_a_signer_that_shows_no_private_key_will_do(door: Door) -> None:
    class Device:
        """A key that cannot be had, as in a security module."""

        public_key = P256_SIGNER.public_key

        def sign(self, message: bytes) -> bytes:
            return load_signer(Algorithm.ES256, b"\x02" * 32).sign(message)

    assert door.ask(make_token(Device(), name="registry", audience=ORIGIN, now=door.now)) == "registry"
