"""Vectors of licence numbers and organisation codes."""

from __future__ import annotations

from typing import Any

from chopmark import licence_number
from chopmark.licence_number import LicenceNumber

from specs.vectors.vector_file import FORMAT, VectorFile

TYPE = "11100000MB99991003001"
ISSUER = "11440000MB99990015"


def number_vectors() -> VectorFile:
    """All vectors of `licence-number.json`."""
    file = VectorFile("licence-number", "specs/licence-number.md")
    number = LicenceNumber.build(TYPE, ISSUER, "202600000001", 1)
    root = licence_number.ROOT

    def assembled(type_code: str, issuer: str, serial: str, version: str) -> str:
        """A number of any parts, with its right check character."""
        check = licence_number.check_character((type_code + issuer + serial + version).replace("_", ""))
        return ".".join((root, type_code, issuer, serial, version, check))

    def given(text: str, strict: bool = True) -> dict[str, Any]:
        return {"text": text, "strict": strict}

    def parts(text: str, warnings: int = 0) -> dict[str, Any]:
        type_code, issuer, serial, version, check = text.removeprefix(root + ".").split(".")
        return {
            "type_code": type_code,
            "issuer_code": issuer,
            "serial": serial,
            "version": int(version),
            "check": check,
            "warnings": warnings,
        }

    for name, description, text in (
        ("first-version", "the first version", number.text),
        ("version-999", "the last version", number.with_version(999).text),
        ("serial-7", "the shortest serial", assembled(TYPE, ISSUER, "A000001", "001")),
        ("serial-32", "the longest serial", assembled(TYPE, ISSUER, "Z" * 32, "001")),
    ):
        file.accept(f"number-{name}", description, "licence_number", given(text), parts(text))
    circulating = (
        ("area-code", "an area code where the issuer belongs", assembled(TYPE, "440100", "2026000001", "001")),
        ("underscore", "an underscore in the serial", assembled(TYPE, ISSUER, "2026_00001", "001")),
        ("serial-6", "a serial of 6 characters", assembled(TYPE, ISSUER, "200001", "001")),
        ("serial-33", "a serial of 33 characters", assembled(TYPE, ISSUER, "1" * 33, "001")),
        (
            "issuer-check",
            "an issuer whose own check character is wrong",
            assembled(TYPE, ISSUER[:-1] + "6", "20260001", "001"),
        ),
        (
            "type-check",
            "a type whose authority's check character is wrong",
            assembled("11100000MB99991004001", ISSUER, "20260001", "001"),
        ),
    )
    for name, description, text in circulating:
        file.refuse(f"number-{name}-strict", description + ", read strictly", "licence_number", given(text), FORMAT)
        file.accept(
            f"number-{name}-lenient",
            description + ", read leniently: a warning",
            "licence_number",
            given(text, strict=False),
            parts(text, 1),
        )
    wrong = "0" if number.check != "0" else "1"
    for name, description, text in (
        ("check", "another check character", number.text[:-1] + wrong),
        ("digit", "another digit in the serial", number.text.replace("202600000001", "202600000002")),
        (
            "dot-moved",
            "a moved dot, which the check character does not catch",
            number.text.replace(".202600000001.", "2.02600000001."),
        ),
        ("root", "another root", "1.2.156.3005.1" + number.text[len(root) :]),
        ("part-missing", "no version", number.text.replace(".001.", ".")),
        ("part-more", "a part more", number.text + ".1"),
        ("lower-case", "lower case", number.text.replace("MB", "mb")),
        ("version-000", "version 000", number.text.replace(".001.", ".000.")),
        ("version-two-digits", "a version of two digits", number.text.replace(".001.", ".01.")),
        ("full-width", "a full-width digit", number.text.replace(".001.", ".００１.")),
        ("space", "a space at the end", number.text + " "),
        ("empty", "no character", ""),
        ("too-long", "201 characters", number.text + "0" * (201 - len(number.text))),
    ):
        file.refuse(f"number-{name}", description, "licence_number", given(text, strict=False), FORMAT)
    _add_codes(file)
    return file


def _add_codes(file: VectorFile) -> None:
    for name, description, code in (
        ("authority", "an authority", ISSUER),
        ("business", "a business", "91440101MA9999001E"),
    ):
        file.accept(f"organisation-{name}", description, "organisation_code", {"text": code})
    for name, description, code in (
        ("check", "another check character", ISSUER[:-1] + "6"),
        ("short", "17 characters", ISSUER[:-1]),
        ("letter-i", "a letter that the standard leaves out", "91440101MI9999001E"),
        ("lower-case", "lower case", ISSUER.lower()),
        ("area-letter", "a letter in the area", "9144O101MA9999001E"),
    ):
        file.refuse(f"organisation-{name}", description, "organisation_code", {"text": code}, FORMAT)
