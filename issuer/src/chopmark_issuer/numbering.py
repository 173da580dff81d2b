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

from chopmark_issuer.catalogue import CatalogueType
from chopmark_issuer.errors import FieldError, RefusedError
from chopmark_issuer.models import SERIAL


def first_number(
    connection: Connection, licence_type: CatalogueType, department: str, *, number: str | None, serial: str | None
) -> tuple[str, str]:
    """The identifier of a new licence, and the number of its first version.

    Raises:
        FieldError: a number or serial is given where none belongs, is missing, or is malformed.
    """
    if licence_type.numbered_by_standard:
        if number is not None:
            raise FieldError(
                "licences of this type are numbered by GB/T 36904",
                where="number",
                remedy="Give the serial alone, or nothing",
            )
        name = f"{_next_serial(connection, department, licence_type.type.id):07}" if serial is None else serial
    else:
        if serial is not None:
            raise FieldError("licences of this type have no serial", where="serial", remedy="Give the number itself")
        if number is None:
            raise FieldError(
                "the department gives the number of such a licence", where="number", remedy="Give --number"
            )
        name = number
    return identifier_and_number(licence_type, department, name)


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


def _next_serial(connection: Connection, department: str, type_id: str) -> int:
    here = (SERIAL.c.department_id == department) & (SERIAL.c.type_id == type_id)
    last = connection.execute(select(SERIAL.c.last).where(here)).scalar()
    if last is None:
        connection.execute(insert(SERIAL).values(department_id=department, type_id=type_id, last=1))
        return 1
    connection.execute(update(SERIAL).where(here).values(last=last + 1))
    return int(last) + 1
