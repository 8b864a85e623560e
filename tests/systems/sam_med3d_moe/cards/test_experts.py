"""An expert is added whole or not at all, checked against its base, and can be put back once removed."""

import json
import shutil
import sys
from collections import Counter

import pytest
import torch

from sam_moe.errors import CardError, FileError, WeightsError
from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.loading import build_model
from sam_moe.registry import Registry, read_card, write_card
from sam_moe.registry.finding import find_backbone, find_expert, list_experts, user_folder
from sam_moe.registry.removal import remove_card
from sam_moe.systems.sam_med3d_moe.cards.experts import (
    add_expert,
    check_expert,
    keep_expert,
    load_decoder,
)
from sam_moe.systems.sam_med3d_moe.cards.keeping import record_of
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import save_weights
from tests.files.dying import deaths

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def source(tmp_path, finetuned):
    """What the reference's trainer would write after finetuning the shipped model."""
    torch.save({"model_state_dict": finetuned}, tmp_path / "cord.pth")
    return tmp_path / "cord.pth"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_checkpoint_and_a_few_words_become_an_expert(source, draft, tiny, finetuned):
    entry = add_expert(source, draft())
    assert entry.path == user_folder() / "cord" / "card.json"
    assert files(user_folder()) == ["cord/card.json", "cord/expert.safetensors"]
    card = entry.card
    assert (card.expert_kind, card.base.id, card.base.sha256) == ("decoder", "tiny", fingerprint(tiny))
    assert card.weights.sha256 == sha256_of(entry.weights_path)
    assert Registry(user_folder()).experts() == (entry,)
    own = build_model(finetuned, tiny.sizes).mask_decoder
    assert fingerprint(load_decoder(entry, tiny)) == fingerprint(own) != fingerprint(tiny.mask_decoder)


def test_a_checked_expert_tells_its_size_and_the_licence_with_its_base(source, draft, tiny):
    checked = check_expert(add_expert(source, draft(), base=tiny), tiny)
    numbers = sum(tensor.numel() for tensor in tiny.mask_decoder.state_dict().values())
    size = checked.entry.card.weights.size_bytes / 1e6
    assert str(checked) == (
        f"cord: decoder on tiny; {numbers:,} finite numbers in float32, {size:.1f} MB; "
        "with its base under CC-BY-SA-4.0 AND CC-BY-NC-4.0"
    )


def test_a_model_with_its_own_encoder_gets_its_sizes_from_the_file(tmp_path, finetuned, draft, tiny):
    finetuned["image_encoder.pos_embed"] += 1
    save_weights({name: tensor.half() for name, tensor in finetuned.items()}, tmp_path / "x.safetensors")
    entry = add_expert(tmp_path / "x.safetensors", draft(), base=tiny)
    assert (entry.card.expert_kind, entry.card.weights.dtype) == ("full", "float16")
    assert (entry.card.architecture.image_size, entry.card.architecture.depth) == (64, 5)
    assert check_expert(entry, tiny).entry == entry


