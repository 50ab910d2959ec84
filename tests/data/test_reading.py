"""Data from files: what is read, what is skipped, and what is refused."""

import csv
import os
import re
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from difflr import data
from difflr.data import image_files
from difflr.data.image import decode

pytestmark = pytest.mark.same_everywhere


def image(path, color, size=(6, 4), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **options)


@pytest.fixture
def images(tmp_path):
    for name, color in (("10", "red"), ("9", "blue")):
        for number in range(2):
            image(tmp_path / "images" / name / "below" / f"{number}.png", color)
    return tmp_path / "images"


def test_a_folder_of_images(images):
    image(images / ".hidden" / "1.png", "red")
    image(images / "9" / ".thumbnails" / "1.png", "red")
    (images / "9" / "notes.txt").write_text("no image")
    (images / "9" / ".thumbnail.png").write_bytes(b"")
    (images / "readme.txt").write_text("no image either")
    examples = data.read_folder(images, (8, 5))
    assert examples.class_names == ("9", "10")  # as numbers
    assert (examples.x.shape, examples.x.dtype) == ((4, 8, 5, 3), np.uint8)
    assert examples.skipped == ()
    assert examples.notes == (
        "left out, in no class folder: 1 file (readme.txt)",
        "left out, no images: 1 file (9/notes.txt)",
    )
    assert examples.counts() == {"9": 2, "10": 2}
    assert {tuple(one[0, 0]) for one in examples.x[examples.y == 1]} == {(255, 0, 0)}
    assert data.read_folder(images, (8, 5), channels=1).x.shape == (4, 8, 5, 1)


