"""Read Caffe's text files with protobuf's parser and the part of `caffe.proto` about learning rates."""

import functools
import os
import warnings
from typing import Any

from difflr.checks import did_you_mean, wrong_type

MAX_CHARACTERS = 4_000_000  # published nets have at most 200,000
MAX_DEPTH = 40

# Message -> its fields by type, as in src/caffe/proto/caffe.proto of BVLC/caffe; `*`: repeated; `unread`: skipped, because
# it is not about learning rates. Rates are `double` here (`float` in Caffe), so that 0.1 stays 0.1.
_MESSAGES: dict[str, list[str]] = {
    "Skipped": [],  # of a solver
    "LayerSettings": [],  # skipped, too, such as `convolution_param`
    "NetState": ["int32 level", "*string stage", "unread phase"],
    "NetStateRule": ["Phase phase", "int32 min_level max_level", "*string stage not_stage"],
    "ParamSpec": ["string name", "double lr_mult decay_mult", "unread share_mode"],
    # `bn_param` is of the forks of SegNet and PSPNet.
    "BatchNormalization": [
        "bool use_global_stats frozen",
        "unread moving_average_fraction eps momentum slope_filler bias_filler scale_filler shift_filler bn_mode var_eps",
        "unread engine",
    ],
    "Layer": [
        "string name type",
        "*string bottom top",
        "*ParamSpec param",
        "*bool propagate_down",
        "*NetStateRule include exclude",
        "BatchNormalization batch_norm_param bn_param",
        "unread phase loss_weight blobs",
    ],
    # V1LayerParameter, before 2014. Its type is an enum that forks extend.
    "OldLayer": [
        "string name",
        "*string bottom top param",
        "*double blobs_lr weight_decay",
        "*NetStateRule include exclude",
        "OldestLayer layer",
        "unread type loss_weight blob_share_mode blobs",
    ],
    # V0LayerParameter, before V1: everything except `bottom` and `top`.
    "OldestLayer": [
        "string name",
        "*double blobs_lr weight_decay",
        "unread type num_output biasterm weight_filler bias_filler pad kernelsize group stride pool dropout_ratio alpha",
        "unread beta k local_size source scale meanfile batchsize cropsize mirror blobs rand_skip det_fg_threshold",
        "unread det_bg_threshold det_fg_fraction det_context_pad det_crop_mode new_num new_channels new_height new_width",
        "unread shuffle_images concat_dim",
    ],
    "Net": [
        "NetState state",
        "*Layer layer",
        "*OldLayer layers",
        "unread name input input_shape input_dim force_backward debug_info",
    ],
    "Solver": [
        "string lr_policy regularization_type type",
        "NetState train_state",
        "double base_lr gamma power momentum weight_decay clip_gradients delta momentum2 rms_decay",
        "int32 max_iter iter_size stepsize",
        "*int32 stepvalue",
        "SolverType solver_type",
        "unread net train_net test_net net_param train_net_param test_net_param test_state weights random_seed",
        "unread test_iter test_interval test_compute_loss test_initialization display average_loss debug_info",
        "unread snapshot snapshot_prefix snapshot_diff snapshot_format snapshot_after_train solver_mode device_id",
        "unread layer_wise_reduce",
    ],
}
_ENUMS = {
    "Phase": ["TRAIN", "TEST"],
    "SolverType": ["SGD", "NESTEROV", "ADAGRAD", "RMSPROP", "ADADELTA", "ADAM"],
}
# Message -> field -> type.
_SCHEMA = {
    message: {field: kind for kind, *fields in map(str.split, lines) for field in fields}
    for message, lines in _MESSAGES.items()
}
_STRICT = ("ParamSpec", "Solver")  # an unknown field here may be a misspelt rate
_RATES = ("lr_mult", "decay_mult", "blobs_lr", "weight_decay")  # these are rates in the wrong place


def read_net(source: Any) -> Any:
    """Read the net in a `train_val.prototxt` as a protobuf message.

    Args:
        source: A path, or an open text file.

    Raises:
        ValueError: If it is not a net in Caffe's text format, is too large or too deep, or has an unknown field about rates.
        ImportError: If protobuf is not installed.
    """
    return _read(source, "Net")


def read_solver(source: Any) -> Any:
    """Read the solver in a `solver.prototxt` as a protobuf message.

    Args:
        source: A path, or an open text file.

    Raises:
        ValueError: If it is not a solver in Caffe's text format, is too large or too deep, or has an unknown field.
        ImportError: If protobuf is not installed.
    """
    return _read(source, "Solver")


