"""Data from files: folders of images, tables of texts, arrays; in batches with a reproducible order."""

from difflr.data.image import read_image
from difflr.data.image_files import ImageFiles
from difflr.data.examples import Examples
from difflr.data.folder import open_folder, read_folder
from difflr.data.table import open_image_table, read_table
from difflr.data.arrays import read_arrays
from difflr.data.scale import SCALES, has_own_scale, to_scale
from difflr.data.split import stratified_split
from difflr.data.batches import Batches, EpochSeeds

__all__ = [
    "Batches",
    "EpochSeeds",
    "Examples",
    "ImageFiles",
    "SCALES",
    "has_own_scale",
    "open_folder",
    "open_image_table",
    "read_arrays",
    "read_folder",
    "read_image",
    "read_table",
    "stratified_split",
    "to_scale",
]
