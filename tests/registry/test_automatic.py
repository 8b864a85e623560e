"""An automatic model's card: a head for each set, an expert for each, no field against another."""

import json
import subprocess
import sys
from copy import deepcopy

import jsonschema
import pytest

from sam_moe.errors import CardError
from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.hosts.swin_unet.sizes import SwinSizes
from sam_moe.registry import AutomaticCard, read_card, write_card
from sam_moe.registry.automatic import AboveMean, Window
from tests.registry.conftest import make_automatic_card

SWIN = {"host": "swin_unet", "image_size": 32, "embed_dim": 4, "heads": [1, 1, 2, 4], "window": 4}


def spoiled(*path, value=None, gone=False):
    """The good card with one field changed, or taken out."""
    data = make_automatic_card()
    *outer, last = path
    place = data
    for key in outer:
        place = place[key]
    if gone:
        del place[last]
    else:
        place[last] = deepcopy(value)
    return data


def test_a_card_reads_back_as_it_was_written(tmp_path, placed, automatic_card):
    whole = automatic_card(
        attribution=[{"source": "a set", "licence": "CC-BY-4.0", "note": "cropped"}],
        made_by={"command": "sam-moe train r.yaml", "seeds": [1], "hours": 3.0, "data": ["a set"]},
        measured=[{"metric": "Dice", "value": 0.8, "data": "12 cases", "protocol": "none", "cases": 12}],
        description="Neck and brain.",
    )
    card = read_card(placed(tmp_path, whole))
    assert type(card) is AutomaticCard
    write_card(card, tmp_path / "again.json")
    assert read_card(tmp_path / "again.json") == card
    filled = json.loads(card.model_dump_json())
    assert {key: filled[key] for key in whole if key not in ("attribution", "made_by")} == {
        key: value for key, value in whole.items() if key not in ("attribution", "made_by")
    }


def test_what_a_card_leaves_out_is_filled_in():
    data = make_automatic_card(mixture={"experts": ["ct", "mr"]})
    del data["system"], data["sets"][0]["far"]
    data["sets"][0]["labels"][0] = {"name": "cord"}
    card = AutomaticCard.model_validate_json(json.dumps(data), strict=True)
    assert (card.system, card.sets[0].far) == ("m4oe", None)
    assert (card.mixture.scores, card.mixture.pooling, card.mixture.ungated) == ("expert", "slice", 1)
    assert (card.sets[0].labels[0].parts, card.sets[0].labels[0].refine) == ("all", "none")


def test_host_and_intensities_are_records_of_the_kind_that_each_names(tmp_path, placed, automatic_card):
    conv = read_card(placed(tmp_path, automatic_card()))
    assert isinstance(conv.architecture, ConvSizes) and conv.architecture.widths == (4, 8, 8)
    swin = read_card(placed(tmp_path, automatic_card(architecture=SWIN | {"classes": [3, 2]}), "swin"))
    assert isinstance(swin.architecture, SwinSizes) and swin.architecture.window == 4
    assert isinstance(swin.sets[0].intensity, Window) and isinstance(swin.sets[1].intensity, AboveMean)