def test_deltas_are_added_by_the_ranks_of_their_card(tmp_path, draft, tiny):
    save_weights(
        {"output_upscaling.0.up": torch.ones(144, 4), "output_upscaling.0.down": torch.ones(4, 288)},
        tmp_path / "x.safetensors",
    )
    ranks = {"rank": 4, "alpha": 8.0}
    entry = add_expert(tmp_path / "x.safetensors", draft(expert_kind="lora", lora=ranks), base=tiny)
    assert check_expert(entry, tiny).numbers == 4 * 144 + 288 * 4


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        (
            {"base": {"id": "tiny", "sha256": "0" * 64}},
            CardError,
            r"base\.sha256: is 000.*, and tiny has [1-9a-f]",
        ),
        ({"base": {"id": "tinny"}}, CardError, r"no model with id 'tinny'.*nearest first: tiny"),
        ({"base": {"id": "tiny", "file": "x"}}, CardError, r"base\.file: unknown key"),
        ({"id": "tiny", "base": {"id": "tiny"}}, CardError, r"id 'tiny' is the base's"),
        (
            {"id": "sam-med3d-turbo"},
            CardError,
            r"id: 'sam-med3d-turbo' is already taken by .*turbo.card\.json",
        ),
        ({"id": "../escape"}, CardError, r"id: .*pattern"),
        ({"format": 2}, CardError, r"format: 2 is newer than 1, the newest known here; update sam-moe"),
        ({"kind": "gate"}, CardError, r"kind: is 'gate'"),
        ({"expert_kind": "full"}, CardError, r"'architecture' is for expert_kind 'full' alone.*add it"),
        ({"licence": None}, CardError, r"licence: missing; add it"),
        (
            {"weights": {"file": "../../x", "sha256": "0" * 64, "size_bytes": 1, "dtype": "float32"}},
            CardError,
            r"weights\.file: '\.\./\.\./x' leaves the card's folder",
        ),
        (
            {
                "feature_bank": {
                    "file": "no.safetensors",
                    "sha256": "0" * 64,
                    "size_bytes": 1,
                    "dtype": "float32",
                }
            },
            WeightsError,
            r"no\.safetensors: no such file",
        ),
    ],
)
def test_a_card_that_does_not_belong_leaves_nothing_behind(source, draft, tiny, changes, error, complaint):
    loaded = None if changes.get("base", {}).get("id") == "tinny" else tiny
    with pytest.raises(error, match=complaint):
        add_expert(source, draft(**changes), base=loaded)
    assert not user_folder().exists() or files(user_folder()) == []


def test_a_weight_that_is_no_number_is_refused_by_name(tmp_path, finetuned, draft, tiny):
    finetuned["mask_decoder.iou_token.weight"][0, 3] = float("nan")
    torch.save(finetuned, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"NaN or infinite numbers in mask_decoder\.iou_token\.weight"):
        add_expert(tmp_path / "x.pth", draft(), base=tiny)


def test_an_id_is_given_once_and_the_first_expert_stays(source, draft, tiny):
    first = add_expert(source, draft(), base=tiny)
    before = first.path.read_bytes()
    with pytest.raises(CardError, match=r"id: 'cord' is already taken by .*cord.card\.json"):
        add_expert(source, draft(title="Another"), base=tiny)
    assert first.path.read_bytes() == before
    assert sorted(path.name for path in user_folder().iterdir()) == ["cord"]


def test_a_taken_id_says_whether_it_is_the_same_expert(source, draft, tiny, finetuned):
    add_expert(source, draft(), base=tiny)
    with pytest.raises(CardError, match=r"with the same weights\. For a gate that uses it add --gate"):
        add_expert(source, draft(title="Another"), base=tiny)
    finetuned["mask_decoder.iou_token.weight"] += 1
    torch.save(finetuned, source)
    with pytest.raises(CardError, match=r"with other weights\. First sam-moe experts remove cord, or choose"):
        add_expert(source, draft(), base=tiny)


def test_an_expert_that_is_here_is_kept_again_with_the_same_weights_only(source, draft, tiny, finetuned):
    first = keep_expert(source, draft())
    before = first.checked.entry.path.read_bytes()
    assert first.new and first.base.sha256 == fingerprint(tiny)
    for words in ((source, draft(title="Another")), ("cord", None), (first.checked.entry.folder, None)):
        again = keep_expert(*words, again=True)
        assert not again.new and again.checked.entry == first.checked.entry
    assert first.checked.entry.path.read_bytes() == before
    finetuned["mask_decoder.iou_token.weight"] += 1
    torch.save(finetuned, source)
    with pytest.raises(CardError, match=r"with other weights\. First sam-moe experts remove cord"):
        keep_expert(source, draft(), again=True)


