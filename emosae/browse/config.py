"""What the feature browser is asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from emosae.errors import UserError, unknown_name

__all__ = ["BrowseConfig"]

_SCORED = ("selected", "all", "none")
_ONE_FILE = ("all", "selected")


@dataclass(kw_only=True, slots=True)
class BrowseConfig:
    """Where the contexts come from, and what each card shows."""

    corpus: str | None = None
    """Text that is read: `phantom` (its own), a .txt, .jsonl or .parquet file, or the name of a Hugging Face data
    set; None takes the phantom's own text for the phantom."""

    column: str = "text"
    """Field or column of the corpus that holds the text."""

    subset: str | None = None
    """Configuration of a Hugging Face data set, where it has several."""

    split: str = "train"
    """Split of a Hugging Face data set."""

    tokens: int | None = 1_000_000
    """Stop once as many tokens were read; null reads all."""

    run: str | None = None
    """Folder of an earlier run whose selection and ratings are shown; null selects anew and shows no ratings."""

    site: str | None = None
    """The one site to browse; null browses all that the SAEs read."""

    contexts: int = 10
    """Top contexts of each feature, one a text."""

    examples: int = 4
    """Contexts in each of the four quantile groups."""

    context_tokens: int = 24
    """Tokens of a context, the one that fires among them."""

    window: int = 512
    """Tokens that are read at a time; longer texts are cut, and lose nothing."""

    logit_lens: int = 10
    """Promoted and suppressed tokens of each feature; 0 leaves the logit lens out."""

    neighbours: int = 8
    """Features with the most similar decoder rows; 0 leaves them out."""

    output_score: str = "selected"
    """Which features get an output score: selected (of some emotion), all or none."""

    one_file: str | None = None
    """Write one file in place of a folder, with the cards of `all` features, or of those `selected` for some emotion
    where there are too many; null writes the folder."""

    memory_gb: float = 4.0
    """What the kept contexts and counts may take; more is refused before the model runs."""

    def __post_init__(self) -> None:
        if self.output_score not in _SCORED:
            raise unknown_name("choice for browse.output_score", str(self.output_score), _SCORED)
        if self.one_file is not None and self.one_file not in _ONE_FILE:
            raise unknown_name("choice for browse.one_file", str(self.one_file), _ONE_FILE)
        defaults = {field.name: field.default for field in fields(self)}
        for name, least in (
            ("contexts", 1),
            ("examples", 0),
            ("context_tokens", 1),
            ("window", 1),
            ("logit_lens", 0),
            ("neighbours", 0),
        ):
            if getattr(self, name) < least:
                raise UserError(
                    f"browse.{name} must be at least {least}, got {getattr(self, name)!r}. "
                    f"The default is {defaults[name]}."
                )
        if self.tokens is not None and self.tokens < 1:
            raise UserError(f"browse.tokens must be at least 1, got {self.tokens!r}. null reads all.")
        if self.context_tokens > 127:
            raise UserError(
                f"browse.context_tokens must be at most 127, got {self.context_tokens}. The default is 24."
            )
