"""The heat map has every figure of the table."""

from sam_moe.evaluation.routing.modalities import ScanChoices, by_modality
from sam_moe.evaluation.routing.modality_picture import draw
from sam_moe.evaluation.routing.picture import as_png


def made():
    sure, other = {"down.3": (0.97, 0.03)}, {"down.3": (0.25, 0.75)}
    scans = [
        ScanChoices("CT", sure, {"down.3": (0,) * 12}),
        ScanChoices("MR T1", other, {"down.3": (1,) * 9 + (0,) * 3}),
    ]
    return by_modality(scans, ("ct", "mr-t1"))


def test_every_cell_every_modality_and_the_information_are_written():
    found = made()
    (axes,) = draw(found, "auto-small").axes
    words = [text.get_text() for text in axes.texts]
    for wanted in ("0.97", "0.03", "0.25", "0.75", "CT (12 slices)", "MR T1 (12 slices)", "down.3", "sum"):
        assert wanted in words
    assert words.count(f"{found.nats:.3f} ({found.shuffled:.4f})") == 2  # of the only place, and the sum
    assert words.count("ct") == words.count("mr-t1") == 2 and "auto-small" in words


def test_the_picture_is_a_png():
    assert as_png(draw(made())).startswith(b"\x89PNG")
