"""The example is a challenge, and so is the shortest one."""

import yaml

from sam_moe.evaluation.challenge.challenge import Challenge, cases_of, load_challenge
from sam_moe.evaluation.challenge.example import EXAMPLE, SHORTEST
from tests.evaluation.answerers import write_challenge


def test_the_example_is_a_challenge(tmp_path):
    write_challenge(tmp_path)
    (tmp_path / "challenge.yaml").write_text(EXAMPLE)
    challenge = load_challenge(tmp_path / "challenge.yaml", tmp_path)
    assert list(challenge.labels) == ["liver", "kidneys"]
    assert len(cases_of(challenge)) == 3


def test_every_key_that_the_example_has_as_a_remark_is_one():
    fields = type(load_sets()[0]).model_fields
    remarks = [line.split("# ")[1].split(":")[0] for line in EXAMPLE.splitlines() if "    # " in line[:6]]
    assert remarks and set(remarks) <= fields.keys()


def load_sets():
    return Challenge.model_validate(yaml.safe_load(EXAMPLE)).sets


def test_the_shortest_challenge_is_one(tmp_path):
    text = SHORTEST.partition(": ")[2].rpartition(", for")[0]
    assert Challenge.model_validate(yaml.safe_load(text)).labels == {"liver": (1,)}