def test_images_are_turned_as_they_were_taken(tmp_path):
    sideways = Image.new("L", (4, 2))
    sideways.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    for name in "ab":
        (tmp_path / name).mkdir()
        sideways.save(tmp_path / name / "1.png", exif=exif)
    assert data.read_folder(tmp_path, (4, 2), channels=1).x[0, 0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("name", ["gray.png", "gray.tif", "gray.pgm"])
def test_images_of_16_bits_keep_their_grays(name, tmp_path):
    gray = np.full((4, 4), 32768, "uint16")
    gray[0] = 65535
    for folder in "ab":
        (tmp_path / folder).mkdir()
        Image.fromarray(gray).save(tmp_path / folder / name)
    examples = data.read_folder(tmp_path, (4, 4))
    assert examples.x[0, :, 0, 0].tolist() == [255, 127, 127, 127]
    assert examples.notes == ("2 images with 16 bits a value: 0..65535 became 0..255",)


def test_images_whose_values_are_of_unknown_range_are_skipped(images):
    for number in range(60):
        image(images / "9" / f"{number}.png", "blue")
    Image.fromarray(np.linspace(0, 1, 16, dtype="float32").reshape(4, 4)).save(images / "9" / "float.tif")
    Image.fromarray(np.full((4, 4), 4095, "uint16")).save(images / "9" / "twelve.png")
    (images / "9" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    assert dict(data.read_folder(images, (4, 4)).skipped) == {
        "9/float.tif": "values of 32 bits, whose range is unknown: save it with 8 or 16 bits a value",
        "9/twelve.png": "16 bits a value of which 12 are used: stretch them to 0..65535",
        "9/phone.HEIC": "Pillow cannot read .heic here: save it as .jpg or .png",
    }


def test_large_jpegs_are_decoded_small_and_look_the_same(tmp_path):
    x, y = np.meshgrid(np.linspace(0, 255, 1600), np.linspace(0, 255, 1200))
    Image.fromarray(np.stack([x, y, 255 - x], -1).astype("uint8")).save(tmp_path / "large.jpg", quality=95)
    whole = Image.open(tmp_path / "large.jpg").resize((40, 30), Image.Resampling.BILINEAR)
    read = data.read_image(tmp_path / "large.jpg", (30, 40))
    assert np.abs(read.astype(int) - np.asarray(whole)).max() <= 6
    with Image.open(tmp_path / "large.jpg") as drafted:
        drafted.draft("RGB", (80, 80))
        assert drafted.size == (200, 150)  # an eighth


def test_reading_tells_how_far_it_is(images):
    seen = []
    data.read_folder(images, (4, 4), on_image=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_damaged_images_are_skipped_and_named(images):
    whole = (images / "9" / "below" / "0.png").read_bytes()
    (images / "9" / "half.png").write_bytes(whole[: len(whole) // 2])
    assert [name for name, _ in data.read_folder(images, (4, 4)).skipped] == ["9/half.png"]
    (images / "9" / "none.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="2 of 6 in .* cannot be read, more than 10%: 9/half.png .*Remove or replace"):
        data.read_folder(images, (4, 4))


def test_a_class_of_which_nothing_can_be_read(images):
    for number in range(30):
        image(images / "10" / f"{number}.png", "red")
    image(images / "7" / "1.png", "red")
    (images / "7" / "1.png").write_bytes(b"")
    with pytest.raises(ValueError, match="None of the images of class '7'"):
        data.read_folder(images, (4, 4))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], "is empty. Expected a folder for each class"),
        (["1.png", "2.png"], "has 2 images and no folders"),
        (["cat/1.png"], "one class only, cat"),
        (["cat/1.png", "dog/notes.txt"], "class folder .*dog has no images"),
        (["train/cat/1.png", "val/cat/1.png"], "holds the parts train, val, not classes. Give .*train or its like"),
    ],
)
def test_folders_that_are_arranged_otherwise(files, told, tmp_path):
    for name in files:
        if name.endswith("png"):
            image(tmp_path / name, "red")
        else:
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).write_text("text")
    with pytest.raises(ValueError, match=told):
        data.read_folder(tmp_path, (4, 4))


def test_validation_data_of_other_classes(images):
    assert data.read_folder(images, (4, 4), class_names=["10", "8", "9"]).y.tolist() == [0, 0, 2, 2]
    with pytest.raises(ValueError, match="has the class '10', and the classes are 9, 100. Did you mean '100'"):
        data.read_folder(images, (4, 4), class_names=["9", "100"])


def test_a_table(tmp_path):
    file = tmp_path / "table.csv"
    rows = ["\ufefflabel,text,more", 'b,"two\nlines, one text",1', "a,ä,", *["b,text,"] * 9, ",text,", "a,,"]
    file.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(ValueError, match="2 of 13 in"):
        data.read_table(file)
    file.write_text("\n".join(rows[:-1]), encoding="utf-8")
    examples = data.read_table(file)
    assert examples.x[:2].tolist() == ["two\nlines, one text", "ä"]
    assert examples.y.tolist() == [1, 0] + [1] * 9
    assert examples.skipped == (("line 14", "no label"),)
    (tmp_path / "table.tsv").write_text("text\tlabel\nx\t1\ny\t2\n")
    assert data.read_table(tmp_path / "table.tsv").class_names == ("1", "2")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_any_separator_is_seen(separator, tmp_path):
    rows = [["label", "text"], ["None", "one; two, three"], ["nan", "four"]]
    with open(tmp_path / "table.csv", "w", newline="") as opened:
        csv.writer(opened, delimiter=separator).writerows(rows)
    examples = data.read_table(tmp_path / "table.csv")
    assert examples.x.tolist() == ["one; two, three", "four"]
    assert examples.class_names == ("None", "nan")


def test_spaces_around_the_names_of_columns(tmp_path):
    (tmp_path / "t.csv").write_text("text , label\na,x\nb,y\n")
    assert list(data.read_table(tmp_path / "t.csv").x) == ["a", "b"]


def test_a_text_with_separators_and_no_quotes_is_skipped(tmp_path):
    """Else a part of the text would be the label."""
    rows = ["text,label", *["good,a", "bad,b"] * 10, "nice, really,a"]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    examples = data.read_table(tmp_path / "table.csv")
    assert examples.class_names == ("a", "b")
    assert examples.skipped == (
        ("line 22", "more fields than columns: put quotes around a text with separators in it"),
    )


def test_texts_take_no_more_memory_than_they_are_long(tmp_path):
    """NumPy's strings are all as long as the longest: 2,000 of 100,000 letters would be 800 MB."""
    rows = ["text,label", f"{'x' * 100_000},a", *["short,b"] * 2_000]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    tracemalloc.start()
    examples = data.read_table(tmp_path / "table.csv")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(examples) == 2_001
    assert most < 5e6


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"texts,label\na,b\n",
            "no column 'text' with texts. Its columns, separated by commas, are: texts, label. .*Say .* `text_column`",
        ),
        (b"text,class\na,b\n", "no column 'label'.*`label_column`"),
        (b"", "is empty. The first row must have the names"),
        (b"text,label,label\na,b,c\n", "several columns 'label'. Rename"),
        (b"text,label,text\na,b,c\n", "several columns 'text'. Rename"),
        (b"text,label\n", "no rows"),
        (b"text,label\na,x\nb,x\n", "one class only, x"),
        (b"text,label\n\xff\xfe,x\n", "not in UTF-8"),
    ],
)
def test_tables_that_are_refused(content, told, tmp_path):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(ValueError, match=told):
        data.read_table(tmp_path / "table.csv")


