"""Run by `test_distribution.py` in two processes: what DistributedDataParallel comes to, in `fit` and in an own loop."""

import datetime
import os
import tempfile

os.environ["KERAS_BACKEND"] = "torch"

import keras
from torch import distributed
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from distribution import cases

EXAMPLE = cases.example("torch_processes")


def share(array):
    """The examples of this process."""
    parts = array.reshape(-1, 2, cases.BATCH // 2, *array.shape[1:])
    return parts[:, distributed.get_rank()].reshape(-1, *array.shape[1:])


def trained(together, phases, settings, first=0, last=cases.EPOCHS, saved=None):
    kind = EXAMPLE.Parallel if together else keras.Model
    model = load(saved, kind) if saved else cases.compiled(kind=kind, **settings)
    if together:
        return cases.fit(model, first, last, phases, share, cases.BATCH // 2)
    return cases.fit(model, first, last, phases)


def load(saved, kind):
    """A model of either kind from a file of either: the network is the same."""
    return keras.saving.load_model(saved, custom_objects={"example>Parallel": kind})


def apart(phases, settings):
    """How far the weights are from those of one process."""
    return cases.distance(*(cases.weights(trained(together, phases, settings)) for together in (True, False)))


def moved():
    """Two epochs in two processes, one in one, one in two again: how far from no break and one process."""
    phases, settings = cases.PHASES_ACCUMULATED, cases.RESUMED
    alone = cases.weights(trained(False, phases, settings))
    with tempfile.TemporaryDirectory() as folder:
        saved = None
        for together, first, last in ((True, 0, 2), (False, 2, 3), (True, 3, 4)):
            model = trained(together, phases, settings, first, last, saved)
            saved = f"{folder}/model_{first}.keras"
            model.save(saved)
    return cases.distance(alone, cases.weights(model))


def own_loop():
    """The loop of the guide: how far from `fit` in one process."""
    models = [EXAMPLE.compiled() for _ in range(2)]
    EXAMPLE.own_loop(models[0], 0, 2)
    unbroken = keras.Model.from_config(models[1].get_config())
    unbroken.set_weights(models[1].get_weights())
    unbroken.compile(**settings_of(models[1]))
    unbroken.fit(EXAMPLE.X, EXAMPLE.Y, batch_size=EXAMPLE.BATCH, epochs=2, shuffle=False, verbose=0)
    return cases.distance(*map(cases.weights, (models[0], unbroken)))


def settings_of(model):
    optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    return {"optimizer": optimizer, "loss": model.loss}


def reductions(groups):
    """The gradients in each message that the processes exchange in one step."""
    calls = []
    model = cases.compiled_for_counting(groups, kind=EXAMPLE.Parallel)
    together = DistributedDataParallel(model)

    def counting(state, bucket):
        calls.append(len(bucket.gradients()))
        return default_hooks.allreduce_hook(state, bucket)

    together.register_comm_hook(None, counting)
    model.make_train_function()
    model._together = together.__call__
    model.train_step((share(cases.X)[:8], share(cases.Y)[:8]))
    return calls


def main():
    distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    checks = cases.Checks()
    checks.cases(apart)
    checks.run("moved", moved)
    checks.run("own loop", own_loop)
    for groups in ("stock", 1, 10):
        checks.run(f"reductions: {groups}", reductions, groups)
    if distributed.get_rank() == 0:
        checks.tell()
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
