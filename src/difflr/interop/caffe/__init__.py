"""Caffe: multipliers from a net's prototxt, and its solver."""

from difflr.interop.caffe.from_caffe import from_caffe
from difflr.interop.caffe.schedule import CaffeSchedule

__all__ = ["CaffeSchedule", "from_caffe"]
