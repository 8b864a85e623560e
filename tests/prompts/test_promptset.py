"""Prompt files come back equal, are replayed click by click, and say what is wrong with them."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_moe.errors import FileError, PromptError
from sam_moe.prompts import Box, Loop, Point, Prompt, Stroke, promptset
from sam_moe.prompts.promptset import PromptCase, PromptSet
from sam_moe.space import files

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"

coordinates = st.tuples(*[st.floats(-1000, 1000)] * 3)


@st.composite
def prompts(draw: st.DrawFn, space: str) -> Prompt:
    points = st.builds(Point, coordinates, st.booleans(), st.just(space))
    boxes = st.builds(
        lambda start, size, flat: Box(
            start, tuple(a + b for a, b in zip(start, size, strict=True)), space, flat
        ),
        coordinates,
        st.tuples(*[st.one_of(st.floats(1, 100), st.just(0.0))] * 3),
        st.sampled_from([None, True, False]),
    )
    strokes = st.builds(
        lambda places, positive: Stroke(tuple(places), positive, space),
        st.lists(coordinates, min_size=1, max_size=5),
        st.booleans(),
    )
    loops = st.builds(
        lambda at, wide, positive: Loop(
            (at, (at[0] + wide, at[1], at[2]), (at[0], at[1] + wide, at[2])), positive, space
        ),
        coordinates,
        st.floats(1, 50),
        st.booleans(),
    )
    items = st.one_of(points, boxes, strokes, loops)
    return Prompt(tuple(draw(st.lists(items, min_size=1, max_size=5))))


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Prompt], PromptCase]:
    space = draw(st.sampled_from(["voxel", "mm"]))
    names = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3, unique=True))
    given = {name: draw(prompts(space)) for name in names}
    return given, PromptCase.of("scans/a.nii.gz", given)


def example() -> dict:
    return json.loads((PROMPTS / "example.json").read_text())


def written(folder: Path, data: object) -> Path:
    path = folder / "set.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


@settings(max_examples=50)
@given(cases())
def test_what_was_written_is_what_is_read(tmp_path_factory, case):
    given, recorded = case
    path = tmp_path_factory.mktemp("sets") / "set.json"
    promptset.write(PromptSet(name="any", cases=(recorded,)), path)
    (back,) = promptset.read(path).cases
    assert back == recorded
    assert {target.name: back.prompt(target) for target in back.targets} == given


@settings(max_examples=20)
@given(cases())
def test_what_we_write_satisfies_the_published_schema(case):
    written_set = PromptSet(name="any", cases=(case[1],)).model_dump(mode="json", exclude_none=True)
    jsonschema.validate(written_set, json.loads((PROMPTS / "promptset.schema.json").read_text()))


def test_the_committed_schema_is_the_one_the_records_make():
    assert json.loads((PROMPTS / "promptset.schema.json").read_text()) == promptset.json_schema()


def test_the_committed_example_satisfies_its_schema_by_an_independent_checker():
    schema = json.loads((PROMPTS / "promptset.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(example(), schema)
    broken = example()
    broken["cases"][0]["targets"][0]["items"][0]["att"] = [1, 2, 3]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_replay_gives_the_prompt_after_each_item():
    first, second, third = Point((1, 2, 3)), Box((0, 0, 0), (4, 4, 4)), Point((9, 9, 9), positive=False)
    case = PromptCase.of("a.nii", {"liver": Prompt((first, second, third))})
    assert list(case.replay("liver")) == [
        Prompt((first,)),
        Prompt((first, second)),
        Prompt((first, second, third)),
    ]


def test_the_example_replays_in_the_order_it_was_recorded():
    read = promptset.read(PROMPTS / "example.json")
    for case in read.cases:
        for target in case.targets:
            counts = [len(prompt) for prompt in case.replay(target)]
            assert counts == list(range(1, len(target.items) + 1))


def test_the_example_is_about_the_demonstrations_scans():
    for case in promptset.read(PROMPTS / "example.json").cases:
        scan = files.read(PROMPTS / case.image)
        assert files.fingerprint(scan) == case.fingerprint
        for target in case.targets:
            case.prompt(target).check_inside(scan.grid.affine, scan.grid.shape)


def test_labels_count_from_one_unless_given():
    given = {"liver": Prompt((Point((1, 2, 3)),)), "spleen": Prompt((Point((4, 5, 6)),))}
    assert [target.label for target in PromptCase.of("a.nii", given).targets] == [1, 2]
    assert [t.label for t in PromptCase.of("a.nii", given, {"liver": 5, "spleen": 1}).targets] == [5, 1]


def test_a_case_cannot_mix_voxels_and_millimetres():
    mixed = {"liver": Prompt((Point((1, 2, 3)), Point((1, 2, 3), space="mm")))}
    with pytest.raises(PromptError, match="use mm and voxel"):
        PromptCase.of("a.nii", mixed)


def test_an_unknown_target_is_answered_by_the_known_ones():
    case = promptset.read(PROMPTS / "example.json").cases[0]
    with pytest.raises(PromptError, match=f"no target 'lung'; it has: .*{case.targets[0].name}"):
        case.prompt("lung")


def changed(**changes: object) -> dict:
    data = example()
    target = data["cases"][0]["targets"][0]
    for where, what in changes.items():
        {"set": data, "case": data["cases"][0], "target": target, "item": target["items"][0]}[where].update(
            what
        )
    return data


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (changed(set={"caess": []}), r"set\.json: caess: unknown key; did you mean 'cases'\?"),
        (changed(case={"spcae": "mm"}), r"set\.json: cases\[0\]\.spcae: unknown key; did you mean 'space'\?"),
        (changed(target={"lable": 3}), r"cases\[0\]\.targets\[0\]\.lable: .*did you mean 'label'\?"),
        (changed(item={"positiv": True}), r"targets\[0\]\.items\[0\]\.positiv: .*did you mean 'positive'\?"),
        (changed(target={"items": []}), r"targets\[0\]\.items: .*at least 1 item"),
        (changed(item={"point": 1}), r"targets\[0\]\.items\[0\]\.point: unknown key"),
        (
            changed(item={"kind": "circle"}),
            r"targets\[0\]\.items\[0\]: .*'circle'.*'point', 'box', 'stroke', 'loop'",
        ),
        (changed(item={"at": [1, 2]}), r"targets\[0\]\.items\[0\]\.at\[2\]: missing"),
        (changed(item={"at": [1, 2, "3"]}), r"targets\[0\]\.items\[0\]\.at\[2\]: .*valid number, not '3'"),
        (changed(item={"at": [1, 2, float("nan")]}), r"targets\[0\]\.items\[0\]\.at\[2\]: .*finite"),
        (changed(item={"positive": "no"}), r"targets\[0\]\.items\[0\]\.positive: .*boolean"),
        (
            changed(target={"items": [{"kind": "box", "start": [2, 1, 1], "stop": [1, 2, 2]}]}),
            r"set\.json: cases\[0\]\.targets\[0\]\.items\[0\]: box .* is inverted along axis 0 .* to i\+1$",
        ),
        (
            changed(target={"items": [{"kind": "loop", "points": [[1, 1, 1], [2, 2, 2], [3, 3, 3]]}]}),
            r"targets\[0\]\.items\[0\]: .loop of 3 points.* encloses nothing",
        ),
        (
            changed(target={"items": [{"kind": "stroke", "points": []}]}),
            r"targets\[0\]\.items\[0\]\.points: .*at least 1 item",
        ),
        (changed(item={"time_ms": 10**9}), r"targets\[0\]\.items: time_ms goes back"),
        (changed(target={"label": 0}), r"targets\[0\]\.label: .*greater than or equal to 1"),
        (changed(case={"space": "cm"}), r"cases\[0\]\.space: .*'voxel' or 'mm'"),
        (changed(case={"image": "/data/a.nii"}), r"cases\[0\]\.image: .*relative to the prompt file"),
        (changed(case={"image": "C:\\a.nii"}), r"cases\[0\]\.image: .*relative to the prompt file"),
        (changed(set={"format": 2}), r"set\.json: format: 2 is newer than 1, the newest known here; update"),
        ('{"name": "a", "name": "b"}', r"set\.json: not readable as JSON: key 'name' is given twice"),
        ("{", r"set\.json: not readable as JSON"),
        ("[]", r"set\.json: the whole record"),
    ],
)
def test_a_wrong_file_is_named_with_the_field_and_the_remedy(tmp_path, data, complaint):
    with pytest.raises(PromptError, match=complaint) as caught:
        promptset.read(written(tmp_path, data))
    assert "\n" not in str(caught.value)


def test_two_targets_of_a_case_may_not_share_a_label(tmp_path):
    data = example()
    data["cases"][0]["targets"].append({**data["cases"][0]["targets"][0], "name": "another"})
    with pytest.raises(PromptError, match=r"cases\[0\]\.targets: two targets of one case share the label"):
        promptset.read(written(tmp_path, data))


def test_many_mistakes_are_counted_rather_than_all_listed(tmp_path):
    with pytest.raises(PromptError, match=r"and 2 more$"):
        promptset.read(written(tmp_path, changed(set=dict.fromkeys("uvwxyz", 0))))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PromptError, match=r"nothing\.json: no such file"):
        promptset.read(tmp_path / "nothing.json")


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    whole = promptset.read(PROMPTS / "example.json")
    with pytest.raises(FileError, match="no such folder"):
        promptset.write(whole, tmp_path / "absent" / "set.json")
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(FileError, match=r"is a folder\. Expected an ordinary file"):
        promptset.write(whole, tmp_path / "taken.json")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.json"]
