"""The errors that a caller can mend: one plain sentence, then the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["CoverageError", "MissingFileError", "UserError", "unknown_name"]


class UserError(ValueError):
    """Something the caller can mend; the message says what is wrong and what to do next."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that was asked for is not there."""

    # FileNotFoundError's own __str__ expects an errno triple; the sentence is the message.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    @classmethod
    def at(cls, what: str, path: str | Path, next_step: str) -> MissingFileError:
        """Build the error for `what`, expected at `path`."""
        return cls(f"{what} is not at {str(path)!r}. {next_step}")


class CoverageError(UserError):
    """Too many words that the tokenizer cannot represent for a study to mean anything."""


def unknown_name(kind: str, name: str, options: Iterable[str], hint: str = "") -> UserError:
    """Build the error for a name that is none of `options`: the nearest one first, then all of them.

    Args:
        kind: What the name names, e.g. `"concept set"`.
        name: What the caller wrote.
        options: The names that exist.
        hint: A next step of its own; without it the sentence ends with the options.

    Returns:
        The error, to be raised by the caller.
    """
    known = sorted(str(option) for option in options)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(known[:30]) + (f", and {len(known) - 30} more" if len(known) > 30 else "")
    return UserError(
        f"There is no {kind} {name!r}.{guess} There are: {shown or 'none'}.{' ' + hint if hint else ''}"
    )
