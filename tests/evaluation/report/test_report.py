from pathlib import Path

import numpy as np
import pytest
import torch

from sam_moe.errors import FileError
from sam_moe.evaluation.report.report import report, write_report
from sam_moe.evaluation.results import Result, ResultFolder, read_result, write_result
from sam_moe.evaluation.scoring.interactive import interactive
from sam_moe.pictures.scene import Scene
from sam_moe.prompts.prompt import Prompt
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from tests.evaluation.report.test_page import ATTACKS, Reader
from tests.evaluation.rows import missing, row, study

RESULT = Result(
    challenge={"name": "organs", "title": "Organs of six", "licence": "CC BY 4.0", "seed": 3},
    protocol={"clicks": "five clicks at the largest error"},
    definitions={"dice": "2 |A and B| / (|A| + |B|)"},
    systems={"small": {"id": "small", "fingerprint": "abc123", "licence": "Apache-2.0"}},
    versions={"torch": "2.13.0"},
    hardware={"device": "cpu", "cores": 2},
    command=["sam-moe", "evaluate", "organs.yaml"],
    seconds=12.5,
    notes=("case7: left out as absent: liver",),
)


def made(tmp_path, rows, result=RESULT, look=None):
    write_result(tmp_path, rows, result)
    return Reader(report(read_result(tmp_path), look))


TITLES = {
    "Results",
    "Structures and groups",
    "Spread",
    "Over clicks",
    "Dice against volume",
    "Experts",
    "Worst cases",
    "Missing and failed",
    "Definitions",
    "How this was made",
}


def titles(found):
    return TITLES & set(found.words)


def test_a_whole_report_says_what_was_measured_of_whom_and_how(tmp_path):
    chosen = {"answered": {"liver": 1.0}, "confidence": {"general": 0.3, "liver": 0.7}}
    mixture = [one.model_copy(update=chosen) for one in study({"small-moe": 0.1})]
    rows = [*study({"small": 0.0}), *mixture]
    found = made(tmp_path, rows, RESULT.model_copy(update={"interactive": interactive(rows)}))
    text = " ".join(found.words)
    assert titles(found) == TITLES
    assert "12 targets in 6 cases of 6 patients, 2 systems; of 72 answers all could be measured." in text
    for said in ("Organs of six", "CC BY 4.0", "abc123", "torch: 2.13.0", "device: cpu · cores: 2", "12.5"):
        assert said in text
    for said in (
        "sam-moe evaluate organs.yaml",
        "2 |A and B|",
        "case7: left out as absent: liver",
        "name: organs",
    ):
        assert said in text


def test_masks_made_elsewhere_of_one_system_make_a_report_too(tmp_path):
    rows = [row(n / 9, case=f"c{n}", patient=f"p{n}", prompt="given") for n in range(9)]
    found = made(tmp_path, rows, Result())
    absent = {"Structures and groups", "Over clicks", "Experts", "Definitions"}
    assert titles(found) == TITLES - absent
    assert tmp_path.name in found.words


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(status="extra", label="", patient="")],
        [row()],
        [missing()],
        [missing(truth_ml=0, hd95_mm=0, volume_error_ml=0)],
        [row(1.0, hd95_mm=0.0, seconds=0.0)],
        [row(prompt="box"), row(prompt="box", system="peer"), row(prompt="click1", system="small-moe")],
    ],
    ids=["nothing", "extra only", "one", "missing", "nothing to find", "perfect", "asked differently"],
)
def test_every_result_has_a_report(tmp_path, rows):
    assert "How this was made" in made(tmp_path, rows).words


@pytest.mark.slow
def test_no_text_of_a_file_becomes_a_tag(tmp_path):
    text = " ".join(ATTACKS) + "$"
    one = {
        "system": text,
        "case": text,
        "patient": text,
        "label": text,
        "strata": {text: text},
        "prompt": text,
        "status": "failed",
        "reason": text,
        "answered": {text: 1.0},
        "confidence": {text: 0.5},
    }
    rows = [missing(**one), row(0.5, **{**one, "status": "ok", "label": f"{text}2", "strata": {text: "b"}})]
    result = Result(
        challenge={"name": text, "title": text, text: text},
        protocol={text: text},
        definitions={text: text},
        systems={text: {text: text}},
        versions={text: text},
        hardware=text,
        command=[text],
        notes=(text,),
        interactive={text: {text: {text: {"mean": 0.5}, "clicks": text}}},
    )
    grid = Grid(np.eye(4), (8, 8, 8))
    scan = Volume(torch.rand(grid.shape), grid)
    found = made(
        tmp_path, rows, result, lambda r: Scene(scan, {text: torch.ones(grid.shape)}, Prompt(), r.case)
    )
    assert not {"script", "b", "iframe"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    pictures = [value for name, value in found.attributes if name == "src"]
    assert pictures and all(value.startswith("data:image/webp;base64,") for value in pictures)
    assert found.words.count(text) > 10


def test_the_page_is_whole_and_beside_its_rows(tmp_path):
    write_result(tmp_path, study({"small": 0.0}), RESULT)
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    found = Reader(path.read_text("utf-8"))
    outside = [
        value for name, value in found.attributes if name in ("src", "href") and not value.startswith("#")
    ]
    assert outside == []
    assert not {"script", "link", "iframe", "object"} & set(found.tags)


def test_links_lead_somewhere(tmp_path):
    found = made(tmp_path, study({"small": 0.0}))
    anchors = {value for name, value in found.attributes if name == "id"}
    links = {value.removeprefix("#") for name, value in found.attributes if name == "href"}
    assert links and links <= anchors


@pytest.mark.slow
def test_a_hundred_cases_stay_below_two_megabytes():
    systems = {name: shift / 20 for shift, name in enumerate(("a", "b", "c", "d", "e"))}
    rows = study(systems, patients=100, clicks=6)
    grid = Grid(np.diag([2.0, 2.0, 2.0, 1.0]), (128, 128, 60))
    scan = Volume(torch.rand(grid.shape, generator=torch.Generator().manual_seed(0)), grid)

    def look(one):
        truth = torch.zeros(grid.shape)
        truth[40:90, 40:90, 20:40] = 1
        return Scene(scan, {one.system: truth}, Prompt(), one.case, truth)

    page = report(ResultFolder(Path("x"), tuple(rows), RESULT), look)
    assert len(page.encode("utf-8")) < 2_000_000
    assert page.count("data:image/webp") == 5


def test_a_folder_without_a_result_is_refused(tmp_path):
    with pytest.raises(FileError, match="no result folder"):
        write_report(tmp_path)
