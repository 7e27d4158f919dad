"""Directories of labelled examples, and what turns files into inputs."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import SMALL, WriteModel
from PIL import Image

from mobilekit.contract.outputs import map_tensor
from mobilekit.errors import DataError, ModelFileError
from mobilekit.model import preprocess
from mobilekit.model.dataset import class_indices, open_dataset
from mobilekit.model.examples import prepare_examples, write_agreement
from mobilekit.model.export import GENERATED_EXAMPLES
from mobilekit.model.load import example_reader, load_module
from mobilekit.model.reference import make_inputs
from mobilekit.model.zoo import find_model, read_card, read_front_end, read_spec

READER = """
EXAMPLES = (".txt",)


def read_example(path):
    import numpy as np

    return np.full((3, 8, 8), float(path.read_text()), np.float32)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a directory of text files, by their names and contents."""

    def write(**files: str) -> Path:
        directory = tmp_path / "data"
        for name, text in files.items():
            path = directory / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return directory

    return write


def read_all(path: Path, directory: Path | None, classes: int = 5) -> tuple[list[float], tuple]:
    """One number of each example, and the class of each."""
    with open_dataset(read_spec(path), directory) as dataset:
        values = [float(dataset.read(index).flat[0]) for index in range(len(dataset.labels))]
        return values, class_indices(dataset, classes)


# --- layouts -----------------------------------------------------------------------------------


def test_a_table_names_files_and_labels(write_model: WriteModel, folder) -> None:
    """In its order, with spaces after commas, other columns and a byte order mark."""
    table = "\ufefffile, label, who\nb.txt, 3, me\na.txt, 0, you\nb.txt, 4, me\n"
    directory = folder(a_txt="0.5", b_txt="0.25", labels_csv=table)

    assert read_all(write_model(SMALL + READER), directory) == ([0.25, 0.5, 0.25], (3, 0, 4))


def test_a_folder_is_a_class(write_model: WriteModel, folder) -> None:
    """Folders in their order; other files and hidden folders are left alone."""
    directory = folder(
        **{"01__a_txt": "1", "00__a_txt": "0", "00__b_TXT": "2", "00__notes_md": "x"},
        **{"_git__a_txt": "9", "README_md": "x"},
    )

    assert read_all(write_model(SMALL + READER), directory) == ([0, 2, 1], (0, 0, 1))


def test_folders_may_have_names_where_there_is_one_for_each_class(
    write_model: WriteModel, folder
) -> None:
    """As in torchvision's ImageFolder; with one missing, a name says nothing."""
    names = ("apple", "bean", "corn", "date", "elder")
    directory = folder(**{f"{name}__a_txt": "1" for name in names})
    path = write_model(SMALL + READER)

    assert read_all(path, directory)[1] == (0, 1, 2, 3, 4)
    (directory / "corn" / "a.txt").unlink()
    with pytest.raises(DataError, match="'apple' is none of the network's 5 classes"):
        read_all(path, directory)


def test_labels_may_be_names_that_the_model_file_lists(write_model: WriteModel, folder) -> None:
    """Names in the order of the outputs."""
    directory = folder(a_txt="1", labels_csv="file,label\na.txt,yes\na.txt,no\n")
    source = SMALL + READER + 'CLASSES = ("no", "yes")\n'

    assert read_all(write_model(source), directory, 2)[1] == (1, 0)
    with pytest.raises(DataError, match="5 outputs, but its CLASSES name 2"):
        read_all(write_model(source), directory)


@pytest.mark.parametrize(("batch", "dtype"), [((), "<f4"), ((1,), "<f4"), ((), ">f4")])
def test_arrays_are_inputs_as_they_are(
    write_model: WriteModel, tmp_path: Path, batch, dtype
) -> None:
    """Stacked with or without the batch of 1, in any byte order; no code of the model runs."""
    inputs = np.arange(3 * 3 * 8 * 8).astype(dtype).reshape(3, *batch, 3, 8, 8)
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "labels.npy", np.array([4, 0, 1], np.uint8))

    assert read_all(write_model(), tmp_path) == ([0, 192, 384], (4, 0, 1))
    with open_dataset(read_spec(write_model()), tmp_path) as dataset:
        assert torch.from_numpy(dataset.read(1)).shape == (1, 3, 8, 8)


def test_a_model_file_may_come_with_data(write_model: WriteModel, folder) -> None:
    """DATA is relative to the model file; --data takes its place."""
    folder(a_txt="1", labels_csv="file,label\na.txt,2\n")

    assert read_all(write_model(SMALL + READER + 'DATA = "data"\n'), None) == ([1], (2,))
    with pytest.raises(DataError, match="small comes without examples"):
        read_all(write_model(SMALL + READER), None)


