"""The names that others rely on: their places, their signatures, and that each is documented."""

import inspect
import subprocess
import sys
from collections.abc import Callable

import chopmark
from chopmark import base45, licence_number, merkle

PROMISED_KEYWORDS: dict[Callable[..., None], list[str]] = {
    merkle.verify_inclusion: ["leaf_hash", "index", "size", "proof", "root"],
    merkle.verify_consistency: ["size1", "size2", "root1", "root2", "proof"],
    merkle.verify_subtree_inclusion: ["leaf_hash", "index", "start", "end", "proof", "root"],
    merkle.verify_subtree_consistency: ["start", "end", "size", "subtree_root", "root", "proof"],
}


def test_every_public_name_is_there_and_documented() -> None:
    for name in chopmark.__all__:
        value = getattr(chopmark, name)
        assert inspect.getdoc(value), name


def test_public_names_stand_once() -> None:
    assert len(set(chopmark.__all__)) == len(chopmark.__all__)
    assert set(chopmark.__all__) <= set(dir(chopmark))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(chopmark, "no_such_name")


def test_the_promised_functions_keep_their_keywords() -> None:
    for function, keywords in PROMISED_KEYWORDS.items():
        parameters = inspect.signature(function).parameters.values()
        assert [parameter.name for parameter in parameters] == keywords
        assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters)


def test_the_promised_names_are_callable_as_promised() -> None:
    assert list(inspect.signature(merkle.leaf_hash).parameters) == ["entry"]
    assert base45.decode(base45.encode(b"ietf!")) == b"ietf!"
    assert list(inspect.signature(licence_number.parse).parameters) == ["text", "strict"]
    assert inspect.signature(licence_number.parse).parameters["strict"].default is True
    assert "roots" in inspect.signature(chopmark.TrustBundle.parse).parameters
    assert "roots" in inspect.signature(chopmark.TrustStore.open).parameters
    assert list(inspect.signature(chopmark.Verifier.verify).parameters) == ["self", "text", "at", "challenge"]
    assert "policy" in inspect.signature(chopmark.Verifier).parameters
    for owner, name in (
        (chopmark.Note, "parse"),
        (chopmark.Note, "verify"),
        (chopmark.NoteVerifier, "from_vkey"),
        (chopmark.Checkpoint, "parse"),
    ):
        assert inspect.getdoc(getattr(owner, name))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, chopmark; print(sorted({m.partition('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["cryptography", "nacl", "typer", "rich", "jwt", "PIL", "zxingcpp"]
    out = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
