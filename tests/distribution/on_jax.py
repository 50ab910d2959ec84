"""Run by `test_distribution.py` in a process of its own: JAX makes its virtual devices once."""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import contextlib
import functools
import tempfile

import jax
import keras

from distribution import cases


def data_parallel():
    return keras.distribution.DataParallel()


def model_parallel():
    mesh = keras.distribution.DeviceMesh((2, 4), ("batch", "model"), keras.distribution.list_devices())
    layouts = keras.distribution.LayoutMap(mesh)
    layouts["(stem|middle)/kernel"] = (None, "model")
    layouts["(low|high)/kernel"] = ("model", None)
    layouts["(stem|middle)/bias"] = ("model",)
    return keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")


LAYOUTS = {"one": None, "data": data_parallel, "model": model_parallel}


def within(layout):
    return LAYOUTS[layout]().scope() if LAYOUTS[layout] else contextlib.nullcontext()


def trained(layout, phases=None, settings=None, first=0, last=cases.EPOCHS, saved=None):
    with within(layout):
        model = keras.saving.load_model(saved) if saved else cases.compiled(**settings)
        cases.fit(model, first, last, phases)
        misplaced = strays(model)
        assert not misplaced, misplaced
        return model


def strays(model):
    """State of the optimizer that is not laid out as its weight is, or not everywhere."""
    layouts = {v.path.replace("/", "_"): v.value.sharding for v in model.trainable_variables}
    found = []
    for variable in cases.inner(model.optimizer).variables:
        name = variable.path.split("/")[-1]
        weight = next((path for path in layouts if name.startswith(path)), None)
        sharding = variable.value.sharding
        right = sharding.is_fully_replicated if weight is None else sharding == layouts[weight]
        if not right or len(sharding.device_set) != (8 if keras.distribution.distribution() else 1):
            found.append((variable.path, str(sharding)))
    return found


def apart(layouts, phases, settings):
    """How far the weights of several layouts are from those of one device."""
    alone = cases.weights(trained("one", phases, settings))
    return max(cases.distance(alone, cases.weights(trained(each, phases, settings))) for each in layouts)


def moved(*layouts):
    """The run goes on from one layout in the next: how far it ends from a run without a break on one device."""
    phases, settings = cases.PHASES_ACCUMULATED, cases.RESUMED
    alone = cases.weights(trained("one", phases, settings, last=len(layouts)))
    with tempfile.TemporaryDirectory() as folder:
        saved = None
        for epoch, layout in enumerate(layouts):
            model = trained(layout, phases, settings, epoch, epoch + 1, saved)
            saved = f"{folder}/model_{epoch}.keras"
            model.save(saved)
    return cases.distance(alone, cases.weights(model))


def reductions(groups):
    """The all-reduces in the compiled step under DataParallel: how many, and of how many tensors."""
    with data_parallel().scope():
        model = cases.compiled_for_counting(groups)
        layout = data_parallel().get_data_layout(cases.X[: cases.BATCH].shape).backend_layout
        batch = [jax.device_put(each[: cases.BATCH], layout) for each in (cases.X, cases.Y)]
        model._symbolic_build(data_batch=(*batch, None))
        lists = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
        state = [[v.value for v in each] for each in (*lists, model.metrics_variables)]
        text = jax.jit(model.train_step, donate_argnums=0).lower(state, batch).compile().as_text()
    lines = [line for line in text.splitlines() if " all-reduce(" in line or " all-reduce-start(" in line]
    return [len(lines), sum(line.split("all-reduce", 2)[-1].split("channel_id")[0].count("%") for line in lines)]


def outside_scope():
    """`fit` outside the scope in which the model was made: phases build new state there."""
    with data_parallel().scope():
        model = cases.compiled(**cases.DECAY)
    cases.fit(model, phases=cases.PHASES)
    return cases.distance(cases.weights(trained("one", cases.PHASES, cases.DECAY)), cases.weights(model))


def main():
    checks = cases.Checks()
    checks.cases(functools.partial(apart, ("data", "model") if checks.full else ("model",)))
    for groups in ("stock", 1, 10):
        checks.run(f"reductions: {groups}", reductions, groups)
    if checks.full:
        checks.run("moved", moved, "data", "model", "one", "data")
        checks.run("outside the scope", outside_scope)
    checks.tell()


if __name__ == "__main__":
    main()
