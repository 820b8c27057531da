"""Errors on one line, in the same words wherever they are shown."""

import errno
import os

import pytest
from pydantic import ValidationError

from napari_sdmae.config import PretrainConfig
from napari_sdmae.text.errors import error_line, first_problem, problem_line
from napari_sdmae.worker.protocol.base import ErrorCode, WorkerError


def refused(**values: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        PretrainConfig.model_validate({"data": "."} | values)
    return caught.value


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x.geojson")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FULL, "/data/x.geojson: No space left on device"),
        (ValueError("two\n  lines"), "two lines"),
        (ValueError("red \x1b[31m"), "red \\x1b[31m"),
        (RuntimeError(), "RuntimeError"),
        (MemoryError(), "this machine has not enough free memory"),
        (MemoryError("7 GB"), "7 GB"),
        (refused(epochs=0), "epochs: Input should be greater than or equal to 1, got 0"),
        (refused(epochs="many"), "epochs: Input should be a valid integer, unable to parse string as an integer, got 'many'"),
        (refused(epocs=3), "epocs: there is no such setting"),
        (
            refused(epochs=0, loss={"q": 1}),
            "epochs: Input should be greater than or equal to 1, got 0; loss.q: there is no such setting",
        ),
    ],
)
def test_one_line(error: Exception, line: str) -> None:
    assert error_line(error).startswith(line)
    assert "\n" not in error_line(error)


def test_rules_over_several_settings_have_no_prefix_and_no_empty_name() -> None:
    line = error_line(refused(model={"tile_size": 225}))
    assert line.startswith("model: tile size 225 px")
    assert "Value error" not in line


def test_docks_display_the_line_of_the_command_line() -> None:
    for error in (FULL, refused(epochs=0), refused(model={"tile_size": 225}), ValueError("so it is")):
        assert WorkerError.of(error).line == error_line(error)
        assert WorkerError.of(error).code is ErrorCode.INVALID
    assert WorkerError.of(KeyError("nothing")).line == "KeyError: 'nothing'"
    assert WorkerError.of(RuntimeError()).line == "RuntimeError"


def test_a_failed_request_is_a_value_error_as_it_was() -> None:
    assert isinstance(WorkerError(ErrorCode.INVALID, "line"), ValueError)


def test_a_problem_names_the_settings_around_it_or_what_people_call_it() -> None:
    error = refused(epochs=0)
    assert first_problem(error, "model").startswith("model.epochs: ")
    assert problem_line(error.errors()[0], name="Epochs").startswith("Epochs: Input should")
