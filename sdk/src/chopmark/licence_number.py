"""Licence numbers, GB/T 36904-2018.

`1.2.156.3005.2.TYPE.ISSUER.SERIAL.VERSION.CHECK`: TYPE = organisation code of the authority that defines the type (18)
and 3 letters or digits; ISSUER = organisation code (18); SERIAL = 7 to 32 upper-case letters and digits; VERSION =
3 digits from 001; CHECK = ISO 7064 MOD 37,36 over TYPE, ISSUER, SERIAL and VERSION without the dots. The check catches
every single substitution but never a moved dot, so lengths are read strictly; it is no protection against forgery.
Sample: `1.2.156.3005.2.11100000000013338W032.11220000013544541J.2430599.001.F`.

Strict reading is for what we issue. Lenient reading takes what circulates beyond the standard, each with a warning:
an area code as ISSUER, `_` in SERIAL (left out of the check like the dots, for it has no value there), a SERIAL of
1 to 64 characters, an organisation code whose own check character is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from chopmark import organisation_code
from chopmark.errors import FormatError

ROOT = "1.2.156.3005.2"
"""The arc of electronic licences under ISO, China."""
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_TYPE = re.compile(r"[0-9A-Z]{21}", re.ASCII)
_ISSUER = re.compile(r"[0-9A-Z]{18}", re.ASCII)
_AREA = re.compile(r"[0-9]{6}", re.ASCII)
_SERIAL = re.compile(r"[0-9A-Z]{7,32}", re.ASCII)
_CIRCULATING_SERIAL = re.compile(r"[0-9A-Z_]{0,63}[0-9A-Z][0-9A-Z_]{0,63}", re.ASCII)
_VERSION = re.compile(r"[0-9]{3}", re.ASCII)
_LONGEST = 200
_NO_BODY = "a check character is made of upper-case letters and digits only"


@dataclass(frozen=True, slots=True)
class LicenceNumber:
    """A licence number whose check character is right; `warnings` is empty for one that follows the standard."""

    type_code: str
    issuer_code: str
    serial: str
    version: int
    check: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def build(cls, type_code: str, issuer_code: str, serial: str, version: int) -> LicenceNumber:
        """Make a number, with its check character, as strictly as `parse` reads it.

        Raises:
            FormatError: a part that does not follow the standard.
        """
        if not 1 <= version <= 999:
            raise FormatError(f"version {version} is not within 1 and 999", where="VERSION")
        digits = f"{version:03}"
        warnings = _deviations(type_code, issuer_code, serial, digits)
        if warnings:
            raise FormatError(warnings[0], where="licence number")
        product = _product(_product_of_codes(type_code, issuer_code), serial + digits)
        check = _ALPHABET[(37 - product) % 36]
        return cls(type_code, issuer_code, serial, version, check)

    @property
    def defining_authority(self) -> str:
        """The organisation code of the authority that defines the type."""
        return self.type_code[:18]

    @property
    def text(self) -> str:
        """The number in full."""
        return f"{ROOT}.{self.type_code}.{self.issuer_code}.{self.serial}.{self.version:03}.{self.check}"

    def with_version(self, version: int) -> LicenceNumber:
        """The number of another version of the same licence."""
        return LicenceNumber.build(self.type_code, self.issuer_code, self.serial, version)

    def __str__(self) -> str:
        return self.text


def check_character(body: str) -> str:
    """The ISO 7064 MOD 37,36 check character of upper-case letters and digits.

    Raises:
        FormatError: another character, or none.
    """
    if not body:
        raise FormatError(_NO_BODY)
    return _ALPHABET[(37 - _product(36, body)) % 36]


def _product(product: int, body: str) -> int:
    """Carry the product of MOD 37,36 on over some characters."""
    try:
        for character in body:
            product = ((product + _VALUES[character]) % 36 or 36) * 2 % 37
    except KeyError:
        raise FormatError(_NO_BODY) from None
    return product


@lru_cache(maxsize=1024)
def _product_of_codes(type_code: str, issuer_code: str) -> int:
    """The product over the beginning that all licences of a type and issuer have."""
    return _product(36, type_code + issuer_code)


def parse(text: str, strict: bool = True) -> LicenceNumber:
    """Read a licence number.

    Args:
        text: the number in full, root and dots included.
        strict: refuse what deviates from the standard; otherwise say it in `warnings`.

    Raises:
        FormatError: not a licence number, or a wrong check character.
    """
    if len(text) > _LONGEST:
        raise FormatError(f"{len(text)} characters are no licence number", where="licence number")
    prefix = ROOT + "."
    parts = text[len(prefix) :].split(".")
    if not text.startswith(prefix) or len(parts) != 5:
        raise FormatError(
            f"{text[:60]!r} is not of the form {prefix}TYPE.ISSUER.SERIAL.VERSION.CHECK", where="licence number"
        )
    type_code, issuer_code, serial, version, check = parts
    warnings = _deviations(type_code, issuer_code, serial, version)
    if warnings and strict:
        raise FormatError(
            warnings[0],
            where="licence number",
            remedy="read it leniently if it was issued elsewhere and only read here",
        )
    expected = check_character((type_code + issuer_code + serial + version).replace("_", ""))
    if check != expected:
        raise FormatError(
            f"the check character is {expected}, not {check[:10]!r}",
            where="licence number, CHECK",
            remedy="compare the number with the licence, character by character",
        )
    return LicenceNumber(type_code, issuer_code, serial, int(version), check, warnings)


def _deviations(type_code: str, issuer_code: str, serial: str, version: str) -> tuple[str, ...]:
    """What circulates beyond the standard; what does not circulate either is refused here."""
    warnings = []
    if _TYPE.fullmatch(type_code) is None:
        raise FormatError(f"{type_code[:40]!r} is not 21 upper-case letters and digits", where="licence number, TYPE")
    if not _is_organisation_code(type_code[:18]):
        warnings.append(f"TYPE begins with {type_code[:18]}, which is no right organisation code")
    if _AREA.fullmatch(issuer_code) is not None:
        warnings.append(f"ISSUER is the area code {issuer_code} where an organisation code belongs")
    elif _ISSUER.fullmatch(issuer_code) is None:
        raise FormatError(f"{issuer_code[:40]!r} is not an organisation code", where="licence number, ISSUER")
    elif not _is_organisation_code(issuer_code):
        warnings.append(f"ISSUER is {issuer_code}, which is no right organisation code")
    if _SERIAL.fullmatch(serial) is None:
        if len(serial) > 64 or _CIRCULATING_SERIAL.fullmatch(serial) is None:
            raise FormatError(f"{serial[:40]!r} is not upper-case letters and digits", where="licence number, SERIAL")
        if "_" in serial:
            warnings.append("SERIAL contains _ where only upper-case letters and digits belong")
        if not 7 <= len(serial) <= 32:
            warnings.append(f"SERIAL has {len(serial)} characters where 7 to 32 belong")
    if _VERSION.fullmatch(version) is None or version == "000":
        raise FormatError(f"{version[:10]!r} is not three digits from 001", where="licence number, VERSION")
    return tuple(warnings)


@lru_cache(maxsize=1024)
def _is_organisation_code(code: str) -> bool:
    try:
        organisation_code.validate(code)
    except FormatError:
        return False
    return True
