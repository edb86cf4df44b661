"""What the report calls the ways of steering and the sets of features, and what each is to the study."""

from __future__ import annotations

from emosae.report.bars import Role
from emosae.report.names import language_name
from emosae.report.text import words_of

__all__ = ["METHODS", "method_name", "method_role", "set_name"]

METHODS = {
    "passage_features": ("SAE features, by passages", "features"),
    "word_features": ("SAE features, by words", "features"),
    "decoder_sum": ("sum of decoder rows", "subset"),
    "diff_mean": ("DiffMean", "baseline"),
    "prompt": ("prompt instruction", "baseline"),
    "random_features": ("random features", "control"),
    "random_direction": ("random direction", "control"),
    "unsteered": ("unsteered", "control"),
}
"""Name and role of each method, in the report's order."""


def method_name(method: str) -> str:
    """Return a method's name, as it is where we know none."""
    return METHODS[method][0] if method in METHODS else words_of(method)


def method_role(method: str) -> Role:
    """Tell what a method is to the study."""
    return METHODS[method][1] if method in METHODS else "baseline"


def set_name(name: str) -> str:
    """Return what a set of features is called: its languages, or what it is.

    Example:
        >>> set_name("en_only"), set_name("zh"), set_name("universal")
        ('English alone', 'chosen in Chinese', 'universal')
    """
    if name in {"universal", "control"}:
        return "matched control" if name == "control" else name
    if name.endswith("_only"):
        return f"{language_name(name.removesuffix('_only'))} alone"
    return f"chosen in {language_name(name)}"
