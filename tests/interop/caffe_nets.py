"""Small nets in Caffe's format, and models with their layers."""

import io

import keras


def model_of(*names, bias=True):
    """A model with a Dense layer of each name, side by side."""
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(3, use_bias=bias, name=name)(inputs) for name in names]
    return keras.Model(inputs, keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0])


def net(*layers):
    return io.StringIO("\n".join(layers))


def layer(name, *params, kind="InnerProduct"):
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(f"param {{ {p} }}" for p in params)} }}'
