"""Pictures: what is drawn is what a step does; they are legible with 5 and with 200 layers, and leave nothing behind."""

import io
import itertools

import keras
import matplotlib
import numpy as np
import pytest

import difflr
from difflr.report import drawing, phase_spans
from difflr.report.labels import fitting_labels, shortened
from difflr.report.plan_layers import bands_of
from difflr.report.plot_phases import rows_of
from difflr.report.plot_rate_map import rate_map
from difflr.report.plot_schedule import lines_of
from difflr.report.rates import values_at
from report.runs import HOSTILE, Constant, small_model

LOG = {
    "learning_rate/backbone": [1e-4, 1e-4, 0.0],
    "learning_rate/_head $x": [1e-3, 1e-3, 5e-4],
    "update_ratio/backbone": [1e-3, 2e-3, 0.0],
    "update_ratio/_head $x": [1e-3, 1e-2, 1e-2],
    "loss": [0.9, 0.5, 0.4],
    "val_loss": [1.0, 0.6, 0.6],
}


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def plan(model):
    rules = {"backbone": 0.1, "*/bias": 0.5, "backbone/stem": difflr.FROZEN, "head": difflr.schedules.Delayed(1.0, 3)}
    return difflr.Plan(model, rules)


PHASES = difflr.Phases(
    [
        difflr.Phase("head", epochs=1),
        difflr.Phase(["head", "backbone/block2"], steps=3),
        difflr.Phase("*", warmup_steps=2),
    ]
)

pytestmark = pytest.mark.same_everywhere


PLATEAU = difflr.Phases([difflr.Phase("head", monitor="val_loss", patience=2), difflr.Phase("*", warmup_steps=2)])
OF_A_PLAN = [
    lambda plan, axes: difflr.plot_plan(plan, 1e-3, axes),
    lambda plan, axes: difflr.plot_rate_map(plan, 1e-3, 20, PLATEAU, axes, steps_per_epoch=4),
    lambda plan, axes: difflr.plot_phases(PLATEAU, plan, 1e-3, axes),
]
OTHERS = [
    lambda plan, axes: difflr.plot_phases(PLATEAU, axes=axes),
    lambda plan, axes: difflr.plot_log(LOG, "learning_rate", axes),
    lambda plan, axes: difflr.plot_log(LOG, "loss", axes),
]


def fresh_axes(**settings):
    from matplotlib.figure import Figure

    return Figure(**settings).subplots()


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_no_rate_is_drawn_below_the_lowest_of_its_group(model):
    plan = difflr.Plan(model, [difflr.Rule("backbone", multiplier=0.1, min_learning_rate=1e-3)])
    falling = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 1e-3])
    steps = np.arange(4)
    numbers = rate_map(plan, lambda steps: values_at(falling, steps), 4)
    by_name = dict(zip(numbers.names, numbers.rates, strict=True))
    np.testing.assert_allclose(by_name["backbone/stem"], [0.01, 0.01, 0.001, 0.001])
    np.testing.assert_allclose(by_name["head"], [0.1, 0.1, 0.001, 0.001])
    _, lines = lines_of(difflr.optimizers.SGD(falling, multipliers=plan), steps)
    np.testing.assert_allclose(sorted(lines, key=max)[0], [0.01, 0.01, 0.001, 0.001])
    assert {band.rate(1e-3) for band in bands_of(plan)} == {1e-3}
    assert {band.rate(None) for band in bands_of(plan)} == {0.1, 1.0}
    names, values, _ = rows_of(difflr.Phases([difflr.Phase("*")]), plan, 2e-3)
    assert set(values.ravel()) == {1e-3, 2e-3}


