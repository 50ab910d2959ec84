"""`difflr plan`, and how rules and recipes are written."""

import inspect
import io
import json
import os
import re
import subprocess
import sys

import keras
import pytest
from rich.console import Console

import difflr as library
from cli.commands import difflr, refused
from difflr_command import data_options, layers_table, plan_options, plan_table
from processes import environment


@pytest.mark.same_everywhere
def test_a_plan_of_rules_is_printed_and_written(here):
    rules = [
        "--recipe",
        "none",
        "--rule",
        "**=0.5",
        "--rule",
        "*/bias=2",
        "--rule",
        "stem=frozen",
        "--rule",
        "kind:kernel:decay=0",
    ]
    result = difflr("plan", "net.keras", *rules, "-o", "plan.json", "--learning-rate", "0.01")
    assert result.code == 0
    model = keras.saving.load_model("net.keras")
    plan = library.Plan.from_json(model, (here / "plan.json").read_text())
    expected = {"**": 0.5, "*/bias": 2.0, "stem": library.FROZEN, "kind:kernel": {"weight_decay_multiplier": 0}}
    assert plan == library.Plan(model, expected)
    assert plan.table(0.01) in result.out
    assert plan.table(full=True) in difflr("plan", "net.keras", "--plan", "plan.json", "--full").out
    assert "Written: plan.json" in result.err


@pytest.mark.same_everywhere
def test_the_plan_of_a_choice_is_taken(here):
    assert difflr("plan", "net.keras", "--rule", "stem=0.5", "-o", "plan.json").code == 0
    plan = json.loads((here / "plan.json").read_text())
    (here / "choice.json").write_text(json.dumps({"learning_rate": 0.03, "plan": plan}))
    result = difflr("plan", "net.keras", "--plan", "choice.json", "-o", "again.json")
    assert "warning: Of the choice choice.json the plan is taken: its rate is --learning-rate 0.03" in result.err
    assert json.loads((here / "again.json").read_text()) == plan


def test_recipes_and_rules_are_multiplied(here):
    model = keras.saving.load_model("net.keras")
    assert (
        difflr("plan", "net.keras", "--recipe", "layerwise-decay:0.5,minimum_multiplier=0.4", "-o", "a.json").code == 0
    )
    both = ["--plan", "a.json", "--recipe", "bias-double", "--rule", "top/**=0.1"]
    assert difflr("plan", "net.keras", *both, "-o", "b.json").code == 0
    decay = library.layerwise_decay(model, 0.5, minimum_multiplier=0.4)
    expected = decay * library.bias_double(model) * library.Plan(model, {"top": 0.1})
    assert library.Plan.from_json(model, (here / "b.json").read_text()) == expected


@pytest.mark.same_everywhere
def test_rules_are_added_to_the_default_rates(here):
    """One rule does not take away the low rates of the body; `--recipe none` does."""
    model = keras.saving.load_model("net.keras")
    assert difflr("plan", "net.keras", "-o", "default.json").code == 0
    assert difflr("plan", "net.keras", "--rule", "head=2", "-o", "one.json").code == 0
    assert difflr("plan", "net.keras", "--rule", "head=2", "--recipe", "none", "-o", "none.json").code == 0
    default, one, none = (
        {row.path: row for row in library.Plan.from_json(model, (here / f"{name}.json").read_text()).rows}
        for name in ("default", "one", "none")
    )
    assert [round(default[f"{name}/kernel"].multiplier, 4) for name in ("stem", "top", "head")] == [0.5625, 0.75, 1]
    assert [round(one[f"{name}/kernel"].multiplier, 4) for name in ("stem", "top", "head")] == [0.5625, 0.75, 2]
    assert [none[f"{name}/kernel"].multiplier for name in ("stem", "top", "head")] == [1, 1, 2]
    assert one["stem/bias"].weight_decay_multiplier == 0
    assert none["stem/bias"].weight_decay_multiplier == 1


def test_a_plan_for_the_new_head(here):
    assert (
        difflr(
            "plan", "bare.keras", "--new-head", "--classes", "5", "--recipe", "head-and-backbone:0", "-o", "plan.json"
        ).code
        == 0
    )
    model = library.new_head(keras.saving.load_model("bare.keras"), 5)
    plan = library.Plan.from_json(model, (here / "plan.json").read_text())
    assert {row.path for row in plan.rows if not row.frozen} == {"head/kernel", "head/bias"}


