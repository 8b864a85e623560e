"""Grand-challenge containers: what an algorithm and an evaluation are given, and must leave behind.

An algorithm finds each series in `/input/images/<path>/<uuid>.mha`, and writes its answer to
`/output/images/<path>/<name>.mha`. An evaluation finds `/input/predictions.json`, one job a case, and the
answers in `/input/<job>/output/images/<path>/`; it writes `/output/metrics.json` (`judging.py`). Read in
SPPIN 2023's example submission and evaluation script, whose slugs and paths are the defaults; the folders can
be given, so that all of it runs without a container.
"""

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import Tensor

from sam_moe.cases.reading import read_image
from sam_moe.cases.source import stem_of, volumes_in
from sam_moe.config import Settings
from sam_moe.errors import ConfigError, FileError
from sam_moe.files import replace_text
from sam_moe.shapes import Shaped
from sam_moe.space.files import write_mask, write_volume
from sam_moe.space.grid import Grid

INPUT, OUTPUT = Path("/input"), Path("/output")
PREDICTIONS, METRICS = "predictions.json", "metrics.json"


class Interface(Settings):
    """One input or output: the name grand-challenge knows it by, and its folder."""

    slug: str = Field(min_length=1, description="Such as pediatric-abdominal-mri-t1.")
    path: str = Field(min_length=1, description="Relative to /input or /output: images/abdominal-mr_t1.")


class Interfaces(Settings):
    """What goes in, by the challenge's names of series, and what comes out; SPPIN 2023's by default."""

    inputs: dict[str, Interface] = Field(
        {
            "T1": Interface(slug="pediatric-abdominal-mri-t1", path="images/abdominal-mr_t1"),
            "T2": Interface(slug="pediatric-abdominal-mri-t2", path="images/abdominal-mr_t2"),
            "b0": Interface(slug="pediatric-abdominal-mri-dwi-b0", path="images/abdominal-mr_b0"),
            "b100": Interface(slug="pediatric-abdominal-mri-dwi-b100", path="images/abdominal-mr_b100"),
        },
        min_length=1,
        description="Series by name; the first one's file names the case.",
    )
    output: Interface = Field(
        Interface(
            slug="mri-segmentation-of-pediatric-neuroblastoma", path="images/neuroblastoma-segmentation"
        ),
        description="The answer.",
    )
    written: str = Field("overlay.mha", description="The file that an algorithm writes.")
    id_parts: tuple[int, ...] = Field(
        (1, 4),
        description="Which parts of the first input's file name, between underscores, make a case's id; "
        "empty for the whole name without its suffix.",
    )


SPPIN = Interfaces()


@dataclass(frozen=True)
class Job:
    """One answer to be judged: its case, and where its mask should be; None where the job has none."""

    pk: str
    case: str
    mask: Path | None
    reason: str = ""


def interfaces_for(series: Sequence[str]) -> Interfaces:
    """SPPIN's for its four series, else one of the series' own names each, and whole file names as cases."""
    if set(series) == set(SPPIN.inputs):
        return SPPIN
    return Interfaces(
        inputs={name: Interface(slug=name.lower(), path=f"images/{name.lower()}") for name in series},
        output=Interface(slug="segmentation", path="images/segmentation"),
        id_parts=(),
    )


def read_inputs(folder: Path = INPUT, interfaces: Interfaces = SPPIN) -> dict[str, Path]:
    """The file of each series that an algorithm is given.

    Raises:
        FileError: where a series has no file, or several.
    """
    return {name: _only_file(folder / interface.path) for name, interface in interfaces.inputs.items()}


def write_output(
    mask: Shaped[Tensor, "i j k"], grid: Grid, folder: Path = OUTPUT, interfaces: Interfaces = SPPIN
) -> Path:
    """Write an algorithm's answer, a mask on the first series' grid; gives its path.

    Raises:
        FileError: where it cannot be written.
    """
    path = folder / interfaces.output.path / interfaces.written
    _make(path.parent)
    write_mask(path, mask, grid)
    return path


def write_inputs(series: Mapping[str, Path], folder: Path, interfaces: Interfaces = SPPIN) -> None:
    """Lay series out as an algorithm's container finds them, each an .mha under a random name.

    Raises:
        FileError: for a series that is missing or cannot be read.
    """
    missing = sorted(interfaces.inputs.keys() - series.keys())
    if missing:
        raise FileError(
            f"no file of the series {missing[0]}. Expected one for each of {[*interfaces.inputs]}."
        )
    for name, interface in interfaces.inputs.items():
        _make(folder / interface.path)
        to = folder / interface.path / f"{uuid.uuid4()}.mha"
        if series[name].suffix == ".mha":
            shutil.copyfile(series[name], to)
        else:
            write_volume(to, read_image(series[name]))