def calls_of(work):
    """How often `work` calls each function, by the name of its file and its own."""
    calls = Counter()

    def note(frame, event, argument):
        if event == "call":
            calls[frame.f_code.co_filename.rsplit("/", 1)[-1], frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_the_base_is_loaded_once_and_fingerprinted_once(source, draft):
    calls = calls_of(lambda: keep_expert(source, draft()))
    assert calls["loading.py", "load_model"] == calls["checksums.py", "fingerprint"] == 1


def test_a_removed_expert_lies_aside_and_comes_back_as_it_was(source, draft, tiny):
    ships = list_experts()
    entry = add_expert(source, draft(), base=tiny)
    assert set(list_experts()) == {*ships, entry}
    aside = remove_card("cord", kinds=("expert",))
    assert list_experts() == ships
    assert aside.parent == user_folder() / ".removed"
    back = add_expert(aside, base=tiny)
    assert back == entry
    assert check_expert(back, tiny).entry == entry
    assert not aside.exists()


def test_what_replaced_a_removed_expert_is_removed_beside_it(source, draft, tiny, tmp_path, finetuned):
    add_expert(source, draft(), base=tiny)
    first = remove_card("cord", kinds=("expert",))
    finetuned["mask_decoder.iou_token.weight"] += 1
    torch.save(finetuned, source)
    add_expert(source, draft(), base=tiny)
    second = remove_card("cord", kinds=("expert",))
    assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, second.name])
    with pytest.raises(CardError, match=r"has no expert with id 'cord'\. Known, nearest first: none"):
        remove_card("cord", kinds=("expert",))


def test_experts_are_found_by_id_and_by_path_and_are_no_models(source, draft, tiny):
    entry = add_expert(source, draft(), base=tiny)
    assert find_expert("cord") == find_expert(entry.folder) == find_expert(str(entry.path)) == entry
    with pytest.raises(CardError, match=r"no expert with id 'chord'\. Known, nearest first: cord"):
        find_expert("chord")
    with pytest.raises(CardError, match="is the card of a general model, not of an expert"):
        find_expert(Registry().get("tiny").path)
    for name in ("cord", user_folder() / "cord"):
        with pytest.raises(CardError, match=r"'cord' is an expert, no general model\. Give the one .*'tiny'"):
            find_backbone(name)


def test_an_expert_whose_file_was_changed_is_told(source, draft, tiny):
    entry = add_expert(source, draft(), base=tiny)
    content = entry.weights_path.read_bytes()
    entry.weights_path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"expert\.safetensors: has SHA-256 .* the card says"):
        check_expert(entry, tiny)


def test_an_expert_of_another_base_is_told(source, draft, tiny):
    entry = add_expert(source, draft(), base=tiny)
    stranger = entry.card.base.model_copy(update={"sha256": "f" * 64})
    write_card(entry.card.model_copy(update={"base": stranger}), entry.path)
    with pytest.raises(CardError, match=r"base\.sha256: is fff.*grew on other weights"):
        check_expert(find_expert("cord"), tiny)


def test_a_feature_bank_goes_with_its_expert(tmp_path, source, draft, tiny):
    bank = tmp_path / "bank.safetensors"
    save_weights({"features": torch.ones(3, 8)}, bank)
    record = {
        "file": bank.name,
        "sha256": sha256_of(bank),
        "size_bytes": bank.stat().st_size,
        "dtype": "float32",
    }
    entry = add_expert(source, draft(feature_bank=record), base=tiny)
    assert (entry.folder / bank.name).read_bytes() == bank.read_bytes()
    (entry.folder / bank.name).unlink()
    with pytest.raises(WeightsError, match=r"bank\.safetensors: no such file"):
        check_expert(entry, tiny)


@pytest.mark.parametrize(
    "name", ["expert.safetensors", "sub/card.json", "linked.safetensors", "Expert.safetensors"]
)
def test_a_bank_of_any_name_spoils_no_expert(tmp_path, source, draft, tiny, name):
    bank = tmp_path / "drafts" / name
    bank.parent.mkdir(parents=True)
    save_weights({"features": torch.ones(3, 8)}, tmp_path / "elsewhere")
    bank.symlink_to(tmp_path / "elsewhere")
    record = record_of(name, sha256_of(bank), bank.stat().st_size, "float32")
    entry = add_expert(source, draft(tmp_path / "drafts" / "draft.json", feature_bank=record), base=tiny)
    assert files(user_folder()) == ["cord/bank.safetensors", "cord/card.json", "cord/expert.safetensors"]
    assert not any(path.is_symlink() for path in entry.folder.iterdir())
    assert "cord: decoder on tiny" in str(check_expert(entry, tiny))


