"""What is wrong is explained in one line of bounded length, in time linear in how much is wrong."""

import json
import subprocess
import sys
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from sam_moe.config import Record
from sam_moe.explaining import explain, nearest_first
from tests.clock import processor_seconds

LINEAR = 2  # seconds for what takes 0.02 to 0.4; what grows with the square took 9 and more


class Inner(Record):
    """A part."""

    size: int = Field(ge=0, description="How large.")


class Outer(Record):
    """A whole."""

    name: str = Field(min_length=1, description="What it is called.")
    parts: tuple[Inner, ...] = Field((), min_length=1)


class Shelf(Record):
    """Parts by name, and numbers by name."""

    parts: dict[str, Inner]
    spare: dict[str, Inner] | None = None
    counts: dict[str, int] = Field({})


def complaint(data, record=Outer):
    def explained():
        with pytest.raises(ValidationError) as error:
            record.model_validate(data)
        return explain(error.value, record, "a.json")

    text = explained()
    assert processor_seconds(explained) < LINEAR
    assert "\n" not in text and len(text) < 2000
    return text


def test_the_first_four_are_shown_and_the_others_counted():
    text = complaint({"name": "", "parts": [{"size": -1}] * 6})
    assert text.count("a.json: ") == 4
    assert text.startswith(
        "a.json: name: String should have at least 1 character, not ''; a.json: parts[0].size"
    )
    assert text.endswith("; and 3 more")


def test_a_sequence_that_is_too_short_only_for_its_bad_parts_is_no_problem_of_its_own():
    assert complaint({"name": "a", "parts": [{"size": "many"}]}).count("a.json: ") == 1
    assert "parts: Tuple should have at least 1 item" in complaint({"name": "a", "parts": []})


@pytest.mark.parametrize("field", ["parts", "spare"])
@pytest.mark.parametrize("name", ["left", "size", "Inner"])
def test_a_wrong_key_of_what_a_mapping_holds_is_named_with_the_nearest(field, name):
    given = {"parts": {}, field: {name: {"size": 1, "sise": 2}}}
    assert complaint(given, Shelf) == (
        f"a.json: {field}.{name}.sise: unknown key; did you mean 'size'? Known here: size"
    )


def test_what_a_mapping_holds_is_explained_as_elsewhere():
    assert (
        complaint({"parts": {"left": {}}}, Shelf) == "a.json: parts.left.size: missing; add it (How large.)"
    )
    assert "a.json: parts.left.size: Input should be" in complaint({"parts": {"left": {"size": -1}}}, Shelf)
    assert "a.json: counts.left: Input should be" in complaint({"parts": {}, "counts": {"left": "x"}}, Shelf)
    assert "a.json: parts.left: Input should be" in complaint({"parts": {"left": 3}}, Shelf)


@pytest.mark.parametrize(
    "data",
    [
        {"name": "a", **{f"key{n}": 1 for n in range(20_000)}},
        {"name": "a", "parts": [{"size": -1, "sise": 1}] * 10_000},
        {"name": "a", "parts": [{}] * 20_000},
        {"name": "a", "parts": [{"size": "x" * 1_000_000}]},
        {"name": "a", "x" * 1_000_000: 1},
        {"name": "a", "two\nlines": 1},
    ],
    ids=["keys", "numbers", "missing", "long value", "long key", "line break"],
)
def test_much_that_is_wrong_is_explained_soon(data):
    complaint(data)


READS = """
import json, sys, time
from sam_moe.errors import PromptError
from sam_moe.prompts import promptset
best = []
for _ in range(3):
    begin = time.process_time()
    try:
        promptset.read(sys.argv[1])
    except PromptError as error:
        message = str(error)
    best.append(time.process_time() - begin)
print(json.dumps([min(best), message]))
"""


def case(targets):
    return {"image": "a.nii", "space": "mm", "targets": targets}


def target(number, label=1, items=({"kind": "point", "at": [1, 2, 3]},)):
    return {"name": f"n{number}", "label": label, "items": list(items)}


@pytest.mark.parametrize(
    "targets",
    [
        [target(n, n + 1) for n in range(5000)],
        [target(n, n % 255 + 1) for n in range(5000)],
        [target(0, items=[{"kind": "point", "at": ["a", None, "b"]}] * 4000)],
        [target(0, items=[{"kind": "box", "start": [3, 3, 3], "stop": [1, 1, 1]}] * 4000)],
        [target(0, items=[{"kind": "point", "at": [1, 2, 3], "time_ms": -n} for n in range(5000)])],
    ],
    ids=["labels end at 255", "labels twice", "wrong coordinates", "empty boxes", "times"],
)
def test_a_prompt_file_full_of_mistakes_is_refused_in_linear_time(tmp_path, targets):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"format": 1, "name": "x", "cases": [case(targets)]}))
    # In a process of its own: the checks of annotations in these tests take longer than the work
    ran = subprocess.run([sys.executable, "-c", READS, str(path)], capture_output=True, text=True, check=True)
    seconds, message = json.loads(ran.stdout)
    assert seconds < LINEAR
    assert "\n" not in message and len(message) < 4 * 1000


def test_the_nearest_of_many_long_names_is_found_soon():
    names = [f"case_{n:04}" for n in range(5000)]
    assert nearest_first("case_0421", names)[0] == "case_0421"
    assert processor_seconds(lambda: nearest_first("case_0421", names)) < LINEAR
    assert processor_seconds(lambda: nearest_first("a" * 1_000_000, ["a" * 1_000_000, "b"])) < LINEAR


class Cat(Record):
    """A record that a key chooses."""

    kind: Literal["cat"] = "cat"


class Dog(Record):
    """The other one."""

    kind: Literal["dog"] = "dog"


class Owner(Record):
    """Has either."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


def test_a_key_that_chooses_a_record_is_named_with_its_values_however_long_the_wrong_one_is():
    def complaint(pet):
        with pytest.raises(ValidationError) as caught:
            Owner.model_validate({"pet": pet})
        return explain(caught.value, Owner, "x")

    assert complaint({"kind": "cow"}) == (
        "x: pet: 'kind' is 'cow', which is none of 'cat', 'dog'; correct it"
    )
    assert complaint({}) == ("x: pet: 'kind' is missing; add it: it decides which other keys there are")
    assert len(complaint({"kind": "cow" * 10**6})) < 200
