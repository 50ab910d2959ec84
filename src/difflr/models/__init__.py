"""Models that know their multipliers."""

from difflr.models.model import Model, Sequential

__all__ = ["Model", "Sequential"]
