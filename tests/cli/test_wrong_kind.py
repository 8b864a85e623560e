"""A model given to a verb that is not its own is refused in one line, which names what to use instead."""

from pathlib import Path

import pytest
import yaml

from sam_moe.registry.finding import DEFAULT_MODEL
from tests.systems.m4oe.automatics import write_automatic
from tests.systems.sam_med3d_moe.mixtures import write_mixture
from tests.training.conftest import backbone, folder, recipe, sizes, splits, task  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]

NO_PROMPTS = (
    "'auto' is an automatic model, which takes no prompts. Use it: sam-moe segment SCAN --model auto --out "
    "LABELS; or give a model that answers prompts, such as 'small'."
)
PROMPTS_ALONE = (
    "is {kind}, which answers prompts alone. Use it: sam-moe predict SCAN --point I J K --model {id} --out "
    "MASK; or give an automatic model, such as 'auto-small'."
)
NO_GENERAL = "'auto' is an automatic model, no general model. Give one, such as 'small'; for a list: sam-moe"
NO_EXPERT = "'auto' is an automatic model, no expert. See: sam-moe checkpoints show auto"
NO_GATE = "auto/card.json: is the card of an automatic model, not of a gate."

# What is typed, by what stands in the way; {cards} is the folder of cards, {out} what must not be written.
WRONG = {
    "predict {scan} --point 24 24 24 --model auto --out {out}.nii.gz": NO_PROMPTS,
    "demo --model auto --out {out}": NO_PROMPTS,
    "evaluate {challenge} --system auto --protocol click --grand-challenge --out {out}": NO_PROMPTS,
    "simulate {challenge} --system auto --protocol clicks --out {out}.json": NO_PROMPTS,
    "segment {scan} --model small --out {out}.nii.gz": PROMPTS_ALONE.format(
        kind="a general model", id="small"
    ),
    "segment {scan} --model first --out {out}.nii.gz": PROMPTS_ALONE.format(kind="an expert", id="first"),
    "segment {scan} --model gate --out {out}.nii.gz": PROMPTS_ALONE.format(kind="a gate", id="gate"),
    "gates route {challenge} --model auto --out {out}": "auto is an automatic model. Expected a gate; see",
    "gates show auto": NO_GATE,
    "gates add-expert auto first --examples {challenge}": NO_GATE,
    "gates add-expert gate auto --examples {challenge}": NO_EXPERT,
    "gates add {cards}/auto": "holds no card of a gate. Expected the folder that sam-moe gates remove named.",
    "gates remove-expert auto first": NO_GATE,
    "gates remove auto": "'auto' ships with sam-moe and is never changed",
    "experts show auto": NO_EXPERT,
    "experts check auto": NO_EXPERT,
    "experts add {cards}/auto": "auto/card.json: is the card of an automatic model, not of an expert.",
    "experts add {cards}/first --gate auto --examples {challenge}": NO_GATE,
    "experts remove auto": "'auto' ships with sam-moe and is never changed",
}


@pytest.fixture
def places(cards, scan, tmp_path):
    """An automatic model, a mixture and one expert among the cards; a scan, and a challenge of it."""
    write_automatic(cards)
    write_mixture(cards, DEFAULT_MODEL, ("decoder",))
    challenge = tmp_path / "challenge"
    for part in ("images", "labels"):
        (challenge / part).mkdir(parents=True)
        (challenge / part / "a.nii.gz").write_bytes(scan.read_bytes())
    sets = [{"layout": "folders", "root": "."}]
    (challenge / "challenge.yaml").write_text(
        yaml.safe_dump({"name": "c", "sets": sets, "labels": {"b": [1]}})
    )
    return {"cards": cards, "scan": scan, "challenge": challenge, "out": tmp_path / "out"}


def test_every_verb_names_what_to_use_instead(sam_moe, places, tmp_path):
    answers = {}
    for words, complaint in WRONG.items():
        ran = sam_moe(*(word.format(**places) for word in words.split()))
        lines = ran.remarks.splitlines()
        right = ran.code in (1, 2) and not ran.out and len(lines) == 1
        answers[words] = complaint if right and complaint in lines[0] else f"{ran.code}: {ran.err}"
    assert answers == WRONG
    assert not [path for path in tmp_path.rglob("out*") if path.is_file()] and not list(
        tmp_path.glob("out/*/*")
    )


def test_a_recipe_names_what_to_build_on_instead(sam_moe, places, recipe, task):  # noqa: F811
    gate = ROOT / "checkpoints" / "small-moe" / "recipe.yaml"
    experts = "experts=[{expert: auto, structures: {cord: [cord]}, weights: {a: 1}}]"
    for verb, made, change, complaint in (
        ("pretrain", recipe(), "start=auto", NO_GENERAL),
        ("finetune", task(), "base=auto", NO_GENERAL),
        ("finetune", task(), "start=auto", NO_EXPERT),
        ("train-gate", gate, "base=auto", NO_GENERAL),
        ("train-gate", gate, experts, NO_EXPERT),
    ):
        ran = sam_moe(verb, made, "--set", f"run={places['out']}", "--set", change)
        assert (ran.code, ran.out) == (1, "") and complaint in ran.remarks, (verb, ran)
        assert len(ran.remarks.splitlines()) == 1 and not places["out"].exists()


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words in WRONG if words.startswith(("predict", "segment"))][:2])
def test_a_process_of_its_own_ends_with_one_line_and_no_traceback(process, places, words):
    started = process(*(word.format(**places) for word in words.split()))
    out, err = started.communicate(timeout=120)
    lines = [line for line in err.splitlines() if not line.endswith(" …")]
    assert (started.returncode, out, len(lines)) == (1, "", 1)
    assert lines[0].startswith("sam-moe: ") and lines[0].endswith(WRONG[words])
    assert not list(places["out"].parent.glob("out*"))
