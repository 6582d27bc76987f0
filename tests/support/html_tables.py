"""Tables of a rendered page as texts."""

from __future__ import annotations

from html.parser import HTMLParser


class Tables(HTMLParser):
    """Texts of the cells of every table, by id, as a browser without JavaScript shows them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows, self.table, self.cell = {}, None, None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.table = self.rows.setdefault(dict(attributes).get("id", "plain"), [])
        elif tag == "tr" and self.table is not None:
            self.table.append([])
        elif tag in ("td", "th") and self.table:
            self.table[-1].append("")
            self.cell = tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.cell = None
        elif tag == "table":
            self.table = None

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.table[-1][-1] += data


def table_ending(html: str, ending: str) -> list[list[str]]:
    """The rows of the only table whose id has this ending."""
    (rows,) = [rows for key, rows in Tables(html).rows.items() if key.endswith(ending)]
    return rows


def line_of(rows: list[list[str]], name: str) -> list[str]:
    """The only row that begins with this name."""
    (line,) = [row for row in rows if any(cell.startswith(name) for cell in row[:2])]
    return [cell.strip() for cell in line]
