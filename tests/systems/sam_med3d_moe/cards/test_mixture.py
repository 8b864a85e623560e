"""A gate's card becomes a mixture of exactly the parts that it names, or an error that says which is not."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import sam_moe
from sam_moe.assemble.parts import find_parts
from sam_moe.errors import CardError, WeightsError
from sam_moe.moe.rules.argmax import Argmax
from sam_moe.moe.rules.dense import Dense
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.rules.top_k import TopK
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.registry import read_entry, write_card
from sam_moe.registry import shipped as shipped_folder
from sam_moe.registry.finding import DEFAULT_MODEL, find_backbone, find_card, find_expert
from sam_moe.registry.removal import remove_card
from sam_moe.systems.sam_med3d_moe.cards.convert import convert
from sam_moe.systems.sam_med3d_moe.cards.experts import load_decoder
from sam_moe.systems.sam_med3d_moe.cards.mixture import load_mixture, selection_of
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import read_state, save_weights
from tests.predict.ruled import choosing
from tests.systems.sam_med3d_moe.mixtures import weights_record, write_expert, write_gate, write_mixture

pytestmark = pytest.mark.usefixtures("cache")

CLICK = sam_moe.Point((9, 9, 9))


@pytest.fixture
def mixed(shipped, checkpoint):
    """A folder of a backbone, an expert of each kind and a gate over them."""
    convert(checkpoint, shipped, "small")
    write_mixture(shipped, "small", ("decoder", "lora", "full"))
    return shipped


@pytest.fixture
def scan():
    i, j, k = torch.meshgrid(*[torch.arange(20.0)] * 3, indexing="ij")
    return sam_moe.Volume(i + 2 * j + 3 * k, sam_moe.Grid(np.diag([1.5, 1.5, 1.5, 1.0]), (20, 20, 20)))


def answers(model, scan, *rules):
    """The answer under each rule of a loaded mixture."""
    loaded = sam_moe.load(model, device="cpu")
    ruled = (choosing(loaded, rule) for rule in rules)
    return [one.open(scan).predict(CLICK).answer.array for one in ruled]


def rewritten(entry, **changes):
    """The gate's card with changes, unchecked."""
    data = json.loads(entry.path.read_text()) | changes
    entry.path.write_text(json.dumps(data))
    return read_entry(entry.path)


def test_settings_that_the_cards_rule_refuses_name_the_card(mixed):
    entry = find_card("gate", mixed)
    rewritten(entry, selection="argmax", threshold=None, selection_settings={"best": 2})
    with pytest.raises(CardError, match=r"gate/card\.json: selection rule 'argmax' has no setting 'best'"):
        sam_moe.load("gate", device="cpu")


@pytest.mark.slow
def test_the_general_expert_answers_as_the_plain_model_and_each_other_as_it_does_alone(mixed, scan):
    found = answers("gate", scan, *map(Forced, range(4)))
    for name, answer in zip(("small", "first", "second", "third"), found, strict=True):
        alone = sam_moe.load(name, device="cpu").open(scan)
        assert alone.model_id == name
        assert torch.equal(alone.predict(CLICK).answer.array, answer), name
    assert not any(torch.allclose(found[0], other) for other in found[1:])


def test_it_is_a_model_like_its_backbone_by_id_path_and_folder(mixed):
    plain = sam_moe.load("small", device="cpu")
    for model in ("gate", mixed / "gate", mixed / "gate" / "card.json"):
        mixture = sam_moe.load(model, device="cpu")
        assert (mixture.id, mixture.preprocessing) == ("gate", plain.preprocessing)
        assert mixture.box_strategy == plain.box_strategy
        assert mixture.network.module.bank.ids == ("small", "first", "second", "third")
    with pytest.raises(
        CardError, match=r"no model with id 'gates'.*nearest first: gate \(a gate\), "
    ) as told:
        sam_moe.load("gates")
    assert "small (a general model)" in str(told.value) and "first (an expert)" in str(told.value)


@pytest.mark.slow
def test_embeddings_are_shared_with_the_plain_model(mixed, scan):
    write_gate(mixed, "two", find_backbone("small"), [find_expert("first"), find_expert("second")])
    cache = EmbeddingCache()
    seen = []
    for name in ("small", "two", "first", "gate"):
        session = sam_moe.load(name, device="cpu").open(scan, cache=cache)
        seen.append(session.predict(CLICK).cached)
    assert seen == [False, True, True, False]  # a mixture with a whole expert needs the images too


def test_decoders_are_made_when_chosen_and_no_more_than_allowed_are_held(mixed, scan):
    model = load_mixture(read_entry(mixed / "gate" / "card.json"), most=1)
    assert model.bank.held == ("small",)
    question = (
        model.encode(torch.randn(1, 1, 16, 16, 16)),
        model.encode_prompt(None, None, None, torch.zeros(1, 1, 8, 8, 8)),
    )
    for index, name in ((1, "first"), (2, "second"), (3, "third"), (0, "third")):
        model.choosing(Forced(index)).decode(*question)
        assert model.bank.held == ("small", name)


