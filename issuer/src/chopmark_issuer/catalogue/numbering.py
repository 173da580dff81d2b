"""Licence numbers of new licences and of their later versions.

A type numbered by GB/T 36904 gets `1.2.156.3005.2.TYPE.ISSUER.SERIAL.VERSION.CHECK`: TYPE is the code of the type,
ISSUER that of the department, SERIAL is drawn in turn (seven digits and more) unless the department names one, and
VERSION counts the versions, so each version has a number of its own. For a type of no numbering the department names
the number, and every version keeps it.

What stays the same through all versions, the *identifier*, is the number up to SERIAL, or the number itself.
"""

from __future__ import annotations

from chopmark.claims import read_licence_number
from chopmark.errors import FormatError
from chopmark.licence_number import ROOT, LicenceNumber, parse
from sqlalchemy import Connection, insert, select, update

from chopmark_issuer.catalogue.catalogue import CatalogueType
from chopmark_issuer.errors import FieldError, RefusedError
from chopmark_issuer.storage.models import SERIAL


def given_name(licence_type: CatalogueType, *, number: str | None, serial: str | None) -> str | None:
    """The serial or number that a department names for a new licence; None where a serial is to be drawn.

    Raises:
        FieldError: a number or serial is given where none belongs, or is missing.
    """
    if licence_type.numbered_by_standard:
        if number is not None:
            raise FieldError(
                "licences of this type are numbered by GB/T 36904",
                where="number",
                remedy="Give the serial alone, or nothing",
            )
        return serial
    if serial is not None:
        raise FieldError("licences of this type have no serial", where="serial", remedy="Give the number itself")
    if number is None:
        raise FieldError("the department gives the number of such a licence", where="number", remedy="Give --number")
    return number


def draw_serials(connection: Connection, department: str, type_id: str, count: int) -> list[str]:
    """Draw the next serials of a department and type, in the caller's writing transaction."""
    here = (SERIAL.c.department_id == department) & (SERIAL.c.type_id == type_id)
    last = connection.execute(select(SERIAL.c.last).where(here)).scalar()
    if last is None:
        last = 0
        connection.execute(insert(SERIAL).values(department_id=department, type_id=type_id, last=count))
    else:
        connection.execute(update(SERIAL).where(here).values(last=last + count))
    return [f"{number:07}" for number in range(last + 1, last + 1 + count)]


def identifier_and_number(licence_type: CatalogueType, department: str, name: str) -> tuple[str, str]:
    """The identifier and first number of the licence of that serial, or number where the type has no numbering.

    Raises:
        FieldError: it is malformed.
    """
    try:
        if not licence_type.numbered_by_standard:
            number = read_licence_number(name.strip(), where="number")
            return number, number
        built = LicenceNumber.build(licence_type.type_code, department.partition("/")[2], name, 1)
    except FormatError as error:
        raise FieldError(error.what, where=error.where, remedy=error.remedy) from error
    return f"{ROOT}.{built.type_code}.{built.issuer_code}.{built.serial}", built.text


def next_number(licence_type: CatalogueType, number: str, version: int) -> str:
    """The number of a later version of the licence that has this number.

    Raises:
        RefusedError: the standard counts to 999 versions.
    """
    if not licence_type.numbered_by_standard:
        return number
    try:
        return parse(number).with_version(version).text
    except FormatError as error:
        raise RefusedError(
            f"there is no number for version {version}: {error.what}", where=number, remedy="Issue a new licence"
        ) from error
