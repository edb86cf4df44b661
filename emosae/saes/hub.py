"""The Hugging Face hub: fetching a SAELens folder, and saying plainly why something cannot be fetched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from emosae.errors import UserError

__all__ = ["download_folder", "plain_hub_errors"]


def download_folder(repo_id: str, path: str, *, revision: str | None) -> Path:
    """Fetch the config and weights of one SAE of a repository.

    Args:
        repo_id: The repository, `owner/name`.
        path: The SAE's folder in it; empty for the repository's root.
        revision: Branch, tag or commit; None is the main branch.

    Returns:
        The local folder, in huggingface_hub's own cache.

    Raises:
        UserError: There is no such repository, revision or folder, no permission, or no network.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    from emosae.saes.folder import CFG_FILE, WEIGHTS_FILES

    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    with plain_hub_errors(f"{repo_id}/{prefix}{CFG_FILE}"):
        folder = Path(hf_hub_download(repo_id, f"{prefix}{CFG_FILE}", revision=revision)).parent
    for name in WEIGHTS_FILES:
        try:
            with plain_hub_errors(f"{repo_id}/{prefix}{name}"):
                hf_hub_download(repo_id, f"{prefix}{name}", revision=revision)
            return folder
        except UserError as error:
            absent = isinstance(error.__cause__, EntryNotFoundError)
            if not absent or isinstance(error.__cause__, LocalEntryNotFoundError):
                raise
    raise UserError(
        f"The folder {path!r} of {repo_id} holds none of {', '.join(WEIGHTS_FILES)}, so it is not in "
        "SAELens' layout. If SAELens' registry has it, load it by its release and sae_id."
    )


@contextlib.contextmanager
def plain_hub_errors(what: str) -> Iterator[None]:
    """Turn the hub's and the network's errors into sentences about `what`."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{what} may be fetched only after accepting its terms on its Hugging Face page. "
            "Accept them there, then log in with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"There is no Hugging Face repository for {what}, or it is private. Check its name, or log in "
            "with `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"The revision that was asked for does not exist for {what}. Check it on its page."
        ) from error
    except errors.HFValidationError as error:
        raise UserError(f"{what} is not a Hugging Face name ({error}). Give owner/name.") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise UserError(
            f"{what} is not on this machine and cannot be fetched now: there is no connection to Hugging "
            "Face, or HF_HUB_OFFLINE is set. Load it once while connected; after that emosae needs no "
            "network for it."
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"{what} does not exist on Hugging Face. Check the path on the repository's page."
        ) from error
    except (errors.HfHubHTTPError, ConnectionError, TimeoutError) as error:
        raise UserError(
            f"{what} could not be fetched: {error}. Check the connection and try again."
        ) from error
    except OSError as error:
        if not type(error).__module__.startswith(("requests", "urllib3", "httpx")):
            raise
        raise UserError(
            f"{what} could not be fetched: {error}. Check the connection and try again."
        ) from error