def test_a_lora_expert_is_a_copy_of_the_bases_decoder_with_its_deltas_merged(mixed, scan):
    base = load_mixture(read_entry(mixed / "gate" / "card.json")).backbone
    before = fingerprint(base)
    entry = find_expert("second")
    merged, deltas = load_decoder(entry, base), read_state(entry.weights_path)
    name = "output_upscaling.0"
    up, down = deltas[f"{name}.up"], deltas[f"{name}.down"]
    expected = base.mask_decoder.output_upscaling[0].weight + 2.0 * (up @ down).view_as(
        base.mask_decoder.output_upscaling[0].weight
    )  # alpha 4 over rank 2
    torch.testing.assert_close(merged.output_upscaling[0].weight, expected)
    assert merged.state_dict().keys() == base.mask_decoder.state_dict().keys()
    assert fingerprint(base) == before


def test_deltas_that_are_no_pairs_are_refused_with_the_files_name(mixed):
    entry = find_expert("second")
    state = read_state(entry.weights_path)
    odd = {name.replace(".up", ".left"): tensor for name, tensor in state.items()}
    save_weights(odd, entry.weights_path)
    card = entry.card.model_copy(update={"weights": _weights(entry)})
    write_card(card, entry.path)
    with pytest.raises(WeightsError, match=r"expert\.safetensors: \S+: is not half of a delta"):
        sam_moe.load("second", device="cpu")


def _weights(entry):
    return entry.card.weights.model_validate(weights_record(entry.weights_path))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, Threshold(0.5)),
        ({"selection": "top_k", "k": 2}, TopK(2)),
        ({"selection": "argmax"}, Argmax()),
        ({"selection": "forced", "forced": "second"}, Forced(2)),
        ({"selection": "dense"}, Dense()),
    ],
)
def test_experts_are_chosen_as_the_card_says(mixed, changes, rule):
    entry = read_entry(mixed / "gate" / "card.json")
    threshold = None if changes else 0.5
    card = entry.card.model_validate({**entry.card.model_dump(), "threshold": threshold, **changes})
    assert selection_of(card) == rule


def test_the_licence_is_that_of_gate_backbone_and_all_experts(mixed):
    write_expert(mixed, "nc", find_backbone("small"), licence="CC-BY-NC-4.0")
    write_gate(mixed, "more", find_backbone("small"), [find_expert("first"), find_expert("nc")])
    assert "CC-BY-4.0" in find_parts(read_entry(mixed / "gate" / "card.json")).licence
    assert "CC-BY-NC-4.0" in find_parts(read_entry(mixed / "more" / "card.json")).licence


def test_parts_lie_beside_the_gate_or_where_experts_are_found(mixed, tmp_path):
    away = tmp_path / "run" / "gate"
    away.parent.mkdir()
    (mixed / "gate").rename(away)
    assert sam_moe.load(away, device="cpu").network.module.bank.ids[-1] == "third"
    remove_card("third", mixed)
    with pytest.raises(
        CardError, match=r"experts: third: no expert with id 'third'\. Known, nearest first: "
    ):
        sam_moe.load(away, device="cpu")
    write_expert(away.parent, "third", find_backbone("small"), "full", seed=2)
    (away.parent / "notes").mkdir()
    (away.parent / "notes" / "card.json").write_text("no card at all")
    assert find_parts(read_entry(away / "card.json")).experts[2].folder == (away.parent / "third").resolve()


def test_what_lies_beside_the_gate_under_a_name_of_its_parts_is_no_part_of_it(mixed, random_state, tmp_path):
    """Runs lie side by side: that of a gate, that an expert was added from, a new training of the base."""
    away = tmp_path / "runs" / "gate"
    away.parent.mkdir()
    (mixed / "gate").rename(away)
    torch.save(random_state(), tmp_path / "other.pth")
    convert(tmp_path / "other.pth", away.parent, "small")
    shutil.copytree(mixed / "first", away.parent / "first")
    run = read_entry(away.parent / "first" / "card.json")
    save_weights(read_state(run.weights_path), run.weights_path, {"step": "7"})  # before it was added
    write_card(run.card.model_copy(update={"weights": _weights(run)}), run.path)
    parts = find_parts(read_entry(away / "card.json"))
    assert (parts.base.folder, parts.experts[0].folder) == (mixed / "small", mixed / "first")
    assert sam_moe.load(away, device="cpu").network.module.bank.ids[1] == "first"


