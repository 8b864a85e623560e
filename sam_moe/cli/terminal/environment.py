"""What libraries stumble over in an environment: set right before a verb imports them."""

import getpass
import logging
import os


def set_right() -> None:
    """Let matplotlib draw into files, and let users work who have no name and no home folder."""
    # A notebook hands the name of its own backend to all that it starts; matplotlib cannot be imported with a
    # name that it does not know.
    os.environ["MPLBACKEND"] = "agg"
    # Where it may not keep its list of fonts, it makes a folder for it and warns.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's random user: torch and monai ask for the name
        os.environ["LOGNAME"] = str(os.getuid()) if hasattr(os, "getuid") else "user"
