from mobilekit.flow.requirements import compare_packages, read_python_facts

REQUIREMENTS = (
    "numpy<3,>=1.26",
    "torch~=2.13.0",
    "gone<2",
    "old-only<9; python_version < '3'",
    "onnx<1.24,>=1.23; extra == 'onnx'",
    "mobilekit[onnx]; extra == 'all'",
    "numpy<3; extra == 'all'",
    "onnx<1.24; extra == 'all'",
    "absent<2; extra == 'all'",
)
INSTALLED = {"numpy": "2.4.6", "torch": "2.13.0+cpu", "onnx": "1.25.0"}
TESTED = {"numpy": "2.4.5", "torch": "2.13.0", "onnx": "1.23.2", "gone": "1.9"}


def test_each_is_compared_with_what_is_allowed_and_what_was_tested():
    """Once each, at the smallest extra that brings it; a build's own suffix is no other version."""
    packages = compare_packages(REQUIREMENTS, ("all", "onnx"), TESTED, INSTALLED.get)

    told = {
        each.name: (each.extra, each.installed, each.fits, each.tested, each.is_tested)
        for each in packages
    }
    assert told == {
        "numpy": (None, "2.4.6", True, "2.4.5", False),
        "torch": (None, "2.13.0+cpu", True, "2.13.0", True),
        "gone": (None, None, False, "1.9", False),
        "onnx": ("onnx", "1.25.0", False, "1.23.2", False),
        "absent": ("all", None, False, None, False),
    }


def test_of_this_installation():
    """Every package that a deploy takes is known, with its bounds and the tests' version."""
    facts = read_python_facts()

    told = {each.name: each for each in facts.packages}
    assert facts.fits
    assert {"torch", "executorch", "adbutils", "onnx", "ai-edge-litert"} <= set(told)
    assert told["executorch"].extra is None
    assert told["ai-edge-litert"].extra == "tflite"
    assert told["executorch"].tested
