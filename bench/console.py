"""The console of all commands: names that hold control characters or rich's markup are printed as they are."""

from __future__ import annotations

from typing import Any

from rich import console
from rich.text import Text

from datasets.errors import printable


class Console(console.Console):
    """rich's console without markup, which escapes the control characters of every text that it is given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, **options})

    def render_str(self, text: str, *args: Any, **options: Any) -> Text:
        """The text as rich prints it, with control characters escaped."""
        return super().render_str(printable(text), *args, **options)
