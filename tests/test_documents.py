"""Text, JSON and YAML as people's programs write them, and files made to fill the memory."""

import gzip
import json

import pytest

from napari_sdmae.documents import DocumentError, parse_json, parse_yaml, read_json, read_text, read_yaml


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


@pytest.mark.parametrize("text", [LAUGHS, "a: &a [*a]", "a: &a\n  b: *a", "[" * 5000, "- " * 5000, "{a: " * 5000])
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
