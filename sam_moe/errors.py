"""The errors we foresee: each message names what is wrong, what was expected and what to do."""


class SamMoeError(Exception):
    """Base of all errors that the package foresees: one line on what is wrong and what to do.

    The command line prints it; a caller catches it, or one of its kinds below.
    """


class FileError(SamMoeError):
    """A file that cannot be read or written as what it claims to be."""


class ValuesError(FileError):
    """A file whose voxels are NaN, infinite or otherwise no numbers to work with."""


class GeometryError(SamMoeError):
    """Grids, shapes or affines that do not belong together."""


class PromptError(SamMoeError):
    """A prompt that no model could answer: outside the volume, empty or malformed."""


class CardError(SamMoeError):
    """A card of a backbone, expert or gate that is missing, malformed or does not fit its weights."""


class WeightsError(SamMoeError):
    """Weights that do not fit the model, are not finite or not those of their checksum."""


class ConfigError(SamMoeError):
    """Settings or a recipe that cannot be followed as written."""
