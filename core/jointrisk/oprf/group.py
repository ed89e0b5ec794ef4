"""The group ristretto255 (RFC 9496) as libsodium computes it, through ctypes: the only file that loads its code.

libsodium takes pointers and trusts them, takes the identity for a valid element and any 32 bytes for a scalar; 1.0.18
does not look at an element's last bit, so that each would have two encodings. So lengths and that bit are checked at
every call here, and `element` and `scalar` check the rest where bytes come in from outside.

Functions on elements let go of Python's lock while they compute, so that threads use all cores, except in a block
`in_one_piece`. Those on scalars are too short for that. All of libsodium's take the same time for every secret; no
secret becomes a Python integer.
"""

import ctypes
import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NewType

from jointrisk.errors import InvalidInputError, UnavailableError
from jointrisk.oprf import libsodium

Scalar = NewType("Scalar", bytes)
"""A number below `ORDER`, 32 bytes, little-endian."""

Element = NewType("Element", bytes)
"""An element's canonical encoding, 32 bytes."""

Randomness = Callable[[int], bytes]
"""Returns as many random bytes as it is asked for: `os.urandom` outside tests."""

LENGTH = 32
"""Bytes of a scalar and of an element."""

UNIFORM_LENGTH = 64
"""Uniform bytes that make one scalar or one element."""

ORDER = 2**252 + 27742317777372353535851937790883648493
"""The number of elements, a prime (RFC 9496 section 4)."""

IDENTITY = Element(bytes(LENGTH))
"""The neutral element; never valid in a message."""

GENERATOR = Element(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))
"""The canonical generator (RFC 9496 section 4)."""

_ZERO = Scalar(bytes(LENGTH))
_Buffer = ctypes.c_char * LENGTH
_Raw = Callable[..., int]


def _open() -> ctypes.CDLL:
    for name in libsodium.SYSTEM_NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        if hasattr(library, "crypto_core_ristretto255_scalar_reduce"):  # absent before 1.0.18, and in minimal builds
            return library
    return ctypes.CDLL(str(libsodium.bundled_library()))


def _bind(library: ctypes.CDLL, name: str, pointers: int, *, returns_code: bool = True) -> _Raw:
    function = getattr(library, name)
    function.argtypes = (ctypes.c_char_p,) * pointers
    function.restype = ctypes.c_int if returns_code else None
    raw: _Raw = function
    return raw


_unlocked = _open()
# The same library, for calls of less than a microsecond: letting go of Python's lock would cost more than the call.
_locked = ctypes.PyDLL(_unlocked._name, handle=_unlocked._handle)  # noqa: SLF001 ctypes documents both
if _bind(_unlocked, "sodium_init", 0)() < 0:
    raise UnavailableError("libsodium could not be initialised", remedy="Check that /dev/urandom can be read.")


class _ThisThread(threading.local):
    keeps_lock = False


_this_thread = _ThisThread()


@contextmanager
def in_one_piece() -> Iterator[None]:
    """Keep Python's lock through this thread's calls in the block: for a few elements that somebody waits for.

    Otherwise a thread that works on a file can take it at each call, and keep it for a while.
    """
    before, _this_thread.keeps_lock = _this_thread.keeps_lock, True
    try:
        yield
    finally:
        _this_thread.keeps_lock = before


def _bind_both(name: str, pointers: int) -> _Raw:
    letting_go, keeping = _bind(_unlocked, name, pointers), _bind(_locked, name, pointers)

    def call(*arguments: object) -> int:
        return keeping(*arguments) if _this_thread.keeps_lock else letting_go(*arguments)

    return call


_multiply = _bind_both("crypto_scalarmult_ristretto255", 3)
_multiply_base = _bind_both("crypto_scalarmult_ristretto255_base", 2)
_from_hash = _bind_both("crypto_core_ristretto255_from_hash", 2)
_is_valid = _bind_both("crypto_core_ristretto255_is_valid_point", 1)
_add = _bind_both("crypto_core_ristretto255_add", 3)
_subtract = _bind_both("crypto_core_ristretto255_sub", 3)
_invert = _bind_both("crypto_core_ristretto255_scalar_invert", 2)
_reduce = _bind(_locked, "crypto_core_ristretto255_scalar_reduce", 2, returns_code=False)
_scalar_add = _bind(_locked, "crypto_core_ristretto255_scalar_add", 3, returns_code=False)
_scalar_subtract = _bind(_locked, "crypto_core_ristretto255_scalar_sub", 3, returns_code=False)
_scalar_multiply = _bind(_locked, "crypto_core_ristretto255_scalar_mul", 3, returns_code=False)


def element(data: bytes) -> Element:
    """Read an element that came from outside.

    Raises:
        InvalidInputError: it is not 32 bytes, not the canonical encoding of an element, or the identity, which
            RFC 9497 section 4 (DeserializeElement) forbids.
    """
    _require_encoding(data)
    if data == IDENTITY or _is_valid(data) != 1:
        raise InvalidInputError(
            "expected an element other than the identity in its canonical encoding, got other bytes"
        )
    return Element(bytes(data))


def scalar(data: bytes) -> Scalar:
    """Read a scalar that came from outside; zero is one.

    Raises:
        InvalidInputError: it is not 32 bytes, or not below `ORDER`.
    """
    _require_length(data, LENGTH, "a scalar")
    # Compared with its own remainder: nothing here depends on the number, which may be a secret.
    if not hmac.compare_digest(reduce(data + bytes(LENGTH)), data):
        raise InvalidInputError("expected a scalar below the order of the group, got one that is not")
    return Scalar(bytes(data))


