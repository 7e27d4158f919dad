"""Write mobilekit/model/descriptions: the layers of each network that comes with mobilekit.

With them ``models`` and ``predict`` need not build a network first. A file is named by the content
that it describes; those of content that is no more are removed. Run it after a change of a network
or its weights, or of how layers are counted; ``tests/model/test_model_descriptions.py`` fails until
it has been. It takes half a minute.
"""

from __future__ import annotations

from pathlib import Path

from mobilekit.contract.codec import encode
from mobilekit.model.describe import PACKAGED, layers_path, make_description
from mobilekit.model.zoo import read_spec

NETWORKS = Path(__file__).parents[1] / "models"


def main() -> None:
    PACKAGED.mkdir(exist_ok=True)
    for path in PACKAGED.iterdir():
        path.unlink()
    for path in sorted(NETWORKS.glob("*.py")):
        spec = read_spec(path)
        data = encode(make_description(spec)) + b"\n"
        layers_path(spec, PACKAGED).write_bytes(data)
        print(f"{len(data):,} B of {spec.name}")


if __name__ == "__main__":
    main()
