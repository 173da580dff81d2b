"""Keys and signatures: published vectors, the strictness of COSE_Key, and what must never verify."""

import hashlib

import pytest
from chopmark import cbor
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, SignatureError, UnsupportedError
from chopmark.keys import Algorithm, Ed25519Signer, Es256Signer, MlDsa44Signer, PublicKey, Signer, load_signer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PRIME = 2**255 - 19
SIGNERS: dict[str, Signer] = {
    "Ed25519": Ed25519Signer(hashlib.sha256(b"ed25519").digest()),
    "ES256": Es256Signer(hashlib.sha256(b"es256").digest()),
    "ML-DSA-44": MlDsa44Signer(hashlib.sha256(b"ml-dsa-44").digest()),
}
every_algorithm = pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)

# RFC 9679, section 6
RFC9679_X = bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
RFC9679_Y = bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
RFC9679_THUMBPRINT = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"


def test_thumbprint_of_the_rfc_9679_example() -> None:
    key = PublicKey(Algorithm.ES256, RFC9679_X + RFC9679_Y)
    assert key.thumbprint.hex() == RFC9679_THUMBPRINT
    assert key.kid.hex() == RFC9679_THUMBPRINT[:16]


def test_thumbprint_of_the_rfc_9964_key_of_all_zero_seed() -> None:
    key = MlDsa44Signer(bytes(32)).public_key
    assert key.thumbprint.hex() == "b8969ab4b37da9f0684e42647eb8a0be8b5b661ebf5d76f0583bf5b8d3a8059a"


@every_algorithm
def test_thumbprint_is_the_hash_of_the_cose_key(signer: Signer) -> None:
    key = signer.public_key
    assert key.thumbprint == hashlib.sha256(cbor.encode(key.to_cose())).digest()


def test_ed25519_signature_of_rfc_8032() -> None:
    signer = Ed25519Signer(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert signer.public_key.raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    signer.public_key.verify(b"", signer.sign(b""))


@every_algorithm
def test_what_a_key_signs_it_verifies(signer: Signer) -> None:
    signer.public_key.verify(b"message", signer.sign(b"message"))


@every_algorithm
@pytest.mark.parametrize("change", ["message", "signature", "short", "long", "empty", "key"])
def test_anything_else_does_not_verify(signer: Signer, change: str) -> None:
    key, message, signature = signer.public_key, b"message", signer.sign(b"message")
    if change == "message":
        message = b"massage"
    elif change == "signature":
        signature = signature[:40] + bytes([signature[40] ^ 1]) + signature[41:]
    elif change == "short":
        signature = signature[:-1]
    elif change == "long":
        # libsodium reads signature and message from one buffer: a byte must not wander from one into the other
        signature, message = signature + message[:1], message[1:]
    elif change == "empty":
        signature = b""
    else:
        key = load_signer(key.algorithm, bytes(31) + b"\x07").public_key
    with pytest.raises(SignatureError, match=key.kid.hex()):
        key.verify(message, signature)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(SIGNERS)),
    st.binary(max_size=80),
    st.binary(max_size=80) | st.binary(min_size=64, max_size=64),
)
def test_arbitrary_signatures_raise_a_signature_error(name: str, message: bytes, signature: bytes) -> None:
    with pytest.raises(SignatureError):
        SIGNERS[name].public_key.verify(message, signature)


def test_es256_signatures_are_what_openssl_verifies() -> None:
    signer = SIGNERS["ES256"]
    signature = signer.sign(b"message")
    assert len(signature) == 64
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + signer.public_key.raw)
    point.verify(der, b"message", ec.ECDSA(SHA256()))


@pytest.mark.parametrize("part", ["r", "s"])
@pytest.mark.parametrize("value", [0, P256_ORDER, 2**256 - 1])
def test_es256_numbers_outside_their_range_are_refused(part: str, value: int) -> None:
    signer = SIGNERS["ES256"]
    signature = signer.sign(b"message")
    raw = value.to_bytes(32, "big")
    forged = raw + signature[32:] if part == "r" else signature[:32] + raw
    with pytest.raises(SignatureError):
        signer.public_key.verify(b"message", forged)


