"""What `kills.py` kills: one small case a verb, the ways to ask it, and what must have come of each.

A case lives in a folder of its own, in which the command stands. `ask` prepares the input of a way to ask (a
label changed, another prompt) and returns the words; `found` reads what came of it, without what the clock
writes.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sam_moe.evaluation.results import read_result
from sam_moe.files import PREFIX
from sam_moe.registry import check_weights, read_entry

LEFTOVERS = (".part", ".old", ".incoming-", PREFIX)

Found = Mapping[str, str]


@dataclass(frozen=True)
class Verb:
    """A verb as it is killed: the ways to ask, and what holds of a case at any moment."""

    name: str
    ways: tuple[str, ...]
    ask: Callable[[Path, Path, str], list[str]]
    found: Callable[[Path], Found]
    again: tuple[int, ...] = (0,)  # exit codes of the next start


def leftovers(place: Path) -> list[str]:
    """Files and folders that only a run in the making has."""
    return [str(path.relative_to(place)) for path in place.rglob("*") if _is_left(path.name)]


def broken(place: Path) -> list[str]:
    """Cards whose files are not theirs."""
    found = []
    for path in place.rglob("card.json"):
        if PREFIX in str(path):
            continue
        try:
            entry = read_entry(path)
            for file in (entry.card.weights, getattr(entry.card, "feature_bank", None)):
                if file is not None:
                    check_weights(path.parent / file.file, file, path)
        except Exception as error:  # whatever it is, it is a card that cannot be used
            found.append(f"{path.relative_to(place)}: {error}")
    return found


def misnamed(place: Path, wanted: Mapping[str, Found]) -> list[str]:
    """Records of `predict` beside a mask of other prompts than theirs."""
    bad = []
    for record in place.rglob("*.run.json"):
        name, mine = str(record.relative_to(place)), _record(record)
        if mine is None:  # begun, or torn: it describes no mask
            continue
        mask = record.with_name(json.loads(record.read_text())["mask"])
        ways = [way for way, found in wanted.items() if found.get(name) == mine]
        if not ways:
            bad.append(f"{name}: of no prompts that were given")
        elif not mask.is_file() or _digest(mask) != wanted[ways[0]][str(mask.relative_to(place))]:
            bad.append(f"{name}: of {ways[0]}, and the mask is another's")
    return bad


def _predict_one(stock: Path, place: Path, way: str) -> list[str]:
    (place / "masks").mkdir(exist_ok=True)
    prompts = str(stock / f"one-{way}.json")
    scan = str(stock / "data" / "set" / "a.nii.gz")
    return ["predict", scan, "--prompts", prompts, "--model", "general", "--out", "masks/a.nii.gz"]


def _predict_many(stock: Path, place: Path, way: str) -> list[str]:
    prompts = str(stock / f"many-{way}.json")
    return [
        "predict",
        str(stock / "data" / "set"),
        "--prompts",
        prompts,
        "--model",
        "general",
        "--out",
        "masks",
    ]


def _evaluate(stock: Path, place: Path, way: str) -> list[str]:
    for kind in ("images", "labels"):
        (place / "set" / kind).mkdir(parents=True, exist_ok=True)
    for case in "abc":
        kinds = (("images", f"{case}.nii.gz"), ("labels", f"{case}_label.nii.gz"))
        for kind, name in kinds:
            target = place / "set" / kind / f"{case}.nii.gz"
            source = stock / "data" / "set" / name
            if kind == "labels" and case == "b" and way == "B":
                source = stock / "data" / "set" / "c_label.nii.gz"
            if not target.is_file() or target.read_bytes() != source.read_bytes():
                shutil.copyfile(source, target)
    challenge = {
        "name": "drawn",
        "sets": [{"layout": "folders", "root": "set"}],
        "labels": {"ball": [1], "box": [2]},
        "protocol": "click",
    }
    (place / "challenge.yaml").write_text(yaml.safe_dump(challenge))
    return ["evaluate", "challenge.yaml", "--data", ".", "--system", "general", "--out", "result"]


def _training(verb: str) -> Callable[[Path, Path, str], list[str]]:
    return lambda stock, place, way: [verb, str(stock / f"{verb}.yaml")]


def _experts_add(stock: Path, place: Path, way: str) -> list[str]:
    return ["experts", "add", str(stock / "experts" / "new")]


def _convert(stock: Path, place: Path, way: str) -> list[str]:
    return ["convert", str(stock / f"{way}.pth"), "--id", "mine", "--force"]


def _masks(place: Path) -> Found:
    """Masks and labels by their bytes, records without times and command."""
    found = {}
    for path in sorted(p for p in (place / "masks").iterdir() if p.is_file()):
        record = path.name.endswith(".run.json")
        found[str(path.relative_to(place))] = str(_record(path)) if record else _digest(path)
    return found


def _figures(place: Path) -> Found:
    """Rows and summary, and that the report is there."""
    result = read_result(place / "result")
    rows = [row.model_dump(mode="json", exclude={"seconds"}) for row in result.rows]
    summary = json.dumps(_untimed(result.result.model_dump(mode="json")["summary"]), sort_keys=True)
    names = sorted(p.name for p in (place / "result").iterdir() if not _is_left(p.name))
    return {"rows": json.dumps(rows), "summary": summary, "files": json.dumps(names)}


def _trained(place: Path) -> Found:
    """Weights, banks and curves by their bytes, card and log without times."""
    run, found = place / "run", {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = str(path.relative_to(place))
        if path.name == "card.json":
            found[name] = json.dumps(_untimed(json.loads(path.read_text())), sort_keys=True)
        elif path.name == "log.jsonl":
            found[name] = json.dumps([_untimed(json.loads(line)) for line in path.read_text().splitlines()])
        elif path.name in ("model.safetensors", "best.safetensors", "bank.safetensors", "curve.csv"):
            found[name] = _digest(path)
        else:
            found[name] = "there"
    return found


def _placed(place: Path) -> Found:
    """All that is in the user's folder."""
    folder = place / "cache" / "checkpoints"
    return {str(p.relative_to(place)): _digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


VERBS = (
    Verb("predict one", ("A", "B"), _predict_one, _masks),
    Verb("predict many", ("A", "B"), _predict_many, _masks),
    Verb("evaluate", ("A", "B"), _evaluate, _figures),
    Verb("finetune", ("A",), _training("finetune"), _trained),
    Verb("train-gate", ("A",), _training("train-gate"), _trained),
    Verb("pretrain", ("A",), _training("pretrain"), _trained),
    Verb("experts add", ("A",), _experts_add, _placed, (0, 1)),  # 1 where it is there already
    Verb("convert", ("A", "B"), _convert, _placed),
)


def _record(path: Path) -> str | None:
    """A finished run's record without what the clock and the command line write."""
    timed = {"finished", "seconds", "command", "machine"}
    try:
        record = json.loads(path.read_text())
    except ValueError:
        return None
    kept = {k: v for k, v in record.items() if k not in timed}
    return json.dumps(_untimed(kept), sort_keys=True) if "finished" in record else None


def _untimed(record: Any) -> Any:
    """Nested fields without times and rates."""
    if isinstance(record, dict):
        timed = ("seconds", "hours", "samples_per_s", "timings_ms", "latency_ms")
        return {k: _untimed(v) for k, v in record.items() if not k.startswith(timed)}
    return [_untimed(v) for v in record] if isinstance(record, list) else record


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_left(name: str) -> bool:
    return name.startswith(LEFTOVERS) or name.endswith(LEFTOVERS)
