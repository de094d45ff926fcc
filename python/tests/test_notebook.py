"""The notebook of `examples/`, executed from its first cell to its last."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "capacity.ipynb"


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "it is kept without outputs"
    # A cell that raises fails the test.
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    nbformat.write(notebook, tmp_path / "executed.ipynb")
