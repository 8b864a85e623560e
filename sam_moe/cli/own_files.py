"""What verbs may write over: files of ours, by their marks; of others only with --force."""

from collections.abc import Mapping
from pathlib import Path

from sam_moe.errors import FileError
from sam_moe.files import shown
from sam_moe.ownership import (
    Test,
    check_folder,
    is_folder,
    is_ours,
    is_same,
    is_there,
    page,
    picture,
    record,
    recorded_prompts,
    table,
)

BEGUN = record("format", "challenge", "protocols", "systems")


RESULT: Mapping[str, Test] = {
    "rows.csv": table("system", "case", "patient"),
    "result.json": record("challenge", "protocol", "systems", "summary"),
    "report.html": page,
    "prompts.json": recorded_prompts,
    "asked.json": BEGUN,
}
COMPARISON: Mapping[str, Test] = {
    "comparison.json": record("format", "metrics", "sources", "rules", "command"),
    "comparison.html": page,
}
ROUTES: Mapping[str, Test] = {
    "routing.csv": table("case", "structure", "prompt", "answered"),
    "routing.json": record("model", "experts", "shares", "routes"),
    "routing.png": picture,
}
METRICS: Mapping[str, Test] = {"metrics.json": record("case", "aggregates", "recommended")}


def check_evaluation(out: Path, inputs: list[Path], predictions: Path | None, *, force: bool) -> None:
    """See that an evaluation replaces nothing of others', and removes no masks that it is to score.

    Raises:
        FileError: naming what is in the way.
    """
    check_folder(out, RESULT, inputs, force=force)
    kept = out / "predictions"
    if predictions is not None and any(is_same(kept, place) for place in (predictions, *predictions.parents)):
        raise FileError(
            f"{shown(predictions)}: lies where an evaluation in {shown(out)} keeps its own masks, and "
            "removes them. Expected another folder; choose another --out."
        )
    begun = is_ours(out / "asked.json", BEGUN) if is_there(out / "asked.json") else False
    for name in ("predictions", "cases", "prompts", "grand-challenge"):
        if not force and not begun and is_folder(out / name) and any((out / name).iterdir()):
            raise FileError(
                f"{shown(out / name)}: is there already, and no evaluation was begun beside it. Expected a "
                "new folder; choose another --out, or write into this one with --force."
            )


def check_file(path: Path, ours: Test, inputs: list[Path], *, force: bool) -> None:
    """See that one file replaces nothing of others' and nothing that is read.

    Raises:
        FileError: naming what is in the way.
    """
    check_folder(path.parent, {path.name: ours}, inputs, force=force)
