"""Rows in Arrow's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _native

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Table:
    """A table that pyarrow, polars, DuckDB and whatever else reads Arrow's C stream takes without copying it.

        >>> pyarrow.table(run.requests)
        >>> polars.DataFrame(run.requests)
        >>> requests = run.requests; duckdb.sql("SELECT quantile_cont(ttft_ms, 0.99) FROM requests")
    """

    def __init__(self, rows: _native.ArrowRows) -> None:
        self._rows = rows

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows, by the PyCapsule interface of Arrow."""
        return self._rows.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<llmperforacle.Table of {len(self)} rows: {', '.join(self.column_names)}>"

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return self._rows.column_names()

    @property
    def units(self) -> dict[str, str]:
        """Unit of each column that has one."""
        return {name: notes["unit"] for name, notes in self._rows.notes().items() if "unit" in notes}

    @property
    def comments(self) -> dict[str, str]:
        """What each column means, where its name does not say it."""
        return {name: notes["comment"] for name, notes in self._rows.notes().items() if "comment" in notes}

    def to_pyarrow(self) -> pyarrow.Table:
        """As a table of pyarrow, without copies."""
        import pyarrow

        return pyarrow.table(self)

    def to_pandas(self) -> pandas.DataFrame:
        """As a frame of pandas, by pyarrow; text is copied, and numbers are where a column has more than one chunk."""
        return self.to_pyarrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """As a frame of polars."""
        import polars

        return polars.DataFrame(self)
