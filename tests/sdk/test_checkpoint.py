from __future__ import annotations

import base64
import contextlib

import pytest
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.errors import FormatError, SignatureError, UnsupportedError
from chopmark.keys import Ed25519Signer
from chopmark.merkle import EMPTY_ROOT
from chopmark.note import Note, NoteSigner
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
BODY = f"example.com/behind-the-sofa\n20852163\n{ROOT}\n"
SIGNED = (
    BODY + "\n— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
SIGNER = NoteSigner("cn-gd.example/log/2026", Ed25519Signer(b"k" * 32))


@pytest.mark.parametrize("text", [BODY, BODY.encode(), SIGNED, SIGNED.encode()])
def test_the_example_of_the_specification_is_read_from_its_body_and_from_the_note(text: str | bytes) -> None:
    checkpoint = Checkpoint.parse(text)
    assert checkpoint == Checkpoint("example.com/behind-the-sofa", 20852163, base64.b64decode(ROOT))
    assert checkpoint.body() == BODY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "origin\n",
        "origin\n1\n",
        f"origin\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"\n\n1\n{ROOT}\n",
        f"origin\n01\n{ROOT}\n",
        f"origin\n+1\n{ROOT}\n",
        f"origin\n-1\n{ROOT}\n",
        f"origin\n1_0\n{ROOT}\n",
        f"origin\n٣\n{ROOT}\n",
        f"origin\n1 \n{ROOT}\n",
        f"origin\n\n{ROOT}\n",
        f"origin\n9223372036854775808\n{ROOT}\n",
        f"origin\n1\n{ROOT[:-1]}\n",
        f"origin\n1\n{ROOT.replace('=', '')}\n",
        f"origin\n1\n{ROOT[:-2]}J=\n",
        f"origin\n1\n{ROOT} \n",
        "origin\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==\n",
        f"origin\n0\n{ROOT}\n",
        f"ori\tgin\n1\n{ROOT}\n",
        f"ori\rgin\n1\n{ROOT}\n",
        f"ori\ud800gin\n1\n{ROOT}\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Checkpoint.parse(text)


def test_extension_lines_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="extension lines"):
        Checkpoint.parse(BODY + "more\n")


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(FormatError, match="UTF-8"):
        Checkpoint.parse(b"\xff\n1\n" + ROOT.encode() + b"\n")


def test_the_empty_log_has_the_empty_root() -> None:
    checkpoint = Checkpoint("origin", 0, EMPTY_ROOT)
    assert Checkpoint.parse(checkpoint.body()) == checkpoint


@settings(max_examples=100)
@given(
    st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_any_checkpoint_is_read_back(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert Checkpoint.parse(checkpoint.body()) == checkpoint
    assert Checkpoint.parse(checkpoint.body().encode()) == checkpoint


@settings(max_examples=200)
@given(st.data())
def test_a_changed_checkpoint_is_refused_or_reads_differently(data: st.DataObject) -> None:
    encoded = bytearray(BODY.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FormatError):
        checkpoint = Checkpoint.parse(bytes(encoded))
        assert checkpoint.body().encode() == encoded
        assert checkpoint != Checkpoint.parse(BODY)


def test_a_checkpoint_signed_by_its_log_verifies_and_is_read_back() -> None:
    signed = SignedCheckpoint.sign(Checkpoint(SIGNER.name, 5, b"r" * 32), [SIGNER])
    assert SignedCheckpoint.parse(signed.encode()) == signed
    assert signed.note.verify([SIGNER.verifier]) == (SIGNER.verifier,)


def test_a_signature_does_not_carry_over_to_another_size() -> None:
    signed = SignedCheckpoint.sign(Checkpoint(SIGNER.name, 5, b"r" * 32), [SIGNER])
    forged = Note.parse(signed.encode().replace(b"\n5\n", b"\n6\n"))
    with pytest.raises(SignatureError):
        SignedCheckpoint.from_note(forged).note.verify([SIGNER.verifier])


def test_a_note_of_another_text_is_not_a_signed_checkpoint() -> None:
    signed = SignedCheckpoint.sign(Checkpoint(SIGNER.name, 5, b"r" * 32), [SIGNER])
    with pytest.raises(FormatError):
        SignedCheckpoint(Checkpoint(SIGNER.name, 6, b"r" * 32), signed.note)
