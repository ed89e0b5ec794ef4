"""Messages of a ceremony: one byte form, and no byte of them can be changed by somebody else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ceremony_sample import SUITE, begin, exchange, generation_terms, identity
from jointrisk.errors import InvalidInputError, UnauthenticatedError
from jointrisk.oprf.ceremony import (
    Abort,
    Board,
    Complaint,
    Conflict,
    Exhibit,
    MessageKind,
    Party,
    Reason,
    SignedMessage,
    Terms,
)
from jointrisk.oprf.ceremony.bodies import Confirm, Deal, Echo, Keys
from jointrisk.oprf.ceremony.messages import LONGEST_BODY, sign_message

TERMS = generation_terms(2, 3)


@pytest.fixture(scope="module")
def said() -> list[SignedMessage]:
    """Everything that is said in a ceremony that goes well, and an abort."""
    messages = exchange(begin(TERMS))
    complaint = Abort(Reason.EVIDENCE, evidence=Complaint(messages[3].encoded, bytes(32)))
    return [*messages, _aborts(complaint)]


def _aborts(abort: Abort, sender: str = "bank-1", terms: Terms = TERMS) -> SignedMessage:
    return sign_message(terms, MessageKind.ABORT, sender, abort.encode(), identity(sender).sign)


def _first(said: list[SignedMessage], kind: MessageKind) -> SignedMessage:
    return next(message for message in said if message.kind is kind)


@pytest.mark.parametrize("kind", MessageKind)
def test_a_message_has_one_byte_form(said: list[SignedMessage], kind: MessageKind) -> None:
    """A message read from its bytes is the same message; a byte more or less is refused."""
    message = _first(said, kind)
    assert SignedMessage.decode(message.encoded) == message
    for other in (message.encoded + b"\0", message.encoded[:-1], b"\2" + message.encoded[1:]):
        with pytest.raises(InvalidInputError):
            SignedMessage.decode(other)


@pytest.mark.parametrize("kind", MessageKind)
def test_every_flipped_byte_of_a_message_is_refused_or_ignored(said: list[SignedMessage], kind: MessageKind) -> None:
    """Whatever is changed on the way, the board refuses it and no party takes it."""
    message = _first(said, kind)
    listener = begin(TERMS)["bank-2" if message.sender != "bank-2" else "bank-3"]
    before, board = listener.state(), Board(TERMS, SUITE)
    refused = 0
    for at in range(len(message.encoded)):
        changed = bytearray(message.encoded)
        changed[at] ^= 1 << at % 8
        try:
            other = SignedMessage.decode(bytes(changed))
        except InvalidInputError:
            refused += 1
            continue
        with pytest.raises(UnauthenticatedError):
            board.post(other)
        assert listener.receive(other) == ()
    assert refused < len(message.encoded)
    assert listener.state() == before
    assert board.messages == ()


def test_bodies_have_one_byte_form(said: list[SignedMessage]) -> None:
    """Every body is read and written alike, and refused with a byte more or less."""
    decoders: dict[MessageKind, Callable[[bytes], bytes]] = {
        MessageKind.KEYS: lambda body: Keys.decode(TERMS, body).encode(),
        MessageKind.DEAL: lambda body: Deal.decode(TERMS, body).encode(),
        MessageKind.ECHO: lambda body: Echo.decode(TERMS, body).encode(),
        MessageKind.ABORT: lambda body: Abort.decode(body).encode(),
        MessageKind.CONFIRM: lambda body: Confirm.decode(body).encode(),
    }
    for kind, again in decoders.items():
        body = _first(said, kind).body
        assert again(body) == body
        for other in (body + b"\0", body[:-1], b""):
            with pytest.raises(InvalidInputError):
                again(other)


def test_aborts_carry_every_evidence(said: list[SignedMessage]) -> None:
    """Reasons, missing names and each kind of evidence come back as they were written."""
    header = said[0].header
    for abort in (
        Abort(Reason.DEADLINE, ("bank-1", "bank-3")),
        Abort(Reason.EVIDENCE, evidence=Conflict("bank-2", header, replace(header, digest=bytes(32)))),
        Abort(Reason.EVIDENCE, evidence=Exhibit(said[3].encoded)),
        Abort(Reason.EVIDENCE, evidence=Complaint(said[3].encoded, b"k" * 32)),
    ):
        assert Abort.decode(abort.encode()) == abort


@pytest.mark.parametrize(
    "abort",
    [
        Abort(Reason.EVIDENCE),
        Abort(Reason.ORDER, evidence=Exhibit(b"")),
        Abort(Reason.DEADLINE, ("bank-2", "bank-1")),
        Abort(Reason.DEADLINE, ("bank-1", "bank-1")),
    ],
)
def test_aborts_in_another_form_are_refused(abort: Abort) -> None:
    """Evidence goes with its reason, and missing names are sorted."""
    with pytest.raises(InvalidInputError):
        Abort.decode(abort.encode())


def test_a_message_of_another_ceremony_is_ignored(said: list[SignedMessage]) -> None:
    """A replay from another session, or under other terms, is nobody's message."""
    other = begin(generation_terms(2, 3, b"another session!"))
    listener = begin(TERMS)["bank-2"]
    before = listener.state()
    for message in (*exchange(other), *exchange(begin(replace(TERMS, threshold=3)))):
        if message.sender != "bank-2":
            assert listener.receive(message) == ()
    assert listener.state() == before


