"""How each class of `keras.layers` is made and called: the table behind the tests that run over all of them."""

import dataclasses
import inspect

import keras
import numpy as np

LAYERS = keras.layers


def classes():
    """Every layer class of `keras.layers` once, by its own name where it has that there, else by its first."""
    found = {}
    for name, cls in sorted(vars(LAYERS).items(), key=lambda item: item[0] != getattr(item[1], "__name__", "")):
        if inspect.isclass(cls) and issubclass(cls, LAYERS.Layer) and cls not in found.values():
            found[name] = cls
    return found


@dataclasses.dataclass
class Case:
    """Arguments, and the shapes of the inputs without the batch."""

    kwargs: dict = dataclasses.field(default_factory=dict)
    shapes: tuple = ((4, 3),)
    integers: bool = False
    cell: bool = False
    as_list: bool = False

    def arguments(self):
        # Layers given to wrappers are made anew for each.
        return {name: value() if inspect.isfunction(value) else value for name, value in self.kwargs.items()}

    def make(self, cls, **extra):
        return cls(**self.arguments(), **extra)

    def batch(self):
        random = np.random.default_rng(0)
        if self.integers:
            return [random.integers(0, 5, size=(2, *shape)) for shape in self.shapes]
        return [random.normal(size=(2, *shape)).astype("float32") for shape in self.shapes]

    def inputs(self):
        return [keras.Input(shape, batch_size=2, dtype="int32" if self.integers else None) for shape in self.shapes]

    def call(self, layer, inputs):
        """Calls `layer` on inputs, as it wants them."""
        if self.cell:
            layer = LAYERS.RNN(layer, name="rnn", unroll=True)
        return layer(inputs) if self.as_list else layer(*inputs)

    def model(self, layer):
        """A functional model of this layer alone."""
        inputs = self.inputs()
        return keras.Model(inputs, self.call(layer, inputs))


def _convolution(rank, *filters, **kwargs):
    names = {"kernel_size": 2, **({"filters": filters[0]} if filters else {}), **kwargs}
    return Case(names, (((4,) * rank + (3,)),))


