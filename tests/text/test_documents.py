"""Text, JSON and YAML as people's programs write them, and files made to fill the memory."""

import gzip
import json

import pytest

from napari_sdmae.text.documents import DocumentError, parse_json, parse_yaml, read_json, read_table, read_text, read_yaml


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_of_every_system_is_read(tmp_path, encoding, end):
    path = tmp_path / "classes.txt"
    path.write_bytes(f"Drüse{end}µm".encode(encoding))
    assert read_text(path) == "Drüse\nµm"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xfe\0", b"a\0b"])
def test_what_is_no_text_is_refused(tmp_path, data):
    path = tmp_path / "classes.txt"
    path.write_bytes(data)
    with pytest.raises(DocumentError, match="no text"):
        read_text(path)


def test_too_large_is_refused_before_it_is_read_whole(tmp_path):
    path = tmp_path / "large.json"
    path.write_bytes(b"[" + b" " * 2000 + b"]")
    with pytest.raises(DocumentError, match="too much"):
        read_json(path, largest=1000)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DocumentError, match="unpacked"):
        read_json(path, largest=1000)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_json_in_every_encoding(tmp_path, encoding):
    path = tmp_path / "classes.json"
    path.write_bytes(json.dumps({"name": "Drüse"}, ensure_ascii=False).encode(encoding))
    assert read_json(path) == {"name": "Drüse"}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_deep_json_is_refused_in_words(text):
    with pytest.raises(DocumentError, match=r"deep|cut short"):
        parse_json(text)


def test_gzipped_and_cut_short(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_bytes(gzip.compress(b"[1, 2, 3]" * 100)[:-20])
    with pytest.raises(DocumentError, match="cut short"):
        read_json(path)


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
ENORMOUS = "a: 1" + ":59" * 3000  # one number, to the base 60


@pytest.mark.parametrize(
    "text", [LAUGHS, "a: &a [*a]", "a: &a\n  b: *a", "[" * 5000, "- " * 5000, "{a: " * 5000, "a: 1" + ":59" * 3000]
)
def test_yaml_made_to_hang_is_refused(text):
    with pytest.raises(DocumentError):
        parse_yaml(text)


def test_yaml_says_the_line_and_keeps_ordinary_references(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("base: &base {a: 1}\nother: *base\n", encoding="utf-8")
    assert read_yaml(path) == {"base": {"a": 1}, "other": {"a": 1}}
    path.write_text("a: 1\nb: [", encoding="utf-8")
    with pytest.raises(DocumentError, match=r"line 2: this is no YAML"):
        read_yaml(path)


@pytest.mark.parametrize("text", ["when: 2024-13-45", "a: !!python/object/apply:os.system [ls]", "a: \x00"])
def test_odd_yaml_is_refused_without_being_run(text):
    with pytest.raises(DocumentError, match="no YAML"):
        parse_yaml(text)


ROWS = [{"file": "Präp 1.png", "slide": "S1"}, {"file": "b.png", "slide": ""}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep={}\n", "\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_of_every_program_are_read(tmp_path, encoding, separator, first, end):
    lines = ["file,slide,,", "Präp 1.png, S1 ,,", '"b.png",', "", ",,,"]
    text = first.format(separator) + "\n".join(line.replace(",", separator) for line in lines)
    path = tmp_path / "slides.csv"
    path.write_bytes(text.replace("\n", end).encode(encoding))
    table = read_table(path)
    assert (table.columns, table.rows) == (("file", "slide"), ROWS)


def test_cells_with_separators_lines_and_guarded_formulas(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,value\n\"a, b\",'=1+1\n\"two\nlines\",'tis\n'-,''@x;'=y\n", encoding="utf-8")
    assert [tuple(row.values()) for row in read_table(path).rows] == [("a, b", "=1+1"), ("two\nlines", "'tis"), ("-", "'@x;=y")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the table is empty"),
        ("\n \n", "the table is empty"),
        ("sep=;\na;b\n1;2\n1;2;3\n", "line 4 has 3 cells, the header 2"),
        ('a,b\n"1,2\n3,4\n', "a quotation mark is not closed"),
        ("a,b,a\n1,2,3\n", "2 columns are called 'a'"),
        ("a,b\n" + "x" * 200_000, "field larger"),
        ("a\0b", "no text"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path, text, reason):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError, match=reason):
        read_table(path)


def test_a_table_with_only_a_header_has_no_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("file,slide", encoding="utf-8")
    assert read_table(path).rows == []