# --- what does not fit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"labels_csv": "file,label\na.txt,5\n", "a_txt": "1"}, "'5' is none of the network's 5"),
        ({"labels_csv": "file,label\na.txt,-1\n", "a_txt": "1"}, "'-1' is none of"),
        ({"labels_csv": "file,label\nmissing.txt,1\n"}, "There is no file .*missing.txt"),
        ({"labels_csv": "a.txt,1\nb.txt,2\n"}, "Row 1 of labels.csv has no file or no label"),
        ({"labels_csv": "file,label\na.txt,1\na.txt\n", "a_txt": "1"}, "Row 2 of labels.csv"),
        ({"labels_csv": "file,label\n"}, "labels.csv names no examples"),
        ({"labels_csv": 'file,label\n"a.txt'}, "labels.csv cannot be read"),
        ({"labels_csv": "file,label\na.txt,1\n", "a_txt": "one"}, "ValueError: could not convert"),
        ({"labels_csv": "file,label\na.txt,1\n", "a_txt": "nan"}, "not finite"),
        ({"README_md": "x"}, "holds no folders of .txt files"),
        ({"inputs_npy": "x", "labels_npy": "x"}, "inputs.npy cannot be read"),
    ],
)
def test_bad_data_is_refused(write_model: WriteModel, folder, files, said) -> None:
    """With the file or row at fault."""
    with pytest.raises(DataError, match=said):
        read_all(write_model(SMALL + READER), folder(**files))


@pytest.mark.parametrize(
    ("inputs", "labels", "said"),
    [
        (np.zeros((2, 3, 8, 8)), [0, 1], "float64 .* not float32"),
        (np.zeros((2, 8, 8), np.float32), [0, 1], r"\(8, 8\), not float32 \(3, 8, 8\)"),
        (np.zeros((2, 3, 8, 8), np.float32), [0], "does not go with 1 labels"),
        (np.zeros((2, 3, 8, 8), np.float32), [0.5, 1.0], "holds no class indices"),
        (np.zeros((0, 3, 8, 8), np.float32), np.zeros(0, int), "holds no class indices"),
        (np.array([{}], object), [0], "inputs.npy cannot be read"),
    ],
)
def test_bad_arrays_are_refused(
    write_model: WriteModel, tmp_path: Path, inputs, labels, said
) -> None:
    """Nothing is cast, cut or unpickled."""
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "labels.npy", labels)

    with pytest.raises(DataError, match=said):
        read_all(write_model(), tmp_path)


def test_a_network_that_cannot_be_evaluated_says_why(
    write_model: WriteModel, folder, tmp_path: Path
) -> None:
    """Without a reader for files, with two inputs, with a batch, with photos for no photo."""
    table = folder(labels_csv="file,label\na.txt,1\n")
    shapes = "INPUT_SHAPES = ((1, 3, 8, 8),)"
    for source, said in (
        (SMALL, "small does not say how a file becomes its input"),
        (SMALL.replace(shapes, "INPUT_SHAPES = ((1, 2), (1, 2))"), "one example at a time"),
        (SMALL.replace(shapes, "INPUT_SHAPES = ((2, 3, 8, 8),)"), "one example at a time"),
        (
            SMALL.replace(shapes, 'PREPROCESSING = "caffe"\nINPUT_SHAPES = ((1, 1, 8, 8),)'),
            "not a colour photo",
        ),
    ):
        with pytest.raises(DataError, match=said):
            read_all(write_model(source), table)
    with pytest.raises(DataError, match="small does not say how a file becomes its input"):
        read_all(write_model(), tmp_path)
    with pytest.raises(DataError, match="There is no directory"):
        read_all(write_model(), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('EXAMPLES = (".txt",)\n', "go together"),
        ("def read_example(path):\n    pass\n", "go together"),
        (READER + 'PREPROCESSING = "imagenet"\n', "go together"),
        ('PREPROCESSING = "vgg"\n', "PREPROCESSING must be imagenet or caffe"),
        ("PREPROCESSING = [1]\n", "PREPROCESSING must be imagenet or caffe"),
        (READER.replace('(".txt",)', "(1,)"), "EXAMPLES must be a tuple of strings"),
        ("CLASSES = 3\n", "CLASSES must be a tuple of strings"),
        ("DATA = 3\n", "DATA must be a string"),
    ],
)
def test_a_model_file_that_contradicts_itself_is_refused(
    write_model: WriteModel, source, said
) -> None:
    """Before anything is run."""
    with pytest.raises(ModelFileError, match=said):
        read_front_end(read_spec(write_model(SMALL + source)))


# --- examples ----------------------------------------------------------------------------------


