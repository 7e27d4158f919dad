"""What is predicted beside what was measured on virtual phones."""

from reports import run, virtual

from mobilekit.flow.predict import predict_each
from mobilekit.results.store import Store


def test_a_real_phone_is_predicted_once_for_each_network(tmp_path):
    """However often a virtual one stood in for it; of a real run nothing is predicted."""
    runs = [
        virtual("first", 13),
        virtual("again", 14),
        virtual("other-phone", 13, phone="pixel6a"),
        run("measured", 1080),
    ]
    told = predict_each(runs, Store(tmp_path / "results.sqlite"))

    assert [each.predictions[0].device for each in told] == ["pixel8", "pixel6a"]
