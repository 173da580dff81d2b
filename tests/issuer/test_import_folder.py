from __future__ import annotations

from pathlib import Path

import pytest
from chopmark.errors import StorageError
from chopmark_issuer.errors import RefusedError
from chopmark_issuer.importing.import_folder import ImportFolder, refused_path, run_under_way


def test_one_import_at_a_time_holds_the_folder_and_is_named(tmp_path: Path) -> None:
    assert run_under_way(tmp_path / "imports") is None
    with ImportFolder(tmp_path / "imports") as folder:
        assert run_under_way(folder.path) is None
        folder.name_run(17)
        assert run_under_way(folder.path) == 17
        with pytest.raises(RefusedError, match="under way"), ImportFolder(folder.path):
            pass
        assert run_under_way(folder.path) == 17
    assert run_under_way(tmp_path / "imports") is None
    with ImportFolder(tmp_path / "imports") as again:
        assert run_under_way(again.path) is None


def test_what_a_killed_import_left_is_removed_by_the_next_and_files_of_refused_rows_are_not(tmp_path: Path) -> None:
    folder = ImportFolder(tmp_path)
    kept = tmp_path / "licences.refused-1.csv"
    for path in (folder.staging, folder.refused, kept):
        path.write_text("rows")
    with folder:
        assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, "lock"]


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "imports").write_text("no folder")
    with pytest.raises(StorageError), ImportFolder(tmp_path / "imports"):
        pass


def test_the_name_of_the_refused_rows_fits_whatever_the_file_is_called(tmp_path: Path) -> None:
    assert refused_path(tmp_path, "licences.csv", 3).name == "licences.refused-3.csv"
    assert refused_path(tmp_path, "licences.csv", None).name == "licences.refused-dry-run.csv"
    long = refused_path(tmp_path, "证" * 80 + ".csv", 3)
    assert long.name.startswith("证证")
    long.write_text("rows")
