from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from chopmark.errors import StorageError
from chopmark_issuer.errors import ImportFileError
from chopmark_issuer.importing.csv_file import FIELD_LIMIT, CsvFile, open_csv


def opened(path: Path, data: bytes, *, encoding: str = "utf-8", delimiter: str = ",") -> CsvFile:
    path.write_bytes(data)
    return open_csv(path, encoding=encoding, delimiter=delimiter, required=("id", "name"))


def test_rows_are_read_with_the_number_a_spreadsheet_gives_them(tmp_path: Path) -> None:
    data = b'id,name,more\r\n1,"a ""quoted"", name",x\r\n\r\n2,"two\nlines",y\r\n'
    file = opened(tmp_path / "f.csv", data)
    assert file.header == ("id", "name", "more")
    assert (file.rows, file.digest) == (2, hashlib.sha256(data).digest())
    assert list(file.records()) == [(2, ["1", 'a "quoted", name', "x"]), (4, ["2", "two\nlines", "y"])]


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("utf-8", b"\xef\xbb\xbfid,name\n1,\xe7\xa4\xba\xe4\xbe\x8b\n"),
        ("gb18030", "id,name\n1,示例\n".encode("gb18030")),
        ("windows-1252", "id,name\n1,Café\n".encode("cp1252")),
    ],
)
def test_each_encoding_is_read(tmp_path: Path, encoding: str, data: bytes) -> None:
    file = opened(tmp_path / "f.csv", data, encoding=encoding)
    assert next(file.records())[1][1] in ("示例", "Café")


@pytest.mark.parametrize(
    ("data", "reason", "place"),
    [
        (b"", "empty", "f.csv"),
        (b"id;name\n1;a\n", "lacks 'id', 'name'", "row 1"),
        (b"id,nom\n1,a\n", "lacks 'name'", "row 1"),
        (b"id,name,id\n1,a,2\n", "stands twice", "row 1"),
        (b"id,name\n1,a\n2\n", "1 columns, where the header has 2", "row 3"),
        (b"id,name\n1,a,b\n", "3 columns", "row 2"),
        (b"id,name\n1,a\x00b\n", "NUL", "byte 11"),
        (b"id,name\n1,caf\xe9\n", "not utf-8", "byte 13"),
        (b"id,name\n1,\xe7\xa4", "not utf-8", "byte 10"),
        (b'id,name\n1,"a\n2,b\n', "not CSV", "after row 1"),
        (b'id,name\n1,"a"b\n', "not CSV", "after row 1"),
        (b"id,name\n1," + b"a" * (FIELD_LIMIT + 1) + b"\n", "not CSV", "after row 1"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(tmp_path: Path, data: bytes, reason: str, place: str) -> None:
    with pytest.raises(ImportFileError) as caught:
        opened(tmp_path / "f.csv", data)
    assert reason in caught.value.what
    assert place in caught.value.where


def test_a_wrong_byte_is_named_by_its_place_in_the_whole_file(tmp_path: Path) -> None:
    head = b"id,name\n" + b"1,a\n" * 300_000
    with pytest.raises(ImportFileError) as caught:
        opened(tmp_path / "f.csv", head + b"2,\xff\n")
    assert f"byte {len(head) + 2}" in caught.value.where


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        open_csv(tmp_path / "nothing.csv", encoding="utf-8", delimiter=",", required=())


def test_a_file_changed_meanwhile_is_noticed(tmp_path: Path) -> None:
    file = opened(tmp_path / "f.csv", b"id,name\n1,a\n")
    (tmp_path / "f.csv").write_bytes(b"id,nom\n1,a\n")
    with pytest.raises(ImportFileError, match="changed"):
        list(file.records())
    (tmp_path / "f.csv").write_bytes(b"id,name\n1,a,b\n")
    with pytest.raises(ImportFileError, match="changed"):
        list(file.records())
