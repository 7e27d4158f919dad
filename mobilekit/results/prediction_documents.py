"""The JSON documents of predictions.

As those of ``documents``, each begins with its ``schema``, whose number changes with its format.
They are apart because a prediction does without the records of measurements, which take long to
import.
"""

from __future__ import annotations

from mobilekit.contract.codec import Record
from mobilekit.records.prediction import (
    NetworkPrediction,
    PastError,
    PredictedDevice,
    PredictionCalibration,
    Predictions,
    Score,
    ScoredPrediction,
)


# History: 1: first.
class PredictionsDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.predictions/1"):
    """``predict``: each network on each phone, by phones and then by networks."""

    devices: tuple[PredictedDevice, ...]
    predictions: tuple[NetworkPrediction, ...]
    past_errors: tuple[PastError, ...]


class CalibrationDocument(
    Record, frozen=True, tag_field="schema", tag="mobilekit.prediction-calibration/1"
):
    """``predict --calibrate``."""

    calibration: PredictionCalibration


class ScoresDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.prediction-scores/1"):
    """``predict --score``: how far predictions were right, by what they were told from."""

    scores: tuple[Score, ...]
    predictions: tuple[ScoredPrediction, ...]
    """The newest first."""


def make_predictions_document(predicted: Predictions) -> PredictionsDocument:
    return PredictionsDocument(
        devices=predicted.devices,
        predictions=predicted.predictions,
        past_errors=predicted.past_errors,
    )