def test_another_expert_of_the_same_name_is_refused(mixed):
    remove_card("first", mixed)
    write_expert(mixed, "first", find_backbone("small"), seed=99)
    with pytest.raises(CardError, match=r"first has the SHA-256 .*knows another expert of that name"):
        sam_moe.load("gate")


def test_a_changed_file_of_an_expert_is_told_before_the_first_click(mixed):
    path = find_expert("first").weights_path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"expert\.safetensors: has SHA-256 .*the card says"):
        sam_moe.load("gate")
    path.unlink()
    with pytest.raises(WeightsError, match=r"expert\.safetensors: no such file"):
        sam_moe.load("gate")


def test_another_base_is_refused_for_gate_and_experts(mixed, random_state, tmp_path):
    torch.save(random_state(), tmp_path / "other.pth")
    gate, expert = read_entry(mixed / "gate" / "card.json"), find_expert("first")
    base = expert.card.base.model_copy(update={"sha256": "f" * 64})
    write_card(expert.card.model_copy(update={"base": base}), expert.path)
    with pytest.raises(CardError, match=r"grew on small with fff.*A mixture has one backbone"):
        sam_moe.load("gate")
    with pytest.raises(CardError, match=r"base\.sha256: is fff.*grew on other weights"):
        sam_moe.load("first")
    write_card(expert.card, expert.path)
    convert(tmp_path / "other.pth", mixed, "small", force=True)
    with pytest.raises(CardError, match=rf"{gate.card.base.sha256}.*the gate was trained on other weights"):
        sam_moe.load("gate")


def test_gate_weights_that_do_not_fit_or_are_no_numbers_are_refused(mixed):
    entry = read_entry(mixed / "gate" / "card.json")
    sizes = json.loads(entry.path.read_text())["architecture"]
    with pytest.raises(CardError, match=r"architecture\.features: is 24, and small embeds in 48 channels"):
        load_mixture(rewritten(entry, architecture=sizes | {"features": 24}))
    with pytest.raises(WeightsError, match=r"model\.safetensors: does not fit the gate"):
        load_mixture(rewritten(entry, architecture=sizes | {"hidden": 9}))
    state = read_state(entry.weights_path)
    state["columns.1.bias"] = torch.tensor(float("nan"))
    save_weights(state, entry.weights_path)
    spoilt = rewritten(entry, architecture=sizes, weights=weights_record(entry.weights_path))
    with pytest.raises(WeightsError, match=r"NaN or infinite numbers in columns\.1\.bias"):
        load_mixture(spoilt)


def test_a_whole_expert_without_corners_is_refused_by_a_base_with_them(shipped, tmp_path, corners_state):
    torch.save(corners_state, tmp_path / "corners.pth")
    convert(tmp_path / "corners.pth", shipped, "corners")
    entry = write_expert(shipped, "first", find_backbone("corners"), "full")
    state = read_state(entry.weights_path)
    corners = tuple(f"prompt_encoder.point_embeddings.{n}" for n in (2, 3))
    old = {name: tensor for name, tensor in state.items() if not name.startswith(corners)}
    save_weights(old, entry.weights_path)
    sizes = replace(entry.card.architecture, corner_embeddings=False)
    changes = {"weights": _weights(entry), "architecture": sizes}
    write_card(entry.card.model_copy(update=changes), entry.path)
    with pytest.raises(WeightsError, match="has no corner embeddings, and its base corners takes boxes"):
        sam_moe.load("first", box_strategy="mask")


@pytest.mark.slow
def test_on_a_real_scan_the_shipped_model_is_itself_inside_a_mixture(tmp_path):
    """Through the predictor, zooms, refinement and second click included."""
    base = find_backbone(DEFAULT_MODEL)
    folder = tmp_path / "cards"
    folder.mkdir()
    expert = write_expert(folder, "first", base)
    gate = write_gate(folder, "gate", base, [expert], selection="forced", forced=DEFAULT_MODEL)
    plain, mixture = (sam_moe.load(model, device="cpu") for model in (DEFAULT_MODEL, gate.folder))
    scan, label = (
        sam_moe.read(shipped_folder("demo") / "mr" / f"{name}.nii.gz") for name in ("scan", "label")
    )
    inside = [float(x) for x in (label.array == label.array.max()).nonzero().float().median(dim=0).values]
    plain, mixture = plain.open(scan), mixture.open(scan)
    for ask in (
        lambda p: p.predict(sam_moe.Point(tuple(inside))),
        lambda p: p.refine(sam_moe.Point((2.0, 2.0, 2.0), positive=False)),
        lambda p: p.predict(sam_moe.Box(tuple(x - 8 for x in inside), tuple(x + 8 for x in inside))),
    ):
        a, b = ask(plain), ask(mixture)
        assert torch.equal(a.answer.array, b.answer.array)
        assert torch.equal(a.mask, b.mask)
        assert list(b.answered.experts) == [DEFAULT_MODEL]
