"""`Plan`: the rules resolved against one real model."""

import dataclasses
import json
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import keras

from difflr.checks import checked_multiplier, checked_option, checked_rate, did_you_mean
from difflr.plan import saved_plan, table
from difflr.plan.declared import declared_multipliers
from difflr.plan.product import declared_once, scaled, times
from difflr.plan.resolution import leaves_of, resolve
from difflr.plan.rows import BY_USER, STATISTICS, Group, Row, StatisticsLayer, grouped
from difflr.plan.rule import as_rules
from difflr.plan.variable_mapping import VariableMapping
from difflr.text_table import counted


class Plan:
    """The learning rate of every variable: rules resolved against one model, each variable in exactly one row.

    The effective rate of a variable is `base rate * multiplier * schedule`, where the base rate is the
    optimizer's current learning rate. If several rules match a variable, the last one wins, separately for each axis
    (multiplier, weight-decay multiplier, schedule, frozen, name, floor, each hyperparameter). Multipliers declared by
    layers (`difflr.layers`) come before all rules.

    A plan changes the model only when an optimizer gets it: the variables it freezes become `trainable = False`, without
    gradient, optimizer state or part in a clip norm.

    Args:
        model: A built Keras model or layer, of any kind; or a list of variables, for training loops without one.
        rules: A mapping target -> value, a list of `(target, value)` pairs, or a list of `difflr.Rule`. See
            `difflr.Rule` for targets and values. `None`: the multipliers that layers declare, 1 elsewhere.
        frozen_statistics: What a fully frozen BatchNormalization layer does with its moving statistics: `"keep"`
            (inference mode, as with Keras's `layer.trainable = False`) or `"update"`.
        learning_rate: Float > 0, the optimizer's base rate (its highest, under a schedule). Needed if rules set a
            `learning_rate`, which is divided by it to get the multiplier.

    Attributes:
        rows: One `Row` for each variable, in the order of the model's variables.
        statistics: The BatchNormalization layers without trainable variables, which have no row.
        frozen_statistics: As the argument.
        learning_rate: The base rate of the learning rates in its rules; `None` without such rules.
        has_schedules: Whether a rate or a hyperparameter has a schedule.

    Raises:
        ValueError: If the model is not built or has nothing to train, a rule matches nothing or is overridden
            everywhere, rules disagree about a shared variable, or a value is invalid.
        TypeError: If rules or targets have an unknown form.

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
        checked_option(frozen_statistics, "frozen_statistics", STATISTICS)
        base_rate = None if learning_rate is None else checked_rate(learning_rate, "learning_rate")
        leaves = leaves_of(model)
        model = model if isinstance(model, keras.Layer) else None  # type: ignore[assignment]
        checked = as_rules(rules)
        rows, statistics = resolve(leaves, model, checked, base_rate)
        sets_rates = any(rule.learning_rate is not None for rule in checked)
        self._fill(rows, statistics, frozen_statistics, None, model, base_rate if sets_rates else None)

    def _fill(
        self,
        rows: Iterable[Row],
        statistics: Iterable[StatisticsLayer],
        frozen_statistics: str,
        whole: "Plan | None",
        model: keras.Layer | None,
        learning_rate: float | None,
    ) -> None:
        self.rows: Sequence[Row] = tuple(rows)
        self.statistics: Sequence[StatisticsLayer] = tuple(statistics)
        self.frozen_statistics = frozen_statistics
        self.learning_rate = learning_rate
        self.has_schedules = any(row.has_schedule for row in self.rows)
        self._whole = whole
        self._model_ref = None if model is None else weakref.ref(model)
        self._by_variable = {id(row.variable): row for row in self.rows}

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Row],
        statistics: Iterable[StatisticsLayer] = (),
        frozen_statistics: str = "keep",
        whole: "Plan | None" = None,
        model: keras.Layer | None = None,
        learning_rate: float | None = None,
    ) -> "Plan":
        """A plan of rows, for code that does not start from rules.

        Args:
            rows: The rows, in the order of the model's variables.
            statistics: The BatchNormalization layers without trainable variables.
            frozen_statistics: As for the class.
            whole: The plan without the freezing of a phase, if there is one.
            model: The model, if known.
            learning_rate: The base rate for learning rates in its rules, if there are any.
        """
        plan = cls.__new__(cls)
        plan._fill(rows, statistics, frozen_statistics, whole, model, learning_rate)
        return plan

    def __deepcopy__(self, memo: dict[int, Any]) -> "Plan":
        """This plan: it is immutable, and copied variables would belong to no model."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:  # a weak reference cannot be pickled, and what was has other identities
        fields = (self.rows, self.statistics, self.frozen_statistics, self._whole, None, self.learning_rate)
        return Plan.from_rows, fields

    @property
    def model(self) -> keras.Layer | None:
        """The model of the plan, if known and not deleted."""
        return None if self._model_ref is None else self._model_ref()

    @property
    def whole(self) -> "Plan":
        """The plan without the freezing of a phase or of `freeze_to`; itself if there is none."""
        return self if self._whole is None else self._whole

    @property
    def groups(self) -> Sequence[Group]:
        """The trainable rows, grouped by equal settings, in order of first appearance."""
        trainable = (row for row in self.rows if not row.frozen)
        return tuple(Group(tuple(rows)) for rows in grouped(trainable, lambda row: row.setting).values())

    @property
    def multipliers(self) -> VariableMapping:
        """Variable -> multiplier; 0 if frozen."""
        return VariableMapping(
            [(row.variable, row.multiplier) for row in self.rows],
            paths=lambda variable: self.row(variable).path,
        )

    def row(self, variable: keras.Variable) -> Row:
        """The row of `variable`.

        Raises:
            KeyError: If the plan does not cover it.
        """
        if id(variable) not in self._by_variable:
            name = getattr(variable, "path", variable)
            hint = did_you_mean(str(name), [row.path for row in self.rows])
            raise KeyError(
                f"The plan does not cover the variable {name!r}.{hint} It was made for a model whose variables begin with "
                f"{', '.join(row.path for row in self.rows[:3])}."
            )
        return self._by_variable[id(variable)]

    def __contains__(self, variable: object) -> bool:
        return id(variable) in self._by_variable

    def only(
        self,
        variables: Collection[int],
        reason: str,
        *,
        frozen_statistics: str | None = None,
        frozen_layers: Collection[str] = (),
        change: Callable[[Row], Row] | None = None,
    ) -> "Plan":
        """This plan with all other variables temporarily frozen; its `whole` is this plan.

        Args:
            variables: The identities of the variables that stay trainable.
            reason: The reason for the table, such as `"phase 1"`.
            frozen_statistics: As for the class; `None` for that of this plan.
            frozen_layers: Paths of BatchNormalization layers without trainable variables to freeze, too.
            change: Function from a row that stays trainable to its temporary row.
        """
        whole = self.whole

        def for_a_time(row: Row) -> Row:
            if not row.frozen and id(row.variable) not in variables:
                return row.frozen_because(reason)
            return row if row.frozen or change is None else change(row)

        rows = list(map(for_a_time, whole.rows))
        statistics = [
            dataclasses.replace(layer, frozen=layer.frozen or layer.path in frozen_layers) for layer in whole.statistics
        ]
        kept = frozen_statistics or whole.frozen_statistics
        return Plan.from_rows(rows, statistics, kept, whole, self.model, self.learning_rate)

    def changed(self, change: Callable[[Row], Row], in_whole: bool = True) -> "Plan":
        """The plan with every row changed.

        Args:
            change: Function from a row to the new row.
            in_whole: Whether to change `whole`, too.
        """
        whole = self._whole.changed(change) if in_whole and self._whole is not None else self._whole
        rows, statistics = map(change, self.rows), self.statistics
        return Plan.from_rows(rows, statistics, self.frozen_statistics, whole, self.model, self.learning_rate)

    def normalization_layers(self) -> list[keras.Layer]:
        """Its BatchNormalization layers, as far as known."""
        found = {id(norm.layer): norm.layer for norm in self.statistics if norm.layer is not None}
        for row in self.rows:
            if isinstance(row.layer, keras.layers.BatchNormalization):
                found[id(row.layer)] = row.layer
        return list(found.values())

    def kept_statistics(self) -> list[keras.Layer]:
        """The BatchNormalization layers that the plan freezes fully, to which `frozen_statistics` applies.

        Layers frozen by the user always keep their statistics.
        """
        left_out = {id(row.layer) for row in self.rows if not row.frozen}
        left_out |= {id(norm.layer) for norm in self.statistics if not norm.frozen}
        if self.frozen_statistics == "update":
            left_out |= {id(row.layer) for row in self.rows if row.decided.get("frozen") == BY_USER}
            left_out |= {id(norm.layer) for norm in self.statistics if norm.by_user}
        return [layer for layer in self.normalization_layers() if id(layer) not in left_out]

    def __mul__(self, other: Any) -> "Plan":
        """The product of two plans: multipliers and schedules are multiplied; frozen in either is frozen.

        The higher of two floors applies. Both plans may set a hyperparameter of a variable only to the same value.
        Multipliers declared by layers apply once, where neither plan has a rule about the multiplier.

        Args:
            other: A plan for the same variables, or a number >= 0 that scales the rate multipliers.

        Raises:
            ValueError: If the plans cover different variables, or disagree about a hyperparameter.
        """
        if self._whole is not None:
            return self._whole * other
        if not isinstance(other, Plan):
            factor = checked_multiplier(other, "factor")
            return self._product([scaled(row, factor) for row in self.rows], lambda norm: factor == 0)
        other = other.whole
        if set(self._by_variable) != set(other._by_variable):
            here, there = {row.path for row in self.rows}, {row.path for row in other.rows}
            raise ValueError(
                "Only plans for the same model can be multiplied. "
                f"Only in the first: {some(here - there)}. Only in the second: {some(there - here)}."
            )
        if self.frozen_statistics != other.frozen_statistics:
            raise ValueError(
                "The plans disagree about `frozen_statistics`: "
                f"'{self.frozen_statistics}' and '{other.frozen_statistics}'. Use one of them in both."
            )
        declared = declared_multipliers([row.variable for row in self.rows])
        rows = [
            times(*declared_once(row, other.row(row.variable), declared.get(place, (1.0, ""))[0]))
            for place, row in enumerate(self.rows)
        ]
        frozen = {norm.path for norm in other.statistics if norm.frozen}
        return self._product(rows, lambda norm: norm.path in frozen)

    __rmul__ = __mul__

    def _product(self, rows: Iterable[Row], freezes: Callable[[StatisticsLayer], bool]) -> "Plan":
        statistics = [dataclasses.replace(norm, frozen=norm.frozen or freezes(norm)) for norm in self.statistics]
        return Plan.from_rows(rows, statistics, self.frozen_statistics, None, self.model, self.learning_rate)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same settings for the same paths, whichever rules set them."""
        if not isinstance(other, Plan):
            return NotImplemented
        own = {row.path: row.setting for row in self.rows}
        return (
            own == {row.path: row.setting for row in other.rows}
            and {norm.path: norm.frozen for norm in self.statistics}
            == {norm.path: norm.frozen for norm in other.statistics}
            and self.frozen_statistics == other.frozen_statistics
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
            ValueError: If the text is not a plan, or the model has changed; the message reports what matched and what
                did not.
        """
        return saved_plan.bind_to_model(saved_plan.read_json(text), cls(model))

    def table(
        self,
        learning_rate: float | None = None,
        step: int | None = None,
        *,
        full: bool = False,
        width: int | None = None,
    ) -> str:
        """The plan as an aligned table, with variables of equal settings merged into one row.

        The names in it are valid targets: `block_1_*` matches exactly the variables of that row. Differences in a row, such
        as the weight decay of kernels and biases, are listed below the table.

        Args:
            learning_rate: The base rate; adds a column with effective rates.
            step: The step at which the schedules of groups are evaluated. `None`, the default, leaves them out.
            full: Boolean, whether to show one row per variable, with its shape and all settings.
            width: Integer, the maximum width in characters: lines break between words, and a narrow table omits columns.
                Defaults to the width of the screen; tables in files are not limited.

        Example:

        ```python
        plan = difflr.layerwise_decay(model, 0.75) * difflr.no_decay(model)
        print(plan.table(learning_rate=1e-3))
        print(plan.table(full=True, width=60))
        ```
        """
        return table.as_text(self, learning_rate, step, full, width)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        frozen = sum(row.frozen for row in self.rows)
        variables, groups = counted(len(self.rows), "variable"), counted(len(self.groups), "group")
        return f"<difflr.Plan: {variables}, {groups}, {frozen} frozen>"

    def _repr_html_(self) -> str:
        return table.as_text(self)._repr_html_()


def some(paths: set[str]) -> str:
    """A few of `paths`, and their number."""
    listed = sorted(paths)
    return ", ".join(listed[:5]) + (f", ... ({len(listed)} in all)" if len(listed) > 5 else "") or "nothing"
