"""Makes `peer_tables.json` with the peers' own code: `python peer_tables.py FOLDER`.

FOLDER holds clones of huggingface/pytorch-image-models, open-mmlab/mmengine, open-mmlab/mmpretrain,
facebookresearch/detectron2 and google-research/big_vision, each under its second name. Of each one only the functions that
make groups are run, so none has to be installed; the commits stand in the result.
"""

import ast
import collections
import copy
import itertools
import json
import re
import subprocess
import sys
import typing
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import peer_cases as cases
import torch
from torch import nn


def source(repository, path):
    git = ["git", "-C", str(Path(sys.argv[1]) / repository)]
    return subprocess.run([*git, "show", f"HEAD:{path}"], capture_output=True, text=True, check=True).stdout


def defined(repository, path, *names, **namespace):
    """The functions or classes of these names, run in a namespace of their own."""
    text = source(repository, path)
    namespace = {**vars(typing), "torch": torch, "nn": nn, "copy": copy, "itertools": itertools, "re": re, **namespace}
    namespace |= {"defaultdict": collections.defaultdict, "np": np, "jax": jax, "logging": mock.Mock()}
    for node in ast.parse(text).body:
        if getattr(node, "name", None) in names:
            node.decorator_list = []
            exec(compile(ast.Module([node], []), path, "exec"), namespace)
    return namespace


def module():
    root = nn.Module()
    for name in cases.NAMES:
        *above, last = name.split(".")
        parent = root
        for part in above:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        made = {
            "patch": nn.Conv2d(3, 4, 1),
            "norm": nn.LayerNorm(4),
            "dw": nn.Conv2d(4, 4, 3, groups=4),
            "bn": nn.BatchNorm2d(4),
        }
        parent.add_module(last, made.get(last, nn.Linear(4, 4)))
    return root


def table(model, groups):
    """Name -> (multiplier, weight-decay multiplier), or None: not trained."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = dict.fromkeys(names.values())
    for group in groups:
        rate = group.get("lr_scale", group.get("lr", cases.BASE) / cases.BASE)
        for parameter in group["params"]:
            found[names[parameter]] = [rate, group.get("weight_decay", cases.DECAY) / cases.DECAY]
    return found


def of_timm(arguments):
    model = module()
    model.group_matcher = lambda coarse: None
    numbers = {name: cases.layer_number(name) for name, _ in model.named_parameters()}
    made = defined(
        "pytorch-image-models",
        "timm/optim/_param_groups.py",
        "_matches_pattern",
        "param_groups_layer_decay",
        group_parameters=lambda *_, **__: numbers,
        Collection=typing.Collection,
        fnmatch=__import__("fnmatch"),
    )
    return table(model, made["param_groups_layer_decay"](model, weight_decay=cases.DECAY, **arguments))


def of_mmengine(cfg, by_depth=False):
    norms = {
        "_BatchNorm": nn.modules.batchnorm._BatchNorm,
        "_InstanceNorm": nn.modules.instancenorm._InstanceNorm,
        "GroupNorm": nn.GroupNorm,
        "LayerNorm": nn.LayerNorm,
    }
    stubs = {
        "mmcv_full_available": lambda: False,
        "print_log": mock.Mock(),
        "MMLogger": mock.MagicMock(),
        "OptimWrapper": None,
    }
    name = "DefaultOptimWrapperConstructor"
    made = defined("mmengine", "mmengine/optim/optimizer/default_constructor.py", name, **norms, **stubs)
    if by_depth:
        path = "mmpretrain/engine/optimizers/layer_decay_optim_wrapper_constructor.py"
        base, name = made[name], "LearningRateDecayOptimWrapperConstructor"
        made = defined("mmpretrain", path, name, DefaultOptimWrapperConstructor=base, **norms, **stubs)
    optimizer = {"type": "AdamW", "lr": cases.BASE, "weight_decay": cases.DECAY}
    model, groups = module(), []
    model.get_layer_depth = lambda name: (cases.layer_number(name), 5)
    made[name]({"optimizer": optimizer}, cfg).add_params(groups, model)
    return table(model, groups)


def of_detectron2(arguments):
    names = ("get_default_optimizer_params", "reduce_param_groups", "_expand_param_groups")
    made = defined("detectron2", "detectron2/solver/build.py", *names)
    model = module()
    arguments = {**arguments, "overrides": dict(arguments.get("overrides", {}))}
    return table(model, made[names[0]](model, base_lr=cases.BASE, weight_decay=cases.DECAY, **arguments))


def of_big_vision(config):
    names = (
        "check_and_compile_patterns",
        "make_mask_trees",
        "tree_map_with_names",
        "tree_flatten_with_names",
        "_traverse_with_names",
    )
    utils = defined(
        "big_vision",
        "big_vision/utils.py",
        *names,
        dataclasses=__import__("dataclasses"),
        Mapping=dict,
        flax=mock.Mock(),
    )
    u = mock.Mock(**{name: utils[name] for name in names if name in utils})
    made = defined(
        "big_vision", "big_vision/optax.py", "_make_mask_trees", "_split_frozen", u=u, operator=__import__("operator")
    )
    tree, flax = {}, {}
    for name, parameter in module().named_parameters():
        *above, last = name.split(".")
        is_norm = above[-1] in ("norm", "bn")
        path = [*above, {"weight": "scale" if is_norm else "kernel"}.get(last, last)]
        flax["/".join(path)] = name
        at = tree
        for part in path[:-1]:
            at = at.setdefault(part, {})
        at[path[-1]] = np.zeros(parameter.shape)

    def values(pairs, default):
        if not pairs:
            return dict.fromkeys(flax, default)
        masks, numbers = made["_make_mask_trees"](tree, pairs, None)
        flat = [dict(utils["tree_flatten_with_names"](mask)[0]) for mask in masks]
        return {name: next((n for n, mask in zip(numbers, flat, strict=True) if mask[name]), default) for name in flax}

    schedule = config["schedule"] if isinstance(config["schedule"], list) else [(".*", config["schedule"])]
    frozen, *_ = made["_split_frozen"](*made["_make_mask_trees"](tree, schedule, None))
    frozen = dict(utils["tree_flatten_with_names"](frozen)[0])
    rates, decays = values(config.get("lr_mults"), 1.0), values(config.get("wd_mults", [(".*/kernel$", 1.0)]), 0.0)
    return {torch_name: None if frozen[name] else [rates[name], decays[name]] for name, torch_name in flax.items()}


if __name__ == "__main__":
    repositories = ("pytorch-image-models", "mmengine", "mmpretrain", "detectron2", "big_vision")
    git = [["git", "-C", str(Path(sys.argv[1]) / name), "rev-parse", "HEAD"] for name in repositories]
    commits = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for command in git]
    result = {
        "commits": dict(zip(repositories, commits, strict=True)),
        "timm": {name: of_timm(case) for name, case in cases.TIMM.items()},
        "mmengine": {name: of_mmengine(case) for name, case in cases.MMENGINE.items()},
        "mmpretrain": {name: of_mmengine(case, by_depth=True) for name, case in cases.MMPRETRAIN.items()},
        "detectron2": {name: of_detectron2(case) for name, case in cases.DETECTRON2.items()},
        "big_vision": {name: of_big_vision(case) for name, case in cases.BIG_VISION.items()},
    }
    Path(__file__).with_name("peer_tables.json").write_text(json.dumps(result, indent=1) + "\n")
