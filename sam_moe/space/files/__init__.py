"""Reading and writing volumes safely: what cannot be read rightly is refused with one clear line.

NIfTI, NRRD, MHA and DICOM series in; NIfTI, NRRD and MHA out.
"""

from sam_moe.space.files.beside import labels_beside, labels_text, names_beside, record_beside, suffix_of
from sam_moe.space.files.dicom import holds_dicom
from sam_moe.space.files.header import Header
from sam_moe.space.files.labels import read_label_map, whole_numbers
from sam_moe.space.files.reading import fingerprint, read, read_header
from sam_moe.space.files.writing import write_mask, write_volume
from sam_moe.space.grid import same_grid

__all__ = [
    "Header",
    "fingerprint",
    "holds_dicom",
    "labels_beside",
    "labels_text",
    "names_beside",
    "read",
    "read_header",
    "read_label_map",
    "record_beside",
    "same_grid",
    "suffix_of",
    "whole_numbers",
    "write_mask",
    "write_volume",
]