def _read(source: Any, kind: str) -> Any:
    messages, text_format = _messages()
    text, name = _text(source)
    _check_fields(text, kind, name)
    try:
        return text_format.Parse(text, messages[kind](), allow_unknown_field=True)
    except (text_format.ParseError, UnicodeError) as error:
        raise ValueError(f"{name} is not a {kind.lower()} in Caffe's text format: {error}") from None


def _text(source: Any) -> tuple[str, str]:
    """The text, of limited length, and its name for errors."""
    if hasattr(source, "read"):
        text, name = source.read(MAX_CHARACTERS + 1), str(getattr(source, "name", "The text"))
    elif isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        try:
            with open(source, encoding="utf-8") as file:
                text = file.read(MAX_CHARACTERS + 1)
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} is not UTF-8 text: {error}") from None
    else:
        raise wrong_type("The source", "the path of a prototxt, or an open text file", source)
    if not isinstance(text, str):
        raise TypeError(f"{name} is open in binary mode. Open it as text.")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{name} is too large: a prototxt can have at most {MAX_CHARACTERS} characters.")
    return text.removeprefix("\ufeff"), name


def _check_fields(text: str, kind: str, name: str) -> None:
    """Check the nesting depth and find fields that the parser would skip, by counting braces."""
    _, text_format = _messages()
    tokenizer = text_format.Tokenizer(text.split("\n"))
    inside, fields, previous, in_list = [kind], [""], "", False  # the field of each level
    ignored: dict[str, None] = {}
    while not tokenizer.AtEnd():
        token = tokenizer.token
        if token in ("[", "]"):
            in_list = token == "["
        elif token in ("{", "<"):
            message = _SCHEMA[inside[-1]].get(fields[-1], "").strip("*")
            unread = "Skipped" if inside[-1] in ("Solver", "Skipped") else "LayerSettings"
            inside.append(message if message in _SCHEMA else unread)
            fields.append("")
            in_list = False
            if len(inside) > MAX_DEPTH:
                raise ValueError(f"{name} is nested more than {MAX_DEPTH} deep.")
        elif token in ("}", ">"):
            inside, fields = inside[:-1] or [kind], fields[:-1] or [""]  # the parser reports an extra brace
        elif (token[0].isalpha() or token[0] == "_") and previous != ":" and not in_list:
            fields[-1] = token
            _check_field(token, inside[-1], name, ignored)
        previous = token
        tokenizer.NextToken()
    if ignored:
        warnings.warn(f"{name} has fields unknown to Caffe, which are ignored: {', '.join(ignored)}.", stacklevel=5)


def _check_field(field: str, message: str, name: str, ignored: dict[str, None]) -> None:
    known = _SCHEMA[message]
    misplaced = message == "LayerSettings" and field in _RATES[:3]
    if field in known or field.endswith("_param") or not (known or misplaced):
        return
    if misplaced:
        raise ValueError(
            f"{name} has '{field}' inside the settings of a layer, where Caffe has no rates. Move it to `param`."
        )
    if message in _STRICT or field in _RATES:
        hint = did_you_mean(field, known, 1, 0.4)
        raise ValueError(
            f"{name} has the unknown field '{field}' in Caffe's {message}.{hint} If it belongs to a fork "
            "of Caffe and is not about learning rates, remove it."
        )
    ignored[field] = None


@functools.cache
def _messages() -> tuple[dict[str, Any], Any]:
    """The message classes of the schema, and protobuf's `text_format`."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
    except ImportError:
        raise ImportError("Reading Caffe's files needs protobuf: pip install 'difflr[caffe]'.") from None
    file = descriptor_pb2.FileDescriptorProto(name="difflr_caffe.proto", package="difflr.caffe", syntax="proto2")
    for enum, names in _ENUMS.items():
        described = file.enum_type.add(name=enum)
        for number, value in enumerate(names):
            described.value.add(name=value, number=number)
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            if kind != "unread":
                _describe(described.field.add(name=field, number=number), kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"difflr.caffe.{name}")) for name in _SCHEMA
    }
    return classes, text_format


def _describe(field: Any, kind: str) -> None:
    field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
    kind = kind.strip("*")
    if kind in _SCHEMA or kind in _ENUMS:
        field.type = field.TYPE_MESSAGE if kind in _SCHEMA else field.TYPE_ENUM
        field.type_name = f".difflr.caffe.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
