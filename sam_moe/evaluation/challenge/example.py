"""A challenge to begin with, as `sam-moe evaluate --example` prints it."""

SHORTEST = (
    "The shortest is: {name: mine, sets: [{layout: folders, root: .}], labels: {liver: [1]}}, for images/ "
    "and labels/ with files of the same names."
)

EXAMPLE = """\
# A challenge: where cases are, what their labels mean, how systems are prompted and scored.
#   sam-moe evaluate challenge.yaml --system small-moe --out DIR

name: mine
title: Livers and kidneys of my hospital

# Each set is a folder, relative to --data DIR, else to $SAM_MOE_DATA, else to this file; one that begins with
# a dot, always to this file.
sets:
  - layout: folders       # images/ and labels/ with files of the same names; or nnunet, msd, sppin, npz
    root: .
    # images: imagesTs    # other names of the two folders
    # truths: labelsTs
    # part: test          # with splits, or where the layout knows parts
    # splits: splits.json # {"sets": {"FOLDER": {"test": ["case_1", "case_2"]}}}, relative to this file
    # cases: [case_1]     # only these
    # patient: "^([^_]+)" # the patient in a case's name; else each case is a patient of its own
    # strata: {time: "_(pre|post)"}   # groups by a case's name
    # fixed: {modality: MR}           # groups that all cases share

# Structures and their values in the label maps; several values are joined.
labels:
  liver: [1]
  kidneys: [2, 3]

protocol: clicks          # click, clicks, box, flat, cvpr2025, …; several: clicks,box
nsd_tolerance_mm: 2.0
least_voxels: 1           # smaller targets are left out
seed: 0
"""
