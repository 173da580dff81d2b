"""Every error the registry raises of its own; those of the SDK (`chopmark.errors`) pass through unchanged.

    ChopmarkError
    └── RegistryError
        ├── RefusedError             what was asked is understood and not allowed
        │   ├── CatalogueError       a licence type or import mapping that cannot be taken into the catalogue
        │   ├── FieldError           a value that the licence type does not allow
        │   ├── LifecycleError       an act that the state of the licence does not allow
        │   ├── AuthorityError       a department that acts outside what it was granted
        │   ├── NotFoundError        no such licence, type, department or key
        │   ├── ConflictError        it is already there, with other contents
        │   └── ImportFileError      a file that is not what its mapping says
        ├── DatabaseError            the registry's database cannot be used
        └── SigningProcessError      the signing process does not answer, or not as it must

Each says what was wrong, where, and what to do about it. None of them holds a holder's data: a value that was refused
is named by its field or column only.
"""

from __future__ import annotations

from chopmark.errors import ChopmarkError


class RegistryError(ChopmarkError):
    """The root of the registry's own errors."""


class RefusedError(RegistryError):
    """What was asked is understood and not allowed."""


class CatalogueError(RefusedError):
    """A licence type or import mapping that cannot be taken into the catalogue."""


class FieldError(RefusedError):
    """A value that the licence type does not allow; `where` names the field."""


class LifecycleError(RefusedError):
    """An act that the state of the licence does not allow."""


class AuthorityError(RefusedError):
    """A department that acts outside what it was granted."""


class NotFoundError(RefusedError):
    """No such licence, type, department or key."""


class ConflictError(RefusedError):
    """It is already there, with other contents."""


class ImportFileError(RefusedError):
    """A file that is not what its mapping says; nothing of it was imported."""


class DatabaseError(RegistryError):
    """The registry's database cannot be used."""


class SigningProcessError(RegistryError):
    """The signing process does not answer, or not as it must; nothing was signed that anybody relies on."""
