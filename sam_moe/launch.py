"""How this process was started: alone, or as one of several by `torchrun` or `accelerate launch`."""

import os

from sam_moe.errors import ConfigError

# What a launcher sets beside WORLD_SIZE, and without which the processes cannot find each other.
_OF_LAUNCHERS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def world_size() -> int:
    """How many processes a launcher started, from WORLD_SIZE; 1 where it is not set or empty.

    Raises:
        ConfigError: for anything but a whole number from 1.
    """
    return _whole("WORLD_SIZE", 1, least=1)


def check_launched() -> None:
    """Refuse a WORLD_SIZE of several processes that no launcher set: this one would do a part of it.

    Raises:
        ConfigError: naming the variables that a launcher sets and that are missing.
    """
    missing = [name for name in _OF_LAUNCHERS if not os.environ.get(name)]
    if world_size() > 1 and missing:
        raise ConfigError(
            f"WORLD_SIZE is {world_size()}, but {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            "not set: no launcher started this process. Unset WORLD_SIZE, or start with torchrun or "
            "accelerate launch."
        )


def local_world_size() -> int:
    """How many of them run on this machine, from LOCAL_WORLD_SIZE; 1 where it is not set or empty.

    Raises:
        ConfigError: for anything but a whole number from 1.
    """
    return _whole("LOCAL_WORLD_SIZE", 1, least=1)


def rank() -> int:
    """Number of this process, from RANK, 0 where it is not set or empty; number 0 reports for all.

    Raises:
        ConfigError: for anything but a whole number from 0.
    """
    return _whole("RANK", 0, least=0)


def _whole(name: str, default: int, least: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise ConfigError(
            f"the environment variable {name} is {text!r}. Expected a whole number from {least}, as "
            "launchers set it; unset it to run one process."
        )
    return number