def test_examples_are_written_with_pytorchs_outputs(
    write_model: WriteModel, tmp_path: Path, folder
) -> None:
    """Both stacked, under their content's hash, and equal to a network run by hand."""
    directory = folder(a_txt="1", b_txt="-2", labels_csv="file,label\na.txt,2\nb.txt,0\n")
    spec = read_spec(write_model(SMALL + READER))

    made = prepare_examples(
        spec, directory, cache_directory=tmp_path / "cache", on_progress=lambda _: None
    )

    inputs = map_tensor(tmp_path / "cache", made.inputs)
    assert inputs.shape == (2, 1, 3, 8, 8)
    assert [float(example.flat[0]) for example in inputs] == [1, -2]
    assert made.labels == (2, 0)
    with torch.no_grad():
        expected = load_module(spec)(torch.from_numpy(inputs.copy())[:, 0]).numpy()
    outputs = map_tensor(tmp_path / "cache", made.reference_outputs)
    assert outputs.shape == (2, 1, 5)
    np.testing.assert_allclose(outputs[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".bin"}


def test_a_network_without_classes_is_refused(
    write_model: WriteModel, tmp_path: Path, folder
) -> None:
    """A single number is no score for each class; nothing is left behind."""
    directory = folder(a_txt="1", labels_csv="file,label\na.txt,0\n")
    spec = read_spec(write_model(SMALL.replace("144, 5", "144, 1") + READER))

    with pytest.raises(DataError, match="small does not classify"):
        prepare_examples(
            spec, directory, cache_directory=tmp_path / "cache", on_progress=lambda _: None
        )
    assert list((tmp_path / "cache").iterdir()) == []


# --- photos ------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """Writes a photo of noise, the same for the same size."""

    def write(width: int, height: int, name: str = "photo.png", **options) -> Path:
        pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize("size", [(300, 400), (401, 299), (256, 256), (640, 97), (50, 60)])
@pytest.mark.parametrize("side", [224, 299])
def test_photos_are_read_as_torchvision_reads_them(photo, size, side) -> None:
    """The same numbers as torchvision's own preset for ImageNet, on any shape of photo."""
    from torchvision.transforms import _presets as presets

    path = photo(*size)
    preset = presets.ImageClassification(
        crop_size=side, resize_size={224: 256, 299: 342}[side], antialias=True
    )
    with Image.open(path) as image:
        expected = preset(image).numpy()

    read = preprocess.imagenet(path, side, side)

    np.testing.assert_allclose(read, expected, rtol=1e-5, atol=1e-5)


def test_caffes_photos_are_bgr_less_the_mean(tmp_path: Path) -> None:
    """A photo of one colour: blue first, each less Caffe's mean of it."""
    Image.new("RGB", (500, 300), (200, 100, 50)).save(tmp_path / "one.png")

    read = preprocess.caffe(tmp_path / "one.png", 227, 227)

    assert read.shape == (3, 227, 227)
    assert read.dtype == np.float32
    assert [float(channel.min()) for channel in read] == [50 - 104, 100 - 117, 200 - 123]
    assert [float(channel.max()) for channel in read] == [50 - 104, 100 - 117, 200 - 123]


def test_a_photo_stands_as_its_camera_was_held(photo) -> None:
    """A photo that its metadata turn is the photo that was turned before."""
    turned = Image.Exif()
    turned[0x0112] = 6  # To be turned by 90 degrees.
    marked = photo(300, 400, "marked.png", exif=turned)
    with Image.open(photo(300, 400)) as image:
        image.rotate(-90, expand=True).save(marked.with_name("upright.png"))

    read = preprocess.imagenet(marked, 224, 224)

    np.testing.assert_array_equal(
        read, preprocess.imagenet(marked.with_name("upright.png"), 224, 224)
    )


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_photos_of_any_kind_are_made_rgb(tmp_path: Path, mode) -> None:
    """Grey, transparent, palette and print photos have three channels too."""
    name = tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png")
    Image.new(mode, (300, 300)).save(name)

    assert preprocess.imagenet(name, 224, 224).shape == (3, 224, 224)


# --- the trained networks ----------------------------------------------------------------------


def accuracy_of(spec, directory: Path | None, cache: Path) -> tuple[int, int]:
    made = prepare_examples(spec, directory, cache_directory=cache, on_progress=lambda _: None)
    told = map_tensor(cache, made.reference_outputs)[:, 0].argmax(axis=1)
    return int((told == made.labels).sum()), len(told)


def test_the_shipped_digits_are_told_as_the_card_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped weights reach the stated accuracy on the shipped held-out images."""
    monkeypatch.chdir(tmp_path)
    spec = find_model("digits")

    correct, count = accuracy_of(spec, None, tmp_path)

    assert (correct, count) == (360, 360)
    assert (read_card(spec).measured_accuracy or "").startswith(f"{correct} of {count} ")


def test_an_image_file_is_read_as_the_shipped_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PNG file of a held-out digit gives the very numbers that are shipped."""
    monkeypatch.chdir(tmp_path)
    spec = find_model("digits")
    with open_dataset(spec, None) as dataset:
        shipped = dataset.read(7)
    Image.fromarray(np.round(shipped[0, 0] * 255).astype(np.uint8)).save(tmp_path / "seven.png")

    with example_reader(spec) as read:
        np.testing.assert_array_equal(read(tmp_path / "seven.png"), shipped[0])


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 8000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def read_speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The spoken digits' filterbank."""
    monkeypatch.chdir(tmp_path)
    with example_reader(find_model("deep_kws_digits")) as read:
        yield read


@pytest.mark.parametrize("pitch_hz", [250, 500, 1000, 2000, 3000])
def test_a_tone_is_loudest_in_its_own_band(read_speech, tmp_path: Path, pitch_hz) -> None:
    """The band whose middle is nearest to the tone on the mel scale, in every frame."""
    samples = 0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(8000) / 8000)

    energies = read_speech(write_wav(tmp_path / "tone.wav", samples))

    mel = 2595 * np.log10(1 + np.array([20, 4000, pitch_hz]) / 700)
    band = round((mel[2] - mel[0]) / ((mel[1] - mel[0]) / 41)) - 1
    assert energies.shape == (40, 40)
    assert energies.dtype == np.float32
    assert set(energies.argmax(axis=1)) == {band}


