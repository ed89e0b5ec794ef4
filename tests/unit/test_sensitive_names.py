"""Which names must not appear as fields."""

import pytest

from jointrisk.sensitive import is_sensitive


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "tokens",
        "invite_token",
        "secret",
        "sharedSecret",
        "passphrase",
        "password",
        "PASSWORD",
        "key",
        "keys",
        "key_material",
        "keyMaterial",
        "private_key",
        "signing-key",
        "master.key",
        "key_pem",
        "label",
        "labels",
        "label_value",
        "score",
        "credit_score",
        "identifier",
        "identifiers",
        "public_key_secret",
        "witness",
        "witnesses",
        "credentials",
    ],
)
def test_sensitive(name: str) -> None:
    """However it is spelled."""
    assert is_sensitive(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "member_id",
        "reason",
        "public_key",
        "key_fingerprint",
        "token_count",
        "identifier_kind",
        "score_seconds",
        "keyboard",
        "tokenizer",
        "scoreboard",
        "invitation_id",
        "serial",
        "run_id",
        "event",
    ],
)
def test_harmless(name: str) -> None:
    """What tells about a thing without holding it, and words that only begin alike."""
    assert not is_sensitive(name)