@every_algorithm
def test_cose_key_round_trip(signer: Signer) -> None:
    key = signer.public_key
    assert PublicKey.from_cose(cbor.decode(cbor.encode(key.to_cose()))) == key


@every_algorithm
def test_json_round_trip(signer: Signer) -> None:
    key = signer.public_key
    assert PublicKey.from_json(key.algorithm_text, key.to_json()) == key


@every_algorithm
def test_a_cose_key_may_name_its_own_algorithm_only(signer: Signer) -> None:
    key = signer.public_key
    for identifier in key.algorithm.accepted_identifiers:
        assert PublicKey.from_cose({**key.to_cose(), 3: identifier}) == key
    others: list[cbor.Value] = [-257, 0, "Ed25519", True]
    for other in others:
        with pytest.raises(KeyMaterialError, match="alg"):
            PublicKey.from_cose({**key.to_cose(), 3: other})


@every_algorithm
def test_a_private_member_is_refused_by_name(signer: Signer) -> None:
    label, name = (-2, "priv") if signer.public_key.algorithm is Algorithm.ML_DSA_44 else (-4, "d")
    with pytest.raises(KeyMaterialError, match=rf"{name} \({label}\).*private"):
        PublicKey.from_cose({**signer.public_key.to_cose(), label: bytes(32)})


@every_algorithm
def test_a_missing_member_is_refused(signer: Signer) -> None:
    members = signer.public_key.to_cose()
    for label in members:
        with pytest.raises(KeyMaterialError):
            PublicKey.from_cose({key: value for key, value in members.items() if key != label})


@every_algorithm
@pytest.mark.parametrize("label", [2, 4, 5, -70000, "x"])
def test_a_member_too_many_is_refused(signer: Signer, label: int | str) -> None:
    with pytest.raises(KeyMaterialError, match="exactly the members"):
        PublicKey.from_cose({**signer.public_key.to_cose(), label: b"x"})


@pytest.mark.parametrize(
    "members",
    [
        None,
        [],
        {},
        {1: 4, -1: bytes(32)},
        {1: True, -1: 6, -2: bytes(32)},
        {1: 1, -1: 4, -2: RFC9679_X},
        {1: 1, -1: 6, -2: RFC9679_X[:31]},
        {1: 1, -1: 6, -2: "x" * 32},
        {1: 2, -1: 2, -2: RFC9679_X, -3: RFC9679_Y},
        {1: 2, -1: True, -2: RFC9679_X, -3: RFC9679_Y},
        {1: 2, -1: 1, -2: RFC9679_X, -3: True},
        {1: 2, -1: 1, -2: RFC9679_X, -3: RFC9679_X},
        {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)},
        {1: 7, 3: -49, -1: bytes(1312)},
        {1: 7, 3: -48, -1: bytes(1311)},
    ],
)
def test_what_is_no_key_is_refused(members: object) -> None:
    with pytest.raises(KeyMaterialError):
        PublicKey.from_cose(members)


def _double(x: int, y: int) -> tuple[int, int]:
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    product = d * x * x * y * y
    return (
        2 * x * y * pow(1 + product, -1, PRIME) % PRIME,
        (y * y + x * x) * pow(1 - product, -1, PRIME) % PRIME,
    )


