"""Who asks a service: a JSON Web Token that the client signs for one request.

It is the `private_key_jwt` of RFC 7523, used directly:

    Authorization: Bearer <header>.<payload>.<signature>

    header   {"alg": "EdDSA", "kid": "thumbprint of the key", "typ": "JWT"}
    payload  {"iss": "registry of CN-GD", "sub": "registry of CN-GD", "aud": "cn-gd.example/log/2026",
              "iat": 1795339800.25, "exp": 1795339860.25, "jti": "1 to 128 characters, each token another"}

Specifications: RFC 7519, RFC 8725. `alg` is EdDSA or ES256 and that of the key, which is one of those that the service
knows the client by; `kid` may be missing, then each of them is tried. `aud` names the service: the origin of a log, the
region of a registry. A token lasts at
most 300 seconds and is good for one request: its `jti` is remembered until it has expired. What an earlier process
remembered is gone, so tokens issued before this one began are refused; whole seconds in `iat` can mean a moment before
it, so a client that does not want to wait out its first second writes fractions.

Nothing is forgotten early: while the memory of a client is full its tokens are refused. When the clock of the service
goes back, tokens stay expired that had expired once and were forgotten. When it goes back by more than the lifetime of
a token, its time before was wrong, or is now: then it is as if the service began at the new time, so that nobody is
kept out until the wrong time comes. A token of that wrong time which was forgotten would be good once more then.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any, Generic, Protocol, TypeVar

from chopmark import strict
from chopmark.errors import ChopmarkError, KeyMaterialError, SignatureError
from chopmark.keys import Algorithm, PublicKey, Signer
from jwt import PyJWS
from jwt.algorithms import Algorithm as TokenAlgorithm
from jwt.exceptions import PyJWTError

from chopmark_service.errors import BackpressureError, UnauthenticatedError
from chopmark_service.json_web_key import ALGORITHMS, thumbprint

MAX_LIFETIME = 300
"""Seconds between `iat` and `exp`."""
AHEAD = 10
"""Seconds by which a client's clock may be ahead."""
_SCHEME = "Bearer "
_MAX_TOKEN = 4096
_MAX_JTI = 128
_REMEMBERED = 200_000
"""Tokens of one client that are remembered: 3,000 requests a second with tokens of a minute, some 36 MB."""
_FORGET_EVERY = 15
_FORGOTTEN_AT_ONCE = 1000
"""Expired tokens of a client that are forgotten by one request: milliseconds, however many there are."""
_CLAIMS = {"iss", "sub", "aud", "iat", "exp", "jti"}


