"""What may be done to production. ``ALL`` is the table of contents of everything that can change it."""

from remediations.base import Remediation
from remediations.fail_over_source import FailOverSource
from remediations.free_disk import FreeDisk
from remediations.grow_volume import GrowVolume
from remediations.promote_model import PromoteModel
from remediations.restart_service import RestartService
from remediations.retrain_model import RetrainModel
from remediations.revert_model import RevertModel
from remediations.rollback_dataset import RollbackDataset
from remediations.rollback_service import RollbackService
from remediations.scale_service import ScaleService

ALL: tuple[type[Remediation], ...] = (
    FailOverSource,
    FreeDisk,
    GrowVolume,
    PromoteModel,
    RestartService,
    RetrainModel,
    RevertModel,
    RollbackDataset,
    RollbackService,
    ScaleService,
)

__all__ = [
    "ALL",
    "FailOverSource",
    "FreeDisk",
    "GrowVolume",
    "PromoteModel",
    "Remediation",
    "RestartService",
    "RetrainModel",
    "RevertModel",
    "RollbackDataset",
    "RollbackService",
    "ScaleService",
]
