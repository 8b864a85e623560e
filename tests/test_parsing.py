"""Text that people write becomes data or one line of complaint, soon, whatever it holds."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.parsing import decoded, parse_json, parse_yaml
from tests.clock import processor_seconds

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(plain.filter(lambda data: "inf" not in json.dumps(data).lower()))
def test_what_json_writes_is_read(data):
    assert parse_json(json.dumps(data)) == data
    assert parse_json(decoded(json.dumps(data, ensure_ascii=False).encode("utf-8-sig"))) == data


@given(plain)
def test_what_yaml_writes_is_read(data):
    assert parse_yaml(yaml.safe_dump(data)) == data


@given(st.text(alphabet=" \n\t-:?[]{},&*!|>%@`'\"#<=~.0123abxeé_", max_size=40))
def test_any_text_is_data_or_one_line(text):
    for parse in (parse_yaml, parse_json):
        try:
            parse(text)
        except ValueError as error:
            assert "\n" not in str(error)


@given(st.binary(max_size=40))
def test_any_bytes_are_text_or_one_line(data):
    try:
        assert isinstance(decoded(data), str)
    except ValueError as error:
        assert "Expected UTF-8" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_another_encoding_is_named_with_its_remedy(encoding):
    with pytest.raises(ValueError, match="Expected UTF-8; open it in an editor and save it anew as UTF-8"):
        decoded('{"name": "Müller"}'.encode(encoding))


EIGHT_FOLD = "a0: &a0 [x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 11)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (EIGHT_FOLD, "its aliases unfold to more than 20,000 values"),
        (MERGED, "its aliases unfold to more than 20,000 values"),
        ("a: &a [*a]", "nested more than 64 deep"),
        ("a: " + "[" * 100_000, "nested more than 64 deep"),
        ("\n".join(" " * depth + "a:" for depth in range(900)), "nested more than 64 deep"),
        ("a: " + "1" * 5000, "a number of 5,000 digits"),
        ("a: 0x" + "f" * 5000, "a number of 5,002 digits"),
        ("a: 1" + ":1" * 50_000, "a number of 100,001 digits"),
        ("a: !!int x", "a value is not what it claims to be"),
        ("a: !!bool x", "a value is not what it claims to be"),
        ("a: 2001-99-99", "a value is not what it claims to be"),
        ("a: 0x_", "a value is not what it claims to be"),
        ("{[1]: 2}", "unhashable"),
        ("{1: 2, 1: 3}", "key 1 is given twice"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
    ],
    ids=lambda text: text[:20],
)
def test_yaml_that_would_take_for_ever_or_break_is_refused_soon(text, complaint):
    def refused():
        with pytest.raises(ValueError, match=complaint) as error:
            parse_yaml(text)
        return error

    error = refused()
    assert processor_seconds(refused) < 2  # 0.02 to 0.2; a billion laughs would take for ever
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_aliases_as_people_use_them_are_read():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}] * 2,
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ("NaN", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("1e400", "'1e400' is beyond every"),
        ("1" * 5000, "a number of 5,000 digits"),
        ('"\\ud800"', r"holds \\ud800, half of a letter"),
        ('{"\\udc00": 1}', r"holds \\udc00, half of a letter"),
        ("[" * 100 + "]" * 100, "nested more than 64 deep"),
        ("[" * 200_000, "nested more than 64 deep"),
        ("{" + ",".join(f'"{n}": 1' for n in range(30_000)) + ', "7": 1}', "key '7' is given twice"),
    ],
    ids=lambda text: text[:20],
)
def test_json_that_is_none_is_refused_soon(text, complaint):
    def refused():
        with pytest.raises(ValueError, match=complaint) as error:
            parse_json(text)
        return error

    error = refused()
    assert processor_seconds(refused) < 2  # 0.02 to 0.2; a billion laughs would take for ever
    assert "\n" not in str(error.value)


def test_a_letter_beyond_the_first_plane_is_whole():
    assert parse_json('"\\ud83e\\udec0"') == "🫀"
