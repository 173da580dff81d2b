from __future__ import annotations

import re

import pytest
from chopmark import errors
from chopmark.errors import ChopmarkError

TREE = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ChopmarkError)]


def drawn() -> dict[str, str]:
    """Error → the error it stands under in the drawing at the top of the module."""
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"([ │├└─]*)([A-Z][A-Za-z]+)(?:  .*)?", line)
        if found is None or not found[2].endswith("Error"):
            continue
        while path and path[-1][0] >= len(found[1]):
            path.pop()
        if path:
            parents[found[2]] = path[-1][1]
        path.append((len(found[1]), found[2]))
    return parents


def test_the_tree_is_as_drawn() -> None:
    assert drawn() == {cls.__name__: cls.__bases__[0].__name__ for cls in TREE if cls is not ChopmarkError}


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_an_error_says_what_was_wrong_where_and_what_to_do(cls: type[ChopmarkError]) -> None:
    error = cls("the size is 5", where="line 2", remedy="Write 4")
    assert str(error) == "line 2: the size is 5. Write 4"
    assert (error.what, error.where, error.remedy) == ("the size is 5", "line 2", "Write 4")


def test_place_and_remedy_may_be_left_out() -> None:
    assert str(ChopmarkError("the size is 5")) == "the size is 5"
    assert str(ChopmarkError("the size is 5", where="line 2")) == "line 2: the size is 5"
    assert str(ChopmarkError("the size is 5", remedy="Write 4")) == "the size is 5. Write 4"


def test_no_error_passes_for_an_error_of_python() -> None:
    for cls in TREE:
        assert not issubclass(cls, (ValueError, LookupError, OSError, ArithmeticError, RuntimeError))
