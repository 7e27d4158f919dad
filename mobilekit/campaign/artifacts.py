"""Exported networks on the way to other hosts: by their content's hash, through the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from mobilekit import places
from mobilekit.errors import StoreError
from mobilekit.model.artifact_cache import operators_path
from mobilekit.model.files import write_whole
from mobilekit.records.artifact import Artifact
from mobilekit.results.campaigns import Campaigns, opened


def share_artifact(campaigns: Campaigns, artifact: Artifact) -> None:
    """Put its files where other hosts find them. Raises ``StoreError``."""
    for path in _paths(artifact):
        campaigns.share_file(path.name, path)


def fetch_artifact(place: str, artifact: Artifact | None) -> None:
    """Bring those of its files to this host's cache that it lacks. Raises ``StoreError``."""
    if artifact is None:
        return
    missing = [path for path in _paths(artifact) if not path.is_file()]
    if not missing:
        return
    with opened(place) as campaigns:
        for path in missing:
            content = campaigns.read_file(path.name)
            digest = path.name.partition(".")[0]
            is_named_by_content = path.suffix != ".json"
            if content is None or (
                is_named_by_content and hashlib.sha256(content).hexdigest() != digest
            ):
                raise StoreError(
                    "A file of an exported network is not in the store, or is damaged there",
                    file=path.name,
                    model=artifact.model.name,
                    fix="`mobilekit campaign resume` on the host that has the model puts it there.",
                )
            write_whole(path, content)


def _paths(artifact: Artifact) -> Iterator[Path]:
    directory = places.artifacts_directory()
    for file in artifact.kept:
        yield directory / Path(file.path).name
    yield operators_path(artifact.model, artifact.file, directory)
