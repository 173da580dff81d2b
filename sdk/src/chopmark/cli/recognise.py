"""Which of our objects some bytes or a text are: told by content, never by a file's name. Nothing is verified."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chopmark import licence_number, organisation_code, qr_text, strict
from chopmark.challenge import TYP as CHALLENGE_TYP
from chopmark.challenge import Challenge
from chopmark.checkpoint import Checkpoint
from chopmark.cli import describe
from chopmark.cli.describe import Content
from chopmark.cli.inputs import Input, decoded_text
from chopmark.cose import TYP, Sign1, type_named
from chopmark.credential import Credential, Kind
from chopmark.entries import parse_entry
from chopmark.errors import FormatError, LimitError, UnsupportedError
from chopmark.key_file import FORMAT as KEY_FILE_FORMAT
from chopmark.key_file import parse_key_file
from chopmark.landmark import LandmarkFile
from chopmark.limits import LIMITS
from chopmark.note import Note, NoteVerifier
from chopmark.presentation import Presentation
from chopmark.status import MEDIA_TYPE as STATUS_LIST_TYP
from chopmark.status import StatusListToken
from chopmark.tiles import TILE_WIDTH, decode_entry_bundle
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark.verification_record import read_unverified

_SIGN1: Final = 0xD2
_CBOR_ARRAYS: Final = range(0x80, 0x98)
_LANDMARK_FILE: Final = b"chopmark\x00"
_TLOG_PROOF: Final = b"c2sp.org/tlog-proof@"
_SIGNATURE_LINES: Final = "\n\n\N{EM DASH} ".encode()
_DOCUMENT_DEPTH: Final = 16
"""Arrays and objects within each other in a data file; a licence type has four."""

_JWS: Final = re.compile(r"eyJ[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*", re.ASCII)
_VKEY: Final = re.compile(r"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+")
_ORGANISATION_CODE: Final = re.compile(r"[0-9A-Z]{18}", re.ASCII)
_ROOT_OF_OIDS: Final = "1.2.156."
_POLICY: Final = re.compile(r"\s*(?:#[^\n]*\n\s*)*(?:log|witness|group|quorum)[ \t]")

READS: Final = (
    "It reads codes (EL1:, EC1:) and pictures of them, credentials, presentations, status lists, signed notes, "
    "tlog-proofs, policies, landmark files, log entries and bundles of them, verification records, key files, "
    "licence numbers, organisation codes and vkeys"
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """An object: its kind (a key of `labels.KINDS`), what it says, and what carried it here."""

    kind: str
    content: Content
    carried_by: Content | None = None


def recognise(given: Input) -> Recognised:
    """Tell what an input is and read it.

    Raises:
        FormatError: it is nothing of ours, or it is damaged; the error says as what it was read.
    """
    if given.text is not None:
        return _code(given.text) if given.text.startswith(("EL", "EC")) else recognise_text(given.text)
    return recognise_bytes(given.data)


def recognise_bytes(data: bytes) -> Recognised:
    """Tell what a file is and read it; errors as `recognise`."""
    if data[0] == _SIGN1:
        return _sign1(data)
    if data[0] in _CBOR_ARRAYS:
        return Recognised("log-entry", describe.log_entry(parse_entry(data)))
    if data.startswith(_LANDMARK_FILE):
        return Recognised("landmark-file", describe.landmark_file(LandmarkFile.parse(data)))
    if data.startswith(_TLOG_PROOF):
        return Recognised("tlog-proof", describe.tlog_proof(TlogProof.parse(data)))
    # Before notes: trust statements in a bundle of entries are notes themselves.
    entries = _entry_bundle(data)
    if entries is not None:
        return entries
    if _SIGNATURE_LINES in data:
        return Recognised(*describe.note(Note.parse(data)))
    text = decoded_text(data)
    if text is not None and "\0" not in text:
        return recognise_text(text)
    raise FormatError(f"{len(data)} bytes that are nothing of ours, {_beginning(data)}", remedy=READS)


def recognise_text(text: str) -> Recognised:
    """Tell what a text is and read it; errors as `recognise`."""
    line = text.strip()
    for pattern, read in _ONE_LINE:
        if pattern(line):
            return read(line)
    if line.startswith("{"):
        return _document(line)
    if _POLICY.match(text) is not None:
        return Recognised("tlog-policy", describe.tlog_policy(TlogPolicy.parse(text)))
    if text.count("\n") == 3 and text.split("\n")[1].isdigit():
        return Recognised("checkpoint", describe.checkpoint(Checkpoint.parse(text)))
    raise FormatError(f"a text of {len(text)} characters that is nothing of ours", remedy=READS)


def is_recognisable_text(text: str) -> bool:
    """Whether a text on the command line, which names no file, is one that can be read by itself."""
    line = text.strip()
    return any(pattern(line) for pattern, _ in _ONE_LINE)


def _code(text: str) -> Recognised:
    if text.startswith("EC"):
        read = Challenge.parse_text(text)
        carried_by: Content = {"form": "EC1", "characters": len(text), "bytes": len(read.encode())}
        return Recognised("challenge", describe.challenge(read), carried_by)
    data = qr_text.decode(text)
    inner = _sign1(data)
    return Recognised(inner.kind, inner.content, {"form": "EL1", "characters": len(text), "bytes": len(data)})


def _sign1(data: bytes) -> Recognised:
    # Of all that is signed with COSE a status list is the largest; each reader has its own, lower bound.
    sign1 = Sign1.parse(data, max_size=LIMITS.status_token_size, where="COSE_Sign1")
    typ = sign1.protected_map.get(TYP)
    if Presentation.is_presentation(sign1):
        return Recognised("presentation", describe.presentation(Presentation.parse(data)))
    if type(typ) is int and typ in {kind.value for kind in Kind}:
        return Recognised("credential", describe.credential(Credential.parse(data)))
    if typ == CHALLENGE_TYP:
        return Recognised("challenge", describe.challenge(Challenge.parse(data)))
    if typ == STATUS_LIST_TYP:
        return Recognised("status-list", describe.status_list_token(StatusListToken.parse(data)))
    raise UnsupportedError(f"a COSE_Sign1 that is none of ours: {type_named(typ)}", where="typ (16)", remedy=READS)


def _document(text: str) -> Recognised:
    data = text.encode("utf-8")
    value = strict.json_decode(data, where="JSON", max_size=LIMITS.note_size)
    document_format = value.get("format")
    if document_format == KEY_FILE_FORMAT:
        key = parse_key_file(data)
        cost = key.cost
        content = {
            "format": document_format,
            **describe.public_key(key.public_key),
            "kdf": {"name": "scrypt", "n": cost.n, "r": cost.r, "p": cost.p},
        }
        return Recognised("key-file", content)
    if isinstance(document_format, str) and document_format.startswith("chopmark/"):
        _check_depth(value)
        return Recognised("document", value)
    raise FormatError("a JSON object that is nothing of ours: it has no format of Chopmark", remedy=READS)


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(_DOCUMENT_DEPTH):
        members = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [element for each in members for element in each]
    if level:
        raise LimitError(f"JSON nested more than {_DOCUMENT_DEPTH} deep", where="document")


def _entry_bundle(data: bytes) -> Recognised | None:
    """A bundle of entries (`uint16be length ‖ entry`, up to 256 times); None where the lengths do not come out."""
    count = position = 0
    while position + 2 <= len(data) and count < TILE_WIDTH:
        position += 2 + int.from_bytes(data[position : position + 2], "big")
        count += 1
    if position != len(data) or data[2:3] == b"" or data[2] not in _CBOR_ARRAYS:
        return None
    entries = [describe.log_entry(parse_entry(entry)) for entry in decode_entry_bundle(data, count)]
    return Recognised("entry-bundle", {"size": count, "entries": entries})


def _beginning(data: bytes) -> str:
    return f"beginning with {data[:8].hex(' ')}"


def _record(line: str) -> Recognised:
    return Recognised("verification-record", describe.verification_record(read_unverified(line)))


def _licence_number(line: str) -> Recognised:
    return Recognised("licence-number", describe.licence_number(licence_number.parse(line, strict=False)))


def _organisation_code(line: str) -> Recognised:
    return Recognised("organisation-code", describe.organisation_code(organisation_code.validate(line)))


def _vkey(line: str) -> Recognised:
    return Recognised("vkey", describe.vkey(NoteVerifier.from_vkey(line)))


_ONE_LINE: Final[tuple[tuple[Callable[[str], object], Callable[[str], Recognised]], ...]] = (
    (re.compile(r"E[LC][0-9]+:", re.ASCII).match, _code),
    (lambda line: line.startswith(_ROOT_OF_OIDS), _licence_number),
    (_JWS.fullmatch, _record),
    (_VKEY.fullmatch, _vkey),
    (_ORGANISATION_CODE.fullmatch, _organisation_code),
)
"""Texts of one line that are recognised by their form, and what reads each."""
