"""What cosigners sign, and the form of their signatures.

Spec: https://c2sp.org/tlog-cosignature. A cosignature is a time and a bare signature, in a signature line after the key
id: uint64be POSIX seconds, at most 2^63 − 1 ‖ the signature. What is signed depends on the algorithm.

Ed25519 (signature type 0x04), the text of the checkpoint below two lines:

    cosignature/v1
    time 1679315147
    cn-gd.example/log/2026
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

ML-DSA-44 (signature type 0x06), a subtree [start, end) of the log; a checkpoint is the one from 0 to its size:

    "subtree/v1" 0A 00                                  12 bytes
    uint8 length ‖ key name of the cosigner             1 to 255 bytes of UTF-8
    uint64be POSIX seconds
    uint8 length ‖ origin of the log                    1 to 255 bytes of UTF-8
    uint64be start ‖ uint64be end ‖ hash                48 bytes

The time 0 says that the cosigner states nothing of when: only that the subtree is consistent with all it has seen.
Where `start` is not 0 the time is 0. Extension lines of a checkpoint are not in the ML-DSA-44 message.
"""

from __future__ import annotations

import struct

from chopmark import strict
from chopmark.errors import FormatError
from chopmark.merkle import EMPTY_ROOT, HASH_SIZE

TIME_MAX = 2**63 - 1
"""The latest time of a cosignature, in POSIX seconds."""
NAME_SIZE = 255
"""Bytes of a cosigner's key name and of an origin, where one byte gives their length."""

_TIME_SIZE = 8
_LABEL = b"subtree/v1\n\0"
_INDEX_MAX = 2**63 - 1


def cosigned_message(text: bytes, time: int) -> bytes:
    """Write what an Ed25519 cosignature (type 0x04) of the checkpoint `text` at `time` (POSIX seconds) signs."""
    return b"cosignature/v1\ntime %d\n%b" % (time, text)


def subtree_message(  # noqa: PLR0917  # the members of the structure, in its order
    name: str, time: int, origin: str, start: int, end: int, root: bytes
) -> bytes:
    """Write what an ML-DSA-44 cosignature (type 0x06) signs.

    Args:
        name: the key name of the cosigner.
        time: POSIX seconds, 0 for none.
        origin: the log's.
        start: index of the first leaf.
        end: index after the last leaf; for a checkpoint its size.
        root: the hash of the subtree, 32 bytes.

    Raises:
        FormatError: a name longer than 255 bytes or empty, a time or an index beyond 2^63 − 1, an end below the start,
            a time of a subtree that does not begin at 0, or a hash of another size.
    """
    if type(time) is not int or not 0 <= time <= TIME_MAX:
        raise FormatError("the time of a cosignature is from 0 to 2^63 − 1 seconds", where="subtree cosignature")
    if type(start) is not int or type(end) is not int or not 0 <= start <= end <= _INDEX_MAX:
        raise FormatError("a subtree goes from a start to an end of at most 2^63 − 1", where="subtree cosignature")
    if start and time:
        raise FormatError("a time of a subtree that does not begin at 0", where="subtree cosignature")
    if len(root) != HASH_SIZE:
        raise FormatError(f"a hash of a subtree has {HASH_SIZE} bytes", where="subtree cosignature")
    return b"".join(
        (
            _LABEL,
            _with_length(name, "the key name"),
            struct.pack(">Q", time),
            _with_length(origin, "the origin"),
            struct.pack(">QQ", start, end),
            root,
        )
    )


def checkpoint_subtree_message(name: str, time: int, text: bytes) -> bytes:
    """Write what an ML-DSA-44 cosignature of the checkpoint `text` signs: the subtree from 0 to its size.

    Lines below the root hash are extension lines; they are in no such message, and must only not be empty.

    Raises:
        FormatError: the text is no checkpoint, or `subtree_message` refuses what it says.
    """
    lines = text.split(b"\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise FormatError("not at least three lines that are not empty, each with its newline", where="checkpoint")
    try:
        origin, size, root = (line.decode("utf-8") for line in lines[:3])
    except UnicodeDecodeError as error:
        raise FormatError("not UTF-8", where="checkpoint") from error
    end = strict.decimal(size, where="checkpoint, line 2", maximum=_INDEX_MAX)
    root_hash = strict.base64_decode(root, where="checkpoint, line 3", size=HASH_SIZE)
    if end == 0 and root_hash != EMPTY_ROOT:
        raise FormatError("an empty log with another root than the empty one", where="checkpoint, line 3")
    return subtree_message(name, time, origin, 0, end, root_hash)


def join_cosignature(time: int, signature: bytes) -> bytes:
    """Write a cosignature as it follows the key id: its time (POSIX seconds) and the bare signature."""
    return time.to_bytes(_TIME_SIZE, "big") + signature


def split_cosignature(signature: bytes) -> tuple[int, bytes]:
    """Split a cosignature, as it follows the key id, into its time (POSIX seconds) and the bare signature.

    Raises:
        FormatError: it has no time, or one above 2^63 − 1.
    """
    time = int.from_bytes(signature[:_TIME_SIZE], "big")
    if len(signature) <= _TIME_SIZE or time > TIME_MAX:
        raise FormatError("a cosignature is a time of 8 bytes, at most 2^63 − 1, and a signature", where="cosignature")
    return time, signature[_TIME_SIZE:]


def check_cosigned_name(name: str, *, where: str) -> None:
    """Refuse a name that one byte cannot give the length of.

    Raises:
        FormatError: it is empty, or has more than 255 bytes.
    """
    if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= NAME_SIZE:
        raise FormatError(f"a name of a subtree cosignature has 1 to {NAME_SIZE} bytes", where=where)


def _with_length(name: str, what: str) -> bytes:
    check_cosigned_name(name, where=f"subtree cosignature, {what}")
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("not Unicode text: it has lone surrogates", where=f"subtree cosignature, {what}") from error
    return bytes([len(encoded)]) + encoded
