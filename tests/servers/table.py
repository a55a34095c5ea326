"""Tables of pages, whose cells say what tests have found."""

import json


class Table:
    """What is between the marks ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a page.

    Beside ``PAGE.md`` is ``PAGE.json`` with the results: of each table the rows, with their cells by column.
    A test that finds something calls ``holds``, which compares; where ``writing`` it is noted instead, and
    the page is written, with its rows in the order of ``rows`` where that is given.
    """

    def __init__(self, page, name, *, writing=False, rows=()):
        self.page, self.name, self.writing, self._rows = page, name, writing, list(rows)
        self._file = page.with_suffix(".json")

    def holds(self, row, column, found):
        """That this is what the page says in a cell."""
        results = json.loads(self._file.read_text())
        rows = results.setdefault(self.name, {})
        if self.writing:
            rows.setdefault(row, {})[column] = found
            self._write(results)
        assert rows.get(row, {}).get(column) == found, (
            f"{self.page.name} says otherwise of “{row}”, {column}: if what was found is so, the test with "
            "`--tables` writes it"
        )

    def write(self):
        """Write the page anew from the results, as after two branches have met."""
        self._write(json.loads(self._file.read_text()))

    def _write(self, results):
        rows = results[self.name]
        results[self.name] = {each: rows[each] for each in self._rows or rows if each in rows}
        self._file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        self.page.write_text(self._written())

    @property
    def is_written(self):
        """Whether the page has what the results say."""
        return self.page.read_text() == self._written()

    def _text(self):
        rows = json.loads(self._file.read_text()).get(self.name, {})
        columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
        lines = [["", *columns], ["---"] * (len(columns) + 1)]
        lines += [
            [row, *(cells.get(column, "\N{EN DASH}") for column in columns)] for row, cells in rows.items()
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def _written(self):
        before, begin, rest = self.page.read_text().partition(f"<!-- {self.name} -->\n")
        _, end, after = rest.partition(f"<!-- /{self.name} -->")
        assert end, f"{self.page} has no place for the table {self.name}"
        return f"{before}{begin}{self._text()}{end}{after}"