WRONG = [
    (["--rule", "stem"], r"TARGET=VALUE.*Received: --rule 'stem'"),
    (["--rule", "=0.1"], "TARGET=VALUE"),
    (["--rule", "stem=slow"], "a number, 'frozen' or 'trainable'. Received: 'slow'"),
    (["--rule", "stem:decay=frozen"], "is a number. Received: 'frozen'"),
    (["--rule", "stem=-1"], "finite number >= 0"),
    (["--rule", "stm=0.1"], "Did you mean 'stem'"),
    (["--rule", "kind:biass=0.1"], "Did you mean 'kind:bias'"),
    (["--recipe", "layerwise-decy:0.5"], "Did you mean 'layerwise-decay'"),
    (["--recipe", "layerwise-decay"], "It takes decay_rate, .*as in layerwise-decay:0.75"),
    (["--recipe", "layerwise-decay:2"], "decay_rate"),
    (["--recipe", "bias-double:2"], "does not fit: .* It takes no arguments"),
    (["--recipe", "mup:nowhere.keras"], "no model file nowhere.keras"),
    (["--plan", "nowhere.json"], "No such file.*nowhere.json"),
    (["--plan", "net.keras"], "net.keras"),
    (["--new-head"], "--new-head needs --classes"),
    (["--classes", "3"], "give --new-head too"),
    (["-o", "nowhere/plan.json"], "plan nowhere/plan.json cannot be written: there is no folder"),
    (["-o", "images"], "it is a folder"),
]


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("words", "told"), WRONG, ids=lambda each: " ".join(each) if isinstance(each, list) else "")
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_written(words, told, here):
    before = sorted(here.iterdir())
    output = [] if "-o" in words else ["-o", "plan.json"]
    assert re.search(told, refused("plan", "net.keras", *words, *output))
    assert sorted(here.iterdir()) == before


def test_models_that_cannot_be_loaded(here):
    assert "no model file nowhere.keras" in refused("plan", "nowhere.keras")
    (here / "old.h5").write_bytes(b"")
    assert "A model is a .keras file" in refused("plan", "old.h5")
    (here / "text.keras").write_text("not a model")
    assert "damaged, or no .keras file" in refused("plan", "text.keras")
    dangerous = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1), keras.layers.Dense(1)])
    dangerous.save("lambda.keras")
    line = refused("plan", "lambda.keras")
    assert "not run from a file" in line
    assert "safe_mode" not in line


def test_a_warning_is_one_line(here):
    fresh = [keras.layers.Dense(3, name="body"), keras.layers.Dense(2, name="head")]
    keras.Sequential([keras.Input((2,)), *fresh]).save("fresh.keras")
    result = difflr("plan", "fresh.keras", "--recipe", "layerwise-decay:0.5")
    assert result.code == 0
    assert re.fullmatch(r"difflr: warning: .* looks freshly initialized: .*\n", result.err)


def test_all_recipes_can_be_asked_for():
    plans = [
        name
        for name in set(library.__all__) - {"plan_of"}
        if inspect.isfunction(getattr(library, name))
        and inspect.signature(getattr(library, name)).return_annotation is library.Plan
    ]
    assert sorted(name.replace("_", "-") for name in plans) == sorted(plan_options.RECIPES)
    for example in plan_options.RECIPES.values():
        plan_options.parse_recipe(example)


@pytest.mark.same_everywhere
def test_the_default_is_what_these_recipes_say(here):
    recipes = ["--recipe", "discriminative:0.5625", "--recipe", "no-decay"]  # two groups below the head: 0.75 squared
    plans = []
    for words in ([], recipes):
        assert difflr("plan", "net.keras", *words, "-o", "plan.json").code == 0
        plans.append(library.Plan.from_json(keras.saving.load_model("net.keras"), (here / "plan.json").read_text()))
    assert [(r.multiplier, r.weight_decay_multiplier) for r in plans[0].rows] == [
        (r.multiplier, r.weight_decay_multiplier) for r in plans[1].rows
    ]


def test_recipes_are_completed():
    assert [name for name, _ in plan_options._complete("l")] == ["layerwise-decay", "lora-plus"]


def test_summary_shows_the_layers_and_the_plan(here):
    result = difflr("summary", "net.keras", "--rule", "stem=frozen")
    assert result.code == 0
    assert re.search(r"stem.*frozen", result.out)
    assert "Not trained: 112" in result.out
    assert "dropout" not in result.out
    assert "4 layers without weights" not in difflr("summary", "net.keras", "--full").out
    assert "dropout" in difflr("summary", "net.keras", "--full").out
    assert "Did you mean 'stem'" in refused("summary", "net.keras", "--rule", "stm=frozen")