def test_a_link_to_a_folder_above_has_no_end(images):
    (images / "9" / "again").symlink_to(images)
    found = data.read_folder(images, (4, 4))
    assert len(found) == 4
    assert any("9/again" in note for note in found.notes)


def test_one_hot_labels(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((3, 2)), y=np.eye(3)[[2, 0, 1]], z=[1])
    found, _ = data.read_arrays(tmp_path / "data.npz")
    assert list(found.y) == [2, 0, 1]
    assert found.notes == ("left out, other arrays: z", "y is one-hot: one label per example")
    assert data.read_arrays(tmp_path / "data.npz", targets="several")[0].y.shape == (3, 3)


def test_arrays(tmp_path):
    file = tmp_path / "data.npz"
    np.savez(file, x=np.zeros((4, 2)), y=[[0.0], [2.0], [1.0], [0.0]], x_val=np.zeros((1, 2)), y_val=[1])
    train, validation = data.read_arrays(file)
    assert (train.x.dtype, train.y.dtype, train.y.tolist()) == ("float32", "int32", [0, 2, 1, 0])
    assert train.class_names == validation.class_names == ("0", "1", "2")
    np.savez(file, x=np.zeros((4, 2)), y=np.zeros((4, 3)))
    assert data.read_arrays(file)[0].class_names == ()


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        ([1990, 2003, 2011, 1990], False),
        ([0, 2, 1, 0], True),
        ([True, False, True, False], True),
        ([1, 2, 3, 4], False),
    ],
)
def test_whole_numbers_that_leave_some_out_are_numbers(y, labels, tmp_path):
    file = tmp_path / "data.npz"
    np.savez(file, x=np.zeros((4, 2)), y=np.array(y, "float64" if not labels else None))
    read = data.read_arrays(file)[0]
    assert bool(read.class_names) == labels
    assert read.y.dtype == ("int32" if labels else "float32")
    assert data.read_arrays(file, targets="numbers" if labels else "labels")[0].class_names == (
        () if labels else tuple(map(str, range(max(y) + 1)))
    )


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": [1.0]}, "no array 'y'. It has: x"),
        ({"x": [1.0], "y": [0, 1]}, "equal lengths, above 0: 1 and 2"),
        ({"x": [1.0, np.nan], "y": [0, 1]}, "'x' of .* has 1 value that is NaN"),
        ({"x": [1.0, 2.0], "y": [0, np.nan]}, "'y' of .* has 1 value that is NaN"),
        ({"x": ["a", "b"], "y": [0, 1]}, "must hold numbers"),
        ({"x": np.array([{}, {}], object), "y": [0, 1]}, "Python objects, which are not read"),
        ({"x": [1.0], "y": [0], "x_val": [1.0]}, "both or none"),
    ],
)
def test_arrays_that_are_refused(arrays, told, tmp_path):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(ValueError, match=told):
        data.read_arrays(tmp_path / "data.npz")


def test_what_are_no_labels(tmp_path):
    for y in ([0, -1], [0.5, 1], [[1, 2], [3, 4]]):
        np.savez(tmp_path / "data.npz", x=[1.0, 2.0], y=y)
        assert data.read_arrays(tmp_path / "data.npz")[0].class_names == ()
        with pytest.raises(ValueError, match="whole numbers, counted from 0. Received in"):
            data.read_arrays(tmp_path / "data.npz", targets="labels")