def test_the_map_is_what_the_steps_did():
    model = keras.Sequential([keras.Input((1,)), *[Constant(name=name) for name in "abcd"]])
    own = difflr.schedules.Delayed(1.0, 3)
    plan = difflr.Plan(model, {"a": 0.5, "b": difflr.FROZEN, "c": own})
    phases = difflr.Phases(
        [difflr.Phase("d", epochs=2), difflr.Phase(["d", "a"], epochs=2, warmup_steps=3), difflr.Phase(["a", "c"])]
    )
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 4, 0.5)
    expected = rate_map(plan, lambda steps: values_at(schedule, steps), 8, phases, steps_per_epoch=1)
    model.compile(difflr.optimizers.SGD(schedule, multipliers=plan), loss=lambda y, p: keras.ops.mean(p, axis=-1))
    weights = [np.zeros(4)]

    def note(epoch, logs):
        weights.append(np.array([float(keras.ops.convert_to_numpy(each.kernel)) for each in model.layers]))

    x = np.zeros((2, 1), "float32")
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=note), difflr.PhaseScheduler(phases)]
    model.fit(x, x, epochs=8, batch_size=2, verbose=0, callbacks=callbacks)
    moved = -np.diff(weights, axis=0).T
    assert expected.names == list("abcd")
    np.testing.assert_allclose(np.nan_to_num(expected.rates), moved, rtol=1e-4, atol=1e-6)
    frozen = [
        [step < 2 for step in range(8)],
        [True] * 8,
        [step < 4 for step in range(8)],
        [step >= 4 for step in range(8)],
    ]
    np.testing.assert_array_equal(np.isnan(expected.rates), frozen)


def test_bands_hold_every_variable_once_in_flow_order(plan):
    bands = bands_of(plan)
    assert [f"{band.layer}/{band.variables}".rstrip("/") for band in bands] == [
        "backbone/stem", "backbone/block1/kernel", "backbone/block1/bias", "backbone/block2/kernel",
        "backbone/block2/bias", "head/kernel", "head/bias",
    ]  # fmt: skip
    assert sorted(row.path for band in bands for row in band.rows) == sorted(row.path for row in plan.rows)


def test_phases_last_as_long_as_they_say():
    spans = phase_spans.spans(PHASES, "step", 4)
    assert [(span.begins, span.ends) for span in spans] == [(0, 4), (4, 7), (7, float("inf"))]
    spans = phase_spans.spans(PHASES, "epoch", 4)
    assert [(span.begins, span.ends) for span in spans] == [(0, 1), (1, 1.75), (1.75, float("inf"))]
    plateau = difflr.Phases([difflr.Phase("a", monitor="val_loss", patience=2), difflr.Phase("*", epochs=1)])
    assert [(s.begins, s.ends, s.at_least) for s in phase_spans.spans(plateau, "epoch")] == [(0, 3, True), (3, 4, True)]
    with pytest.raises(ValueError, match="count epochs and the plot counts steps: pass `steps_per_epoch`"):
        phase_spans.spans(PHASES, "step")


def test_rows_of_the_chart(plan, model):
    names, values, what = rows_of(PHASES)
    assert names == ["head", "backbone/block2", "*"]
    assert what == ""
    np.testing.assert_array_equal(np.isnan(values), [[False] * 3, [True, False, False], [True, True, False]])
    names, values, what = rows_of(PHASES, plan, 2.0)
    assert what == "learning rate"
    assert dict(zip(names, values[:, 2], strict=True)) == pytest.approx(
        {"backbone/stem": np.nan, "backbone/block1/kernel": 0.2, "backbone/block1/bias": 1.0, "head/kernel": 2.0,
         "backbone/block2/kernel": 0.2, "backbone/block2/bias": 1.0, "head/bias": 1.0}, nan_ok=True
    )  # fmt: skip
    names, values, _ = rows_of(difflr.phases.head_first(model), plan)
    assert [name for name, value in zip(names, values[:, 0], strict=True) if value > 0] == ["head/kernel", "head/bias"]


# -- drawing ----------------------------------------------------------------------------------------------------------


