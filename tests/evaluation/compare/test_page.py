import json
import math
from pathlib import Path

import numpy as np
import pytest

from sam_moe.errors import FileError
from sam_moe.evaluation.compare.comparison import compare
from sam_moe.evaluation.compare.page import blobs, comparison_page, write_comparison
from sam_moe.evaluation.compare.ranking import SCHEMES, rank
from sam_moe.evaluation.results import Result, ResultFolder
from sam_moe.evaluation.scoring.bootstrap import Patients
from tests.evaluation.report.test_page import ATTACKS, Reader
from tests.evaluation.rows import row, study, words_of

BOTH = [ResultFolder(Path("one"), tuple(study({"small": 0.0, "moe": 0.1}, clicks=2)), Result())]


def test_the_page_has_ranks_pictures_pairs_and_rules():
    found = Reader(comparison_page(compare(BOTH, resamples=40), ["sam-moe", "compare", "one"]))
    text = " ".join(found.words)
    assert found.tags.count("svg") == 2 * len(SCHEMES)
    for words in (
        "After click1",
        "After click2",
        "Kendall's τ with the resampled rankings: 1.00 (1.00–1.00)",
    ):
        assert words in text
    for words in (
        "Patients were resampled 40 times",
        "sam-moe compare one",
        *(s.text for s in SCHEMES.values()),
    ):
        assert words in text


def test_the_better_one_of_a_pair_stands_first():
    words = Reader(comparison_page(compare(BOTH, resamples=10))).words
    place = words.index("ahead of")
    assert (words[place - 1], words[place + 2]) == ("moe", "small")
    # Six patients, one ahead in all: p = 2 / 64, and a single pair needs no correction.
    assert words[place + 3 : place + 6] == ["0.100", "0.031", "0.031"]


def test_a_difference_has_its_interval_from_the_better_ones_side():
    # Distances of three patients, b nearer by 3, 4 and 8 mm: 5 mm, and 4.303 times sqrt(14) / 2 about it.
    far = {"a": (9.0, 11.0, 10.0), "b": (6.0, 7.0, 2.0)}
    rows = [
        row(0.5, system=system, case=str(n), patient=str(n), hd95_mm=value)
        for system, own in far.items()
        for n, value in enumerate(own)
    ]
    whole = ResultFolder(Path("one"), tuple(rows), Result())
    words = Reader(comparison_page(compare([whole], ["hd95_mm"], resamples=10))).words
    place = words.index("ahead of")
    assert (words[place - 1], words[place + 2]) == ("b", "a")
    assert words[place + 3 : place + 5] == ["5.0 mm", "-3.0 to 13.0"]


def test_two_patients_are_said_not_to_be_resampled():
    rows = study({"small": 0.0, "moe": 0.1}, patients=2, clicks=1)
    found = compare([ResultFolder(Path("one"), tuple(rows), Result())])
    text = " ".join(Reader(comparison_page(found)).words)
    assert "With fewer than three patients nothing was resampled." in text
    assert "Kendall's τ with" not in text


def test_discs_have_the_area_of_their_share():
    values = np.array([[[0.9, 0.9, 0.9, 0.1], [0.8, 0.8, 0.8, 0.8], [0.1, 0.2, 0.3, 0.4]]])
    ranking = rank(values, "abc", "pqrs", SCHEMES["aggregate-then-rank"], Patients("pqrs", 300))
    picture = blobs(ranking, "abc")
    discs = {one[0].text: float(one.get("r")) for one in picture.iter("circle")}
    shares = ranking.frequencies("b")
    largest, other = (discs[f"b: rank {place} in {shares[place]:.1%} of the resamples"] for place in (1, 2))
    assert largest / other == pytest.approx(math.sqrt(shares[1] / shares[2]), rel=0.01)
    # By rank, not as given: b has the best mean.
    assert [word for word in words_of(picture) if word in "abc"] == ["b", "a", "c"]


def test_no_name_becomes_a_tag():
    names = {text: number / 20 for number, text in enumerate(ATTACKS)}
    rows = study(names, clicks=1)
    found = compare([ResultFolder(Path(ATTACKS[0]), tuple(rows), Result())], resamples=5)
    read = Reader(comparison_page(found, ATTACKS))
    assert not {"script", "img", "b"} & set(read.tags)
    assert not [name for name, _ in read.attributes if name.startswith("on")]


def test_page_and_record_are_written(tmp_path):
    path = write_comparison(compare(BOTH, resamples=10), tmp_path / "new", ["sam-moe", "compare"])
    assert path == tmp_path / "new" / "comparison.html"
    record = json.loads((tmp_path / "new" / "comparison.json").read_text("utf-8"))
    assert record["command"] == ["sam-moe", "compare"]
    assert record["prompts"]["click2"]["rankings"]["scaled"]["systems"]["moe"]["rank"] == 1


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="cannot be made"):
        write_comparison(compare(BOTH, resamples=10), tmp_path / "file" / "out")


def test_systems_that_tie_are_equal():
    rows = [row(0.5, case=str(n), patient=str(n), system=name) for n in range(3) for name in ("a", "b")]
    words = Reader(
        comparison_page(compare([ResultFolder(Path("x"), tuple(rows), Result())], resamples=5))
    ).words
    assert words.count("equal to") == 2 and "ahead of" not in words
