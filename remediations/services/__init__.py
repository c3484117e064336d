"""Where services run: ECS, Auto Scaling groups, SageMaker, Kubernetes. One interface, one file each."""

from __future__ import annotations

from incidents.assets import Asg, Ecs, Kubernetes, SageMaker, Service
from incidents.playbook import playbook
from remediations.base import declared as declared_asset
from remediations.services.asg import AutoScalingGroup
from remediations.services.base import Running
from remediations.services.ecs import EcsService
from remediations.services.kubernetes import KubernetesDeployment
from remediations.services.sagemaker import SageMakerVariant

__all__ = ["Running", "declared", "open_service"]


def declared(name: str) -> Service:
    """A service as the playbook declares it.

    Raises:
        CannotPlan: it does not.
    """
    return declared_asset("service", name, playbook().services)


def open_service(service: Service) -> Running:
    """The service where it runs; touches nothing yet."""
    match service.runs_on:
        case Ecs() as place:
            return EcsService(place)
        case Asg() as place:
            return AutoScalingGroup(place)
        case SageMaker() as place:
            return SageMakerVariant(place)
        case Kubernetes() as place:
            return KubernetesDeployment(place)