def test_a_plan_has_a_mark_for_each_rate(plan, axes):
    assert difflr.plot_plan(plan, 1e-2, axes) is axes
    marks = {text.get_text(): line for text, line in zip(axes.get_legend().get_texts(), axes.lines, strict=True)}
    assert list(marks) == ["kernel", "bias", "frozen"]
    np.testing.assert_allclose(marks["kernel"].get_xdata(), [1e-3, 1e-3, 1e-2])
    np.testing.assert_array_equal(marks["kernel"].get_ydata(), [1, 2, 3])
    np.testing.assert_allclose(marks["bias"].get_xdata(), [5e-3, 5e-3, 5e-3])
    np.testing.assert_array_equal(marks["frozen"].get_ydata(), [0])
    left = axes.get_xlim()[0]
    assert left < marks["frozen"].get_xdata()[0] < 1e-3
    assert axes.get_xlabel() == "learning rate, without the groups' own schedules"
    assert axes.get_yticklabels()[0].get_text() == "backbone/stem"
    assert axes.yaxis_inverted()


def test_a_model_stands_for_its_plan(model, axes):
    declared = keras.Sequential([keras.Input((2,)), difflr.layers.Dense(2, learning_rate_multiplier=0.25, name="a")])
    difflr.plot_plan(declared, axes=axes)
    assert axes.lines[0].get_xdata() == [0.25]
    assert axes.get_xlabel() == "multiplier"


def test_a_log_has_a_line_for_each_group_and_gaps_where_it_was_frozen(axes):
    difflr.plot_log(LOG, "learning_rate", axes)
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1e-4, 1e-4, np.nan])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["backbone", "_head $x"]
    assert len({line.get_color() for line in axes.lines}) == len({line.get_linestyle() for line in axes.lines}) == 2


def test_a_metric_is_drawn_with_its_validation(axes):
    difflr.plot_log(LOG, "loss", axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), LOG["val_loss"])


def test_a_real_history_and_its_csv_file_are_drawn_alike(run, tmp_path, axes):
    log = tmp_path / "log.csv"
    logger = keras.callbacks.CSVLogger(str(log), separator=";")
    logger.set_model(run.model)
    logger.on_train_begin()
    for number in run.history.epoch:
        logger.on_epoch_end(number, {name: values[number] for name, values in run.history.history.items()})
    logger.on_train_end()
    for measure in ("learning_rate", "update_ratio", "gradient_norm", "mae"):
        axes.clear()
        difflr.plot_log(run.history, measure, axes)
        lines = sorted([list(line.get_ydata()) for line in axes.lines if line.get_marker() != "^"], key=str)
        assert len(lines) >= 2
        axes.clear()
        difflr.plot_log(log, measure, axes)
        by_file = sorted([list(line.get_ydata()) for line in axes.lines if line.get_marker() != "^"], key=str)
        np.testing.assert_allclose(lines, by_file, rtol=1e-6)


def test_validation_now_and_then_is_drawn_where_it_was(axes):
    difflr.plot_log({"loss": [1.0, 0.9, 0.8, 0.7, 0.6], "val_loss": [1.1, 0.9]}, "loss", axes)
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [np.nan, 1.1, np.nan, 0.9, np.nan])
    with pytest.raises(ValueError, match="5 epochs and 4 values of 'val_loss'"):
        difflr.plot_log({"loss": [1.0] * 5, "val_loss": [1.0] * 4}, "loss", axes)


def test_the_chart_is_colored_where_variables_are_trainable(plan, axes):
    difflr.plot_phases(PHASES, plan, axes=axes, epochs=4, steps_per_epoch=4)
    mesh = next(each for each in axes.collections if hasattr(each, "get_coordinates"))
    np.testing.assert_array_equal(mesh.get_coordinates()[0, :, 0], [0, 1, 1.75, 4])
    trainable = ~np.ma.getmaskarray(mesh.get_array())
    assert trainable.tolist() == [
        [False] * 3,
        *[[False, False, True]] * 2,
        *[[False, True, True]] * 2,
        *[[True] * 3] * 2,
    ]
    assert axes.get_xlim() == (0, 4)


