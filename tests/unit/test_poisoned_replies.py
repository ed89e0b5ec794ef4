"""What a member could put into a reply to harm a run: each is told as a reply that cannot be used."""

import numpy as np
import pytest

from jointrisk.errors import InvalidInputError
from jointrisk.learning.aggregation import Expectation
from jointrisk.learning.flower import Array, ArrayRecord, RecordDict, decode, encode
from poisoned_replies import EVALUATION, TRAINING, Poison, sound

FORM = {"payload": ((64,), "float32")}
ASKED = encode(RecordDict({"arrays": ArrayRecord({"payload": Array(np.linspace(0, 1, 64, dtype=np.float32))})}))


@pytest.mark.parametrize("poison", TRAINING.values(), ids=TRAINING)
def test_poisoned_training_is_a_reply_that_cannot_be_used(poison: Poison) -> None:
    """Not another error, which would end the run of everybody, and not a reply that counts."""
    with pytest.raises(InvalidInputError):
        Expectation(FORM).check(decode(poison(ASKED)))


@pytest.mark.parametrize("poison", EVALUATION.values(), ids=EVALUATION)
def test_poisoned_evaluation_is_a_reply_that_cannot_be_used(poison: Poison) -> None:
    """The same where no arrays are expected."""
    with pytest.raises(InvalidInputError):
        Expectation({}).check(decode(poison(ASKED)))


def test_a_sound_reply_can_be_used() -> None:
    """What the poisons are made from passes."""
    Expectation(FORM).check(decode(sound(ASKED)))
