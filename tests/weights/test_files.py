"""Reading checkpoints: what is in them is never run, and what does not fit is named."""

import argparse
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.torch_version import TorchVersion

from sam_moe.errors import FileError, WeightsError
from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.loading import build_model, load_model
from sam_moe.weights.files import read_state, save_weights
from tests.hosts.sam3d.small import assert_holds, random_state

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(generator):
    return random_state(generator)


def distributed(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"model_state_dict": distributed(state)},
        lambda state: {
            "model_state_dict": state,
            "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 8e-4}]},
            "args": argparse.Namespace(lr=8e-4, gpu_ids=[0, 1]),
        },
        lambda state: {name: nn.Parameter(tensor) for name, tensor in state.items()},
    ],
    ids=["bare", "state_dict", "distributed", "with the trainer's Namespace", "parameters"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_checkpoint_is_unwrapped(tmp_path, state, wrap, zipped):
    torch.save(wrap(state), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert_holds(load_model(tmp_path / "x.pth"), state)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."])
def test_the_names_that_wrappers_give_are_taken_off(tmp_path, state, prefix):
    torch.save({"model_state_dict": {prefix + name: t for name, t in state.items()}}, tmp_path / "x.pth")
    save_weights({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "x.safetensors")
    for name in ("x.pth", "x.safetensors"):
        assert read_state(tmp_path / name).keys() == state.keys()
        assert_holds(load_model(tmp_path / name), state)


def test_a_model_of_which_parts_were_compiled_is_read(tmp_path, state):
    model = build_model(state)
    model.mask_decoder = torch.compile(model.mask_decoder)
    model.image_encoder.blocks[0] = torch.compile(model.image_encoder.blocks[0])
    torch.save(torch.compile(model).state_dict(), tmp_path / "x.pth")
    wrapped = torch.load(tmp_path / "x.pth")
    assert any(name.startswith("_orig_mod.mask_decoder._orig_mod.") for name in wrapped)
    assert_holds(load_model(tmp_path / "x.pth"), state)


def test_a_tensor_that_is_there_with_and_without_a_wrapper_is_refused(tmp_path, state):
    name = next(iter(state))
    save_weights({**state, f"_orig_mod.{name}": state[name] + 1}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=rf"{name}' is there twice, once within a wrapper"):
        read_state(tmp_path / "x.safetensors")


def test_a_files_name_does_not_decide_how_it_is_read(tmp_path, state):
    torch.save(state, tmp_path / "x.safetensors")
    save_weights(state, tmp_path / "y.pth")
    assert_holds(load_model(tmp_path / "x.safetensors"), state)
    assert_holds(load_model(tmp_path / "y.pth"), state)


class RunsCode:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("save", ["torch", "torch before 1.6", "pickle", "pickle of protocol 0"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, state, save):
    proof, path = tmp_path / "it ran", tmp_path / "evil.pth"
    payload = {"model_state_dict": state, "args": RunsCode(proof)}
    if save.startswith("torch"):
        torch.save(payload, path, _use_new_zipfile_serialization=save == "torch")
    else:
        path.write_bytes(pickle.dumps(RunsCode(proof), protocol=0 if "0" in save else 2))
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    assert not proof.exists()
    if save == "torch":
        assert "io.open" in str(caught.value)
        assert "nothing was read" in str(caught.value)
    # The payload is no dud: the loaders that trust it run it.
    if save.startswith("torch"):
        torch.load(path, weights_only=False)["args"].close()
    else:
        pickle.loads(path.read_bytes()).close()
    assert proof.exists()


class DeclaredSafe:
    """Something another library declared safe to unpickle."""


def test_a_pickle_that_torch_finds_odd_is_refused_without_remarks(tmp_path, recwarn):
    (tmp_path / "odd.pth").write_bytes(pickle.dumps(print, protocol=4))
    with pytest.raises(WeightsError):
        read_state(tmp_path / "odd.pth")
    assert not recwarn.list


def test_what_others_declared_safe_is_refused_here_and_stays_declared(tmp_path, state):
    torch.save({"model_state_dict": state, "extra": DeclaredSafe()}, tmp_path / "x.pth")
    before = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([DeclaredSafe]):
        with pytest.raises(WeightsError, match=r"asks for .*DeclaredSafe, neither a tensor nor"):
            read_state(tmp_path / "x.pth")
        assert set(torch.serialization.get_safe_globals()) == {*before, DeclaredSafe}
    assert argparse.Namespace not in before


def test_a_whole_pickled_model_is_refused_by_the_name_of_its_class(tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        read_state(tmp_path / "x.pth")


def test_a_torch_whose_unpickler_is_unsound_reads_no_pickle_but_safetensors(tmp_path, state, monkeypatch):
    torch.save(state, tmp_path / "x.pth")
    save_weights(state, tmp_path / "x.safetensors")
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1"))
    with pytest.raises(WeightsError, match=r"torch>=2\.10"):
        read_state(tmp_path / "x.pth")
    assert read_state(tmp_path / "x.safetensors").keys() == state.keys()


def pickled(thing):
    def make(path):
        torch.save(thing, path)

    return make


def truncated(make, keep):
    def cut(path):
        make(path)
        path.write_bytes(path.read_bytes()[:keep])

    return cut


def zip_of_another_kind(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no tensors here")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:899a46d0\nsize 402114626\n"
LARGE = {"a": torch.zeros(4096)}


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(LFS), "Git LFS pointer .*git lfs pull"),
        (lambda path: path.write_bytes(b"\n<!DOCTYPE html><html>Sign in</html>"), "is a web page"),
        (lambda path: path.write_bytes(b"Invalid username or password."), "neither a PyTorch checkpoint"),
        (truncated(pickled(LARGE), 9000), "cut short: 9000 bytes"),
        (truncated(lambda path: save_weights(LARGE, path), 9000), "not readable as safetensors"),
        (truncated(lambda path: save_weights(LARGE, path), 20), "not readable as safetensors"),
        (zip_of_another_kind, "not readable as a checkpoint"),
        (lambda path: path.write_bytes(b"\x80\x02garbage"), "not readable as a checkpoint"),
        (pickled(torch.zeros(3)), "holds a Tensor, not named tensors"),
        (pickled({}), "holds no tensors"),
        (pickled({"model_state_dict": [1]}), "'model_state_dict' holds a list"),
        (pickled({"epoch": 3, "weights": {}}), "'epoch' is a int, not a tensor.*keys are epoch, weights"),
        (pickled({"a": torch.zeros(1).expand(10**12)}), r"a claims the shape \(1000000000000,\)"),
        (pickled({"a": torch.eye(3).to_sparse()}), "a is sparse"),
        (pickled({"a": torch.zeros(3, device="meta")}), "a is sparse, quantised or empty"),
    ],
)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, make, complaint):
    path = tmp_path / "sam.pth"
    make(path)
    with pytest.raises(WeightsError, match=complaint) as caught:
        read_state(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path, state, number):
    state["mask_decoder.iou_token.weight"][0, 7] = number
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"NaN or infinite numbers in mask_decoder\.iou_token\.weight\."):
        read_state(tmp_path / "x.pth")


def test_equal_tensors_and_metadata_give_equal_files(tmp_path, state):
    metadata = {name: name for name in "abcdefgh"}
    for number in range(4):
        save_weights(state, tmp_path / f"{number}", metadata)
    assert len({sha256_of(tmp_path / f"{number}") for number in range(4)}) == 1


def test_weights_that_cannot_be_written_leave_nothing_behind(tmp_path, state):
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        save_weights(state, tmp_path / "taken")
    with pytest.raises(FileError, match="no such folder"):
        save_weights(state, tmp_path / "nowhere" / "x.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_views_of_one_tensor_are_saved_as_what_they_show(tmp_path):
    whole = torch.arange(6.0).view(2, 3)
    save_weights({"top": whole[0], "turned": whole.T, "all": whole}, tmp_path / "x")
    read = read_state(tmp_path / "x")
    assert read["turned"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert read["top"].tolist() == [0.0, 1.0, 2.0]


def test_a_safetensors_file_that_begins_like_a_pickle_is_read_all_the_same(tmp_path):
    path = tmp_path / "x.safetensors"
    for padding in range(256):
        save_weights({"x": torch.ones(40)}, path, {"padding": "a" * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert torch.equal(read_state(path)["x"], torch.ones(40))
