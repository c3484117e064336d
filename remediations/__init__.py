"""What may be done to production. ``ALL`` is the table of contents of everything that can change it."""

from remediations.base import Remediation
from remediations.promote_model import PromoteModel
from remediations.quarantine_rows import QuarantineRows
from remediations.retrain_model import RetrainModel
from remediations.revert_model import RevertModel
from remediations.rollback_dataset import RollbackDataset

ALL: tuple[type[Remediation], ...] = (PromoteModel, QuarantineRows, RetrainModel, RevertModel, RollbackDataset)

__all__ = ["ALL", "PromoteModel", "QuarantineRows", "Remediation", "RetrainModel", "RevertModel", "RollbackDataset"]
