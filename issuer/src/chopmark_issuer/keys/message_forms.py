"""What a key may sign, by its use: the form that every message of that use has.

    credential    a Sig_structure that names this key and says `typ` 293 or 61: a credential
    status        a Sig_structure that names this key and says that it is a status list token
    inspector     a Sig_structure of this key that is a challenge; or the signing input of a verification record
    root          the text of a trust bundle, a root epoch or a trust statement
    log           a checkpoint, or the subtree message of one
    log-client    the signing input of a token for one request

Nothing that one use signs has the form of another's, so whoever may have one kind of thing signed gets no other: a
status key can not make a licence, nor a log key a trust bundle. What a message says is judged by whoever writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from chopmark import cbor, challenge, cose, status, strict, verification_record
from chopmark.checkpoint import Checkpoint
from chopmark.credential import Kind
from chopmark.errors import FormatError
from chopmark.keys import PublicKey

from chopmark_issuer.errors import RefusedError
from chopmark_issuer.keys.keys import InventoryUse

_ROOT_TEXT: Final = re.compile(rb'\{\n "format": "chopmark/(?:trust-bundle|root-epoch|trust-statement)/v1",\n')
_SUBTREE: Final = b"subtree/v1\n\0"
_HEAD_SIZES: Final = (3, 2, 1, 5)
"""Bytes that say how long a byte string is; a credential's payload has three."""
_MAX_CHECKPOINT: Final = 1024
_MAX_TOKEN: Final = 1024 * 1024


def check_form(use: InventoryUse, public_key: PublicKey, message: bytes) -> None:
    """Check that a message has the form of what keys of that use sign.

    Raises:
        RefusedError: it has not.
    """
    if not _FORMS[use](public_key, message):
        raise RefusedError(
            f"a {use.value} key does not sign such a message",
            where=f"key {public_key.kid.hex()}",
            remedy="Every use has keys of its own",
        )


def _is_credential(public_key: PublicKey, message: bytes) -> bool:
    return any(_is_sig_structure(public_key, kind.value, message) for kind in Kind)


def _is_status_list(public_key: PublicKey, message: bytes) -> bool:
    return _is_sig_structure(public_key, status.MEDIA_TYPE, message)


def _is_inspectors(public_key: PublicKey, message: bytes) -> bool:
    return _is_sig_structure(public_key, challenge.TYP, message) or _is_jwt(verification_record.TYPE, message)


def _is_root_text(_: PublicKey, message: bytes) -> bool:
    return _ROOT_TEXT.match(message) is not None and message.endswith(b"\n}\n")


def _is_log_statement(_: PublicKey, message: bytes) -> bool:
    if len(message) > _MAX_CHECKPOINT:
        return False
    if message.startswith(_SUBTREE):
        return True
    try:
        Checkpoint.parse(message)
    except FormatError:
        return False
    return True


def _is_token(_: PublicKey, message: bytes) -> bool:
    return _is_jwt("JWT", message)


def _is_sig_structure(public_key: PublicKey, typ: int | str, message: bytes) -> bool:
    prefix = _sig_structure_prefix(public_key, typ)
    if not message.startswith(prefix):
        return False
    # what follows the empty external data is one byte string, the payload, to the end
    rest = len(message) - len(prefix)
    for size in _HEAD_SIZES:
        if rest >= size:
            head = cbor.bytes_head(rest - size)
            if len(head) == size and message.startswith(head, len(prefix)):
                return True
    return False


@lru_cache(maxsize=256)
def _sig_structure_prefix(public_key: PublicKey, typ: int | str) -> bytes:
    protected = cbor.encode({cose.ALG: int(public_key.algorithm), cose.KID: public_key.kid, cose.TYP: typ})
    return cose.sig_structure(protected, b"")[:-1]


def _is_jwt(typ: str, message: bytes) -> bool:
    head, dot, claims = message.partition(b".")
    if not dot or len(message) > _MAX_TOKEN:
        return False
    try:
        header = json.loads(strict.base64url_decode(head.decode("ascii"), where="header"))
        strict.base64url_decode(claims.decode("ascii"), where="claims")
    except (FormatError, ValueError):
        return False
    return isinstance(header, dict) and header.get("typ") == typ


_FORMS: Final[Mapping[InventoryUse, Callable[[PublicKey, bytes], bool]]] = {
    InventoryUse.CREDENTIAL: _is_credential,
    InventoryUse.STATUS: _is_status_list,
    InventoryUse.INSPECTOR: _is_inspectors,
    InventoryUse.ROOT: _is_root_text,
    InventoryUse.LOG: _is_log_statement,
    InventoryUse.LOG_CLIENT: _is_token,
}