WRONG = [
    (spoiled("format", value=2), r"format: 2 is newer than 1, the newest known here; update sam-moe"),
    (spoiled("id", value="Auto Small"), r"id: .*pattern"),
    (spoiled("system", value="m4o"), r"system: system 'm4o' is unknown\. Known, nearest first: m4oe"),
    (spoiled("licens", value="MIT"), r"licens: unknown key; did you mean 'licence'\?"),
    (spoiled("weights", gone=True), r"weights: missing; add it \(The file beside the card\.\)"),
    (spoiled("mixture", gone=True), r"mixture: missing; add it"),
    (spoiled("not_for", value=""), r"not_for: .*at least 1 character"),
    # The network
    (spoiled("architecture", "host", value="unet"), r"'host' is 'unet', which is none of 'swin_unet', 'conv"),
    (spoiled("architecture", "host", gone=True), r"architecture: 'host' is missing; add it"),
    (spoiled("architecture", "width", value=4), r"architecture\.width: unknown key; did you mean 'widths'\?"),
    (spoiled("architecture", "widths", value=[4, 8]), r"architecture\.widths: .*at least 3 items"),
    (spoiled("architecture", "image_size", value=18), r"architecture: image_size 18 must be a multiple of 4"),
    (spoiled("architecture", "image_size", value="16"), r"architecture\.image_size: .*valid integer"),
    (spoiled("architecture", "in_channels", value=1), r"architecture\.in_channels 1 must be 3: a slice, the"),
    (
        spoiled("architecture", "classes", value=[3, 3]),
        r"architecture\.classes \(3, 3\) must be, for each set, the background and its labels: \(3, 2\)",
    ),
    (spoiled("architecture", "classes", value=[3]), r"architecture\.classes \(3,\) must be"),
    (
        spoiled("architecture", value=SWIN | {"image_size": 48, "classes": [3, 2]}),
        r"architecture: image_size 48 does not fit window 4",
    ),
    # Its experts
    (spoiled("mixture", "experts", value=[]), r"mixture\.experts: .*at least 1 item"),
    (spoiled("mixture", "experts", value=["ct", "ct", "mr"]), r"mixture: experts names ct more than once"),
    (spoiled("mixture", "scores", value="top_k"), r"mixture\.scores: .*'channel', 'forced' or 'uniform'"),
    (spoiled("mixture", "pooling", value="scan"), r"mixture\.pooling: .*'token', 'slice' or 'volume'"),
    (spoiled("mixture", "ungated", value=-1), r"mixture\.ungated: .*greater than or equal to 0"),
    # Its data sets
    (spoiled("sets", value=[]), r"sets: .*at least 1 item"),
    (spoiled("sets", 1, "id", value="neck"), r"sets names neck more than once; each head has its own set"),
    (
        spoiled("sets", 0, "expert", value="us"),
        r"set 'neck' names the expert 'us', which is not among ct, mr",
    ),
    (spoiled("sets", 0, "title", value=""), r"sets\[0\]\.title: .*at least 1 character"),
    (spoiled("sets", 0, "spacing_mm", value=[1.0, 1.0]), r"sets\[0\]\.spacing_mm\[2\]: missing; add it"),
    (spoiled("sets", 0, "spacing_mm", 2, value=0.0), r"sets\[0\]\.spacing_mm\[2\]: .*greater than 0"),
    (spoiled("sets", 0, "far", value=0.0), r"sets\[0\]\.far: .*greater than 0"),
    (
        spoiled("sets", 0, "intensity", "kind", value="zscore"),
        r"'kind' is 'zscore', which is none of 'window",
    ),
    (spoiled("sets", 0, "intensity", "kind", gone=True), r"sets\[0\]\.intensity: 'kind' is missing; add it"),
    (
        spoiled("sets", 0, "intensity", "low", value=300.0),
        r"intensity: low 300\.0 must be less than high 300",
    ),
    (spoiled("sets", 0, "intensity", "low", value="0"), r"sets\[0\]\.intensity\.low: .*valid number"),
    (spoiled("sets", 1, "intensity", "low", value=0.0), r"sets\[1\]\.intensity\.low: unknown key"),
    # What it labels
    (spoiled("sets", 0, "labels", value=[]), r"sets\[0\]\.labels: .*at least 1 item"),
    (spoiled("sets", 0, "labels", 0, "name", value="Larynx"), r"labels names larynx more than once"),
    (spoiled("sets", 0, "labels", 0, "name", value=""), r"labels\[0\]\.name: .*at least 1 character"),
    (spoiled("sets", 0, "labels", 0, "parts", value="first"), r"labels\[0\]\.parts: .*'all' or 'largest'"),
    (spoiled("sets", 0, "labels", 0, "refine", value="click"), r"labels\[0\]\.refine: .*'none' or 'box'"),
    (
        spoiled("sets", 0, "labels", value=[{"name": f"organ {n}"} for n in range(256)]),
        r"sets\[0\]\.labels: .*at most 255 items",
    ),
]


@pytest.mark.parametrize(("data", "complaint"), WRONG, ids=[complaint[:40] for _, complaint in WRONG])
def test_a_bad_card_is_named_with_field_and_remedy(tmp_path, placed, data, complaint):
    path = placed(tmp_path, data, "card")
    with pytest.raises(CardError, match=complaint) as caught:
        read_card(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_255_labels_fit_a_label_map_of_bytes():
    data = spoiled("sets", 0, "labels", value=[{"name": f"organ {n}"} for n in range(255)])
    data["architecture"]["classes"] = [256, 2]
    assert len(AutomaticCard.model_validate(data).sets[0].labels) == 255


def test_the_hosts_own_rules_hold():
    data = spoiled("architecture", "site_levels", value=3)
    with pytest.raises(ValueError, match="site_levels 3 must be less than the 3 levels of widths"):
        AutomaticCard.model_validate(data)


def test_the_json_schema_agrees_with_the_record(automatic_card):
    schema = AutomaticCard.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(automatic_card(), schema)
    jsonschema.validate(automatic_card(architecture=SWIN | {"classes": [3, 2]}), schema)
    for wrong in (
        spoiled("architecture", "host", value="unet"),
        spoiled("architecture", "image_size", value="16"),
        spoiled("sets", 0, "intensity", "kind", value="zscore"),
        spoiled("sets", 0, "labels", value=[]),
        spoiled("sets", 0, "spacing_mm", value=[1.0, 1.0]),
        spoiled("extra", value=1),
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_every_field_is_described_for_editors():
    schema = AutomaticCard.model_json_schema()
    records = [schema, *schema["$defs"].values()]
    bare = [
        f"{record['title']}.{name}"
        for record in records
        for name, field in record["properties"].items()
        if "description" not in field and "$ref" not in field and "oneOf" not in field
    ]
    assert bare == []


def test_a_card_is_read_without_torch(tmp_path, placed, automatic_card):
    path = placed(tmp_path, automatic_card())
    program = (
        "import sys; from sam_moe.registry import read_card;"
        f"print(read_card({str(path)!r}).id, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "auto False\n"
