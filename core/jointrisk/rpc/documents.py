"""Signed documents between their wire form and their own."""

from jointrisk.federation.signing import Signed
from jointrisk.rpc.v1.document_pb2 import SignedDocument


def to_message(signed: Signed) -> SignedDocument:
    """Return the wire form."""
    return SignedDocument(kind=signed.kind, payload=signed.payload, signature=signed.signature, signer=signed.signer)


def from_message(message: SignedDocument) -> Signed:
    """Return a document as it came; nothing about it is verified yet."""
    return Signed(message.kind, message.payload, message.signature, message.signer)
