"""``sdmae convert``: exit status and words."""

from pathlib import Path

import pytest

from napari_sdmae.cli.convert import main

AUTHORS = Path(__file__).parents[1] / "data" / "reference" / "tiny_p8_32.pth"


def test_converts_and_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(AUTHORS), str(tmp_path / "model")]) == 0
    assert "encoder and decoder, vit_small_patch16_224, 3 blocks, 32 px tiles, 8 px patches" in capsys.readouterr().out
    assert main([str(tmp_path / "model"), str(tmp_path / "timm"), "--to", "timm"]) == 0
    assert f"{tmp_path / 'timm'}: encoder, vit_small_patch16_224, 3 blocks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{source}", "{folder}"], "is not empty"),
        (["{source}", "{folder}/new", "--to", "onnx"], "--to"),
        (["{folder}/nothing.pth", "{folder}/new"], "no model at"),
        (["{source}"], "required"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "something").write_text("")
    assert main([item.format(source=AUTHORS, folder=tmp_path) for item in arguments]) == 2
    complaint = capsys.readouterr().err.strip()
    assert complaint.startswith("sdmae convert: ")
    assert message in complaint
    assert "\n" not in complaint
