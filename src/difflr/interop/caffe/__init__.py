"""Caffe: multipliers from a net's prototxt, and its solver."""

from difflr.interop.caffe.from_caffe import from_caffe


__all__ = ["from_caffe"]
