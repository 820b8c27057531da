"""What is said about a run, and which buttons it has, for every state."""

from typing import get_args

import pytest

from napari_sdmae.runs.folder import RunStatus, State
from napari_sdmae.widgets.runs.view_state import Launch, describe, writer

RUNNING = RunStatus(
    state="running",
    step=30,
    total_steps=120,
    epoch=2.5,
    epochs=10,
    loss=0.4321,
    eta_s=250,
    images_per_s=57.31,
    memory=1_240_000_000,
    device="cpu",
    precision="fp32",
    owner=1,
)
BEFORE = writer(RUNNING)


def test_a_running_run_in_words():
    view = describe(RUNNING)
    assert view.headline == "Training · epoch 3 of 10"
    assert view.details == "4 min 10 s left · 57.3 images/s · 1.2 GB memory · loss 0.4321 · cpu · fp32"
    assert view.progress == 0.25
    assert view.busy
    assert view.actions == {"stop", "pause", "cancel"}


def test_a_run_on_another_machine_says_where():
    assert describe(RUNNING.model_copy(update={"host": "gpu7"})).headline.endswith("on gpu7")


@pytest.mark.parametrize(("asked", "words"), [("stop", "Stopping"), ("pause", "Pausing"), ("cancel", "Cancelling")])
def test_what_was_asked_is_said_until_it_happens(asked, words):
    view = describe(RUNNING, asked)
    assert view.headline.startswith(words)
    assert view.actions == (set() if asked == "cancel" else {"cancel"})


@pytest.mark.parametrize("state", get_args(State))
def test_every_state_has_words_and_sensible_buttons(state):
    view = describe(RUNNING.model_copy(update={"state": state}))
    assert view.headline
    live = state in ("preparing", "running")
    assert view.busy == live
    assert ("stop" in view.actions) == live
    assert ("resume" in view.actions) == (not live and state != "finished")
    assert bool(view.error) == (state in ("failed", "interrupted"))
    assert view.failed == (state == "failed")


def test_a_run_stopped_before_its_first_step_keeps_no_model():
    stopped = RUNNING.model_copy(update={"state": "stopped"})
    assert describe(stopped).headline == "Stopped: the model so far is saved"
    assert describe(stopped.model_copy(update={"step": 0})).headline == "Stopped: nothing was saved yet"


def test_a_failed_run_tells_its_cause_and_warnings_stay():
    view = describe(RUNNING.model_copy(update={"state": "failed", "message": "disk full: free 2 GB", "warnings": ("collapse",)}))
    assert view.error == "disk full: free 2 GB"
    assert view.warnings == ("collapse",)
    assert "disk full" not in view.details


def test_a_process_that_has_not_spoken_yet_is_starting_and_can_be_cancelled():
    launch = Launch(BEFORE)
    assert describe(None, None, Launch(None)).headline == "Starting"
    again = describe(RUNNING.model_copy(update={"state": "paused"}), None, launch)
    assert (again.headline, again.busy, again.actions) == ("Starting again", True, {"cancel"})


def test_a_process_that_could_not_start_says_the_last_line_it_printed():
    view = describe(None, None, Launch(None, exit_code=2, output="bla\nsdmae pretrain: no such folder\n\n"))
    assert (view.headline, view.error, view.busy) == ("Could not start", "sdmae pretrain: no such folder", False)
    resumed = describe(RUNNING.model_copy(update={"state": "paused"}), None, Launch(BEFORE, exit_code=3, output="no data"))
    assert (resumed.headline, resumed.error, resumed.actions) == ("Could not resume", "no data", {"resume"})


def test_a_process_cancelled_before_it_spoke_is_no_failure():
    view = describe(None, None, Launch(None, exit_code=-9, cancelled=True))
    assert (view.headline, view.error, view.failed, view.actions) == ("Cancelled before it started", "", False, set())


def test_a_process_that_ended_well_leaves_the_word_to_its_status():
    ended = RUNNING.model_copy(update={"state": "finished", "owner": 2})
    assert describe(ended, None, Launch(BEFORE, exit_code=0)).headline == "Finished: the model is ready"
    stopped = RUNNING.model_copy(update={"state": "stopped", "owner": 2})
    assert describe(stopped, None, Launch(BEFORE, exit_code=143)).error == ""


def test_a_killed_process_is_interrupted_and_can_be_resumed():
    interrupted = RUNNING.model_copy(update={"state": "interrupted", "owner": 2})
    killed = describe(interrupted, None, Launch(BEFORE, exit_code=-9, output="Training 12 %"))
    assert killed.error.startswith("Training stopped unexpectedly")
    assert killed.actions == {"resume"}


def test_without_a_status_and_without_a_process_one_waits():
    assert describe(None).headline == "Waiting for the run to report"


def test_a_silent_job_elsewhere_is_neither_called_dead_nor_resumed_without_a_question():
    view = describe(RUNNING.model_copy(update={"host": "gpu7"}), None, None, silent=True)
    assert view.headline == "No update from gpu7"
    assert view.actions == {"stop", "pause", "take_over"}
    assert not view.busy
    assert "cannot check" in view.error


def test_a_process_has_spoken_when_the_status_is_its_own_whatever_the_clock():
    again = RUNNING.model_copy(update={"owner": 2, "heartbeat": RUNNING.heartbeat - 3600})
    assert describe(again, None, Launch(BEFORE)).headline.startswith("Training")
    assert describe(RUNNING, None, Launch(BEFORE)).headline == "Starting again"
