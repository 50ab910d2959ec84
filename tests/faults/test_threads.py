"""Models, plans and optimizers built in several threads at once: what one thread would have built."""

import sys
import threading

import keras
import numpy as np
import pytest

import difflr
from difflr import optimizers

THREADS, TIMES = 4, 3


@pytest.fixture(autouse=True)
def switching_often():
    """Threads take turns every few instructions instead of every 5 milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work):
    """What `work(number)` returns in each of several threads that begin together."""
    barrier, results, errors = threading.Barrier(THREADS), [None] * THREADS, []

    def run(number):
        try:
            barrier.wait()
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def built(number, train):
    """A model that declares, a plan and an optimizer, built and used for a step; as data."""
    own = difflr.layers
    body = difflr.Sequential([own.Dense(3, learning_rate_multiplier=0.1 + number, name="low")], name="body")
    layers = [body, own.Dense(2, W_learning_rate_multiplier=0.5, b_learning_rate_multiplier=0.0, name="head")]
    model = difflr.Sequential([keras.Input((3,)), *layers], name="model")
    plan = difflr.Plan(model, {"body": {"weight_decay_multiplier": 0.0}}) * difflr.Plan(model, {"*/kernel": 2.0})
    optimizer = optimizers.SGD(0.1, multipliers=plan)
    again = difflr.Plan.from_json(model, plan.to_json())
    assert again == plan
    for variable in model.weights:
        variable.assign(np.full(variable.shape, 0.5))
    optimizer.build(model.trainable_variables)
    weights = []
    if train:
        model.compile(optimizer, loss="mse", run_eagerly=True)
        model.train_on_batch(np.ones((2, 3)), np.ones((2, 2)))
        weights = [np.array(weight).tolist() for weight in model.get_weights()]
    return (
        plan.to_json(),
        list(model.multipliers.values()),
        weights,
    )


def work(number, train=False):
    return [built(number, train and time == 0) for time in range(TIMES)]


def test_models_plans_and_optimizers():
    alone = [work(number, train=True) for number in range(THREADS)]
    # On torch and TensorFlow training in several threads is Keras's affair, too: a step each.
    assert in_threads(lambda number: work(number, train=True)) == alone


def test_one_class_for_each_optimizer():
    for _ in range(20):
        base = type("Mine", (keras.optimizers.SGD,), {})
        assert len(set(map(id, in_threads(lambda number, base=base: optimizers.differential(base))))) == 1


def test_layers_that_declare_while_others_look():
    """The layers that declare something are known in one place: it may not grow while somebody goes through it."""

    def make(number):
        for _ in range(25):
            layer = difflr.layers.Dense(1, learning_rate_multiplier=0.5)
            layer.build((None, 1))
            assert difflr.Plan(layer.trainable_variables).multipliers[layer.kernel] == 0.5

    in_threads(make)
