"""The report: one HTML file and its figures, drawn from a run's folder alone."""

from __future__ import annotations

from pathlib import Path

__all__ = ["draw"]


def draw(run: Path) -> Path:
    """Draw a run's report and figures from its tables, without the model.

    Writes `report.html`, one file that needs no network, and `figures/*.svg` and `figures/*.png`. The same
    folder gives the same bytes. A stage that was not run is named together with the command that adds it.

    Args:
        run: A run's folder, with manifest.json and tables/.

    Returns:
        The path of report.html.

    Raises:
        MissingFileError: There is no such folder, or it holds no manifest.json.
        UserError: The manifest or a table cannot be read.
    """
    from emosae.report.html import draw_report

    return draw_report(Path(run))
