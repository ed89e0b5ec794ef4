"""Canonical JSON: one value, one sequence of bytes."""

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.canonical import canonical_json
from jointrisk.errors import InvalidInputError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (
            {"b": [1, 2.5, None, True], "a": '信用 \n\x00"\\/é\U0001f4b3'},
            '{"a":"信用 \\n\\u0000\\"\\\\/é\U0001f4b3","b":[1,2.5,null,true]}',
        ),
        ({"é": 1, "z": 2, "Z": 3, "": 4}, '{"":4,"Z":3,"z":2,"é":1}'),
        ((1, 1.0, -0.0, 1e300, 0.1), "[1,1.0,-0.0,1e+300,0.1]"),
        (2**200, str(2**200)),
        ({}, "{}"),
        ("", '""'),
    ],
)
def test_the_bytes_are_fixed(value: object, written: str) -> None:
    """Keys sorted by code point, no white space, UTF-8, shortest numbers."""
    assert canonical_json(value) == written.encode("utf-8")


@given(VALUES)
def test_it_is_json_of_the_same_value(value: Any) -> None:
    """Reading it gives the value back, and writing that gives the same bytes."""
    read = json.loads(canonical_json(value))
    assert read == value
    assert canonical_json(read) == canonical_json(value)


@given(st.dictionaries(st.text(), SCALARS, min_size=2), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], order: random.Random) -> None:
    """However a dictionary was filled, its bytes are the same."""
    items = list(value.items())
    order.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        [-math.inf],
        {"a": {"b": math.nan}},
        {1: "a"},
        {"a": [{None: 1}]},
        {True: 1},
        b"bytes",
        {1, 2},
        object(),
        "\ud800",
        {"\udfff": 1},
    ],
)
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    """Nothing is changed on the way without a word."""
    with pytest.raises(InvalidInputError, match="expected"):
        canonical_json(value)