def test_a_signature_for_one_slot_holds_for_no_other(said: list[SignedMessage]) -> None:
    """A body that somebody signed as one thing cannot be passed off as another, or as somebody else's."""
    board = Board(TERMS, SUITE)
    for kind in MessageKind:
        message = _first(said, kind)
        for other in (*({*MessageKind} - {kind}),):
            with pytest.raises(UnauthenticatedError):
                board.post(replace(message, kind=other))
        with pytest.raises(UnauthenticatedError):
            board.post(replace(message, sender="bank-2" if message.sender != "bank-2" else "bank-3"))
    assert board.messages == ()


def test_too_long_a_body_is_nobodys_message() -> None:
    """What could not be shown as evidence is not taken in the first place."""
    board = Board(TERMS, SUITE)
    long = sign_message(TERMS, MessageKind.KEYS, "bank-1", bytes(LONGEST_BODY // 2 + 1), identity("bank-1").sign)
    with pytest.raises(UnauthenticatedError):
        board.post(long)
    fits = sign_message(TERMS, MessageKind.KEYS, "bank-1", bytes(LONGEST_BODY // 2), identity("bank-1").sign)
    assert board.post(fits)
    assert board.guilty == {"bank-1"}


def test_strangers_have_no_say() -> None:
    """A message of somebody whom the terms do not name is refused, however well it is signed."""
    message = _aborts(Abort(Reason.ORDER), sender="stranger")
    with pytest.raises(UnauthenticatedError):
        Board(TERMS, SUITE).post(message)
    party = begin(TERMS)["bank-1"]
    assert party.receive(message) == ()
    assert party.outcome is None


def test_secrets_do_not_show() -> None:
    """No text form of a party's parts shows a key, a coefficient or a share."""
    parties = begin(TERMS)
    secrets = parties["bank-1"]._secrets
    assert secrets.dealing is not None
    texts = repr(secrets) + repr(secrets.dealing) + repr(secrets.dealing.polynomial) + repr(Complaint(b"", b"x" * 32))
    for secret in (*secrets.recipient_keys, *secrets.dealing.ephemerals, *secrets.dealing.polynomial.coefficients):
        assert repr(secret) not in texts
    assert repr(b"x" * 32) not in texts
    exchange(parties)
    share = parties["bank-1"].share
    assert isinstance(parties["bank-1"], Party)
    assert share is not None
    assert repr(share) not in repr(parties["bank-1"]._secrets)