@pytest.mark.same_everywhere
@pytest.mark.parametrize("width", [60, 80])
def test_names_are_never_cut(width):
    """Rules need them whole; where there is little room, columns go."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, name="block_one_squeeze_excite_projection")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, name="block_two_expand")(x))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(x))
    plan = library.discriminative(model, 0.1) * library.no_decay(model)
    console = Console(force_terminal=True, color_system=None, width=width, file=io.StringIO())
    plan_table.print_rates(console, plan, 1e-3)
    layers_table.print_layers(console, model, plan)
    text = console.file.getvalue()
    assert text.count("block_one_squeeze_excite_projection") == text.count("block_two_expand") == 2
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 140])
def test_the_plan_fits_a_terminal(width, here):
    model = keras.saving.load_model("net.keras")
    plan = library.layerwise_decay(model, 0.75) * library.no_decay(model)
    console = Console(force_terminal=True, color_system=None, width=width, file=io.StringIO())
    plan_table.print_plan(console, plan, 1e-3)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert {"stem", "top", "head"} <= set(text.split())
    plan_table.print_plan(console, plan, 1e-3, full=True)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert {row.path for row in plan.rows} <= set(text.split())


@pytest.mark.same_everywhere
@pytest.mark.parametrize("width", [40, 60, 80])
def test_help_fits_and_breaks_no_word(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for words in (["--help"], ["fine-tune", "--help"], ["import", "--help"], ["export", "-h"]):
        shown = difflr(*words)
        lines = shown.out.splitlines()
        assert shown.code == 0
        assert all(len(line) <= width or len(line.split()) <= 3 for line in lines), width  # a word is longer
    text = difflr("fine-tune", "--help").out
    assert {"'backbone/stem=frozen'.", "--no-class-weights", "Training:"} <= {*text.split(), *text.splitlines()}


@pytest.mark.same_everywhere
def test_wrong_usage_is_one_line():
    assert "Did you mean 'evaluate'? See: difflr --help" in refused("evalute")
    assert "--epoch" in refused("fine-tune", "net.keras", "images", "--epoch", "3")
    assert "Missing argument 'MODEL'. See: difflr plan --help" in refused("plan")


@pytest.mark.same_everywhere
@pytest.mark.parametrize("words", [["--help"], ["fine-tune", "--help"], ["import", "caffe", "-h"]])
def test_help_is_quick(words):
    """It imports neither Keras, which takes seconds, nor rich, nor pydantic; neither does completion."""
    slow = ("keras", "difflr", "rich", "pydantic")
    code = f"import sys; sys.argv = {['difflr', *words]}; from difflr_command import main\n"
    code += f"try: main()\nexcept SystemExit: print([name for name in {slow} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"Usage: difflr {' '.join(words[:-1])}".rstrip())
    assert shown.splitlines()[-1] == "[]"


def test_options_of_every_command_stand_before_its_name_or_after(here):
    backend = keras.backend.backend()
    for words in (["--backend", backend, "plan", "net.keras"], ["plan", "net.keras", "--backend", backend]):
        assert difflr(*words).code == 0
    assert "no backend 'nix'" in refused("plan", "net.keras", "--backend", "nix")
    assert "no backend 'nix'" in refused("--backend", "nix", "plan", "net.keras")
    assert difflr("plan", "net.keras").code == 0  # it is forgotten


@pytest.mark.same_everywhere
def test_messages_speak_of_commands_not_of_python(here):
    lines = [refused("plan", "bare.keras"), refused("plan", "net.keras", "--rule", "stem=-1")]
    lines.append(refused("plan", "net.keras", "--recipe", "head-and-backbone:0.1,head=nix"))
    for line in lines:
        assert not re.search(r"difflr\.|keras\.layers|get_layer|print\(", line), line
    assert "--recipe none" in lines[0]


@pytest.mark.same_everywhere
def test_a_terminal_without_the_letters_of_a_name(tmp_path):
    """Windows' cp1252 has no Chinese: the name is spelled, and nothing fails."""
    code = (
        "import sys; sys.argv = ['difflr', 'fine-tune', 'net.keras', '\u732b']; from difflr_command import main; main()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    (tmp_path / "net.keras").write_bytes(b"")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, cwd=tmp_path)
    assert shown.stderr.decode("cp1252").strip() == r"difflr: error: There is no data at \u732b."


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's messages")
def test_the_backends_start_in_silence():
    code = "from difflr_command.backend import import_keras; import_keras(); import keras; keras.ops.ones(2) + 1"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stderr == ""


@pytest.mark.same_everywhere
def test_tensorflow_is_imported_silently_wherever_that_is(tmp_path):
    """As by KerasHub, long after the backend has started."""
    (tmp_path / "tensorflow_text.py").write_text("import os; os.write(2, b'oneDNN is on'); VERSION = 3")
    code = (
        "from difflr_command.backend import import_keras; import_keras(); import tensorflow_text as t; print(t.VERSION)"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(tmp_path))
    assert (shown.stdout.strip(), shown.stderr) == ("3", "")


def test_scales_are_those_of_the_library():
    assert [str(scale) for scale in data_options.Scale] == list(library.data.SCALES)
