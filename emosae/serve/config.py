"""What the steering desk is asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from emosae.errors import UserError

__all__ = ["ServeConfig"]


@dataclass(kw_only=True, slots=True)
class ServeConfig:
    """Where the desk listens, what it shows beside itself, and how much it takes."""

    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own (127.0.0.1, localhost, ::1) needs a token."""

    port: int = 8765
    """Port to listen on; 0 takes any that is free."""

    token: str | None = None
    """What a visitor must show; null makes one at random where the address needs one, and none elsewhere."""

    browse: str | None = None
    """Folder of a feature browser (`emosae browse`) that is served beside the desk."""

    sets: str | None = None
    """JSON file of emotions with features and targets at dose 1, which stand for the features that words choose."""

    prompt_characters: int = 4000
    """Longest prompt."""

    new_tokens: int = 256
    """Most tokens of one text."""

    features: int = 128
    """Most features that are added by hand."""

    queue: int = 8
    """Most texts that wait; the one being written is not among them."""

    def __post_init__(self) -> None:
        defaults = {each.name: each.default for each in fields(self)}
        for name, least in (("prompt_characters", 1), ("new_tokens", 1), ("features", 1), ("queue", 0)):
            if getattr(self, name) < least:
                raise UserError(
                    f"serve.{name} must be at least {least}, got {getattr(self, name)!r}. "
                    f"The default is {defaults[name]}."
                )
        if not 0 <= self.port <= 65535:
            raise UserError(f"serve.port must be 0 to 65535, got {self.port!r}. The default is 8765.")
        if self.token is not None and len(self.token) < 16:
            raise UserError(
                f"serve.token must have at least 16 characters, got {len(self.token)}. Leave it out to have one made."
            )