def write_jobs(
    answers: Mapping[str, tuple[str, Path | None]], folder: Path, interfaces: Interfaces = SPPIN
) -> None:
    """Lay answers out as an evaluation's container finds them: by case, the first input's name and the mask.

    A case whose mask is None has a job without a file, as after a crash.

    Raises:
        FileError: where files cannot be written.
    """
    jobs = []
    first = next(iter(interfaces.inputs))
    for number, (name, mask) in enumerate(answers.values()):
        pk = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{number} {name}"))
        inputs = [
            {
                "interface": {"slug": interface.slug, "relative_path": interface.path},
                "image": {"name": name if series == first else f"{series}.mha"},
            }
            for series, interface in interfaces.inputs.items()
        ]
        output = {"slug": interfaces.output.slug, "relative_path": interfaces.output.path}
        outputs = [{"interface": output, "image": {"name": interfaces.written}}]
        jobs.append({"pk": pk, "inputs": inputs, "outputs": outputs})
        where = folder / pk / "output" / interfaces.output.path
        _make(where)
        if mask is not None:
            shutil.copyfile(mask, where / interfaces.written)
    replace_text(folder / PREDICTIONS, json.dumps(jobs, indent=2) + "\n")


def read_jobs(folder: Path = INPUT, interfaces: Interfaces = SPPIN) -> list[Job]:
    """The jobs of `predictions.json`, in its order; a job without a mask has the reason.

    Raises:
        ConfigError: for a file that is no such list, or two jobs of one case.
    """
    path = folder / PREDICTIONS
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as JSON: {error}. Expected a list of jobs.") from error
    if not isinstance(listed, list):
        raise ConfigError(f"{path}: expected a list of jobs, found a {type(listed).__name__}.")
    jobs = [_job(folder, number, entry, interfaces) for number, entry in enumerate(listed)]
    twice = [case for case, count in Counter(job.case for job in jobs).items() if count > 1]
    if twice:
        raise ConfigError(
            f"{path}: the case {min(twice)} has two jobs. Expected one a case; remove the other."
        )
    return jobs


def case_of(name: str, interfaces: Interfaces = SPPIN) -> str:
    """The case's id out of the first input's file name, as SPPIN's evaluation makes it.

    >>> case_of("PT_41_MR_T1_2.mha")
    '41_2'
    """
    parts = name.split("_")
    if not interfaces.id_parts:
        return stem_of(Path(name)) or name
    if max(interfaces.id_parts) >= len(parts):
        return name.split(".")[0]
    return "_".join(parts[number].split(".")[0] for number in interfaces.id_parts)


def _job(folder: Path, number: int, entry: Any, interfaces: Interfaces) -> Job:
    first = next(iter(interfaces.inputs.values()))
    try:
        pk = str(entry["pk"])
        image = next(i["image"]["name"] for i in entry["inputs"] if i["interface"]["slug"] == first.slug)
        where = [
            o["interface"]["relative_path"]
            for o in entry.get("outputs", [])
            if o["interface"]["slug"] == interfaces.output.slug
        ]
    except (AttributeError, KeyError, TypeError, StopIteration) as error:
        raise ConfigError(
            f"{folder / PREDICTIONS}: job {number}: expected 'pk', 'inputs' with the slug {first.slug}, and "
            f"'outputs', each with its 'interface' ({type(error).__name__}: {error})."
        ) from error
    if not where:
        return Job(
            pk, case_of(str(image), interfaces), None, f"the job has no output {interfaces.output.slug}"
        )
    inside = folder / pk / "output" / str(where[0])
    if not inside.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{folder / PREDICTIONS}: job {number}: {inside} lies outside {folder}.")
    try:
        return Job(pk, case_of(str(image), interfaces), _only_file(inside))
    except FileError as error:
        reason = str(error).replace(f"{folder}/", "")  # rows travel, a machine's folders do not
        return Job(pk, case_of(str(image), interfaces), None, reason)


def _only_file(folder: Path) -> Path:
    files = list(volumes_in(folder).values()) if folder.is_dir() else []
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        raise FileError(f"{folder}: expected one image, found {names}. Check what the container was given.")
    return files[0]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{folder}: cannot be made ({error.strerror}). Expected a place to write to."
        ) from error