@pytest.mark.parametrize("draw", OF_A_PLAN)
@pytest.mark.parametrize("height", [3, 9])
@pytest.mark.parametrize("size", ["5 layers", "200 layers"])
def test_labels_do_not_overlap(draw, height, size, plan, plan_of_200_layers):
    axes = fresh_axes(figsize=(6, height), layout="constrained")
    draw(plan if size == "5 layers" else plan_of_200_layers, axes)
    axes.figure.draw_without_rendering()
    labels = [text for text in axes.get_yticklabels() if text.get_text()]
    boxes = sorted((text.get_window_extent() for text in labels), key=lambda box: box.y0)
    assert len(boxes) >= 4
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))
    assert labels[-1].get_text() in ("head", "head/bias")
    assert all(box.x0 >= 0 for box in boxes)


def test_many_layers_are_named_by_block(plan_of_200_layers):
    paths = [band.layer for band in bands_of(plan_of_200_layers)]
    labels = fitting_labels(paths, 60)
    assert labels[0] == (1.5, "encoder/block0_*")
    assert labels[-1] == (200, "head")
    assert len(labels) == 50  # block49 lies too near the head
    assert 20 <= len(fitting_labels(paths, 30)) <= 30
    assert fitting_labels(["a", "b/c"], 10) == [(0, "a"), (1, "b/c")]


def test_shortened_names_stay_different():
    names = [f"features/fire{n}_expand{size}x{size}_convolution/kernel" for n in (2, 3) for size in (1, 3)]
    short = shortened(names, 20)
    assert len(set(short)) == 4
    assert short[0] == "…/fire2_expand1x1_c…"
    assert all(len(name) == 20 for name in short)
    alike = ["a" * 30 + "1" + "b" * 9 + "1", "a" * 30 + "1" + "b" * 9 + "2", "c" * 61, "d"]
    assert shortened(alike, 8) == ["aaaa…bb1", "aaaa…bb2", "cccc…ccc", "d"]
    far_apart = ["a" * 30 + f"{first}{'b' * 30}{last}" + "c" * 30 for first in "12" for last in "34"]
    assert shortened(far_apart, 20) == far_apart  # longer than asked for, but different
    assert shortened(["a\tb", "a\tb"], 8) == ["a\ufffdb"] * 2


def test_many_rows_are_sorted_by_variable(plan_of_200_layers):
    plan = plan_of_200_layers * difflr.Plan(plan_of_200_layers.model, {"kind:bias": 2.0})
    names = rate_map(plan, lambda steps: np.ones(len(steps)), 2).names
    assert names[0] == "encoder/block0_one"
    assert names[16] == "kernel: encoder/block4_one"
    assert names[-1] == "bias: head"
    assert len(names) == len(set(names)) == 16 + 2 * 185


def test_many_groups_are_a_map(axes):
    difflr.plot_log({f"gradient_norm/group{n}": [1.0 + n, 0.0] for n in range(40)}, "gradient_norm", axes)
    assert not axes.lines
    (mesh,) = axes.collections
    values = mesh.get_array()
    np.testing.assert_array_equal(values[:, 0], np.arange(40) + 1.0)
    assert np.ma.getmaskarray(values)[:, 1].all()


def test_colors_are_for_everyone():
    blind_safe = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"}
    assert set(drawing.COLORS) <= blind_safe
    assert drawing.MAP in ("viridis", "cividis")
    assert len(drawing.MARKERS) == len(drawing.COLORS)


def test_hostile_names_are_drawn_as_they_are():
    model = small_model((*HOSTILE[:3], "a\tb"))
    plan = difflr.Plan(model, {"*/bias": 2.0})
    for draw in OF_A_PLAN:
        axes = fresh_axes(figsize=(9, 4))
        draw(plan, axes)
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            axes.figure.savefig(out := io.StringIO(), format="svg")
        assert "&lt;script" in out.getvalue()
        assert "\\frac{" in out.getvalue()


