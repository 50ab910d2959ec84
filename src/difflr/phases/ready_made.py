"""Ready-made phases: gradual unfreezing, chain-thaw, head first, all at once."""

from collections.abc import Sequence
from typing import Any

import keras

from difflr.depth import depth_groups
from difflr.optimizers.plan_of import plan_of
from difflr.phases.phase import Phase
from difflr.phases.phases import Phases
from difflr.plan import Plan, layer_tree
from difflr.plan.targets import path_expression, prefixes
from difflr.signatures import check_keywords

HEAD = "kind:head"

__all__ = ["all_at_once", "chain_thaw", "head_first", "top_down"]


def all_at_once(model: keras.Layer) -> Phases:
    """One phase in which everything trains: a start for your own phases.

    Args:
        model: A built model.

    Example:

    ```python
    import keras
    import difflr

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    print(difflr.phases.all_at_once(model))
    ```
    """
    Plan(model)  # raises if it is not built
    return Phases([Phase(trainable="*")])


def head_first(model: keras.Layer, epochs: int = 1, head: Any = HEAD, **more: Any) -> Phases:
    """The head alone, then everything: the phases of LP-FT and of fastai's `fine_tune`.

    Args:
        model: A built model.
        epochs: Integer, how long the head trains alone.
        head: The target of the head, or a list of targets, if the graph of the model does not show it.
        **more: Further arguments of the second `difflr.Phase`, such as `warmup_steps`.

    Example:

    ```python
    import keras
    import difflr

    body, head = keras.layers.Dense(4, name="body"), keras.layers.Dense(2, name="head")
    model = keras.Sequential([keras.Input((4,)), body, head])
    print(difflr.phases.head_first(model, epochs=2))
    ```

    Reference: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", 2022;
    fastai's `Learner.fine_tune`.
    """
    check_keywords("head_first", more, head_first, Phase)
    Plan(model)
    return Phases([Phase(trainable=head, epochs=epochs), Phase(trainable="*", **more)])


def top_down(
    model: keras.Layer, epochs: int = 1, groups: Sequence[Any] | None = None, head: Any = HEAD, **more: Any
) -> Phases:
    """Gradual unfreezing: the top group first, then one more group from the top in each phase, until all train.

    Args:
        model: A built model.
        epochs: Integer, the length of each phase except the last, which has no end.
        groups: List of groups from the bottom to the top, each a target or a list of targets. `None`: one group for
            each depth of the model.
        head: The target of the head, or a list of targets; see `difflr.depth.depth_groups`.
        **more: Further arguments of every `difflr.Phase` except the first, such as `warmup_steps`.

    Example:

    ```python
    import keras
    import difflr

    model = keras.Sequential([keras.Input((4,)), *[keras.layers.Dense(4, name=name) for name in ("low", "mid", "head")]])
    print(difflr.phases.top_down(model))
    ```

    Reference: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018, section 3.3.
    """
    check_keywords("top_down", more, top_down, Phase)
    from_top = list(reversed(_groups(model, groups, head)))
    phases = []
    for number in range(1, len(from_top)):
        trainable = [target for group in from_top[:number] for target in group]
        phases.append(Phase(trainable=trainable, epochs=epochs, **(more if number > 1 else {})))
    return Phases([*phases, Phase(trainable="*", **(more if phases else {}))])


def chain_thaw(
    model: keras.Layer, epochs: int = 1, groups: Sequence[Any] | None = None, head: Any = HEAD, **more: Any
) -> Phases:
    """Chain-thaw: the top alone, then every other group alone from the bottom up, finally all together.

    Args:
        model: As for `top_down`, and so are `epochs`, `groups` and `head`.
        epochs: Integer.
        groups: List of targets, or of lists of targets.
        head: A target, or a list of targets.
        **more: Further arguments of every `difflr.Phase` except the last, such as `monitor="val_loss"`.

    Example:

    ```python
    import keras
    import difflr

    model = keras.Sequential([keras.Input((4,)), *[keras.layers.Dense(4, name=name) for name in ("low", "mid", "head")]])
    print(difflr.phases.chain_thaw(model, epochs=5, monitor="val_loss", patience=2))
    ```

    Reference: Felbo et al., "Using millions of emoji occurrences to learn any-domain representations for detecting
    sentiment, emotion and sarcasm", 2017: new layers first, each layer from the first one, the whole at last.
    """
    check_keywords("chain_thaw", more, chain_thaw, Phase)
    *body, top = _groups(model, groups, head)
    phases = [Phase(trainable=group, epochs=epochs, **more) for group in [top, *body]]
    return Phases([*(phases if body else []), Phase(trainable="*")])


def _groups(model: keras.Layer, groups: Sequence[Any] | None, head: Any) -> list[list[Any]]:
    """The groups given, or one for each depth of the model, without what its plan freezes; bottom first."""
    if groups is not None:
        if not isinstance(groups, (list, tuple)) or not groups:
            raise ValueError(f"`groups` is a list of targets, or of lists of targets. Received: {groups!r}.")
        return [list(group) if isinstance(group, (list, tuple)) else [group] for group in groups]
    plan = plan_of(model).whole
    trained = {row.path for row in plan.rows if not row.frozen}
    leaves = layer_tree.walk(model)
    found = []
    for group in depth_groups(model, head=head):
        layers = set(map(id, group.statistics))
        inside = {*group.paths, *(leaf.path for leaf in leaves if leaf.variable is None and id(leaf.layer) in layers)}
        if inside & trained:
            cover = _cover(inside, [leaf.path for leaf in leaves], group.name)
            found.append([path for path in cover if any(map(path_expression(path).fullmatch, trained))])
    return found


def _cover(inside: set[str], paths: list[str], name: str) -> list[str]:
    """Few targets that cover `inside` and nothing else of `paths`: one pattern that begins with `name`, or layers."""
    for pattern in (f"{name}/*", f"{name}_*", f"{name}*"):
        expression = path_expression(pattern)
        if {path for path in paths if expression.fullmatch(path)} == inside:
            return [name] if pattern.endswith("/*") else [pattern]
    mixed = {prefix for path in paths if path not in inside for prefix in prefixes(path)}
    ways = [prefixes(path) for path in paths if path in inside]
    return list(dict.fromkeys(next(prefix for prefix in way if prefix not in mixed) for way in ways))
