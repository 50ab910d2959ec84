"""`difflr` as a process: nothing but its own words on the terminal, options in any place, Ctrl-C, small alphabets."""

import io
import os
import signal
import subprocess
import sys

import keras
import pytest
from PIL import Image

import difflr_command
from cli.colors import color_network
from cli.commands import refused
from difflr_command import backend
from difflr_command.app import app

BACKEND = keras.backend.backend()
# Python leaves Ctrl-C ignored where its parent ignores it, as a shell does for what runs in the background.
INTERRUPTIBLE = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from difflr_command import main; main()",
]


def test_a_pipe_on_the_backend_named_after_the_command_and_ctrl_c(here):
    """Of the backend's own start-up messages none reaches the terminal."""
    color_network(here / "colors.keras")
    Image.new("RGB", (20, 10), (200, 20, 20)).save(here / "red.png")
    words = ["predict", "colors.keras", "--csv", "--batch-size", "1", "--backend", BACKEND]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL")
    }
    running = subprocess.Popen(
        [*INTERRUPTIBLE, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONUNBUFFERED": ""},
    )
    try:
        running.stdin.write("red.png\n" * 80)
        running.stdin.flush()
        assert running.stdout.readline() == "file,class,probability,error\n"
        assert running.stdout.readline().startswith("red.png,red,0.9")
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
        assert running.stderr.read() == "\nInterrupted: what was printed is not all.\n"
    finally:
        running.kill()
        running.wait()
        for stream in (running.stdin, running.stdout, running.stderr):
            stream.close()


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("cp1252", "caf\xe9 -- \\u732b -> 3 \xd7 \xb2"), ("ascii", "caf\\xe9 -- \\u732b -> 3 x 2")],
)
def test_letters_that_a_terminal_lacks(monkeypatch, encoding, expected):
    """What is drawn has plain letters in its place, and names are written out."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr("difflr_command.app.app", lambda prog_name: print("café ── 猫 → 3 × ²"))
    difflr_command.main()
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding).strip() == expected


@pytest.mark.same_everywhere
@pytest.mark.same_everywhere
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_behind_stdout_is_one_line():
    program = [sys.executable, "-m", "difflr_command", "models"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("difflr: error: OSError: No space left on device.")
    assert done.stderr.count("\n") == 1


@pytest.mark.same_everywhere
def test_a_demo_does_not_write_into_a_file(here):
    for words in (["--output", "net.keras"], ["--export", "net.keras"]):
        assert "net.keras is a file" in refused("demo", *words)


def test_every_command_takes_the_options_of_every_command():
    import typer.main

    group = typer.main.get_command(app)
    commands = dict(group.commands)
    for name, command in list(commands.items()):
        for below, inner in getattr(command, "commands", {}).items():
            commands[f"{name} {below}"] = inner
    for name, command in commands.items():
        if not hasattr(command, "commands"):
            options = {option for parameter in command.params for option in parameter.opts}
            assert {"--backend", "--traceback"} <= options, name


@pytest.mark.same_everywhere
def test_what_backends_log_of_devices_is_not_shown():
    """As JAX's "An NVIDIA GPU may be present on this machine, but ..."."""
    import logging

    backend.import_keras()
    shown = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())
    for logger in map(logging.getLogger, backend.LOGGERS):
        logger.addHandler(handler)
        logger.warning("a GPU may be present")
        logger.error("no memory")
        logger.removeHandler(handler)
    assert shown == ["no memory"] * len(backend.LOGGERS)
