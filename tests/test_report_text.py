"""Numbers and words as the report writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.report.names import language_name, order_names, readable, role, split_language
from emosae.report.tables import finite
from emosae.report.text import clean, count, interval, number, p_value, plain, shorten


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.7215, 3, "0.722"),
        (0.7214999, 3, "0.721"),
        (-0.5, 2, "−0.50"),
        (-0.0001, 3, "0.000"),
        (2, 1, "2.0"),
        (None, 3, "not computed"),
        (math.nan, 3, "not computed"),
        (math.inf, 3, "not computed"),
        ("0.5", 3, "not computed"),
    ],
)
def test_number(value: object, digits: int, shown: str) -> None:
    assert number(value, digits) == shown


def test_count_interval_and_p() -> None:
    assert count(13915) == "13,915"
    assert count(-1200) == "−1,200"
    assert count(None) == count(math.nan) == "not computed"
    assert interval(-0.1, 0.25, 2) == "−0.10 to 0.25"
    assert interval(None, 0.25) == interval(0.1, math.nan) == "not computed"
    assert [p_value(p) for p in (0.5, 0.001, 0.00099, None)] == ["0.500", "0.001", "9.9e−04", "not computed"]


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(0, 6))
def test_number_reads_back_to_within_half_a_digit(value: float, digits: int) -> None:
    read = float(number(value, digits).replace("−", "-"))
    assert abs(read - value) <= 0.5000001 * 10**-digits + abs(value) * 1e-15


@given(st.text(st.characters(exclude_categories=[])))
def test_clean_text_can_be_written_and_keeps_what_is_allowed(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert len(cleaned) == len(text)
    forbidden = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufffe\uffff")
    for before, after in zip(text, cleaned, strict=True):
        control = (ord(before) < 32 and before not in "\t\n\r") or 0x7F <= ord(before) < 0xA0
        lone = 0xD800 <= ord(before) < 0xE000
        assert (after == "\ufffd") == (control or lone or before in forbidden or before == "\ufffd")
        assert after in (before, "\ufffd")


@given(st.text(st.characters(exclude_categories=[])), st.integers(2, 50))
def test_shortened_text_is_one_line_of_bounded_length(text: str, most: int) -> None:
    line = shorten(text, most)
    assert 1 <= len(line) <= max(most, len("(empty)"))
    assert "\n" not in line
    if len(" ".join(clean(text).split())) > most:
        assert line.endswith("…")


def test_only_finite_numbers_are_numbers() -> None:
    assert [finite(value) for value in (0.5, 2, 0, None, math.nan, math.inf, "1", True)] == [
        0.5,
        2,
        0,
        *[None] * 5,
    ]


def test_plain_values() -> None:
    assert plain({"a_b": [1, 2.5, None]}) == "a b: 1, 2.5, none"
    assert plain([]) == plain({}) == plain(None) == "none"
    assert plain(False) == "no"
    assert plain(1_000_000) == "1,000,000"


def test_names_of_spaces_and_their_roles() -> None:
    languages = ["en", "zh"]
    assert split_language("features_zh", languages) == ("features", "zh")
    assert split_language("valence_arousal", languages) == ("valence_arousal", "")
    assert readable("embedding_zh", languages) == "static embedding (Chinese)"
    assert readable("my_own space") == "my own space"
    assert language_name("tlh") == "tlh"
    roles = {
        "features": "features",
        "universal": "subset",
        "en_only": "subset",
        "residual": "baseline",
        "something_new": "baseline",
        "matched_control": "control",
        "random_features": "control",
        "valence_arousal": "human",
    }
    assert {name: role(name) for name in roles} == roles
    assert order_names(["valence", "residual", "features", "residual", "universal"]) == [
        "features",
        "universal",
        "residual",
        "valence",
    ]