def test_files_that_are_no_arrays(tmp_path):
    for content in (b"", b"text", b"PK\x03\x04 and then nothing"):
        (tmp_path / "data.npz").write_bytes(content)
        with pytest.raises(ValueError, match=re.escape("np.savez('data.npz', x=..., y=...)")):
            data.read_arrays(tmp_path / "data.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    os.rename(tmp_path / "one.npy", tmp_path / "one.npz")
    with pytest.raises(ValueError, match="is no .npz file"):
        data.read_arrays(tmp_path / "one.npz")


def test_the_scales():
    images = np.array([0, 255, 51], "uint8").reshape(1, 1, 1, 3)
    expected = {
        "0..255": [0, 255, 51],
        "0..1": [0, 1, 0.2],
        "-1..1": [-1, 1, -0.6],
        "imagenet": [(0 - 0.485) / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225],
        "caffe": [51 - 103.939, 255 - 116.779, 0 - 123.68],
    }
    assert set(expected) == set(data.SCALES)
    for scale, values in expected.items():
        np.testing.assert_allclose(data.to_scale(images, scale)[0, 0, 0], values, rtol=1e-5)
    with pytest.raises(ValueError, match="must be one of 0..255"):
        data.to_scale(images, "bytes")
    with pytest.raises(ValueError, match="for RGB"):
        data.to_scale(images[..., :1], "caffe")


def test_long_texts_are_read_and_the_limit_of_others_stays(tmp_path):
    """Python's csv has one limit for the whole process."""
    before, long = csv.field_size_limit(), "x" * 200_000
    (tmp_path / "long.csv").write_text(f"text,label\n{long},a\nshort,b\n")
    assert data.read_table(tmp_path / "long.csv").x[0] == long
    with pytest.raises(ValueError, match="has no column 'words'"):
        data.read_table(tmp_path / "long.csv", text_column="words")
    assert csv.field_size_limit() == before
    with pytest.raises(csv.Error, match="field larger than field limit"):
        list(csv.reader([f"{'x' * (before + 1)}"]))


def test_the_split_is_the_same_share_of_each_class():
    labels = np.array([0] * 10 + [1] * 20 + [2] * 2 + [3])
    train, validation = data.stratified_split(labels, 0.2, seed=1)
    assert sorted([*train, *validation]) == list(range(33))
    assert np.bincount(labels[validation]).tolist() == [2, 4, 1]
    assert data.stratified_split(labels, 0.2, seed=1)[1].tolist() == validation.tolist()
    assert data.stratified_split(labels, 0.2, seed=2)[1].tolist() != validation.tolist()
    assert len(data.stratified_split(labels, 0)[1]) == 0
    with pytest.raises(ValueError, match="`fraction` must be at least 0 and below 1"):
        data.stratified_split(labels, 1.0)


def test_the_order_of_batches_depends_on_seed_and_epoch_alone():
    x = np.arange(10)
    batches, again = data.Batches(x, x, 4, seed=3), data.Batches(x, x, 4, seed=3, prepare=lambda batch: -batch)
    orders = []
    for epoch in (0, 1, 2):
        batches.set_epoch(epoch)
        orders.append(np.concatenate([batches[i][0] for i in range(batches.num_batches)]).tolist())
    assert all(sorted(order) == x.tolist() for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    again.set_epoch(1)
    assert np.concatenate([again[i][1] for i in range(3)]).tolist() == orders[1]
    assert (-again[0][0]).tolist() == orders[1][:4]
    assert data.Batches(x, x, 4)[2][0].tolist() == [8, 9]
    with pytest.raises(ValueError, match="one length, above 0"):
        data.Batches(x, x[:3])


@pytest.fixture
def named(tmp_path):
    for name in "abcd":
        image(tmp_path / "files" / f"{name}.png", "red" if name < "c" else "blue")
    return tmp_path


def table(folder, lines, name="table.csv"):
    (folder / name).write_text("\n".join(lines))
    return folder / name


def test_a_table_of_images(named):
    rows = ["path,label", "files/a.png,x", f"{named / 'files' / 'b.png'},x", "files/c.png,y", "files/d.png,y"]
    (named / "files" / "none.png").write_bytes(b"")
    examples = data.open_image_table(table(named, [*rows, "files/none.png,y"]), (4, 4))
    assert (examples.x.shape, examples.class_names, examples.task) == ((4, 4, 4, 3), ("x", "y"), "classes")
    assert examples.skipped == (("files/none.png", "no image, or damaged"),)
    assert examples.x[[0, 3]][:, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]
    with pytest.raises(ValueError, match="2 of 6 in .* cannot be read"):
        data.open_image_table(table(named, [*rows, "files/none.png,y", "files/gone.png,y"]), (4, 4))


@pytest.mark.parametrize("mark", ["|", ";", ", "])
def test_several_labels_a_image(mark, named):
    rows = ["file\tlabel", f"files/a.png\tsea{mark}boat", "files/b.png\tsea", f"files/c.png\tboat{mark}sky"]
    examples = data.open_image_table(table(named, rows, "table.tsv"), (4, 4), targets="several")
    assert (examples.class_names, examples.task) == (("boat", "sea", "sky"), "labels")
    assert examples.y.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert examples.counts() == {"boat": 2, "sea": 2, "sky": 1}


def test_a_column_for_each_label(tmp_path):
    file = table(tmp_path, ["text,sea,sky", "one,1,0", "two,1,1"])
    examples = data.read_table(file, label_column=["sea", "sky"])
    assert (examples.class_names, examples.y.tolist()) == (("sea", "sky"), [[1, 0], [1, 1]])
    file = table(tmp_path, ["text,width,height", "one,1.5,20", "two,2.5,30"])
    examples = data.read_table(file, label_column=["width", "height"])
    assert (examples.class_names, examples.y.tolist()) == ((), [[1.5, 20], [2.5, 30]])


def test_json_lines(tmp_path):
    lines = [
        '{"text": "one", "label": ["a", "b"]}',
        "",
        '{"text": "two", "label": []}',
        '{"label": ["b"], "text": "3"}',
    ]
    examples = data.read_table(table(tmp_path, lines, "table.jsonl"))
    assert (examples.x.tolist(), examples.class_names) == (["one", "two", "3"], ("a", "b"))
    assert examples.y.tolist() == [[1, 1], [0, 0], [0, 1]]
    for line, told in (("{", "line 2 is no JSON"), ("[1]", "line 2 must be an object"), ('{"text": "x"}', "1 of 2")):
        lines = ['{"text": "one", "label": "a"}', line]
        file = table(tmp_path, lines if told != "1 of 2" else [*lines, line], "table.jsonl")
        with pytest.raises(ValueError, match=told.replace("1 of 2", "2 of 3 .*no label")):
            data.read_table(file)


def test_of_several_labels_there_may_be_none(tmp_path):
    file = tmp_path / "films.csv"
    file.write_text("text,label\na,sad|long\nb,\nc,sad\n")
    examples = data.read_table(file, targets="several")
    assert (examples.class_names, examples.skipped) == (("long", "sad"), ())
    np.testing.assert_array_equal(examples.y, [[1, 1], [0, 0], [0, 1]])


@pytest.mark.parametrize(
    ("labels", "task", "note"),
    [
        (["1.5", "2", "-3e4"], "numbers", "has fractions: numbers to predict"),
        (["1990", "2003", "2011"], "numbers", "most of them once: numbers"),
        (["0", "1", "2"], "classes", "labels"),
        (["5", "7"] * 5, "classes", "each several times: labels"),
        (["1", "2", "nan"], "classes", None),
        (['"0,5"', '"1,5"', "2"], "classes", "decimal commas: labels"),
        (["a", "b"], "classes", None),
    ],
)
def test_what_labels_look_like(labels, task, note, tmp_path):
    examples = data.read_table(table(tmp_path, ["text,label", *(f"some text,{label}" for label in labels)]))
    assert examples.task == task
    assert note in examples.notes[0] if note else examples.notes == ()
    if task == "numbers":
        assert examples.y.tolist() == [float(label) for label in labels]
        asked = data.read_table(tmp_path / "table.csv", targets="labels")
        assert set(asked.class_names) == set(labels)


def test_amounts_that_are_none(tmp_path):
    file = table(tmp_path, ["text,label", "one,1", "two,many"])
    with pytest.raises(ValueError, match="has 1 value that is no finite number: many"):
        data.read_table(file, targets="numbers")
    with pytest.raises(ValueError, match="`targets` must be one of labels, several, numbers. Received: 'amounts'"):
        data.read_table(file, targets="amounts")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "table.parquet"
    parquet.write_table(pyarrow.table({"text": ["one", "two", None], "label": ["a", "b", "b"]}), file)
    assert data.read_table(file).skipped == (("row 3", "no text"),)


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match="needs pyarrow: pip install pyarrow"):
        data.read_table(table(tmp_path, [], "table.parquet"))


def test_images_that_stay_in_their_files(images):
    held, streamed = data.open_folder(images, (8, 5)), data.open_folder(images, (8, 5), most_held=0)
    for examples in (held, held.take([3, 0, 2]).take([1, 2])), (streamed, streamed.take([3, 0, 2]).take([1, 2])):
        whole, some = (one.x[:] for one in examples)
        np.testing.assert_array_equal(some, whole[[0, 2]])
        np.testing.assert_array_equal(whole, data.read_folder(images, (8, 5)).x)
        assert examples[1].x[0].shape == (8, 5, 3)
    assert len(streamed.x[[]]) == 0
    whole = held.x[:]
    for file in held.x.files:
        os.remove(file)
    np.testing.assert_array_equal(held.x[:], whole)  # in memory since it was read
    with pytest.raises(ValueError, match="cannot be read now"):
        streamed.x[0]


def test_images_are_decoded_when_they_are_needed(images, monkeypatch):
    """A JPEG or PNG is known to be complete by its end or its checksums; what cannot be known so is decoded at once."""
    decoded = []
    monkeypatch.setattr(image_files, "decode", lambda file, *rest: decoded.append(file.name) or decode(file, *rest))
    Image.new("RGB", (20, 10), "red").save(images / "9" / "1.jpg")
    Image.new("RGB", (20, 10), "red").save(images / "9" / "1.bmp")
    Image.fromarray(np.full((10, 20), 60_000, "uint16")).save(images / "9" / "16.png")
    cut = (images / "9" / "1.jpg").read_bytes()[:-9]
    (images / "9" / "cut.jpg").write_bytes(cut)
    opened = data.open_folder(images, (8, 5))
    assert sorted(decoded) == ["1.bmp", "16.png", "cut.jpg"]
    assert [name for name, _ in opened.skipped] == ["9/cut.jpg"]
    opened.x[:]
    assert sorted(decoded[3:]) == sorted(file.name for file in opened.x.files if file.name not in ("1.bmp", "16.png"))


def test_a_image_that_is_damaged_inside_is_named(images):
    """Its checksums are right and its content is not, so that it is found when it is decoded."""
    import zlib

    file = images / "9" / "inside.png"
    image(file, "red")
    content = file.read_bytes()
    at = content.index(b"IDAT")
    number = int.from_bytes(content[at - 4 : at], "big")
    wrong = b"IDAT" + bytes(number)
    file.write_bytes(content[:at] + wrong + zlib.crc32(wrong).to_bytes(4, "big") + content[at + 8 + number :])
    opened = data.open_folder(images, (8, 5))
    with pytest.raises(ValueError, match="inside.png is damaged: .* Remove or replace it"):
        opened.x[:]
    assert "9/inside.png" in dict(data.read_folder(images, (8, 5)).skipped)


def test_a_file_that_changes_while_it_trains_is_named(images):
    streamed = data.open_folder(images, (8, 5), most_held=0).x
    image(streamed.files[1], "green")
    os.remove(streamed.files[2])
    streamed[[0, 3]]
    with pytest.raises(ValueError, match="1.png has changed since the start"):
        streamed[[0, 1]]
    with pytest.raises(ValueError, match="0.png was there at the start, and cannot be read now: No such file"):
        streamed[2:3]


def test_batches_made_ahead_are_those_made_when_asked(images):
    for number in range(9):
        image(images / "9" / f"{number}.png", (number, 0, 0))
    held, streamed = (data.open_folder(images, (4, 4), most_held=most) for most in (1_000_000, 0))
    asked, ahead = data.Batches(held.x[:], held.y, 3, seed=1), data.Batches(streamed.x, streamed.y, 3, seed=1)
    for epoch in (0, 2, 1):
        asked.set_epoch(epoch)
        ahead.set_epoch(epoch)
        for index in (0, 1, 2, 0, 4, 3):  # TensorFlow peeks, and begins anew
            for one, other in zip(asked[index], ahead[index], strict=True):
                np.testing.assert_array_equal(one, other)
    assert asked.seconds_waited == 0 < ahead.seconds_waited


def test_ready_parts(tmp_path):
    from difflr.data.folder import ready_split

    for name in ("Train", "val", "test"):
        image(tmp_path / name / "a" / "1.png", "red")
    assert ready_split(tmp_path) == (tmp_path / "Train", tmp_path / "val", [tmp_path / "test"])
    image(tmp_path / "other" / "1.png", "red")
    assert ready_split(tmp_path) == (None, None, [])