def test_nothing_is_left_behind(plan, pyplot):
    pyplot.close("all")  # what the examples of other tests left open
    before = dict(matplotlib.rcParams)
    for draw in OF_A_PLAN + OTHERS:
        draw(plan, fresh_axes())
    assert not pyplot.get_fignums()
    with pytest.raises(ValueError, match="no 'lose'"):
        difflr.plot_log(LOG, "lose")
    with pytest.raises(ValueError, match="above 0"):
        difflr.plot_plan(plan, 0)
    assert not pyplot.get_fignums()
    assert difflr.plot_plan(plan).figure.number == pyplot.get_fignums()[0]
    assert dict(matplotlib.rcParams) == before


def test_the_same_numbers_give_the_same_svg(plan):
    def drawn():
        axes = fresh_axes()
        difflr.plot_rate_map(plan, 1e-3, 10, axes=axes)
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "difflr"}):
            axes.figure.savefig(out := io.StringIO(), format="svg", metadata={"Date": None})
        return out.getvalue()

    first = drawn()
    assert first == drawn()
    assert ">backbone/stem</text>" in first


# -- errors -----------------------------------------------------------------------------------------------------------


def test_what_is_not_in_the_log_is_told():
    with pytest.raises(
        ValueError, match="no 'update_ration'. Did you mean 'update_ratio'. It has: learning_rate, update"
    ):
        difflr.plot_log(LOG, "update_ration")
    with pytest.raises(ValueError, match=r"no 'gradient_norm'.* It has: learning_rate, update_ratio, loss"):
        difflr.plot_log(LOG, "gradient_norm")
    with pytest.raises(ValueError, match=r"callbacks=\[difflr.GroupLogger\(\)\]"):
        difflr.plot_log({"loss": [1.0]}, "learning_rate")


@pytest.mark.parametrize(
    ("history", "error", "match"),
    [
        (3, TypeError, "`history` must be what `fit` returned"),
        ({}, ValueError, "The history is empty"),
        ({"loss": 3}, ValueError, "must be a list"),
        ({"loss": ["a"]}, ValueError, "must hold numbers only"),
        ("gone.csv", FileNotFoundError, "no file 'gone.csv'"),
    ],
)
def test_what_is_no_history_is_told(history, error, match):
    with pytest.raises(error, match=match):
        difflr.plot_log(history, "loss")


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "epoch,loss\n0,x\n", "", "\x00\xff", "epoch,loss\n0,[1\n"])
def test_what_is_no_csv_log_is_told(tmp_path, content):
    (tmp_path / "log.csv").write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match="log.csv"):
        difflr.plot_log(tmp_path / "log.csv", "loss")


def test_wrong_arguments_are_told(plan, model, axes):
    with pytest.raises(TypeError, match="`plan` must be a difflr.Plan or a built model. Received: 'plan'"):
        difflr.plot_plan("plan", axes=axes)
    with pytest.raises(TypeError, match="`learning_rate` must be a number, a keras.optimizers.schedules"):
        difflr.plot_plan(plan, lambda: 0.1, axes=axes)
    with pytest.raises(ValueError, match="`num_steps` counts optimizer steps"):
        difflr.plot_rate_map(plan, 0.1, 0, axes=axes)
    with pytest.raises(TypeError, match="`phases` must be difflr.Phases"):
        difflr.plot_phases("head", axes=axes)
    with pytest.raises(ValueError, match="Phase 1: the target 'hed' matches no trainable variable"):
        difflr.plot_phases([difflr.Phase("hed")], plan, axes=axes)
    assert not axes.lines
    assert not axes.collections


def test_without_matplotlib_the_extra_is_named(plan, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    calls = [
        lambda: difflr.plot_plan(plan),
        lambda: difflr.plot_rate_map(plan, 0.1, 3),
        lambda: difflr.plot_phases(PLATEAU),
        lambda: difflr.plot_log(LOG),
        lambda: difflr.plot_schedule(difflr.schedules.OneCycle(0.1, 5), 5),
    ]
    for call in calls:
        with pytest.raises(ImportError, match=r"difflr\[plot\]"):
            call()
