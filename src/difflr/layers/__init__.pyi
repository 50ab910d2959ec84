"""Keras layers that declare their own learning-rate multipliers."""

# Made by `make stubs` from Keras 3.15.

from collections.abc import Callable, Sequence
from typing import Any

import keras

from difflr import keras_private as keras_private
from difflr.layers.declaring import DeclaresKernelAndBias as DeclaresKernelAndBias
from difflr.layers.declaring import DeclaresMultipliers as DeclaresMultipliers
from difflr.layers.declaring import classes_with_weights as classes_with_weights
from difflr.layers.declaring import declaring_class as declaring_class
from difflr.layers.declaring import warn_if_ignored as warn_if_ignored

__all__ = [
    "DeclaresKernelAndBias",
    "DeclaresMultipliers",
    "AdditiveAttention",
    "Attention",
    "BatchNormalization",
    "Bidirectional",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Convolution1D",
    "Convolution1DTranspose",
    "Convolution2D",
    "Convolution2DTranspose",
    "Convolution3D",
    "Convolution3DTranspose",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "EinsumDense",
    "Embedding",
    "FlaxLayer",
    "GRU",
    "GRUCell",
    "GroupNormalization",
    "GroupQueryAttention",
    "JaxLayer",
    "LSTM",
    "LSTMCell",
    "LayerNormalization",
    "MultiHeadAttention",
    "Normalization",
    "PReLU",
    "RMSNormalization",
    "RNN",
    "ReversibleEmbedding",
    "STFTSpectrogram",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "SpectralNormalization",
    "StackedRNNCells",
    "TFSMLayer",
    "TimeDistributed",
    "TorchModuleWrapper",
    "Wrapper",
]

