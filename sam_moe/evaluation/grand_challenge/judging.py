"""The evaluation container's work: each expected case against its job's mask, out comes `metrics.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sam_moe.cases.source import volumes_in
from sam_moe.errors import ConfigError
from sam_moe.evaluation.asking.predictions import score_given
from sam_moe.evaluation.challenge.challenge import Case, open_case
from sam_moe.evaluation.grand_challenge.container import (
    INPUT,
    METRICS,
    OUTPUT,
    SPPIN,
    Interfaces,
    Job,
    read_jobs,
)
from sam_moe.evaluation.results import METRICS as COLUMNS
from sam_moe.evaluation.results import Row
from sam_moe.evaluation.scoring.definitions import OFFICIAL, metric_definitions
from sam_moe.evaluation.scoring.metrics import TOLERANCE_MM
from sam_moe.evaluation.scoring.official import metrics_json
from sam_moe.files import check_writable, make_folder, replace_text, withdraw

STRUCTURE = "target"
IGNORED = 255  # in a truth of 0 and 1: not annotated


def truths_of(folder: Path) -> dict[str, Path]:
    """The truth of each case: `ground-truth/<case>/<name>.mha`, as SPPIN's evaluation keeps them.

    Raises:
        ConfigError: where there are none, or a case has several.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder. Expected ground-truth/<case>/<name>.mha.")
    truths = {}
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = list(volumes_in(case).values())
        if len(files) != 1:
            raise ConfigError(f"{case}: expected one label map, found {len(files)}. Keep the right one.")
        truths[case.name] = files[0]
    if not truths:
        raise ConfigError(f"{folder}: no cases in it. Expected ground-truth/<case>/<name>.mha.")
    return truths


def judge(
    truths: Mapping[str, Path],
    folder: Path = INPUT,
    out: Path = OUTPUT,
    interfaces: Interfaces = SPPIN,
    tolerance_mm: float = TOLERANCE_MM,
    system: str = "submission",
) -> list[Row]:
    """Score every expected case, whether it has a job or not, and write `metrics.json`; gives the rows.

    A truth is a mask of 0 and 1; what is 255 beside 1 was not annotated and counts for nothing.

    The file has the official script's keys, `case` and `aggregates`, with its definitions (`null` for its
    NaN), and beside them `recommended`: the worst value for every case that is missed, and their number.

    Raises:
        ConfigError: for jobs or truths that cannot be read.
    """
    make_folder(out)
    check_writable(out)
    withdraw(out / METRICS)  # what an older run made of other masks
    jobs = {job.case: job for job in read_jobs(folder, interfaces)}
    rows: list[Row] = []
    for name, truth in truths.items():
        patient = name.partition("_")[0] if len(interfaces.id_parts) > 1 else name
        case = Case(
            name, patient, {STRUCTURE: truth}, STRUCTURE, truth, {}, {STRUCTURE: (1,)}, ignored=(IGNORED,)
        )
        job = jobs.get(name, Job("", name, None, "no job of this case"))
        scored = score_given(case, open_case(case), job.mask, system, tolerance_mm)
        if not scored:
            raise ConfigError(f"{truth}: no voxel is 1, so there is no target. Expected a mask of 0 and 1.")
        for row in scored:
            missing = row.status == "missing"
            rows.append(row.model_copy(update={"reason": job.reason}) if missing else row)
    extra = sorted(jobs.keys() - truths.keys())
    text = json.dumps(_report(rows, extra, tolerance_mm), indent=2, allow_nan=False)
    replace_text(out / METRICS, text + "\n")
    return rows


def _report(rows: Sequence[Row], extra: Sequence[str], tolerance_mm: float) -> dict[str, Any]:
    return {
        **metrics_json({row.case: row.official for row in rows}),
        "recommended": {
            "case": {
                row.case: {
                    **{name: getattr(row, name) for name in COLUMNS},
                    "status": row.status,
                    "reason": row.reason,
                }
                for row in rows
            },
            "aggregates": {
                name: {"mean": sum(getattr(row, name) for row in rows) / len(rows) if rows else None}
                for name in COLUMNS
            },
            "n": len(rows),
            "n_missed": sum(row.missed for row in rows),
            "extra": list(extra),
            "definitions": {**metric_definitions(tolerance_mm), **OFFICIAL},
        },
    }
