"""A callback of Keras that reports."""

from ctune.air.integrations.keras import ReportCheckpointCallback as TuneReportCheckpointCallback
from ctune.integration._report import deprecated

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]

TuneReportCallback = deprecated(__name__)