# Classes with trainable weights (or, for `Normalization` alone, with weights that adapt).
WITH_WEIGHTS = {
    "AdditiveAttention": Case(shapes=((4, 3), (5, 3)), as_list=True),
    "Attention": Case({"use_scale": True}, shapes=((4, 3), (5, 3)), as_list=True),
    "BatchNormalization": Case(),
    "Bidirectional": Case({"layer": lambda: LAYERS.LSTM(2, unroll=True)}),
    "Conv1D": _convolution(1, 2),
    "Conv1DTranspose": _convolution(1, 2),
    "Conv2D": _convolution(2, 2),
    "Conv2DTranspose": _convolution(2, 2),
    "Conv3D": _convolution(3, 2),
    "Conv3DTranspose": _convolution(3, 2),
    "ConvLSTM1D": Case({"filters": 2, "kernel_size": 2, "unroll": True}, ((2, 3, 2),)),
    "ConvLSTM2D": Case({"filters": 2, "kernel_size": 2, "unroll": True}, ((2, 3, 3, 2),)),
    "ConvLSTM3D": Case({"filters": 2, "kernel_size": 2, "unroll": True}, ((2, 3, 3, 3, 2),)),
    "Dense": Case({"units": 2}),
    "DepthwiseConv1D": _convolution(1),
    "DepthwiseConv2D": _convolution(2),
    "EinsumDense": Case({"equation": "abc,cd->abd", "output_shape": (None, 2), "bias_axes": "d"}),
    "Embedding": Case({"input_dim": 5, "output_dim": 2}, ((4,),), integers=True),
    "GRU": Case({"units": 2, "unroll": True}),
    "GRUCell": Case({"units": 2}, cell=True),
    "GroupNormalization": Case({"groups": 3}),
    **dict.fromkeys(
        ("GroupQueryAttention", "GroupedQueryAttention"),  # the second since Keras 3.16
        Case({"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1}, shapes=((4, 3), (5, 3))),
    ),
    "LSTM": Case({"units": 2, "unroll": True}),
    "LSTMCell": Case({"units": 2}, cell=True),
    "LayerNormalization": Case(),
    "MultiHeadAttention": Case({"num_heads": 2, "key_dim": 2}, shapes=((4, 3), (5, 3))),
    "PReLU": Case(),
    "RMSNormalization": Case(),
    "RNN": Case({"cell": lambda: LAYERS.GRUCell(2), "unroll": True}),
    "ReversibleEmbedding": Case({"input_dim": 5, "output_dim": 2}, ((4,),), integers=True),
    "STFTSpectrogram": Case({"frame_length": 4, "frame_step": 2, "trainable": True}, ((16, 1),)),
    "SeparableConv1D": _convolution(1, 2),
    "SeparableConv2D": _convolution(2, 2),
    "SimpleRNN": Case({"units": 2, "unroll": True}),
    "SimpleRNNCell": Case({"units": 2}, cell=True),
    "SpectralNormalization": Case({"layer": lambda: LAYERS.Dense(2)}),
    "StackedRNNCells": Case({"cells": lambda: [LAYERS.GRUCell(2), LAYERS.LSTMCell(2)]}, cell=True),
    "TernaryDense": Case({"units": 2}),  # since Keras 3.16
    "TimeDistributed": Case({"layer": lambda: LAYERS.Dense(2)}),
}

# Classes with weights that no test over all layers can make: their weights come from elsewhere.
FROM_ELSEWHERE = {"FlaxLayer", "JaxLayer", "Normalization", "TFSMLayer", "TorchModuleWrapper", "Wrapper"}

IMAGE = ((8, 8, 3),)
_LINE, _SQUARE, _CUBE = ((4, 3),), ((4, 4, 3),), ((4, 4, 4, 3),)

_POOLING = {
    "AdaptiveAveragePooling": {"output_size": 2},
    "AdaptiveMaxPooling": {"output_size": 2},
    "AveragePooling": {"pool_size": 2},
    "MaxPooling": {"pool_size": 2},
}

# Classes without weights.
WITHOUT_WEIGHTS = {
    **{
        f"{kind}{rank}D": Case(_POOLING.get(kind, {}), shapes)
        for kind in (
            "AdaptiveAveragePooling",
            "AdaptiveMaxPooling",
            "AveragePooling",
            "Cropping",
            "GlobalAveragePooling",
            "GlobalMaxPooling",
            "MaxPooling",
            "UpSampling",
            "ZeroPadding",
        )
        for rank, shapes in ((1, _LINE), (2, _SQUARE), (3, _CUBE))
    },
    **dict.fromkeys(
        ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"), Case({}, _LINE * 2)
    ),
    **dict.fromkeys(
        (
            "ActivityRegularization",
            "ELU",
            "Flatten",
            "Identity",
            "LeakyReLU",
            "Masking",
            "ReLU",
            "Softmax",
            "UnitNormalization",
        ),
        Case(),
    ),
    **{name: Case({"rate": 0.5}) for name in ("AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout1D")},
    "SpatialDropout2D": Case({"rate": 0.5}, _SQUARE),
    "SpatialDropout3D": Case({"rate": 0.5}, _CUBE),
    **dict.fromkeys(
        (
            "AugMix",
            "AutoContrast",
            "ContrastLimitedAdaptiveHistogramEqualization",
            "CutMix",
            "Equalization",
            "MixUp",
            "Mosaic",
            "RandAugment",
            "RandomElasticTransform",
            "RandomErasing",
            "RandomFlip",
            "RandomGaussianBlur",
            "RandomGrayscale",
            "RandomPerspective",
            "Solarization",
        ),
        Case({}, IMAGE),
    ),
    **{
        name: Case({"factor": 0.1}, IMAGE)
        for name in (
            "RandomBrightness",
            "RandomColorDegeneration",
            "RandomContrast",
            "RandomHue",
            "RandomInvert",
            "RandomRotation",
            "RandomSaturation",
            "RandomSharpness",
        )
    },
    "Activation": Case({"activation": "relu"}),
    "CategoryEncoding": Case({"num_tokens": 5}, ((4,),), integers=True),
    "CenterCrop": Case({"height": 4, "width": 4}, IMAGE),
    "Discretization": Case({"bin_boundaries": [0.0, 1.0]}),
    "Dot": Case({"axes": 1}, _LINE * 2),
    "GaussianNoise": Case({"stddev": 0.1}),
    "InputLayer": Case({"shape": (4, 3)}),
    "Lambda": Case({"function": lambda: abs}),
    "MaxNumBoundingBoxes": Case({"max_number": 5}),
    "MelSpectrogram": Case({}, ((64,),)),
    "Permute": Case({"dims": (2, 1)}),
    "Pipeline": Case({"layers": lambda: [LAYERS.ReLU()]}),
    "RandomColorJitter": Case({"value_range": (0, 1)}, IMAGE),
    "RandomCrop": Case({"height": 4, "width": 4}, IMAGE),
    "RandomPosterization": Case({"factor": 4}, IMAGE),
    "RandomShear": Case({"x_factor": 0.1, "y_factor": 0.1}, IMAGE),
    "RandomTranslation": Case({"height_factor": 0.1, "width_factor": 0.1}, IMAGE),
    "RandomZoom": Case({"height_factor": 0.1}, IMAGE),
    "RepeatVector": Case({"n": 2}, ((3,),)),
    "Rescaling": Case({"scale": 2.0}),
    "Reshape": Case({"target_shape": (12,)}),
    "Resizing": Case({"height": 4, "width": 4}, IMAGE),
}

# Classes without weights that import TensorFlow when they are made, on every backend.
WITHOUT_WEIGHTS_SLOW_TO_MAKE = {"HashedCrossing", "Hashing", "IntegerLookup", "StringLookup", "TextVectorization"}

# Classes whose operations JAX compiles for seconds.
SLOW_TO_CALL = {"Conv3D", "Conv3DTranspose", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}

CONVOLUTIONS_AND_DENSE = {name for name in WITH_WEIGHTS if "Conv" in name and "LSTM" not in name} | {"Dense"}
