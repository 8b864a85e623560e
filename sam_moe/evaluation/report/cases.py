"""The report's cases: the worst answers with pictures, and a line for each that could not be measured."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element

import torch

from sam_moe.cases.source import label_values
from sam_moe.config import read_object
from sam_moe.errors import ConfigError
from sam_moe.evaluation.asking.casefile import case_path, file_name, read_casefile
from sam_moe.evaluation.asking.protocols import BETWEEN
from sam_moe.evaluation.asking.unread import reason_of
from sam_moe.evaluation.challenge.challenge import Case, read_case
from sam_moe.evaluation.report.page import data_uri, el, figure, table
from sam_moe.evaluation.results import PREDICTIONS, Row
from sam_moe.pictures.overlay import drawn
from sam_moe.pictures.scene import Scene
from sam_moe.prompts.prompt import Prompt
from sam_moe.space.files import read
from sam_moe.space.volume import Volume

log = logging.getLogger(__name__)

# What a picture of an answer shows; None where it cannot be had.
Look = Callable[[Row], Scene | None]

_PIXELS = 1100
_LISTED = 200
_NOT_THERE = ("missing", "unreadable", "wrong_grid", "bad_values", "unexpected_label", "failed", "extra")


def kept(folder: Path, cases: Iterable[Case]) -> Look:
    """Looks at the masks that an evaluation kept in its folder, with scan, truth and prompts.

    Without a kept mask the picture shows where the target is; a case that cannot be read has none.
    """
    by_id = {case.id: case for case in cases}

    @lru_cache(maxsize=2)
    def opened(id: str) -> tuple[Volume, dict[str, Volume]]:
        return read_case(by_id[id])

    def look(row: Row) -> Scene | None:
        if row.case not in by_id:
            return None
        try:
            scan, truths = opened(row.case)
            masks = _kept_mask(folder, row, scan)
            prompt = _prompts_for(folder, row)
        except Exception as error:  # a damaged file can raise whatever its bytes spell
            log.warning("%s: no picture: %s", row.case, reason_of(error))
            return None
        truth = truths[row.label].array if row.label in truths else None
        return Scene(scan, masks, prompt, f"{row.case} · {row.label}", truth)

    return look


def _kept_mask(folder: Path, row: Row, scan: Volume) -> dict[str, torch.Tensor]:
    stem = folder / PREDICTIONS / file_name(row.system) / file_name(row.case)
    path, names = stem.with_name(f"{stem.name}.nii.gz"), stem.with_name(f"{stem.name}.labels.json")
    if not path.is_file() or not names.is_file():
        return {}
    found = read(path, quiet=True)  # an empty answer is no scan that shows nothing
    values = label_values(names, read_object(names, ConfigError)).get(row.label, ())
    if tuple(found.array.shape) != scan.grid.shape or not values:
        return {}
    return {row.system: torch.isin(found.array.long(), torch.tensor(values)).float()}


def _prompts_for(folder: Path, row: Row) -> Prompt:
    """The prompts of a target, the last script's; none for masks made elsewhere."""
    path = case_path(folder, row.case)
    case = read_casefile(path).prompts.get(row.system) if path.is_file() else None
    targets = () if case is None else case.targets
    own = [target for target in targets if target.name.split(BETWEEN)[0] == row.label]
    return Prompt() if case is None or not own else case.prompt(own[-1])


def last_answers(rows: Iterable[Row]) -> list[Row]:
    """Of each system and target the answer that stands at the end; its mask is the one that is kept."""
    return list({(row.system, row.case, row.label): row for row in rows if row.counts}.values())


