"""A tiny network, and the command line in this process."""

import json
import logging
import types

import keras
from typer.testing import CliRunner

from difflr_command.app import app
from difflr_command.backend import LOGGERS


def network(num_classes=3):
    """Images of 8 x 8 -> classes, with dropout; names as in a pretrained network."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    trained = {"activation": "relu", "bias_initializer": keras.initializers.Constant(0.01)}
    x = keras.layers.Conv2D(4, 3, **trained, name="stem")(x)
    x = keras.layers.Conv2D(4, 3, **trained, name="top")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax", name="head")(x))


def difflr(*words):
    """Runs a command; `.code`, `.out` and `.err` are its results."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    for name in LOGGERS:  # silenced for a process of its own
        logging.getLogger(name).setLevel(logging.NOTSET)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return types.SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr)


def refused(*words):
    """Runs a command that has to be refused: exit code 2, one line. Returns the line."""
    result = difflr(*words)
    assert result.code == 2, result
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert len(lines) == 1, result.err
    assert lines[0].startswith("difflr: error: ")
    assert result.out == ""
    return lines[0]


def succeeded(*words):
    """Runs a command with `--json` that has to succeed. Returns the document."""
    result = difflr(*words, "--json")
    assert result.code == 0, result
    return json.loads(result.out)
