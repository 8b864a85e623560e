"""Which targets the table of `weights.py` is made of, and in which of its blocks each one stands.

Read from the descriptions of the sets, not from the scans, so that what is left out is counted before
anything runs.
"""

from collections import Counter
from dataclasses import dataclass
from zlib import crc32

from benchmarks.cases import LEAST_VOXELS, described, expert_labels, label_names, part_of
from sam_moe.cases.dataset import LabelledCase

GENERAL = "general structures"
OTHER = "other learnt structures"
ZERO_SHOT = "labels left out of training"
UNSEEN = "sets never seen"

# What the bars are for: these structures of these sets, left and right pooled.
GENERAL_SETS = ("chaos_abdomen_mr", "openkbp_headneck_ct")
GENERAL_NAMES = {
    "liver": "liver",
    "kidney_right": "kidneys",
    "kidney_left": "kidneys",
    "spleen": "spleen",
    "brainstem": "brainstem",
    "parotid_left": "parotids",
    "parotid_right": "parotids",
    "larynx": "larynx",
    "mandible": "mandible",
}

BLOCKS = {
    GENERAL: "CHAOS MR (liver, kidneys, spleen) and OpenKBP CT; drawn by hand; left and right pooled",
    OTHER: "one scan each; * marks labels that a program made (FreeSurfer-like, TotalSegmentator)",
    ZERO_SHOT: "the experts' tasks, never trained on; hippocampus is its two parts together",
    UNSEEN: "pyradiomics_tumours, by hand; totalsegmentator_subjects_ct, semi-automatic and reviewed",
}

_AUTOMATIC = ("brain_structures_mr", "totalsegmentator_examples")
_UNSEEN_SETS = ("pyradiomics_tumours", "totalsegmentator_subjects_ct")
_VERTEBRA_SET = "tptbox_vertebra_ct_mr"
_HIPPOCAMPUS_PATIENTS = 12
_SUBJECT_STRUCTURES, _SUBJECT_VOXELS = 12, 200


@dataclass(frozen=True)
class Target:
    """One structure of one scan, not yet read: `values` are its labels, `structure` its row in the table."""

    block: str
    set: str
    case: str
    patient: str
    label: str
    structure: str
    values: tuple[int, ...]
    voxels: int

    @property
    def seed(self) -> int:
        """The same number for the same target, whatever else is computed and in which order."""
        return crc32(f"{self.set}/{self.case}/{self.label}".encode())


def targets(part: str) -> tuple[list[Target], Counter[str]]:
    """All targets of a part, and how many were left out for which reason."""
    chosen: list[Target] = []
    left_out: Counter[str] = Counter()
    for name, cases in part_of(part).items():
        if name == "msd_hippocampus_mr":
            left_out[f"hippocampus of patients after the first {_HIPPOCAMPUS_PATIENTS}"] += len(
                cases[_HIPPOCAMPUS_PATIENTS:]
            )
            cases = cases[:_HIPPOCAMPUS_PATIENTS]
        for case in cases:
            found = [target for target in _of_case(name, case) if target.voxels]
            large = [target for target in found if target.voxels >= LEAST_VOXELS]
            left_out[f"smaller than {LEAST_VOXELS} voxels"] += len(found) - len(large)
            planning = [target for target in large if target.label != "ptv70_target"]
            left_out["planning target volume, no structure"] += len(large) - len(planning)
            kept = _spread(planning) if name == "totalsegmentator_subjects_ct" else planning
            left_out[
                f"totalsegmentator_subjects_ct beyond {_SUBJECT_STRUCTURES} structures spread over sizes"
            ] += len(planning) - len(kept)
            chosen += kept
    return chosen, +left_out


def first_patients(chosen: list[Target], count: int) -> list[Target]:
    """The targets of the first so many patients of each set."""
    patients: dict[str, dict[str, None]] = {}
    for target in chosen:
        patients.setdefault(target.set, {})[target.patient] = None
    return [t for t in chosen if t.patient in list(patients[t.set])[:count]]


def _of_case(name: str, case: LabelledCase) -> list[Target]:
    if case.image is None:
        return []
    details = described(name)[case.id]
    sizes = {int(value): voxels for value, voxels in details.get("label_voxels", {}).items()}
    labels: dict[str, tuple[int, ...]] = {}
    if name == "msd_hippocampus_mr":
        labels["hippocampus"] = (1, 2)
    elif name == _VERTEBRA_SET:
        labels = {_vertebra(value): (value,) for value in sizes}
    else:
        labels = {label: (value,) for value, label in label_names(case).items()}
    patient = case.patient or case.id
    modality = str(details.get("modality", "")).split(" ")[0]
    return [
        Target(
            *(_block(name, label), name, case.id, patient, label),
            structure=_row(name, case.id, label, modality),
            values=values,
            voxels=sum(sizes.get(value, 0) for value in values),
        )
        for label, values in labels.items()
    ]


def _block(name: str, label: str) -> str:
    if name in _UNSEEN_SETS:
        return UNSEEN
    if label in expert_labels():
        return ZERO_SHOT
    return GENERAL if name in GENERAL_SETS and label in GENERAL_NAMES else OTHER


def _row(name: str, case: str, label: str, modality: str) -> str:
    """The name under which targets are averaged."""
    block = _block(name, label)
    if block == GENERAL:
        return GENERAL_NAMES[label]
    if name == "pyradiomics_tumours":
        return f"{case.rstrip('0123456789')} tumour"
    plain = label.split(" ")[0] if name == _VERTEBRA_SET else label
    plain = plain.removesuffix("_left").removesuffix("_right").replace("_", " ")
    if label == "tumour_gtv":
        return f"soft-tissue tumour {modality}"
    return plain + (f" {modality}" if block == ZERO_SHOT else "") + "*" * (name in _AUTOMATIC)


def _vertebra(value: int) -> str:
    """TPTBox: an instance's number, from 100 on its disc, from 200 on its endplate."""
    return f"{('vertebra', 'disc', 'endplate')[value // 100]} {value % 100}"


def _spread(found: list[Target]) -> list[Target]:
    """So many structures, evenly spaced in the order of size."""
    large = sorted((t for t in found if t.voxels >= _SUBJECT_VOXELS), key=lambda t: (t.voxels, t.label))
    count = min(_SUBJECT_STRUCTURES, len(large))
    return [large[round(n * (len(large) - 1) / max(count - 1, 1))] for n in range(count)]
