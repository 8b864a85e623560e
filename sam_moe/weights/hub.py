"""Public files from the Hugging Face hub: fetched by its own client, trusted only by their checksum."""

import logging
from pathlib import Path

from huggingface_hub import hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

from sam_moe.errors import WeightsError
from sam_moe.files import sha256_of

logger = logging.getLogger(__name__)


def fetch(repo_id: str, filename: str, revision: str, sha256: str) -> Path:
    """Download a public file, or take it from the hub's cache; its SHA-256 is checked before it is opened.

    The client's settings hold: HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, proxies, its progress bar.

    Raises:
        WeightsError: where it cannot be fetched, saying how to do that by hand, or is not the file expected.
    """
    url = hf_hub_url(repo_id, filename, revision=revision)
    logger.info("fetching %s, unless the hub's cache has it", url)
    try:
        path = Path(hf_hub_download(repo_id, filename, revision=revision))
    except Exception as error:  # its HTTP library's errors come through too, and that library changes
        raise WeightsError(
            f"{url}: cannot be fetched ({_reason(error)}). Check the connection and HF_ENDPOINT; or download "
            f"it by hand on any machine and run `sam-moe convert {Path(filename).name}` here: it is "
            "recognised by its checksum, and from then on no network is needed."
        ) from error
    found = sha256_of(path, WeightsError)
    if found != sha256:
        raise WeightsError(
            f"{path}: has SHA-256 {found}, expected {sha256}. It was not opened. The download was "
            f"damaged or the file on the hub replaced: remove it ({path.resolve()}) to have it fetched again."
        )
    logger.info("%s is the file expected (SHA-256 %s)", path, found)
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError) or (
        isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
    ):
        status = getattr(getattr(error, "response", None), "status_code", None)
        return "the hub has no such file: 404" if status == 404 else f"the hub answered {status}"
    cause = error.__cause__ or error
    return str(cause).strip().partition("\n")[0].rstrip(".") or type(cause).__name__
