"""`Plan`: the rules resolved against one real model."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from difflr.checks import checked_multiplier, checked_rate
from difflr.plan import layer_tree, saved_plan
from difflr.plan.declared import declared_multipliers
from difflr.plan.product import declared_once, times
from difflr.plan.resolution import leaves_of, resolve
from difflr.plan.rows import BY_USER, Group, Row, StatisticsLayer
from difflr.plan.rule import as_rules
from difflr.plan.variable_mapping import VariableMapping

if TYPE_CHECKING:
    from difflr.verification import Verification

STATISTICS = ("keep", "update")


class Plan:
    """Who trains at which rate: rules resolved against one model, every variable in exactly one row.

    The effective rate of a variable is `base rate * multiplier * schedule`, where the base rate is whatever the
    optimizer, a Keras callback or a schedule says at that step. Where several rules speak about one variable the
    later rule wins, separately for each of the four axes (rate multiplier, weight-decay multiplier, schedule, frozen):
    a rule about one never undoes another. What layers declare (`difflr.layers`) comes before all rules.

    Making a plan changes nothing. Giving it to an optimizer freezes what it freezes: those variables get
    `trainable = False`, hence no gradient, no optimizer state and no part in a clip norm.

    Args:
        model: A built Keras model or layer, of any kind; or a list of variables, for training loops without one.
        rules: A mapping target -> value, a list of `(target, value)` pairs, or a list of `difflr.Rule`. See
            `difflr.Rule` for targets and values. `None`: what the layers declare, 1 elsewhere.
        frozen_statistics: What the moving statistics of a BatchNormalization layer do when the plan freezes the whole
            layer: `"keep"` (it runs in inference mode, as with Keras's `layer.trainable = False`) or `"update"`.
        learning_rate: Float > 0, the optimizer's base rate (its highest, under a schedule). Needed where rules set a
            `learning_rate`: their multiplier is that divided by this.

    Raises:
        ValueError: If the model is not built or has nothing to train, a rule matches nothing or is wholly hidden by
            others, a shared variable is claimed twice, or a value is no multiplier.
        TypeError: If rules or targets are of no known form.

    Example:

    ```python
    import keras
    import difflr

    stem, top = keras.layers.Dense(8, name="stem"), keras.layers.Dense(8, name="top")
    backbone = keras.Sequential([stem, top], name="backbone")
    model = keras.Sequential([keras.Input((4,)), backbone, keras.layers.Dense(2, name="head")])
    plan = difflr.Plan(model, {"backbone": 0.1, "backbone/stem": difflr.FROZEN, "*/bias": 2.0})
    print(plan)
    ```

    Reference: three axes and full coverage as in big_vision (`big_vision/optax.py`); frozen means no backward pass, as
    Caffe's `lr_mult: 0` (`net.cpp`).
    """

    def __init__(
        self,
        model: keras.Layer | Iterable[keras.Variable],
        rules: Any = None,
        *,
        frozen_statistics: str = "keep",
        learning_rate: float | None = None,
    ):
        if frozen_statistics not in STATISTICS:
            raise ValueError(f"`frozen_statistics` must be 'keep' or 'update'. Received: {frozen_statistics!r}.")
        base_rate = None if learning_rate is None else checked_rate(learning_rate, "learning_rate")
        leaves = leaves_of(model)
        model = model if isinstance(model, keras.Layer) else None  # type: ignore[assignment]
        rows, statistics = resolve(leaves, model, as_rules(rules), base_rate)
        self._fill(rows, statistics, frozen_statistics)

    def _fill(self, rows: list[Row], statistics: Iterable[StatisticsLayer], frozen_statistics: str) -> None:
        self._rows = tuple(rows)
        self._statistics = tuple(statistics)
        self._frozen_statistics = frozen_statistics
        self._by_variable = {id(row.variable): row for row in self._rows}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Plan":
        """This plan: it does not change, and copies of the variables would belong to no model."""
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:  # what was unpickled has other identities
        self._fill(state["_rows"], state["_statistics"], state["_frozen_statistics"])

    @classmethod
    def _from_rows(cls, rows: list[Row], statistics: Iterable[StatisticsLayer], frozen_statistics: str) -> "Plan":
        plan = cls.__new__(cls)
        plan._fill(rows, statistics, frozen_statistics)
        return plan

    @property
    def rows(self) -> Sequence[Row]:
        """One `Row` for each variable, in the order of the model's variables."""
        return self._rows

    @property
    def groups(self) -> Sequence[Group]:
        """The trainable rows, those with equal settings together, in order of first appearance."""
        members: dict[tuple, list[Row]] = {}
        for row in self._rows:
            if not row.frozen:
                members.setdefault(row.setting, []).append(row)
        return tuple(Group(tuple(rows)) for rows in members.values())

    @property
    def multipliers(self) -> VariableMapping:
        """Variable -> multiplier; 0 where it is frozen."""
        return VariableMapping(
            [(row.variable, row.multiplier) for row in self._rows],
            paths=lambda variable: self.row(variable).path,
        )

    @property
    def frozen_statistics(self) -> str:
        """What BatchNormalization statistics do in layers that the plan freezes: `"keep"` or `"update"`."""
        return self._frozen_statistics

    def row(self, variable: keras.Variable) -> Row:
        """The row of `variable`.

        Raises:
            KeyError: If the plan does not cover it.
        """
        if id(variable) not in self._by_variable:
            raise KeyError(
                f"The plan does not cover the variable {getattr(variable, 'path', variable)!r}. It was made for a "
                f"model whose variables begin with {', '.join(row.path for row in self._rows[:3])}."
            )
        return self._by_variable[id(variable)]

    def __contains__(self, variable: object) -> bool:
        return id(variable) in self._by_variable

    def freeze(self) -> None:
        """Makes the model as frozen as the plan says, and no more.

        Sets `trainable = False` on what the plan freezes, and undoes what another plan froze. What the user froze stays
        frozen. An optimizer that is given the plan calls this.
        """
        for layer in self._normalization_layers():
            if not layer.trainable and layer_tree.layer_frozen_by_plan(layer):
                layer.trainable = True
                setattr(layer, layer_tree.FROZEN_MARK, False)
        for row in self._rows:
            if row.decided.get("frozen") == BY_USER:
                row.variable.trainable = False
            elif row.frozen:
                row.variable.trainable = False
                setattr(row.variable, layer_tree.FROZEN_MARK, True)
            elif layer_tree.marked_frozen(row.variable):
                row.variable.trainable = True
                setattr(row.variable, layer_tree.FROZEN_MARK, False)
        if self._frozen_statistics == "keep":
            by_plan = {id(each.layer) for each in self._statistics if not each.by_user}
            for layer in self.kept_statistics():
                if layer.trainable or id(layer) in by_plan:
                    layer.trainable = False
                    setattr(layer, layer_tree.FROZEN_MARK, True)

    def _replaced(self, rows: list[Row]) -> "Plan":
        return Plan._from_rows(rows, self._statistics, self._frozen_statistics)

    def _tied_to(self, model: keras.Layer) -> "Plan":
        """This plan, with the paths and layers of `model`, whose variables it covers."""
        fresh = Plan(model)
        missing = [row.path for row in self._rows if row.variable not in fresh]
        unknown = [row.path for row in fresh.rows if row.variable not in self and not row.frozen]
        if missing or unknown:
            raise ValueError(
                f"The plan belongs to another model than {type(model).__name__} '{model.name}'. "
                f"Only in the plan: {_some(set(missing))}. Only in the model: {_some(set(unknown))}."
            )
        trainable = [row for row in self._rows if not row.frozen]
        if {row.path for row in trainable} <= {row.path for row in fresh.rows}:
            saved_plan.check_order([row.path for row in trainable], [fresh.row(row.variable).path for row in trainable])
        rows = []
        for row in fresh.rows:
            if row.variable in self:
                mine = self.row(row.variable)
                row = dataclasses.replace(mine, path=row.path, aliases=row.aliases, layer=row.layer)
            rows.append(row)
        mine_by_path = {each.path: each for each in self._statistics}
        mine_by_layer = {id(each.layer): each for each in self._statistics if each.layer is not None}
        statistics = []
        for each in fresh._statistics:
            known = mine_by_layer.get(id(each.layer)) or mine_by_path.get(each.path) or each
            statistics.append(dataclasses.replace(each, frozen=known.frozen, by_user=known.by_user))
        return Plan._from_rows(rows, statistics, self._frozen_statistics)

    def _with_layers(self, layers: Iterable[keras.Layer]) -> "Plan":
        """This plan, made without a model, that knows of its BatchNormalization layers those in `layers`."""
        owners = {
            id(leaf.variable): leaf.layer
            for layer in layers
            for leaf in layer_tree.walk(layer)
            if leaf.variable is not None and isinstance(leaf.layer, keras.layers.BatchNormalization)
        }
        return self._replaced(
            [dataclasses.replace(row, layer=owners.get(id(row.variable), row.layer)) for row in self._rows]
        )

    def _without_decay(self, variables: list[keras.Variable]) -> "Plan":
        """The plan with what `optimizer.exclude_from_weight_decay` excluded."""
        excluded = set(map(id, variables))
        if not excluded:
            return self
        return self._replaced(
            [
                dataclasses.replace(
                    row,
                    weight_decay_multiplier=0.0,
                    decided={**row.decided, "weight_decay_multiplier": "exclude_from_weight_decay"},
                )
                if id(row.variable) in excluded
                else row
                for row in self._rows
            ]
        )

    def _with_multipliers(self, current: dict[int, float]) -> "Plan":
        """The plan with the multipliers that an optimizer has at this moment, by identity of the variable."""
        return self._replaced(
            [dataclasses.replace(row, multiplier=current.get(id(row.variable), row.multiplier)) for row in self._rows]
        )

    def _normalization_layers(self) -> list[keras.Layer]:
        found = {id(each.layer): each.layer for each in self._statistics if each.layer is not None}
        for row in self._rows:
            if isinstance(row.layer, keras.layers.BatchNormalization):
                found[id(row.layer)] = row.layer
        return list(found.values())

    def kept_statistics(self) -> list[keras.Layer]:
        """The BatchNormalization layers that the plan freezes whole, whose statistics `frozen_statistics` is about.

        Those that the user froze keep theirs in any case, so `"update"` is not about them.
        """
        left_out = {id(row.layer) for row in self._rows if not row.frozen}
        left_out |= {id(each.layer) for each in self._statistics if not each.frozen}
        if self._frozen_statistics == "update":
            left_out |= {id(row.layer) for row in self._rows if row.decided.get("frozen") == BY_USER}
            left_out |= {id(each.layer) for each in self._statistics if each.by_user}
        return [layer for layer in self._normalization_layers() if id(layer) not in left_out]

    def __mul__(self, other: Any) -> "Plan":
        """Both plans at once: multipliers and schedules are multiplied, frozen in either is frozen.

        What layers declare is not multiplied: it counts, once, where neither plan has a rule about the multiplier.

        Args:
            other: A plan for the same variables, or a number >= 0 that scales the rate multipliers.

        Raises:
            ValueError: If the plans cover different variables.
        """
        if not isinstance(other, Plan):
            factor = checked_multiplier(other, "factor")
            axis = "frozen" if factor == 0 else "multiplier"
            text = {axis: f"* {factor:g}"} if factor != 1 else {}
            rows = [
                times(
                    row,
                    dataclasses.replace(
                        row,
                        multiplier=factor,
                        weight_decay_multiplier=1.0,
                        schedule=None,
                        frozen=factor == 0,
                        decided=text,
                    ),
                )
                for row in self._rows
            ]
            statistics = [dataclasses.replace(each, frozen=each.frozen or factor == 0) for each in self._statistics]
            return Plan._from_rows(rows, statistics, self._frozen_statistics)
        if set(self._by_variable) != set(other._by_variable):
            mine, theirs = {row.path for row in self._rows}, {row.path for row in other._rows}
            raise ValueError(
                "Only plans for the same model can be multiplied. "
                f"Only in the first: {_some(mine - theirs)}. Only in the second: {_some(theirs - mine)}."
            )
        if self._frozen_statistics != other._frozen_statistics:
            raise ValueError(
                "The plans disagree about `frozen_statistics`: "
                f"'{self._frozen_statistics}' and '{other._frozen_statistics}'. Make both alike."
            )
        declared = declared_multipliers([row.variable for row in self._rows])
        rows = [
            times(*declared_once(row, other.row(row.variable), declared.get(place, (1.0, ""))[0]))
            for place, row in enumerate(self._rows)
        ]
        frozen = {each.path for each in other._statistics if each.frozen}
        statistics = [dataclasses.replace(each, frozen=each.frozen or each.path in frozen) for each in self._statistics]
        return Plan._from_rows(rows, statistics, self._frozen_statistics)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        """Whether both say the same about the same paths, whoever decided it."""
        if not isinstance(other, Plan):
            return NotImplemented
        mine = {row.path: row.setting for row in self._rows}
        return (
            mine == {row.path: row.setting for row in other._rows}
            and {each.path: each.frozen for each in self._statistics}
            == {each.path: each.frozen for each in other._statistics}
            and self._frozen_statistics == other._frozen_statistics
        )

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> str:
        """The plan as JSON text, row by row, keyed by layer-tree path.

        Example:

        ```python
        import keras
        import difflr

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])
        plan = difflr.Plan(model, {"head/bias": 2.0})
        assert difflr.Plan.from_json(model, plan.to_json()) == plan
        ```
        """
        return json.dumps(saved_plan.to_config(self), indent=1)

    @classmethod
    def from_json(cls, model: keras.Layer, text: str) -> "Plan":
        """The plan that `to_json` wrote, for `model`.

        Args:
            model: A built model with the same layer tree.
            text: What `to_json` returned.

        Raises:
            ValueError: If the text is no plan, or the model has changed; the message reports what matched and what
                did not.
        """
        config = saved_plan.read_json(text)
        return saved_plan.bind_to_model(config, cls(model), cls._from_rows)

    def table(self, learning_rate: float | None = None, step: int | None = None) -> str:
        """The plan as an aligned table, variables with equal settings folded together.

        Args:
            learning_rate: The base rate; adds a column with effective rates.
            step: The step at which schedules of groups are counted in. Defaults to `None`: they are not.
        """
        from difflr.plan.table import as_text

        return as_text(self, learning_rate, step)

    def verify(
        self,
        model: keras.Layer,
        data: Any,
        *,
        step: Callable[[tuple[Any, ...]], Any] | None = None,
        reference: Callable[[tuple[Any, ...]], Any] | None = None,
        tolerance: float = 0.01,
        batch_size: int = 32,
    ) -> "Verification":
        """Measures in one real step how far every variable moves, against what the plan promises.

        The model makes one step on the first batch of `data`, with its own compiled step; then everything is put back,
        bit for bit: weights, statistics, seeds, the optimizer's state, metrics. (An optimizer that was not built is built,
        as `fit` does.) From the same state and with the same gradients a stock Keras optimizer makes the step at the
        rate that the plan promises, and the two are compared. This judges every optimizer alike: those whose update is
        not proportional to the rate (momentum, Ftrl, Adafactor), those that clip, and with weight decay.

        Args:
            model: The plan's model, compiled with any Keras optimizer. With `step`, it need not be compiled.
            data: A tuple of arrays `(x, y)` or `(x, y, sample_weight)`, of which the first `batch_size` are taken; or
                whatever `fit` takes and can be walked through again: of that the first batch.
            step: For a loop of your own: a function that takes the batch and makes one step. Its optimizer's state is
                yours: make it anew in the function.
            reference: The same step with one rate for all variables, the base rate.
            tolerance: Float, how far a measured ratio may be off, relatively.
            batch_size: Integer.

        Returns:
            A `difflr.Verification`, to be printed: for each group the promised and the measured ratio. What has no
            gradient in this batch, or moves less than the precision of its weights, is shown and not judged.

        Raises:
            difflr.PlanNotKept: If the plan is not kept; the message is the table, and who is to blame.
            ValueError: If the plan is for another model, or there is no step to be measured.
            TypeError: If `data` is an iterator, which would be used up.

        Example:

        ```python
        import keras
        import numpy as np
        import difflr

        layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
        model = keras.Sequential([keras.Input((4,)), *layers])
        plan = difflr.Plan(model, {"body": 0.1})
        model.compile(difflr.optimizers.Adam(1e-3, multipliers=plan), loss="mse")
        print(plan.verify(model, (np.random.default_rng(0).normal(size=(8, 4)), np.ones((8, 2)))))
        ```

        Reference: what it is there for are rates that were set and never applied, such as timm's `lr_scale` under other
        schedulers (pytorch-image-models #2532).
        """
        from difflr.verification.verify import verify

        return verify(self, model, data, step, reference, tolerance, batch_size)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        frozen = sum(row.frozen for row in self._rows)
        return f"<difflr.Plan: {len(self._rows)} variables, {len(self.groups)} groups, {frozen} frozen>"

    def _repr_html_(self) -> str:
        from difflr.plan.table import as_html

        return as_html(self)


def _some(paths: set[str]) -> str:
    listed = sorted(paths)
    return ", ".join(listed[:5]) + (f", ... ({len(listed)} in all)" if len(listed) > 5 else "") or "nothing"
