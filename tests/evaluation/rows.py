"""Rows for tests: an answer of a given Dice, everything else plain unless it is given."""

from typing import Any
from xml.etree.ElementTree import Element

from sam_moe.evaluation.results import Row


def row(dice: float = 0.5, **changes: Any) -> Row:
    plain = {
        "system": "small",
        "case": "a1",
        "patient": "a",
        "label": "liver",
        "prompt": "click1",
        "step": 0,
        "status": "ok",
        "dice": dice,
        "nsd": dice / 2,
        "vs": 1.0,
        "hd95_mm": 10 * (1 - dice),
        "volume_error_ml": 2.0,
        "truth_ml": 20.0,
        "predicted_ml": 18.0,
    }
    return Row.model_validate(plain | changes)


def missing(**changes: Any) -> Row:
    """A case without an answer, with the worst values."""
    worst = {"status": "missing", "nsd": 0, "vs": 0, "hd95_mm": 400, "volume_error_ml": 20, "predicted_ml": 0}
    return row(0, **(worst | changes))


def study(systems: dict[str, float], patients: int = 6, clicks: int = 3) -> list[Row]:
    """Systems a fixed amount of Dice apart, on two structures of each patient, better click by click."""
    return [
        row(
            min(1.0, 0.4 + shift + 0.1 * click + 0.02 * number),
            system=system,
            case=f"case{number}",
            patient=f"p{number}",
            label=label,
            prompt=f"click{click + 1}",
            step=click,
            truth_ml=10.0 * (number + 1) * size,
            strata={"modality": "MR" if number % 2 else "CT"},
        )
        for system, shift in systems.items()
        for number in range(patients)
        for size, label in ((1, "kidney"), (5, "liver"))
        for click in range(clicks)
    ]


def words_of(element: Element) -> list[str]:
    """All pieces of text in a part of a page, in order."""
    return [piece for piece in element.itertext() if piece.strip()]


def cells_of(element: Element) -> list[list[str]]:
    """The texts of the cells of all table rows in a part of a page, the heads too."""
    return [["".join(cell.itertext()) for cell in row] for row in element.iter("tr")]
