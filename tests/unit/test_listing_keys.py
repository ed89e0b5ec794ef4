"""Witness, key and tag: one for all who have evaluated an identifier, another for every other identifier and epoch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.errors import InvalidInputError
from jointrisk.listing.derive import derive, epoch_bytes, fits, tag_of
from listing_sample import EPOCHS, OUTPUTS, UNHURRIED, keys_of
from oprf_sample import flipped


@UNHURRIED
@given(OUTPUTS, EPOCHS)
def test_everybody_gets_the_same(output: bytes, epoch: int) -> None:
    """The same output gives the same keys, of the lengths of the protocol, and a witness that fits its tag."""
    keys = derive(output, epoch)
    assert keys == derive(output, epoch)
    assert (len(keys.tag), len(keys.witness), len(keys.key), keys.epoch) == (16, 16, 32, epoch)
    assert fits(keys.witness, keys.tag)


@UNHURRIED
@given(st.lists(st.tuples(OUTPUTS, EPOCHS), min_size=2, max_size=6, unique=True))
def test_everything_else_gets_others(inputs: list[tuple[bytes, int]]) -> None:
    """Another output or another epoch gives another tag, witness and key."""
    made = [derive(output, epoch) for output, epoch in inputs]
    for values in ({one.tag for one in made}, {one.witness for one in made}, {one.key for one in made}):
        assert len(values) == len(inputs)


def test_each_bit_of_an_output_counts() -> None:
    """No two of the 512 outputs that differ from one in a bit share a tag."""
    tags = {derive(output, 0).tag for output in flipped(bytes(64))}
    assert len(tags | {derive(bytes(64), 0).tag}) == 513


def test_only_the_witness_fits() -> None:
    """One other bit of witness or tag is refused, and so is another person's witness."""
    keys = keys_of("somebody")
    assert not any(fits(other, keys.tag) for other in flipped(keys.witness))
    assert not any(fits(keys.witness, other) for other in flipped(keys.tag))
    assert not fits(keys_of("somebody else").witness, keys.tag)


@pytest.mark.parametrize("witness", [b"", bytes(15), bytes(17), bytes(64)])
def test_a_witness_of_another_length_fits_nothing(witness: bytes) -> None:
    """It is no exception for the coordinator, whatever a lister sends; a tag cut short fits nothing either."""
    keys = keys_of("somebody")
    assert not fits(witness, keys.tag)
    assert not fits(keys.witness, keys.tag[:8])
    with pytest.raises(InvalidInputError, match="16 bytes"):
        tag_of(witness)


def test_a_reader_of_the_log_has_no_witness() -> None:
    """Neither the tag nor what is sealed beside it is accepted in place of the witness (*tag squatting*)."""
    keys = keys_of("somebody")
    assert not fits(keys.tag, keys.tag)
    assert not fits(keys.key[:16], keys.tag)


@pytest.mark.parametrize("output", [b"", bytes(32), bytes(63), bytes(65)])
def test_outputs_have_one_length(output: bytes) -> None:
    """What is not 64 bytes is no output."""
    with pytest.raises(InvalidInputError, match="64 bytes"):
        derive(output, 1)


@pytest.mark.parametrize("epoch", [-1, 2**64, True, 1.0, "1"])
def test_epochs_are_eight_bytes(epoch: int) -> None:
    """Other numbers and types are refused, not rounded."""
    with pytest.raises(InvalidInputError, match="epoch"):
        derive(bytes(64), epoch)


def test_the_greatest_epochs() -> None:
    """Both ends of the range are epochs."""
    assert (epoch_bytes(0), epoch_bytes(2**64 - 1)) == (bytes(8), b"\xff" * 8)


def test_keys_do_not_show_themselves() -> None:
    """A `repr` that ends in a log tells the epoch alone."""
    assert repr(keys_of("somebody")) == "ListingKeys(epoch=3)"
