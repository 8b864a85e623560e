"""From a scan to its labels: the right structures at the right places, whatever the scan's axes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_moe.errors import ConfigError, FileError
from sam_moe.space.files import fingerprint, write_volume
from sam_moe.space.grid import Grid
from sam_moe.space.volume import Volume
from tests.predict.automatic.bands import (
    BLOCK,
    BRIGHT_MM,
    GREY_MM,
    Bands,
    model_of,
    painted,
    places_of,
    within,
)
from tests.predict.automatic.test_segmenting import turned

# Half a millimetre more than the diagonal of a voxel of the block's slices
UNSURE_MM = 4.6
GRIDS = {
    "RAS": Grid.around((0, 0, 0), (56, 52, 36), (1.5, 1.5, 2)),
    "LPS": Grid(np.diag([-1.5, -1.5, 2, 1]) + np.outer([41, 39, -36, 0], [0, 0, 0, 1]), (56, 52, 36)),
    "SPL, thick slices": Grid(
        np.array([[0, 0, -1.0, 40], [0, -1.3, 0, 38], [6, 0, 0, -36], [0, 0, 0, 1]]), (13, 60, 82)
    ),
    "oblique": turned(25, (1.2, 1.4, 2.5), (75, 65, 32)),
    "finer": Grid.around((0, 0, 0), (100, 92, 80), (0.9, 0.9, 0.9)),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_every_voxel_has_its_structures_label(model, grid):
    found = model.open(painted(grid)).segment("block")
    assert found.grid is grid and found.labels.shape == grid.shape and found.names == {1: "grey", 2: "bright"}
    labels, places = found.labels.numpy(), places_of(grid)
    for value, box in ((1, GREY_MM), (2, BRIGHT_MM)):
        inside, near = within(places, box, -UNSURE_MM), within(places, box, UNSURE_MM)
        assert inside.sum() > 100 and (labels[inside] == value).all()
        assert not (labels[~near] == value).any()
        size_ml = np.prod(box[1] - box[0]) / 1000
        assert found.volumes_ml[found.names[value]] == pytest.approx(size_ml, rel=0.25)
    assert found.not_found == ()


def test_it_answers_what_it_took_the_scan_for_and_who_answered(model, scan):
    found = model.open(scan).segment()
    assert found.likeness.taken.id == "block" and found.model_id == "bands"
    assert set(found.shares) == {"deep", "tokens"} and sum(found.experts.values()) == pytest.approx(1)
    assert set(found.timings_ms) == {"look", "prepare", "answer", "restore"}
    assert 0 < found.latency_ms == sum(found.timings_ms.values())


def test_a_structure_that_is_not_there_is_named(model, scan):
    scan.array[scan.array == 100] = 0
    found = model.open(scan).segment("block")
    assert found.not_found == ("bright",) and found.volumes_ml["bright"] == 0 and found.volumes_ml["grey"] > 0
    assert found.names[2] == "bright"


def test_only_the_largest_part_of_a_label_that_keeps_it_is_left(model, scan):
    whole = model.open(scan).segment("block")
    scan.array[2:8, 2:8, 2:8] = 50
    scan.array[48:54, 2:8, 2:8] = 100
    found = model.open(scan).segment("block")
    assert found.volumes_ml["grey"] == whole.volumes_ml["grey"]
    assert found.volumes_ml["bright"] > whole.volumes_ml["bright"]
    assert found.labels[5, 5, 5] == 0 and found.labels[51, 5, 5] == 2


def test_a_scan_in_a_file_and_its_volume_are_one(model, scan, tmp_path):
    write_volume(tmp_path / "scan.nii.gz", scan)
    session = model.open(tmp_path / "scan.nii.gz")
    assert torch.equal(session.segment().labels, model.open(scan).segment().labels)
    assert session.scan_fingerprint == fingerprint(scan)
    assert model.open(scan, "known").scan_fingerprint == "known"


def test_what_is_no_scan_is_refused(model, scan, tmp_path):
    with pytest.raises(FileError, match="every voxel of the scan is 7"):
        model.open(Volume(torch.full((4, 4, 4), 7), np.eye(4)))
    with pytest.raises(FileError, match="NaN or infinite"):
        model.open(Volume(torch.tensor([0.0, float("nan")]).reshape(2, 1, 1), np.eye(4)))
    with pytest.raises(FileError, match="no such file"):
        model.open(tmp_path / "none.nii.gz")
    with pytest.raises(FileError, match="is no scan"):
        model.open(7)


def test_an_unknown_set_is_refused_before_any_work(scan):
    class Untouched(Bands):
        def look(self, images):
            raise AssertionError("asked although the set is unknown")

    with pytest.raises(ConfigError, match="no data set 'brain'"):
        model_of(Untouched()).open(scan).segment("brain")


def test_slices_that_do_not_fit_into_memory_are_refused_with_the_numbers(scan):
    finest = BLOCK.model_copy(update={"spacing_mm": (1e-3, 1e-3, 1e-3)})
    session = model_of(Bands((finest,))).open(scan)
    with pytest.raises(FileError, match=r"would take \d+\.\d\d GiB.*the probabilities on its slices \d+"):
        session.segment()


def test_a_gate_that_sees_the_whole_scan_is_given_all_slices_at_once(scan):
    seen = []

    class Counting(Bands):
        def answer(self, images, data_set):
            seen.append(len(images))
            return super().answer(images, data_set)

    fine = BLOCK.model_copy(update={"spacing_mm": (0.3, 0.3, 3)})
    model = model_of(Counting((fine,)))
    model.open(scan).segment()
    assert len(seen) > 1 and sum(seen) == 24
    seen.clear()
    mixture = model.card.mixture.model_copy(update={"pooling": "volume"})
    replace(model, card=model.card.model_copy(update={"mixture": mixture})).open(scan).segment()
    assert seen == [24]


def test_the_stages_are_reported(model, scan):
    stages = []
    model.open(scan, progress=lambda stage, share: stages.append(stage)).segment()
    assert list(dict.fromkeys(stages)) == ["looking", "preparing", "segmenting", "restoring"]


def test_threads_share_a_model(model, scan):
    other = painted(Grid.around((3, 1, 0), (56, 52, 36), (1.5, 1.5, 2)))
    wanted = [model.open(one).segment().labels for one in (scan, other)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: model.open(one).segment().labels, [scan, other] * 8))
    assert all(torch.equal(labels, wanted[number % 2]) for number, labels in enumerate(found))