def nonzero_scalar(data: bytes) -> Scalar:
    """Read a scalar from outside that may not be zero, such as a key.

    Raises:
        InvalidInputError: it is not 32 bytes, not below `ORDER`, or zero.
    """
    read = scalar(data)
    if hmac.compare_digest(read, _ZERO):
        raise InvalidInputError("expected a scalar other than zero, got zero")
    return read


def scalar_of(number: int) -> Scalar:
    """Return a public number, such as an index, as a scalar; it is reduced by `ORDER`."""
    return Scalar((number % ORDER).to_bytes(LENGTH, "little"))


def random_scalar(randomness: Randomness) -> Scalar:
    """Return a uniform scalar other than zero (RFC 9497 section 2.1, RandomScalar).

    Raises:
        InvalidInputError: the randomness gives too few bytes, or nothing but zeros.
    """
    for _ in range(4):
        if (drawn := reduce(randomness(UNIFORM_LENGTH))) != _ZERO:
            return drawn
    raise InvalidInputError("expected random bytes, got zeros again and again")


def reduce(data: bytes) -> Scalar:
    """Return 64 little-endian bytes modulo `ORDER`; uniform bytes give a uniform scalar.

    Raises:
        InvalidInputError: it is not 64 bytes.
    """
    _require_length(data, UNIFORM_LENGTH, "uniform input")
    out = _Buffer()
    _reduce(out, data)
    return Scalar(out.raw)


def scalar_add(one: Scalar, other: Scalar) -> Scalar:
    """Return the sum of two scalars."""
    return _of_scalars(_scalar_add, one, other)


def scalar_subtract(one: Scalar, other: Scalar) -> Scalar:
    """Return the first scalar less the second."""
    return _of_scalars(_scalar_subtract, one, other)


def scalar_multiply(one: Scalar, other: Scalar) -> Scalar:
    """Return the product of two scalars."""
    return _of_scalars(_scalar_multiply, one, other)


def scalar_invert(one: Scalar) -> Scalar:
    """Return the scalar whose product with this one is 1.

    Raises:
        InvalidInputError: it is zero.
    """
    _require_length(one, LENGTH, "a scalar")
    out = _Buffer()
    if _invert(out, one) != 0:
        raise InvalidInputError("expected a scalar other than zero to invert, got zero")
    return Scalar(out.raw)


def add(one: Element, other: Element) -> Element:
    """Return the sum of two elements, which may be `IDENTITY`.

    Raises:
        InvalidInputError: one of them is not an element.
    """
    return _of_elements(_add, one, other)


def subtract(one: Element, other: Element) -> Element:
    """Return the first element less the second, which may be `IDENTITY`.

    Raises:
        InvalidInputError: one of them is not an element.
    """
    return _of_elements(_subtract, one, other)


def multiply(factor: Scalar, one: Element) -> Element:
    """Return the multiple of an element. The encoding is checked on the way, so that `element` before is not needed.

    Raises:
        InvalidInputError: it is not an element, or the product is the identity.
    """
    _require_length(factor, LENGTH, "a scalar")
    _require_encoding(one)
    out = _Buffer()
    if _multiply(out, factor, one) != 0:
        raise InvalidInputError("expected an element and a product other than the identity, got one that is not")
    return Element(out.raw)


def multiply_base(factor: Scalar) -> Element:
    """Return the multiple of `GENERATOR`, about three times as fast as `multiply`.

    Raises:
        InvalidInputError: the factor is zero.
    """
    _require_length(factor, LENGTH, "a scalar")
    out = _Buffer()
    if _multiply_base(out, factor) != 0:
        raise InvalidInputError("expected a scalar other than zero, got zero")
    return Element(out.raw)


def from_uniform(data: bytes) -> Element:
    """Return the element that 64 uniform bytes map to (RFC 9496 section 4.3.4); nobody knows its logarithm.

    Raises:
        InvalidInputError: it is not 64 bytes.
    """
    _require_length(data, UNIFORM_LENGTH, "uniform input")
    out = _Buffer()
    _from_hash(out, data)
    return Element(out.raw)


def _of_scalars(function: _Raw, one: Scalar, other: Scalar) -> Scalar:
    _require_length(one, LENGTH, "a scalar")
    _require_length(other, LENGTH, "a scalar")
    out = _Buffer()
    function(out, one, other)
    return Scalar(out.raw)


def _of_elements(function: _Raw, one: Element, other: Element) -> Element:
    _require_encoding(one)
    _require_encoding(other)
    out = _Buffer()
    if function(out, one, other) != 0:
        raise InvalidInputError("expected two elements in their canonical encoding, got other bytes")
    return Element(out.raw)


def _require_encoding(data: bytes) -> None:
    """Refuse an element's bytes where libsodium would not; it refuses every other encoding that is not canonical."""
    if len(data) != LENGTH or data[-1] & 0x80:  # one look at what is almost always right
        _require_length(data, LENGTH, "an element")
        raise InvalidInputError("expected an element's canonical encoding, got one with its last bit set")


def _require_length(data: bytes, length: int, what: str) -> None:
    if len(data) != length:
        raise InvalidInputError(f"expected {what} of {length} bytes, got {len(data)}")
