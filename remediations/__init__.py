"""What may be done to production. ``ALL`` is the table of contents of everything that can change it."""

from remediations.base import Remediation
from remediations.block_public_access import BlockPublicAccess
from remediations.deactivate_access_key import DeactivateAccessKey
from remediations.deny_bucket_access import DenyBucketAccess
from remediations.fail_over_source import FailOverSource
from remediations.free_disk import FreeDisk
from remediations.grow_volume import GrowVolume
from remediations.impute_missing import ImputeMissing
from remediations.isolate_service import IsolateService
from remediations.preserve_evidence import PreserveEvidence
from remediations.promote_model import PromoteModel
from remediations.quarantine_dataset import QuarantineDataset
from remediations.quarantine_model import QuarantineModel
from remediations.quarantine_rows import QuarantineRows
from remediations.rerun_preprocessing import RerunPreprocessing
from remediations.restart_service import RestartService
from remediations.retrain_model import RetrainModel
from remediations.revert_model import RevertModel
from remediations.rollback_dataset import RollbackDataset
from remediations.rollback_service import RollbackService
from remediations.rotate_secret import RotateSecret
from remediations.scale_service import ScaleService
from remediations.tighten_input import TightenInput

ALL: tuple[type[Remediation], ...] = (
    BlockPublicAccess,
    DeactivateAccessKey,
    DenyBucketAccess,
    FailOverSource,
    FreeDisk,
    GrowVolume,
    ImputeMissing,
    IsolateService,
    PreserveEvidence,
    PromoteModel,
    QuarantineDataset,
    QuarantineModel,
    QuarantineRows,
    RerunPreprocessing,
    RestartService,
    RetrainModel,
    RevertModel,
    RollbackDataset,
    RollbackService,
    RotateSecret,
    ScaleService,
    TightenInput,
)

__all__ = [
    "ALL",
    "BlockPublicAccess",
    "DeactivateAccessKey",
    "DenyBucketAccess",
    "FailOverSource",
    "FreeDisk",
    "GrowVolume",
    "ImputeMissing",
    "IsolateService",
    "PreserveEvidence",
    "PromoteModel",
    "QuarantineDataset",
    "QuarantineModel",
    "QuarantineRows",
    "Remediation",
    "RerunPreprocessing",
    "RestartService",
    "RetrainModel",
    "RevertModel",
    "RollbackDataset",
    "RollbackService",
    "RotateSecret",
    "ScaleService",
    "TightenInput",
]