def _small_order_points() -> list[bytes]:
    """The encodings of all points whose double's double's double is the neutral element."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    found = []
    for y in (
        0,
        1,
        PRIME - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    ):
        square = (y * y - 1) * pow(d * y * y + 1, -1, PRIME) % PRIME
        root = pow(square, (PRIME + 3) // 8, PRIME)
        if root * root % PRIME != square:
            root = root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
        assert root * root % PRIME == square
        for x in {root, -root % PRIME}:
            point = (x, y)
            for _ in range(3):
                point = _double(*point)
            assert point == (0, 1)
            found.append((y | (x & 1) << 255).to_bytes(32, "little"))
    return found


def test_the_eight_points_of_small_order_are_refused() -> None:
    points = _small_order_points()
    assert len(points) == 8
    for raw in points:
        with pytest.raises(KeyMaterialError, match="small order"):
            PublicKey(Algorithm.ED25519, raw)


@pytest.mark.parametrize("y", [PRIME, PRIME + 1, PRIME + 3, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_second_encoding_of_an_ed25519_point_is_refused(y: int, sign: int) -> None:
    with pytest.raises(KeyMaterialError):
        PublicKey(Algorithm.ED25519, (y | sign << 255).to_bytes(32, "little"))


@pytest.mark.parametrize(("alg", "pub"), [("Ed448", "AA=="), ("ed25519", "AA=="), ("", "")])
def test_json_of_another_algorithm_is_unsupported(alg: str, pub: str) -> None:
    with pytest.raises(UnsupportedError, match="suite 1"):
        PublicKey.from_json(alg, pub)


def test_json_that_is_not_base64_is_refused() -> None:
    with pytest.raises(FormatError, match="bundle, key 3"):
        PublicKey.from_json("Ed25519", "?" * 44, where="bundle, key 3")
    with pytest.raises(FormatError):
        PublicKey.from_json("Ed25519", "AAAA")


def test_identifiers_of_cose_algorithms() -> None:
    assert Algorithm.from_identifier(-8, where="") is Algorithm.ED25519
    assert Algorithm.from_identifier(-19, where="") is Algorithm.ED25519
    assert Algorithm.from_identifier(-7, where="") is Algorithm.ES256
    assert Algorithm.from_identifier(-9, where="") is Algorithm.ES256
    assert Algorithm.from_identifier(-48, where="") is Algorithm.ML_DSA_44
    for identifier in (-35, 0, True, "ES256", b"", None):
        with pytest.raises(UnsupportedError, match="header"):
            Algorithm.from_identifier(identifier, where="header")


@every_algorithm
def test_a_signer_does_not_show_its_secret(signer: Ed25519Signer | Es256Signer | MlDsa44Signer) -> None:
    assert signer.private_bytes().hex() not in repr(signer)
    assert signer.public_key.kid.hex() in repr(signer)


@every_algorithm
def test_private_bytes_load_again(signer: Ed25519Signer | Es256Signer | MlDsa44Signer) -> None:
    raw = signer.private_bytes()
    assert len(raw) == 32
    assert load_signer(signer.public_key.algorithm, raw).public_key == signer.public_key
    assert type(signer).from_private_bytes(raw).public_key == signer.public_key


@pytest.mark.parametrize("kind", [Ed25519Signer, Es256Signer, MlDsa44Signer])
def test_generating_takes_the_randomness_it_is_given(kind: type[Ed25519Signer]) -> None:
    first, second = kind.generate(bytes), kind.generate(bytes)
    assert first.public_key == second.public_key
    assert kind.generate().public_key != kind.generate().public_key


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33)])
def test_a_private_key_of_another_size_is_refused(algorithm: Algorithm, raw: bytes) -> None:
    with pytest.raises(KeyMaterialError, match="32 bytes"):
        load_signer(algorithm, raw)


@pytest.mark.parametrize("number", [0, P256_ORDER, 2**256 - 1])
def test_an_es256_scalar_outside_its_range_is_refused(number: int) -> None:
    with pytest.raises(KeyMaterialError, match="order"):
        Es256Signer(number.to_bytes(32, "big"))


leaf = st.integers(-10, 10) | st.binary(max_size=33) | st.booleans() | st.sampled_from([RFC9679_X, RFC9679_Y, -48, -19])


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from([1, 2, 3, -1, -2, -3, -4, "x"]), leaf) | leaf)
def test_whatever_a_cose_key_holds_the_error_is_a_named_one(members: object) -> None:
    try:
        key = PublicKey.from_cose(members)
    except ChopmarkError:
        return
    assert isinstance(members, dict)
    assert key.to_cose() == {label: value for label, value in members.items() if label in key.to_cose()}
