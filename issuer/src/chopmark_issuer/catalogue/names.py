"""Names of the region and its departments, held against what a trust bundle can state before they are stored.

Both languages are needed: 1 to 200 printable characters that are not all spaces, such as 示例省 and Sample province.
"""

from __future__ import annotations

from typing import Final

from chopmark.licence_type import LocalisedText

from chopmark_issuer.errors import FieldError

_LONGEST: Final = 200
"""Characters; as long as the name of a licence type may be."""


def check_names(name: LocalisedText) -> None:
    """Check the names of a region or department.

    Raises:
        FieldError: one is blank, too long, or has a character that cannot be printed; `where` is the option for it.
    """
    for option, text in (("--name-zh", name.zh_hans), ("--name-en", name.en)):
        if not text.strip():
            raise FieldError("the name is blank", where=option, remedy="Inspectors read it in both languages: give it")
        if len(text) > _LONGEST:
            raise FieldError(f"{len(text)} characters, above the limit of {_LONGEST}", where=option)
        if not text.isprintable():
            raise FieldError("a character that cannot be printed", where=option)