@pytest.mark.parametrize(
    "name", ["./expert.safetensors", "card.json", "../drafts/bank", "/etc/hostname", "a//b", ".bank", "x\0y"]
)
def test_a_bank_that_is_named_in_no_plain_way_is_refused_and_nothing_is_left(
    tmp_path, source, draft, tiny, name
):
    record = record_of("bank", "0" * 64, 1, "float32") | {"file": name}
    with pytest.raises(CardError, match=r"draft\.json: feature_bank\.file: "):
        add_expert(source, draft(feature_bank=record), base=tiny)
    assert files(tmp_path / "cache") == []


def test_a_bank_that_is_another_than_the_card_says_leaves_nothing(tmp_path, source, draft, tiny):
    (tmp_path / "bank").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"bank: has SHA-256"):
        add_expert(source, draft(feature_bank=record_of("bank", "0" * 64, 1, "float32")), base=tiny)
    assert files(tmp_path / "cache") == []


@pytest.mark.slow
def test_killed_at_any_file_operation_an_expert_is_whole_or_not_there(tmp_path, source, draft, tiny):
    folder, card = tmp_path / "mine", draft()
    add_expert(source, card, tmp_path / "whole", tiny)
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "cord").iterdir()}

    def before():
        shutil.rmtree(folder, ignore_errors=True)

    for _ in deaths(folder, lambda: add_expert(source, card, folder, tiny), before):
        if not (folder / "cord").exists():
            add_expert(source, card, folder, tiny)
        else:
            with pytest.raises(CardError, match="already taken .* with the same weights"):
                add_expert(source, card, folder, tiny)
        assert files(folder) == ["cord/card.json", "cord/expert.safetensors"]
        assert {path.name: path.read_bytes() for path in (folder / "cord").iterdir()} == wanted


def test_a_folder_that_cannot_be_made_is_named(tmp_path, source, draft, tiny):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file: is a file. Expected a folder"):
        add_expert(source, draft(), tmp_path / "file", tiny)


def test_a_checkpoint_without_a_card_is_told_what_to_give(source):
    with pytest.raises(
        CardError, match="has no card. Give one with the expert's id, base, covers and licence"
    ):
        add_expert(source)


def test_a_checkpoint_that_is_not_there_is_no_missing_card(tmp_path):
    with pytest.raises(CardError, match=r"cord\.pth: no such file or folder"):
        add_expert(tmp_path / "cord.pth")


def test_a_packages_expert_is_found_by_id(tmp_path, source, draft, tiny, monkeypatch):
    entry = add_expert(source, draft(), tmp_path / "theirs", tiny)
    info = tmp_path / "site" / "cords-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cords\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sam_moe.experts]\ncords = cords_of_others:FOLDER\n")
    (tmp_path / "site" / "cords_of_others.py").write_text(
        f"FOLDER = {json.dumps(str(tmp_path / 'theirs'))}\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert "cord" not in [known.card.id for known in list_experts()]
    assert find_expert("cord") == entry
    assert read_card(find_expert("cord").path).id == "cord"


@pytest.mark.usefixtures("other_kinds")
@pytest.mark.parametrize("named", [{}, {"expert_kind": "scaled"}])
def test_an_expert_of_another_packages_kind_is_added_and_checked(tmp_path, draft, tiny, named):
    own = {f"scaled.{name}": tensor + 1 for name, tensor in tiny.mask_decoder.state_dict().items()}
    save_weights(own, tmp_path / "own.safetensors")
    entry = add_expert(tmp_path / "own.safetensors", draft(**named), base=tiny)
    assert check_expert(entry, tiny).entry.card.expert_kind == "scaled"
    assert torch.equal(load_decoder(entry, tiny).iou_token.weight, tiny.mask_decoder.iou_token.weight + 1)


@pytest.mark.usefixtures("other_kinds")
def test_another_packages_format_is_read_by_its_kind(tmp_path, draft, tiny):
    (tmp_path / "cord.scaled").mkdir()
    halves = {f"scaled.{name}": tensor / 2 for name, tensor in tiny.mask_decoder.state_dict().items()}
    save_weights(halves, tmp_path / "cord.scaled" / "half.safetensors")
    entry = add_expert(tmp_path / "cord.scaled", draft(), base=tiny)
    assert fingerprint(load_decoder(entry, tiny)) == fingerprint(tiny.mask_decoder)
