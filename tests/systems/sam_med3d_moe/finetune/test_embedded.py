"""Regions encoded once: what comes out of the file is what went in, and no half file is ever taken."""

import os
import signal
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.errors import ConfigError
from sam_moe.progress import silent
from sam_moe.systems.sam_med3d_moe.finetune.embedded import (
    Embedded,
    embedding_hours,
    keep_embedded,
    pack,
    unpack,
)
from sam_moe.systems.sam_med3d_moe.pretrain.learner import fresh_model
from sam_moe.systems.sam_med3d_moe.prompted.regions import Cut, Regions


@pytest.fixture
def regions(scans):
    return lambda: Regions(scans, Cut(16, targets=2), 3)


@pytest.fixture
def model(sizes):
    return fresh_model(sizes, 0).eval()


@pytest.fixture
def kept(regions, model, tmp_path):
    """Embeds regions into one file; returns its path."""

    def make(count=11, origin="here", progress=silent, model=model):
        keep_embedded(regions, count, model, tmp_path / "e.safetensors", origin, progress)
        return tmp_path / "e.safetensors"

    return make


@pytest.mark.slow
def test_what_is_kept_are_the_regions_of_the_stream_encoded(kept, regions, model):
    stored, stream = Embedded(kept()), regions()
    assert stored.count == 11
    for index in (0, 7, 8, 10):
        region, drawn = stored.region(index), stream[index]
        assert region["embedding"].dtype == torch.float32 and region["embedding"].shape == (48, 2, 2, 2)
        with torch.no_grad():
            wanted = model.encode(drawn["image"][None])[0]
        torch.testing.assert_close(region["embedding"], wanted, atol=2e-3, rtol=2e-3)
        assert region["target"].dtype == torch.bool and torch.equal(region["target"], drawn["target"])


def test_a_sample_is_the_same_whenever_it_is_drawn_and_every_region_has_its_turn(kept):
    path = kept()
    stored, again = Embedded(path, seed=4), Embedded(path, seed=4)
    assert all(torch.equal(stored[n]["embedding"], again[n]["embedding"]) for n in (0, 5, 10**6))
    places = {hash(stored.region(index)["embedding"].numpy().tobytes()) for index in range(11)}
    assert {hash(stored[n]["embedding"].numpy().tobytes()) for n in range(200)} == places
    other = Embedded(path, seed=5)
    assert not all(torch.equal(stored[n]["embedding"], other[n]["embedding"]) for n in range(9))


def test_batches_hold_every_region_once_in_order(kept):
    stored = Embedded(kept())
    batches = list(stored.batches(4))
    assert [len(embedding) for embedding, _ in batches] == [4, 4, 3]
    assert torch.equal(batches[2][0][1], stored.region(9)["embedding"])
    assert torch.equal(batches[2][1][1], stored.region(9)["target"])


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 7), st.integers(0, 2**31))
def test_packed_targets_come_back(batch, targets, size, seed):
    drawn = torch.rand(batch, targets, size, size, size, generator=torch.Generator().manual_seed(seed)) < 0.5
    bits = pack(drawn)
    assert bits.shape == (batch, -(-targets * size**3 // 8))
    for row, wanted in zip(bits, drawn, strict=True):
        assert torch.equal(unpack(row, tuple(wanted.shape)), wanted)


def test_the_same_is_not_encoded_again_and_anything_else_is(kept):
    path = kept()
    first, before = path.read_bytes(), path.stat().st_mtime_ns
    kept()
    assert path.stat().st_mtime_ns == before
    met = []
    kept(origin="elsewhere", progress=lambda stage, share: met.append(share))
    assert met == [8 / 11, 1.0]
    kept(count=5, origin="elsewhere")
    assert Embedded(path).count == 5
    assert len(path.read_bytes()) < len(first) and embedding_hours(path) < 0.1


def killed(kept, kill):
    """Embed in a copy of this process, which `kill` ends; its status."""
    pid = os.fork()
    if pid == 0:
        try:
            kill()
            kept(progress=lambda *_: None)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_kill_while_it_is_written_leaves_nothing_and_the_next_start_writes_it(kept, tmp_path):
    path = kept()
    whole, stored = path.read_bytes(), Embedded(path).region(3)
    path.unlink()

    def before_it_is_in_place():
        sys.addaudithook(lambda event, args: die() if event == "os.rename" else None)

    assert killed(kept, before_it_is_in_place) == -signal.SIGKILL
    assert not path.exists() and [*tmp_path.glob(".sam-moe-*")]  # which a training's start clears
    assert len(kept().read_bytes()) == len(whole)
    assert torch.equal(Embedded(path).region(3)["embedding"], stored["embedding"])
    assert [p.name for p in tmp_path.glob("e.*")] == ["e.safetensors"]


def test_a_file_that_was_cut_off_is_made_again_and_never_read(kept, caplog):
    path = kept()
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ConfigError, match=r"e\.safetensors: not readable as embedded regions"):
        Embedded(path)
    kept()
    assert "embedding again" in caplog.text and Embedded(path).count == 11


def test_a_file_of_something_else_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ConfigError, match=r"holds no embedded regions of format 1"):
        Embedded(tmp_path / "x.safetensors")


def test_an_embedding_beyond_half_precision_is_refused(kept, model):
    class Loud(type(model)):
        def encode(self, image, dtype=None):
            return super().encode(image, dtype) * 1e9

    model.__class__ = Loud
    with pytest.raises(ConfigError, match="does not fit into float16"):
        kept(model=model)