def worst_cases(
    rows: Sequence[Row], systems: Sequence[str], look: Look | None, pictures: int
) -> list[Element]:
    """The lowest Dice of each system, at most one picture a target, and so many pictures in all."""
    made = []
    each = max(1, pictures // max(len(systems), 1))
    left = pictures if look is not None else 0
    for system in systems:
        own = sorted(
            (row for row in last_answers(rows) if row.system == system),
            key=lambda row: (row.dice, row.nsd, -row.hd95_mm, row.case, row.label),
        )
        made.append(el("h3", f"{system}, lowest Dice at the end"))
        made.append(_listed(own[: max(8, each)]))
        for row in own[:each] if look is not None else ():
            picture = _pictured(row, look) if left else None
            if picture is not None:
                made.append(picture)
                left -= 1
    return made


def _pictured(row: Row, look: Look | None) -> Element | None:
    scene = look(row) if look is not None else None
    if scene is None:
        return None
    words = f"{row.case}, {row.label}, {row.system} after {row.prompt}: Dice {row.dice:.3f}"
    words += f", HD95 {row.hd95_mm:.1f} mm, {row.predicted_ml:.1f} ml of {_ml(row.truth_ml)} ml"
    words += "" if row.status == "ok" else f"; {row.status}: {row.reason}".rstrip(": ")
    note = "; its mask was not kept" if not scene.masks and row.status == "ok" else ""
    picture = el("img", src=data_uri(drawn([scene], "webp", _PIXELS), "webp"), alt=words)
    return figure(picture, words + note, "wide")


def _listed(rows: Sequence[Row]) -> Element:
    head = [
        "case",
        "structure",
        "last prompt",
        "Dice",
        "NSD",
        "HD95 (mm)",
        "truth (ml)",
        "answer (ml)",
        "status",
    ]
    body = []
    for row in rows:
        figures = (f"{row.dice:.3f}", f"{row.nsd:.3f}", f"{row.hd95_mm:.1f}")
        volumes = (_ml(row.truth_ml), f"{row.predicted_ml:.1f}")
        cells = [el("td", word) for word in (row.case, row.label, row.prompt)]
        cells += [el("td", figure_, class_="n") for figure_ in (*figures, *volumes)]
        body.append([*cells, _status(row)])
    return table(head, body)


def _ml(volume: float | None) -> str:
    return "?" if volume is None else f"{volume:.1f}"


def not_there(rows: Sequence[Row]) -> Element | None:
    """A line for each target without a usable answer and each file that is no case's; None where all is well.

    Prompts of one target that went wrong in one way share a line.
    """
    wrong: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row.status != "ok":
            key = (row.system, row.case, row.label, row.status, row.reason)
            wrong.setdefault(key, []).append(row.prompt)
    if not wrong:
        return None
    rank = {"extra": 2, "empty": 1}
    ordered = sorted(wrong.items(), key=lambda item: (rank.get(item[0][3], 0), item[0]))
    body = []
    for (system, case, label, status, reason), prompts in ordered[:_LISTED]:
        words = prompts[0] if len(prompts) == 1 else f"{prompts[0]} … {prompts[-1]} ({len(prompts)})"
        cells = [el("td", word) for word in (system, case, label, words)]
        cells += [el("td", el("span", _words(status), class_="bad")), el("td", reason, class_="text")]
        body.append(cells)
    lines = table(["system", "case or file", "structure", "last prompt", "status", "more"], body)
    if len(wrong) > _LISTED:
        lines.append(el("p", f"The first {_LISTED} of {len(wrong)}; all are in rows.csv.", class_="faint"))
    return lines


def counted(statuses: Mapping[str, Mapping[str, int]]) -> str:
    """How many answers were unusable, in a sentence without its full stop."""
    found = {
        status: sum(own.get(status, 0) for own in statuses.values())
        for status in ("ok", "empty", *_NOT_THERE)
    }
    strangers = found.pop("extra")
    counts = [f"{count:,} {_words(status)}" for status, count in found.items() if count and status != "ok"]
    words = f"of {sum(found.values()):,} answers {', '.join(counts) or 'all could be measured'}"
    return words + (f"; {strangers:,} extra file{'s' * (strangers > 1)}" if strangers else "")


def _status(row: Row) -> Element:
    return el("td", el("span", _words(row.status), class_="bad" if row.missed else None))


def _words(status: str) -> str:
    return status.replace("_", " ")