def test_the_loudest_part_is_looked_at_wherever_it_is(read_speech, tmp_path: Path) -> None:
    """Silence around a sound changes nothing; a short sound lies in the middle."""
    noise = np.random.default_rng(0).standard_normal(3320) * 0.1
    silence = np.zeros(4001)
    alone = read_speech(write_wav(tmp_path / "alone.wav", noise))
    late = read_speech(write_wav(tmp_path / "late.wav", np.concatenate([silence, noise, silence])))
    short = read_speech(write_wav(tmp_path / "short.wav", noise[:1000]))

    np.testing.assert_allclose(late, alone, atol=1e-4)
    loud = short.mean(axis=1) > short.mean()
    assert 10 <= loud.sum() <= 16  # 1,000 samples and a window, in hops of 80.
    assert np.flatnonzero(loud).mean() == pytest.approx(19.5, abs=1)


def test_loudness_hardly_matters(read_speech, tmp_path: Path) -> None:
    """Energies are told relative to their own mean and deviation."""
    noise = np.random.default_rng(0).standard_normal(5000) * 0.2
    loud = read_speech(write_wav(tmp_path / "loud.wav", noise))
    soft = read_speech(write_wav(tmp_path / "soft.wav", noise / 4))

    np.testing.assert_allclose(soft, loud, atol=0.02)


def test_silence_has_energies_too(read_speech, tmp_path: Path) -> None:
    """Neither an empty recording nor one of zeros divides by zero."""
    for samples in (np.zeros(0), np.zeros(5000)):
        assert not read_speech(write_wav(tmp_path / "silence.wav", samples)).any()


def test_another_recording_format_is_refused(tmp_path: Path, monkeypatch) -> None:
    """16 kHz is not resampled silently, and a cut-off header is no recording."""
    monkeypatch.chdir(tmp_path)
    spec = find_model("deep_kws_digits")
    write_wav(tmp_path / "fast.wav", np.zeros(100), rate_hz=16000)
    (tmp_path / "cut.wav").write_bytes(struct.pack("<4sI4s", b"RIFF", 4, b"WAVE"))
    for name, said in (("fast", "at 16000 Hz, not 1 of 16 at 8000"), ("cut", "cannot be read")):
        (tmp_path / "labels.csv").write_text(f"file,label\n{name}.wav,0\n")
        with open_dataset(spec, tmp_path) as dataset, pytest.raises(DataError, match=said):
            dataset.read(0)


def test_int8_is_not_judged_by_what_it_is_calibrated_on(
    write_model: WriteModel, tmp_path: Path
) -> None:
    """Generated inputs of both are drawn from different seeds."""
    spec = read_spec(write_model(SMALL))
    judging = np.load(write_agreement(spec, tmp_path / "cache") / "inputs.npy")
    calibrating = [make_inputs(spec, seed)[0].numpy()[0] for seed in range(1 + GENERATED_EXAMPLES)]

    assert len(judging) == 200
    assert not any(np.array_equal(one, other) for one in judging for other in calibrating)