class _SuiteAlgorithm(TokenAlgorithm):
    """Signatures by the keys of suite 1, for PyJWT: of whatever the key is, software or a device."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm

    def prepare_key(self, key: Any) -> Any:
        """Check that the key is of this algorithm."""
        public = key if isinstance(key, PublicKey) else key.public_key
        if public.algorithm is not self._algorithm:
            raise KeyMaterialError("the token names another algorithm than that of its key")
        return key

    def sign(self, msg: bytes, key: Any) -> bytes:
        """Sign with a `Signer`."""
        signature: bytes = key.sign(msg)
        return signature

    def verify(self, msg: bytes, key: Any, sig: bytes) -> bool:
        """Verify with a `PublicKey`."""
        try:
            key.verify(msg, sig)
        except SignatureError:
            return False
        return True

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> Any:
        """Not asked for: `json_web_key` reads and writes keys."""
        raise NotImplementedError

    @staticmethod
    def from_jwk(jwk: Any) -> Any:
        """Not asked for: `json_web_key` reads and writes keys."""
        raise NotImplementedError


def _signatures() -> PyJWS:
    signatures = PyJWS(algorithms=[])
    for algorithm, name in ALGORITHMS.items():
        signatures.register_algorithm(name, _SuiteAlgorithm(algorithm))
    return signatures


_SIGNATURES = _signatures()


def make_token(
    signer: Signer,
    *,
    name: str,
    audience: str,
    now: float,
    lifetime: int = 60,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """Sign a token for one request.

    Args:
        signer: the client's key.
        name: the client's name, as the service knows it.
        audience: what the service calls itself.
        now: POSIX seconds, with fractions.
        lifetime: seconds it lasts, at most 300.
        random: answers that many random bytes.

    Raises:
        KeyMaterialError: the key is neither Ed25519 nor ES256.
    """
    key: Any = signer
    claims = {
        "iss": name,
        "sub": name,
        "aud": audience,
        "iat": round(now, 3),
        "exp": round(now + lifetime, 3),
        "jti": strict.base64url_encode(random(16)),
    }
    kid = thumbprint(signer.public_key)
    payload = json.dumps(claims, separators=(",", ":")).encode("utf-8")
    return _SIGNATURES.encode(payload, key, ALGORITHMS[signer.public_key.algorithm], headers={"kid": kid})


class TokenMemory:
    """Which tokens were used, until they expire.

    Args:
        bound: tokens of one client that are remembered.
    """

    def __init__(self, bound: int = _REMEMBERED) -> None:
        self._bound = bound
        self._used: dict[str, _UsedTokens] = {}
        self._earlier: dict[str, _UsedTokens] = {}
        self._forget_at = -math.inf
        self.forgotten_until = -math.inf
        """Nothing that expired after this moment was forgotten."""

    def use(self, client: str, jti: str, *, expires: float, now: float) -> None:
        """Remember a token that expires after `forgotten_until`.

        Raises:
            UnauthenticatedError: it was used before.
            BackpressureError: this client has used too many that have not expired.
        """
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_EVERY
            self._forget(self._used, now)
            self._forget(self._earlier, now)
        used = self._used.setdefault(client, _UsedTokens())
        self._note(used.forget(now))
        digest = sha256(jti.encode("utf-8")).digest()[:16]
        if digest in used.digests or (client in self._earlier and digest in self._earlier[client].digests):
            raise UnauthenticatedError("the token was used before", remedy="Make a new one for each request")
        if len(used.digests) >= self._bound:
            raise BackpressureError(
                f"{self._bound:,} tokens of this client have not expired yet",
                retry_after=max(1, math.ceil(used.by_expiry[0][0] - now)),
                where="token",
                remedy="Make tokens that last shorter",
            )
        used.add(digest, expires)

    def begin_anew(self) -> None:
        """Take up a clock that fell back: what its wrong time made expire is forgotten, and known to be.

        What it has not forgotten is kept beside what comes, out of the bound, until it expires or the clock falls back
        again.
        """
        self._earlier, self._used = self._used, {}
        self._forget_at = self.forgotten_until = -math.inf

    def _forget(self, kept: dict[str, _UsedTokens], now: float) -> None:
        for client, used in list(kept.items()):
            self._note(used.forget(now))
            if not used.digests:
                del kept[client]

    def _note(self, expired: float) -> None:
        self.forgotten_until = max(self.forgotten_until, expired)


class _UsedTokens:
    """The tokens that one client used, each once, in the order in which they expire."""

    def __init__(self) -> None:
        self.digests: set[bytes] = set()
        self.by_expiry: list[tuple[float, bytes]] = []

    def add(self, digest: bytes, expires: float) -> None:
        self.digests.add(digest)
        heappush(self.by_expiry, (expires, digest))

    def forget(self, now: float) -> float:
        """Forget what has expired, a part of it if it is much; answers when the last that is forgotten did."""
        expired = -math.inf
        for _ in range(_FORGOTTEN_AT_ONCE):
            if not self.by_expiry or self.by_expiry[0][0] > now:
                break
            expired, digest = heappop(self.by_expiry)
            self.digests.discard(digest)
        return expired


class KnownClient(Protocol):
    """A client as a service knows it."""

    @property
    def name(self) -> str:
        """What it calls itself in `iss`."""
        ...

    @property
    def keys(self) -> Mapping[str, PublicKey]:
        """Its keys, by their RFC 7638 thumbprints."""
        ...


_Known = TypeVar("_Known", bound=KnownClient)
_Found_co = TypeVar("_Found_co", bound=KnownClient, covariant=True)


class ClientSource(Protocol[_Found_co]):
    """Where a service knows its clients from."""

    def find(self, name: str) -> _Found_co | None:
        """The client of this name, None where there is none; an error of ours where nobody can be told."""
        ...


class Authenticator(Generic[_Known]):
    """Tells who asks. For one thread.

    Args:
        clients: those who may.
        audience: what the service calls itself, or answers it where it may change.
        clock: answers POSIX seconds, with fractions.
        memory: of the tokens that were used.
    """

    def __init__(
        self,
        clients: ClientSource[_Known],
        *,
        audience: str | Callable[[], str],
        clock: Callable[[], float] = time.time,
        memory: TokenMemory | None = None,
    ) -> None:
        self._clients = clients
        self._audience = audience if callable(audience) else partial(str, audience)
        self._clock = clock
        self._memory = TokenMemory() if memory is None else memory
        self._began = self._latest = clock()

    def authenticate(self, authorization: str | None) -> _Known:
        """Answer whose request it is, and use up its token.

        Args:
            authorization: the header of that name.

        Raises:
            UnauthenticatedError: there is no token, or it is none of a client for this service and moment.
            BackpressureError: the client has too many tokens that last.
            ChopmarkError: what the source of clients raises, where nobody can be told.
        """
        if authorization is None or not authorization.startswith(_SCHEME):
            raise _refused("a request needs a token", "Send Authorization: Bearer <JWT>")
        token = authorization[len(_SCHEME) :]
        if len(token) > _MAX_TOKEN:
            raise _refused(f"a token of more than {_MAX_TOKEN} characters")
        try:
            head, body, _ = token.split(".")
            header = strict.json_decode(strict.base64url_decode(head, where="header"), where="header", max_size=1024)
            claims = strict.json_decode(strict.base64url_decode(body, where="claims"), where="claims", max_size=4096)
        except ChopmarkError as error:
            raise _refused(f"not a JSON Web Token: {error}") from error
        except ValueError as error:
            raise _refused("not a JSON Web Token, three parts of base64url with dots between them") from error
        if not isinstance(header, dict) or not isinstance(claims, dict) or not claims.keys() >= _CLAIMS:
            raise _refused(f"a token has the claims {', '.join(sorted(_CLAIMS))}")
        client = self._verified_client(token, header, claims)
        now = self._now()
        self._check_claims(claims, now)
        self._memory.use(client.name, claims["jti"], expires=claims["exp"], now=now)
        return client

    def _now(self) -> float:
        now = self._clock()
        if now < self._latest - MAX_LIFETIME:
            self._memory.begin_anew()
            self._began = self._latest = now
        self._latest = max(self._latest, now)
        return now

    def _verified_client(self, token: str, header: dict[str, Any], claims: dict[str, Any]) -> _Known:
        """The client whose key signed the token, the same answer for whatever is wrong."""
        known = self._clients.find(claims["iss"]) if isinstance(claims["iss"], str) else None
        if known is not None:
            for key in _keys(known, header):
                handed: Any = key
                try:
                    _SIGNATURES.decode_complete(token, handed, algorithms=[ALGORITHMS[key.algorithm]])
                except (PyJWTError, ChopmarkError):
                    continue
                return known
        raise _refused("no client of this service signed this with a key of its own")

    def _check_claims(self, claims: dict[str, Any], now: float) -> None:
        issued, expires, jti = claims["iat"], claims["exp"], claims["jti"]
        audience = self._audience()
        if claims["sub"] != claims["iss"]:
            raise _refused("`sub` is not the client that `iss` is")
        if claims["aud"] != audience:
            raise _refused(f"`aud` is not {audience!r}, which this service is called")
        if not _is_time(issued) or not _is_time(expires) or not _is_time(claims.get("nbf", 0)):
            raise _refused("`iat` and `exp` are numbers of seconds")
        if not isinstance(jti, str) or not 1 <= len(jti) <= _MAX_JTI:
            raise _refused(f"`jti` is a text of 1 to {_MAX_JTI} characters")
        if not 0 < expires - issued <= MAX_LIFETIME:
            raise _refused(f"a token lasts at most {MAX_LIFETIME} seconds")
        if issued <= self._began:
            raise _refused("it was issued before this service began", "Make a new one")
        if max(issued, claims.get("nbf", 0)) > now + AHEAD:
            raise _refused("it is for a later time", "Compare the clocks of both machines")
        if expires <= max(now, self._memory.forgotten_until):
            raise _refused("it has expired", "Make a new one for each request, and compare the clocks of both machines")


def _keys(client: KnownClient, header: dict[str, Any]) -> list[PublicKey]:
    if "kid" not in header:
        return list(client.keys.values())
    kid = header["kid"]
    return [client.keys[kid]] if isinstance(kid, str) and kid in client.keys else []


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _refused(what: str, remedy: str = "") -> UnauthenticatedError:
    return UnauthenticatedError(what, where="token", remedy=remedy)
