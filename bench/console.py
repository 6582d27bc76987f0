"""The console of all commands: names that hold control characters can't command the terminal."""

from __future__ import annotations

from typing import Any

from rich import console
from rich.text import Text

from datasets.errors import printable


class Console(console.Console):
    """rich's console, which escapes the control characters of every text that it is given."""

    def render_str(self, text: str, *args: Any, **options: Any) -> Text:
        """The text as rich prints it, with control characters escaped."""
        return super().render_str(printable(text), *args, **options)
