"""ML-DSA-44 in the deterministic variant of FIPS 204, so that vectors come out the same each time.

OpenSSL hedges: it signs the same message differently each time. This signer draws nothing, so it must not be used where
an attacker can measure it or make it fail; it is for vectors. Written from FIPS 204 alone, it is also something to hold
OpenSSL against: what it signs, `PublicKey.verify` must accept, under the public key that OpenSSL makes of the seed.

Names are those of the standard. A polynomial is a list of 256 integers modulo q; one marked `_hat` is in the domain of
the number theoretic transform.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import shake_128, shake_256

from chopmark.keys import Algorithm, PublicKey

Q = 8_380_417
N = 256
D = 13
"""Bits dropped from t."""
K = L = 4
ETA = 2
TAU = 39
BETA = TAU * ETA
OMEGA = 80
GAMMA_1 = 1 << 17
GAMMA_2 = (Q - 1) // 88
_INVERSE_OF_N = pow(N, -1, Q)

Polynomial = list[int]


def _zetas() -> list[int]:
    """ζ^BitRev8(m), with ζ = 1753, a 512th root of unity modulo q."""
    return [pow(1753, int(f"{index:08b}"[::-1], 2), Q) for index in range(N)]


_ZETAS = _zetas()


def _ntt(polynomial: Sequence[int]) -> Polynomial:
    """Algorithm 41."""
    w = list(polynomial)
    m, length = 0, 128
    while length:
        for start in range(0, N, 2 * length):
            m += 1
            zeta = _ZETAS[m]
            for j in range(start, start + length):
                t = zeta * w[j + length] % Q
                w[j + length] = (w[j] - t) % Q
                w[j] = (w[j] + t) % Q
        length //= 2
    return w


def _inverse_ntt(polynomial: Sequence[int]) -> Polynomial:
    """Algorithm 42."""
    w = list(polynomial)
    m, length = 256, 1
    while length < N:
        for start in range(0, N, 2 * length):
            m -= 1
            zeta = _ZETAS[m]
            for j in range(start, start + length):
                t = w[j]
                w[j] = (t + w[j + length]) % Q
                w[j + length] = zeta * (w[j + length] - t) % Q
        length *= 2
    return [value * _INVERSE_OF_N % Q for value in w]


def _times(a_hat: Sequence[int], b_hat: Sequence[int]) -> Polynomial:
    return [a * b % Q for a, b in zip(a_hat, b_hat, strict=True)]


def _plus(a: Sequence[int], b: Sequence[int]) -> Polynomial:
    return [(left + right) % Q for left, right in zip(a, b, strict=True)]


def _minus(a: Sequence[int], b: Sequence[int]) -> Polynomial:
    return [(left - right) % Q for left, right in zip(a, b, strict=True)]


def _centred(value: int, modulus: int = Q) -> int:
    """The representative above −modulus/2 and not above modulus/2."""
    value %= modulus
    return value - modulus if value > modulus // 2 else value


def _exceeds(vector: Sequence[Polynomial], bound: int) -> bool:
    """Whether a coefficient is at `bound` or beyond."""
    return any(abs(_centred(value)) >= bound for polynomial in vector for value in polynomial)


def _bytes_of(stream: bytes, size: int) -> Iterator[bytes]:
    for offset in range(0, len(stream), size):
        yield stream[offset : offset + size]


def _expand_a(rho: bytes) -> list[list[Polynomial]]:
    """Algorithms 32 and 30: coefficients of 23 bits, those of q or above left out."""
    rows = []
    for r in range(K):
        row = []
        for s in range(L):
            # 448 tries, of which one in a thousand fails
            stream = shake_128(rho + bytes((s, r))).digest(8 * 168)
            values = (int.from_bytes(three, "little") & 0x7FFFFF for three in _bytes_of(stream, 3))
            row.append([value for value in values if value < Q][:N])
        rows.append(row)
    return rows


def _expand_s(rho: bytes) -> tuple[list[Polynomial], list[Polynomial]]:
    """Algorithms 33 and 31: coefficients from −2 to 2, two to a byte."""
    polynomials = []
    for r in range(L + K):
        stream = shake_256(rho + r.to_bytes(2, "little")).digest(3 * 136)
        halves = (half for byte in stream for half in (byte & 15, byte >> 4))
        polynomials.append([(ETA - half % 5) % Q for half in halves if half < 15][:N])
    return polynomials[:L], polynomials[L:]


def _expand_mask(rho: bytes, kappa: int) -> list[Polynomial]:
    """Algorithm 34: coefficients of 18 bits."""
    vector = []
    for r in range(L):
        stream = shake_256(rho + (kappa + r).to_bytes(2, "little")).digest(32 * 18)
        bits = int.from_bytes(stream, "little")
        vector.append([(GAMMA_1 - (bits >> 18 * index & 0x3FFFF)) % Q for index in range(N)])
    return vector


def _sample_in_ball(seed: bytes) -> Polynomial:
    """Algorithm 29: 39 coefficients of ±1."""
    stream = iter(shake_256(seed).digest(1024))
    signs = int.from_bytes(bytes(next(stream) for _ in range(8)), "little")
    c = [0] * N
    for i in range(N - TAU, N):
        j = next(byte for byte in stream if byte <= i)
        c[i] = c[j]
        c[j] = Q - 1 if signs & 1 else 1
        signs >>= 1
    return c


def _decompose(value: int) -> tuple[int, int]:
    """Algorithm 36: the high and the low part."""
    low = _centred(value, 2 * GAMMA_2)
    if value - low == Q - 1:
        return 0, low - 1
    return (value - low) // (2 * GAMMA_2), low


def _packed(values: Sequence[int], bits: int) -> bytes:
    """Algorithm 16: so many bits for each value, the lowest first."""
    number = 0
    for index, value in enumerate(values):
        number |= value << bits * index
    return number.to_bytes(len(values) * bits // 8, "little")


def _hint_packed(hint: Sequence[Sequence[int]]) -> bytes:
    """Algorithm 20: where the ones are, then how many there are up to each polynomial."""
    places: list[int] = []
    counts = []
    for polynomial in hint:
        places += [index for index, one in enumerate(polynomial) if one]
        counts.append(len(places))
    return bytes(places) + bytes(OMEGA - len(places)) + bytes(counts)


class DeterministicMlDsa44Signer:
    """An ML-DSA-44 key, from its seed of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        expanded = shake_256(seed + bytes((K, L))).digest(128)
        rho, secret, self._key = expanded[:32], expanded[32:96], expanded[96:]
        self._a_hat = _expand_a(rho)
        s1, s2 = _expand_s(secret)
        self._s1_hat, self._s2_hat = [_ntt(each) for each in s1], [_ntt(each) for each in s2]
        t = [_plus(product, each) for product, each in zip(self._product(self._s1_hat), s2, strict=True)]
        t0 = [[_centred(value, 1 << D) for value in each] for each in t]
        t1 = [[(value - low) >> D for value, low in zip(*pair, strict=True)] for pair in zip(t, t0, strict=True)]
        self._t0_hat = [_ntt(each) for each in t0]
        raw = rho + b"".join(_packed(each, 10) for each in t1)
        self._tr = shake_256(raw).digest(64)
        self.public_key = PublicKey(Algorithm.ML_DSA_44, raw)
        self._signed: dict[bytes, bytes] = {}

    def _product(self, vector_hat: Sequence[Polynomial]) -> list[Polynomial]:
        """A times a vector."""
        products = []
        for row in self._a_hat:
            total = [0] * N
            for a_hat, each in zip(row, vector_hat, strict=True):
                total = _plus(total, _times(a_hat, each))
            products.append(_inverse_ntt(total))
        return products

    def sign(self, message: bytes) -> bytes:
        """Algorithms 2 and 7 with the empty context and no randomness: 2,420 bytes."""
        if message not in self._signed:
            self._signed[message] = self._sign(message)
        return self._signed[message]

    def _sign(self, message: bytes) -> bytes:
        mu = shake_256(self._tr + bytes(2) + message).digest(64)
        rho = shake_256(self._key + bytes(32) + mu).digest(64)
        kappa = 0
        while True:
            signature = self._attempt(mu, _expand_mask(rho, kappa))
            if signature is not None:
                return signature
            kappa += L

    def _attempt(self, mu: bytes, y: Sequence[Polynomial]) -> bytes | None:
        w = self._product([_ntt(each) for each in y])
        w1 = [[_decompose(value)[0] for value in each] for each in w]
        challenge = shake_256(mu + b"".join(_packed(each, 6) for each in w1)).digest(32)
        c_hat = _ntt(_sample_in_ball(challenge))

        def times_c(vector_hat: Sequence[Polynomial]) -> list[Polynomial]:
            return [_inverse_ntt(_times(c_hat, each)) for each in vector_hat]

        z = [_plus(each, product) for each, product in zip(y, times_c(self._s1_hat), strict=True)]
        lessened = [_minus(each, product) for each, product in zip(w, times_c(self._s2_hat), strict=True)]
        low = [[_decompose(value)[1] for value in each] for each in lessened]
        if _exceeds(z, GAMMA_1 - BETA) or _exceeds(low, GAMMA_2 - BETA):
            return None
        ct0 = times_c(self._t0_hat)
        if _exceeds(ct0, GAMMA_2):
            return None
        hint = [
            [
                _decompose(value)[0] != _decompose((value + shift) % Q)[0]
                for value, shift in zip(each, shifts, strict=True)
            ]
            for each, shifts in zip(lessened, ct0, strict=True)
        ]
        if sum(map(sum, hint)) > OMEGA:
            return None
        encoded = b"".join(_packed([GAMMA_1 - _centred(value) for value in each], 18) for each in z)
        return challenge + encoded + _hint_packed(hint)
