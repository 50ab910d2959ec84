"""`difflr import`: settings of other systems as a plan, or put onto the layers of a model."""

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.claim import claim
from difflr_command.common import with_common_options
from difflr_command.help import Command, Group

if TYPE_CHECKING:
    import keras

    from difflr.interop import Translation

app = typer.Typer(
    name="import",
    cls=Group,
    rich_markup_mode=None,
    help="Convert the settings of other libraries into a plan for `difflr fine-tune --plan`.",
    no_args_is_help=True,
)
# Peer -> what its settings are.
PEERS = {
    "timm": "The args.yaml of timm's train.py, or 'dict(layer_decay=0.75)'.",
    "mmengine": "A config of MMEngine (.py, .yaml, .json), whole or its paramwise_cfg.",
    "detectron2": "A whole config.yaml of detectron2, or 'dict(base_lr=1e-4, bias_lr_factor=2.0)'.",
    "big-vision": "A config of big_vision as JSON (`config.to_json()`), with lr_mults, wd_mults or schedule.",
    "fastai": "'slice(1e-5, 1e-3)', 'slice(1e-3)' or a rate.",
    "lr-multiplier": "The dictionary of keras-lr-multiplier: '{\"dense\": 0.5}'.",
    "keras-adamw": "The arguments of keras-adamw's AdamW: 'dict(lr_multipliers={\"dense\": 0.5})'.",
    "param-groups": "'dict(learning_rate=5e-5, groups=[...])' with PyTorch's groups, names of variables in params.",
}

Model = Annotated[pathlib.Path, typer.Argument(metavar="MODEL", help="A .keras file.")]
Output = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Write the plan here, as JSON; or, named .keras, a copy of the model whose layers declare the multipliers.",
    ),
]


@app.command(cls=Command)
@with_common_options
def caffe(
    net: Annotated[pathlib.Path, typer.Argument(metavar="NET", help="The train_val.prototxt of the net.")],
    model: Model,
    solver: Annotated[
        pathlib.Path | None, typer.Option(help="The solver.prototxt, to show its rate and optimizer.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="CAFFE=KERAS", help="A layer whose name differs: 'fc8_flickr=head'. Can be repeated."),
    ] = None,
    output: Output = None,
) -> None:
    """A Caffe net: lr_mult and decay_mult of its layers, by name."""

    def translation(network: "keras.Model") -> "Translation":
        from difflr.interop import from_caffe

        pairs = [text.rpartition("=") for text in name or ()]
        for caffes, equals, keras_name in pairs:
            if not (caffes and equals and keras_name):
                raise ValueError(f"A name is CAFFE=KERAS. Received: --name '{caffes}{equals}{keras_name}'.")
        return from_caffe(net, network, solver, names={caffes: keras_name for caffes, _, keras_name in pairs})

    _run(translation, model, output, (net, solver))


@app.command(cls=Command)
@with_common_options
def keras2(
    old: Annotated[pathlib.Path, typer.Argument(metavar="OLD", help="A model in HDF5, or its architecture in JSON.")],
    output: Annotated[pathlib.Path, typer.Option("--output", "-o", help="The .keras file.")],
    weights: Annotated[pathlib.Path | None, typer.Option(help="With JSON: the HDF5 file with the weights.")] = None,
) -> None:
    """A model of the Keras 2 fork with W_learning_rate_multiplier, or of plain Keras 2, as a .keras file."""
    with console.bad_input():
        if output.suffix != ".keras":
            raise ValueError(f"The model becomes a .keras file. Received: --output {output}.")
        claim(output, "model")
        import_keras()
        import difflr
        from difflr_command.plan_table import print_plan

        model = difflr.interop.load_keras2(old, weights)
        _save(model, output)
    print_plan(console.output(), difflr.Plan(model))
    console.messages().print(f"\nWritten: {output}")


def _command(peer: str, help: str) -> Callable[..., None]:
    """The command for a peer whose settings are one file or expression."""

    def command(
        settings: Annotated[str, typer.Argument(metavar="SETTINGS", help=help)], model: Model, output: Output = None
    ) -> None:
        def translation(network: "keras.Model") -> "Translation":
            from difflr_command.peer_settings import read_settings
            from difflr_command.peers import translated

            return translated(peer, read_settings(settings), network)

        _run(translation, model, output, (settings,))

    return command


for _peer, _help in PEERS.items():
    app.command(name=_peer, help=_help, cls=Command)(with_common_options(_command(_peer, _help)))


def _run(
    translate: Callable[["keras.Model"], "Translation"],
    model: pathlib.Path,
    output: pathlib.Path | None,
    reads: Sequence[str | pathlib.Path | None],
) -> None:
    """Shows what came of the settings, and the plan; and writes it."""
    with console.bad_input():
        if output is not None:
            claim(output, "plan", reads)
        import_keras()
        from difflr.files import write_whole
        from difflr.interop import declare_multipliers
        from difflr_command.models import load
        from difflr_command.plan_table import print_plan

        network = load(model)
        translation = translate(network)
        if output is not None and output.suffix == ".keras":
            _save(declare_multipliers(translation.plan, network), output)
        elif output is not None:
            write_whole(output, translation.plan.to_json() + "\n")
    console.output().print(f"{translation}\n")
    print_plan(console.output(), translation.plan)
    if output is not None:
        console.messages().print(f"\nWritten: {output}")


def _save(model: "keras.Model", output: pathlib.Path) -> None:
    from difflr.files import whole_file

    with whole_file(output) as unfinished:
        model.save(unfinished)