class AdditiveAttention(DeclaresMultipliers, keras.layers.AdditiveAttention):
    """`keras.layers.AdditiveAttention` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        score_mode: Any = "dot",
        seed: Any = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Attention(DeclaresMultipliers, keras.layers.Attention):
    """`keras.layers.Attention` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: Any = "dot",
        dropout: float = 0.0,
        seed: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class BatchNormalization(DeclaresMultipliers, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        axis: Any = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Bidirectional(DeclaresMultipliers, keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        layer: Any,
        merge_mode: str = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Conv1D(DeclaresKernelAndBias, keras.layers.Conv1D):
    """`keras.layers.Conv1D` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Conv1DTranspose(DeclaresKernelAndBias, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Conv2D(DeclaresKernelAndBias, keras.layers.Conv2D):
    """`keras.layers.Conv2D` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        groups: int = 1,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Conv2DTranspose(DeclaresKernelAndBias, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Conv3D(DeclaresKernelAndBias, keras.layers.Conv3D):
    """`keras.layers.Conv3D` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1, 1),
        groups: int = 1,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Conv3DTranspose(DeclaresKernelAndBias, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: Any = None,
        dilation_rate: int | Sequence[int] = (1, 1, 1),
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class ConvLSTM1D(DeclaresMultipliers, keras.layers.ConvLSTM1D):
    """`keras.layers.ConvLSTM1D` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable[..., Any] | None = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class ConvLSTM2D(DeclaresMultipliers, keras.layers.ConvLSTM2D):
    """`keras.layers.ConvLSTM2D` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable[..., Any] | None = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class ConvLSTM3D(DeclaresMultipliers, keras.layers.ConvLSTM3D):
    """`keras.layers.ConvLSTM3D` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable[..., Any] | None = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Dense(DeclaresKernelAndBias, keras.layers.Dense):
    """`keras.layers.Dense` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class DepthwiseConv1D(DeclaresKernelAndBias, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class DepthwiseConv2D(DeclaresKernelAndBias, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class EinsumDense(DeclaresMultipliers, keras.layers.EinsumDense):
    """`keras.layers.EinsumDense` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: str | Callable[..., Any] | None = None,
        bias_axes: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        gptq_unpacked_column_size: Any = None,
        quantization_config: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Embedding(DeclaresMultipliers, keras.layers.Embedding):
    """`keras.layers.Embedding` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
    ) -> None: ...

class FlaxLayer(DeclaresMultipliers, keras.layers.FlaxLayer):
    """`keras.layers.FlaxLayer` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        module: Any,
        method: Any = None,
        variables: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        init_fn: Any = None,
        params: Any = None,
        state: Any = None,
        seed: Any = None,
        native_serialization_platforms: Any = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class GRU(DeclaresMultipliers, keras.layers.GRU):
    """`keras.layers.GRU` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        *,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        zero_output_for_mask: bool = False,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class GRUCell(DeclaresMultipliers, keras.layers.GRUCell):
    """`keras.layers.GRUCell` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class GroupNormalization(DeclaresMultipliers, keras.layers.GroupNormalization):
    """`keras.layers.GroupNormalization` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        groups: int = 32,
        axis: Any = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class JaxLayer(DeclaresMultipliers, keras.layers.JaxLayer):
    """`keras.layers.JaxLayer` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        call_fn: Any,
        init_fn: Any = None,
        params: Any = None,
        state: Any = None,
        seed: Any = None,
        native_serialization_platforms: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class LSTM(DeclaresMultipliers, keras.layers.LSTM):
    """`keras.layers.LSTM` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        *,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        zero_output_for_mask: bool = False,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class LSTMCell(DeclaresMultipliers, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class LayerNormalization(DeclaresMultipliers, keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class MultiHeadAttention(DeclaresMultipliers, keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: Any = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: Any = None,
        flash_attention: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Normalization(DeclaresMultipliers, keras.layers.Normalization):
    """`keras.layers.Normalization` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        axis: Any = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class PReLU(DeclaresMultipliers, keras.layers.PReLU):
    """`keras.layers.PReLU` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class RMSNormalization(DeclaresMultipliers, keras.layers.RMSNormalization):
    """`keras.layers.RMSNormalization` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-06,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class RNN(DeclaresMultipliers, keras.layers.RNN):
    """`keras.layers.RNN` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class ReversibleEmbedding(DeclaresMultipliers, keras.layers.ReversibleEmbedding):
    """`keras.layers.ReversibleEmbedding` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        weights: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        input_shape: Any = None,
    ) -> None: ...

class STFTSpectrogram(DeclaresMultipliers, keras.layers.STFTSpectrogram):
    """`keras.layers.STFTSpectrogram` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        mode: Any = "log",
        frame_length: Any = 256,
        frame_step: Any = None,
        fft_length: Any = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: Any = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class SeparableConv1D(DeclaresKernelAndBias, keras.layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        depth_multiplier: int = 1,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class SeparableConv2D(DeclaresKernelAndBias, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` that also takes `W_learning_rate_multiplier`, `b_learning_rate_multiplier` and `learning_rate_multiplier`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        depth_multiplier: int = 1,
        activation: str | Callable[..., Any] | None = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class SimpleRNN(DeclaresMultipliers, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        zero_output_for_mask: bool = False,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class SimpleRNNCell(DeclaresMultipliers, keras.layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class SpectralNormalization(DeclaresMultipliers, keras.layers.SpectralNormalization):
    """`keras.layers.SpectralNormalization` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        layer: Any,
        power_iterations: Any = 1,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class StackedRNNCells(DeclaresMultipliers, keras.layers.StackedRNNCells):
    """`keras.layers.StackedRNNCells` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        cells: Any,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class TFSMLayer(DeclaresMultipliers, keras.layers.TFSMLayer):
    """`keras.layers.TFSMLayer` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        filepath: Any,
        call_endpoint: Any = "serve",
        call_training_endpoint: Any = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        autocast: bool = True,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class TimeDistributed(DeclaresMultipliers, keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        layer: Any,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class TorchModuleWrapper(DeclaresMultipliers, keras.layers.TorchModuleWrapper):
    """`keras.layers.TorchModuleWrapper` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        module: Any,
        name: str | None = None,
        output_shape: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class Wrapper(DeclaresMultipliers, keras.layers.Wrapper):
    """`keras.layers.Wrapper` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        layer: Any,
        *,
        learning_rate_multiplier: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

class GroupQueryAttention(DeclaresMultipliers, keras.layers.GroupQueryAttention):
    """`keras.layers.GroupedQueryAttention` that also takes `learning_rate_multiplier`."""

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: Any = None,
        flash_attention: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        *,
        learning_rate_multiplier: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Any = None,
        input_dim: Any = None,
    ) -> None: ...

Convolution1D = Conv1D
Convolution1DTranspose = Conv1DTranspose
Convolution2D = Conv2D
Convolution2DTranspose = Conv2DTranspose
Convolution3D = Conv3D
Convolution3DTranspose = Conv3DTranspose
SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
