"""Sweeps: what one job of a Hydra multirun does, and the count at the end."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from emosae.artifacts import RunFolder, read_json
from emosae.errors import UserError

__all__ = ["job", "new_folder", "summary"]

log = logging.getLogger(__name__)


def new_folder(root: str, stage: str) -> Path:
    """Name a sweep's folder; microseconds keep two apart."""
    return Path(root) / "multirun" / f"{stage}_{datetime.now().strftime('%Y-%m-%d_%H-%M-%S_%f')}"


def job(composed: Any) -> None:
    """Run one job of a sweep in Hydra's folder for it.

    A job that fails says why in its status file and returns, so that the others go on; `summary` counts it.
    """
    from hydra.core.hydra_config import HydraConfig

    from emosae import pipeline
    from emosae.config import as_dict, to_config

    runtime = HydraConfig.get()
    folder = Path(runtime.runtime.output_dir)
    config = to_config(composed)
    about = {"stage": config.stage, "overrides": list(runtime.overrides.task), "config": as_dict(config)}
    try:
        with RunFolder(folder, about, keep=True) as run:
            pipeline.run(config, config.stage, run)
    except (UserError, OSError) as error:
        log.warning("%s: %s", folder.name, " ".join(str(error).split()))
    except Exception:
        log.exception("%s met a fault of emosae's own", folder.name)


def summary(folder: Path) -> tuple[list[str], int]:
    """Count the jobs of a sweep by their status files.

    Args:
        folder: The sweep's folder, one folder a job.

    Returns:
        The lines to print, and how many jobs are not done.
    """
    jobs = sorted(path.parent for path in folder.glob("*/status.json"))
    statuses = {path: read_json(path / "status.json") for path in jobs}
    lines = [f"{path.name}: {status['status']}{_why(status)}" for path, status in statuses.items()]
    failed = sum(status["status"] != "done" for status in statuses.values())
    lines.append(f"{len(jobs) - failed} of {len(jobs)} jobs done, {failed} not done")
    lines.append(f"sweep: {folder}")
    return lines, failed


def _why(status: dict[str, Any]) -> str:
    return f" ({status['error']})" if status.get("error") else ""
