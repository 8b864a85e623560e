"""A card's id becomes a model of its paper, which is imported when it is needed and not before."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

import sam_moe
from sam_moe.assemble.load import ShippedAutomatic, loading
from sam_moe.errors import CardError, ConfigError
from sam_moe.registry import Registry, default_folder, read_card, write_card
from sam_moe.registry.finding import DEFAULT_AUTOMATIC
from sam_moe.space.phantom import ball
from tests.systems.m4oe.automatics import write_automatic

ROOT = Path(__file__).resolve().parents[2]


def test_a_card_that_names_no_paper_is_the_first_ones():
    model = sam_moe.load("tiny", device="cpu")
    assert model.id == "tiny" and model.card is not None and model.card.system is None
    assert model.dtype == torch.float32 and model.preprocessing == model.card.preprocessing


def test_a_card_may_name_its_paper_and_loads_the_same(tmp_path):
    shipped = ROOT / "checkpoints" / "tiny"
    card = read_card(shipped / "card.json")
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / card.weights.file).write_bytes((shipped / card.weights.file).read_bytes())
    write_card(card.model_copy(update={"system": "sam_med3d_moe"}), folder / "card.json")
    assert '"system": "sam_med3d_moe"' in (folder / "card.json").read_text()
    named, plain = sam_moe.load(folder, device="cpu"), sam_moe.load("tiny", device="cpu")
    assert named.network.embedding_key == plain.network.embedding_key


def test_a_card_without_a_paper_is_written_without_one(tmp_path):
    card = read_card(ROOT / "checkpoints" / "tiny" / "card.json")
    write_card(card, tmp_path / "card.json")
    assert '"system"' not in (tmp_path / "card.json").read_text()


def test_an_unknown_dtype_is_named_before_anything_is_loaded():
    with pytest.raises(ConfigError, match=r"'float16' is unknown\. Known: float32, bfloat16"):
        sam_moe.load("no such model", dtype="float16")
    with pytest.raises(CardError, match="no model with id 'no such model'"):
        sam_moe.load("no such model")


def test_an_unknown_paper_is_an_error_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"system 'med_moe3' is unknown\. Known, nearest first: "):
        loading("med_moe3")


@pytest.fixture
def auto(tmp_path):
    """A tiny automatic model."""
    return write_automatic(tmp_path / "cards")


def test_an_automatic_models_card_becomes_a_model_that_segments_without_a_prompt(auto, tmp_path, generator):
    model = sam_moe.load("auto", folder=tmp_path / "cards", device="cpu")
    assert type(model) is sam_moe.AutomaticModel
    assert (model.id, model.card, model.device) == ("auto", auto.card, torch.device("cpu"))
    scan, _ = ball(generator)
    found = model.open(scan).segment()
    assert isinstance(found, sam_moe.Segmentation) and isinstance(found, sam_moe.LabelMap)
    assert found.labels.shape == scan.array.shape and found.model_id == "auto"
    again = sam_moe.load_automatic(auto.folder, device="cpu").open(scan).segment()
    assert torch.equal(found.labels, again.labels)


def test_only_what_segments_without_a_prompt_is_loaded_as_such(auto):
    with pytest.raises(
        CardError, match=r"'tiny' is a general model, which answers prompts alone\. Use it: sam-"
    ):
        sam_moe.load_automatic("tiny")
    with pytest.raises(CardError, match=r"no model with id 'autos'.*nearest first: auto\.$"):
        sam_moe.load_automatic("autos", folder=auto.folder.parent)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"box_strategy": "mask"}, "box_strategy"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"lowering": sam_moe.Lowering()}, "lowering"),
        ({"dtype": "bfloat16", "box_strategy": "mask"}, "box_strategy, dtype"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_settings_of_prompts_are_refused_where_there_are_none(auto, given, named):
    with pytest.raises(ConfigError) as caught:
        sam_moe.load(auto.path, **given)
    assert str(caught.value) == (
        f"{named}: for models that answer prompts, and 'auto' is an automatic model. Leave it out."
    )


def test_a_card_of_one_paper_is_refused_by_another(auto, tmp_path):
    write_card(auto.card.model_copy(update={"system": "sam_med3d_moe"}), auto.path)
    with pytest.raises(CardError, match="'auto' is an automatic model, no general model"):
        sam_moe.load(auto.path)
    tiny = read_card(ROOT / "checkpoints" / "tiny" / "card.json")
    (tmp_path / "tiny").mkdir()
    write_card(tiny.model_copy(update={"system": "m4oe"}), tmp_path / "tiny" / "card.json")
    with pytest.raises(CardError, match=r"kind: 'backbone' is none of M4oE's; expected 'automatic'"):
        sam_moe.load(tmp_path / "tiny")


def test_a_type_checker_knows_every_automatic_model_that_ships():
    known = get_args(ShippedAutomatic)
    assert DEFAULT_AUTOMATIC in known
    assert {entry.card.id for entry in Registry(default_folder()).automatics()} <= set(known)


PAPERS = """
import sys
import sam_moe.systems
sam_moe.systems.__path__.append(sys.argv[1])
from sam_moe.assemble.load import loading
from sam_moe.errors import SamMoeError
try:
    loading("other_paper")
except SamMoeError as error:
    print(error)
except ModuleNotFoundError as error:
    print("a fault of ours:", error)
print([name for name in sys.modules if name.startswith("sam_moe.systems.sam")])
"""


@pytest.mark.parametrize(
    ("needs", "shown"),
    [
        (
            "not_installed_here.part",
            "models of other_paper need not_installed_here, which is not installed. Run: pip install "
            "'sam-moe[otherpaper]'",
        ),
        ("sam_moe.no_such_room", "a fault of ours: No module named 'sam_moe.no_such_room'"),
    ],
)
def test_a_paper_whose_extra_is_missing_names_its_command_and_no_other_paper_is_imported(
    tmp_path, needs, shown
):
    paper = tmp_path / "other_paper"
    paper.mkdir()
    (paper / "__init__.py").touch()
    (paper / "load.py").write_text(f"import {needs}\n")
    done = subprocess.run(
        [sys.executable, "-c", PAPERS, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{shown}\n[]\n"
