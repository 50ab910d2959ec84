"""Run by `test_distribution.py` in a process of its own, or in two: what TensorFlow's strategies come to.

With TF_CONFIG set it is one of the workers of MultiWorkerMirroredStrategy, else MirroredStrategy has two devices.
"""

import contextlib
import json
import os
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

from distribution import cases

WORKER = json.loads(os.environ["TF_CONFIG"])["task"]["index"] if "TF_CONFIG" in os.environ else None
if WORKER is None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
else:
    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()
ALONE = tf.distribute.OneDeviceStrategy("CPU:0")
KIND = keras.Model if WORKER is None else cases.example("tensorflow_workers").OfWorkers


def trained(strategy, phases, settings, first=0, last=cases.EPOCHS, saved=None):
    with strategy.scope():
        model = keras.saving.load_model(saved) if saved else cases.compiled(kind=KIND, **settings)
    cases.fit(model, first, last, phases)
    if strategy is STRATEGY and WORKER is None:
        state = cases.inner(model.optimizer).variables
        assert {type(variable.value).__name__ for variable in state} == {"MirroredVariable"}
    return model


def apart(phases, settings):
    """How far the weights are from those of one device."""
    both = [cases.weights(trained(strategy, phases, settings)) for strategy in (STRATEGY, ALONE)]
    return cases.distance(*both)


def moved():
    """Two epochs in the layout, one on one device, one in the layout again: how far from no break and one device."""
    phases, settings = cases.PHASES_ACCUMULATED, cases.RESUMED
    alone = cases.weights(trained(ALONE, phases, settings))
    with tempfile.TemporaryDirectory() as folder:
        saved = None
        for strategy, first, last in ((STRATEGY, 0, 2), (ALONE, 2, 3), (STRATEGY, 3, 4)):
            model = trained(strategy, phases, settings, first, last, saved)
            saved = f"{folder}/model_{first}.keras"
            model.save(saved)
    return cases.distance(alone, cases.weights(model))


@contextlib.contextmanager
def counted():
    """How many gradients each replica hands over, at each call."""
    calls, real = [], tf.distribute.ReplicaContext.all_reduce

    def counting(self, operation, value, *arguments, **more):
        calls.append(len(tf.nest.flatten(value)))
        return real(self, operation, value, *arguments, **more)

    tf.distribute.ReplicaContext.all_reduce = counting
    yield calls
    tf.distribute.ReplicaContext.all_reduce = real


def reductions(groups):
    """What is reduced in a step; between workers also how many collective operations that makes in the graph."""
    with STRATEGY.scope():
        model = cases.compiled_for_counting(groups, kind=KIND)
        model.optimizer.build(model.trainable_variables)
    with counted() as calls:
        x, y = (tf.constant(each[: cases.BATCH]) for each in (cases.X, cases.Y))
        step = tf.function(lambda: STRATEGY.run(model.train_step, args=((x, y),)))
        graph = step.get_concrete_function().graph
    operations = [operation.type for operation in graph.get_operations()]
    return [calls, sum(each.startswith("CollectiveReduce") for each in operations)]


def main():
    checks = cases.Checks()
    checks.cases(apart)
    for groups in ("stock", 1, 10):
        checks.run(f"reductions: {groups}", reductions, groups)
    if checks.full:
        checks.run("moved", moved)
    if WORKER in (None, 0):
        checks.tell()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
