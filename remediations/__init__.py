"""What may be done to production. ``ALL`` is the table of contents of everything that can change it."""

from remediations.base import Remediation
from remediations.block_public_access import BlockPublicAccess
from remediations.deactivate_access_key import DeactivateAccessKey
from remediations.deny_bucket_access import DenyBucketAccess
from remediations.isolate_service import IsolateService
from remediations.preserve_evidence import PreserveEvidence
from remediations.quarantine_dataset import QuarantineDataset
from remediations.quarantine_model import QuarantineModel
from remediations.revert_model import RevertModel
from remediations.rollback_dataset import RollbackDataset
from remediations.rotate_secret import RotateSecret
from remediations.tighten_input import TightenInput

ALL: tuple[type[Remediation], ...] = (
    BlockPublicAccess,
    DeactivateAccessKey,
    DenyBucketAccess,
    IsolateService,
    PreserveEvidence,
    QuarantineDataset,
    QuarantineModel,
    RevertModel,
    RollbackDataset,
    RotateSecret,
    TightenInput,
)

__all__ = [
    "ALL",
    "BlockPublicAccess",
    "DeactivateAccessKey",
    "DenyBucketAccess",
    "IsolateService",
    "PreserveEvidence",
    "QuarantineDataset",
    "QuarantineModel",
    "Remediation",
    "RevertModel",
    "RollbackDataset",
    "RotateSecret",
    "TightenInput",
]
