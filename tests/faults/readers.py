"""Everything that reads text somebody else wrote, each with one text: it accepts it, or refuses it as it should.

A text is the name of its reader in the first line, then what is read. `fuzz.py` makes texts up, `test_corpus.py` reads
those that were kept.
"""

import functools
import json
import sys
import traceback
import warnings
from pathlib import Path

import keras
import numpy as np

import difflr
from difflr.optimizers import saved_state
from difflr.plan import freezing, layer_tree
from difflr.plan.rebinding import tied_to
from difflr.plan.schedule import schedule_from_json

LONGEST_MESSAGE = 3_000
SOURCE = str(Path(difflr.__file__).parent)
# What code does that was hidden in a text.
FORBIDDEN = ("os.system", "os.exec", "os.spawn", "subprocess.Popen", "pickle.find_class", "socket.connect")
READERS = {}
happened = []


class Finding(AssertionError):
    """A text that is neither accepted nor refused as it should be."""


def reader(function):
    READERS[function.__name__] = function
    return function


def read(text):
    """Reads one text.

    Returns:
        The message with which it was refused, or `None`.

    Raises:
        Finding: If the error is not one that a user can make sense of, or what was accepted is not sound.
    """
    name, _, content = text.partition("\n")
    if name not in READERS:
        return None
    happened.clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is told is not refused
            READERS[name](content)
    except Finding:
        raise
    except Exception as error:
        return _checked(error)
    finally:
        if happened:
            raise Finding(f"It did: {happened}")
    return None


def _checked(error):
    message = str(error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame.filename.startswith(SOURCE) for frame in frames]
    if not isinstance(error, (ValueError, TypeError)) and (ours[-1] or not any(ours)):
        raise Finding(f"{type(error).__name__} is no refusal: {message[:300]}") from error
    if ours[-1] and not 20 < len(message) <= LONGEST_MESSAGE:
        raise Finding(f"A message of {len(message)} characters: {message[:100]}") from error
    if isinstance(error, TypeError) and ours[-1] and "eceived" not in message:
        raise Finding(f"No message of ours: {message[:300]}") from error
    return message


def corpus(reader):
    """The texts that were kept for one reader."""
    path = Path(__file__).parent / "corpus" / f"{reader}.json"
    return [f"{reader}\n{content}" for content in json.loads(path.read_text())]


def watch():
    """Notes what no text may bring about."""
    sys.addaudithook(lambda event, arguments: happened.append((event, arguments)) if event in FORBIDDEN else None)


@functools.cache
def model():
    inside = [keras.layers.Dense(3, name="low"), keras.layers.BatchNormalization(name="norm")]
    inside.append(keras.layers.Dense(3, name="high"))
    backbone = keras.Sequential(inside, name="backbone")
    bare = keras.layers.BatchNormalization(scale=False, center=False, name="bare")
    return keras.Sequential([keras.Input((2,)), backbone, bare, keras.layers.Dense(2, name="head")])


@functools.cache
def variables():
    return [leaf.variable for leaf in layer_tree.walk(model()) if leaf.variable is not None]


def unfreeze():
    for leaf in layer_tree.walk(model()):
        for thing in (leaf.variable, leaf.layer):
            if thing is not None:
                freezing.set_frozen(thing, False)


def check(plan):
    """What a plan must be that was accepted."""
    for row in plan.rows:
        numbers = (row.multiplier, row.weight_decay_multiplier)
        if not (np.isfinite(numbers).all() and min(numbers) >= 0 and row.frozen == (row.multiplier == 0)):
            raise Finding(f"Accepted: {row}")
    again = difflr.Plan.from_json(model(), plan.to_json())
    if again != plan:
        raise Finding("It is another plan when it is saved and read again.")
    if len(plan.table(1e-3)) > 100_000:
        raise Finding("The table has no end.")


def check_factors(made):
    """What multiplies the rates of an optimizer that was accepted."""
    factors = list(made.effective_rates().values())
    if not (np.isfinite(factors).all() and min(factors, default=0.0) >= 0):
        raise Finding(f"Accepted: {factors}")


@reader
def plan(text):
    check(difflr.Plan.from_json(model(), text))


@reader
def rules(text):
    check(difflr.Plan(model(), json.loads(text) if text.strip() else None))


@reader
def phases(text):
    made = difflr.Phases.from_yaml(text)
    if difflr.Phases.from_dict(made.to_dict()) != made or difflr.Phases.from_yaml(made.to_yaml()) != made:
        raise Finding("They are other phases when they are saved and read again.")
    if len(made.table()) > 3 * len(text) + 100_000:
        raise Finding("The table has no end.")
    made.table(model())


@reader
def schedule(text):
    made = schedule_from_json(json.loads(text))
    if not isinstance(made, keras.optimizers.schedules.LearningRateSchedule):
        raise Finding(f"It is no schedule: {made!r}")


@reader
def optimizer(text):
    """The part of the config in a `.keras` file that describes the optimizer."""
    config = json.loads(text)
    if not isinstance(config, dict):
        return
    whole = {"module": "difflr.optimizers", "class_name": "SGD", "registered_name": "difflr>SGD", "config": config}
    try:
        made = keras.saving.deserialize_keras_object(whole)
        made.build(variables())
        check(tied_to(made.plan, model()))
        check_factors(made)
    finally:
        unfreeze()


@reader
def layer(text):
    """The same of a layer."""
    config = json.loads(text)
    if not isinstance(config, dict):
        return
    known = ("W_learning_rate_multiplier", "b_learning_rate_multiplier", "learning_rate_multiplier")
    made = difflr.layers.Dense.from_config({"units": 2} | {k: v for k, v in config.items() if k in known})
    made.build((None, 3))
    for number in made.multipliers.values():
        if not (np.isfinite(number) and number >= 0):
            raise Finding(f"Accepted: {number}")


@reader
def state(text):
    """The state of an optimizer, with the plan in force and what is saved of phases."""
    config = json.loads(text)
    if not isinstance(config, dict):
        return
    made = difflr.optimizers.SGD(0.1, momentum=0.9)
    made.bind(model())
    made.build(variables())
    try:
        before = _everything(made)
        store = {name: _as_saved(name, value) for name, value in config.items()}
        try:
            made.load_own_variables(store)
        except Exception:
            if before != _everything(made) or made.plan.whole is not made.plan:
                raise Finding("Refused, and half changed.") from None
            raise
        check_factors(made)
        check(tied_to(made.plan, model()))
    finally:
        unfreeze()


def _everything(made):
    values = [np.array(keras.ops.convert_to_numpy(variable)).tolist() for variable in made.variables]
    trainable = [variable.trainable for variable in variables()]
    return made.plan.to_json(), values, trainable, made.callback_state, made.loaded_plan


def _as_saved(name, value):
    if name == saved_state.HEADER:
        return saved_state._as_array(value)
    try:
        return np.asarray(value, "float32")
    except OverflowError:  # no file can hold it
        return np.float32(np.inf)
