"""The only place where clients of production are built: S3, the rest of AWS, MLflow, HTTP.

Credentials and addresses come from each vendor's own environment variables (``AWS_*``, ``MLFLOW_*``), so
lastgood never holds them.
"""

from __future__ import annotations

import threading
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    import boto3
    import urllib3
    from botocore.auth import S3SigV4Auth
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client

#: Objects moved side by side; the connection pool is made to match.
S3_THREADS = 32

_MAKING = threading.Lock()


@cache
def s3() -> S3Client:
    """The S3 client, made once: making one is not thread-safe, using one is."""
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=S3_THREADS,
        connect_timeout=5,
        read_timeout=60,
    )
    with _MAKING:  # several threads may be the first to ask
        return _s3_session().client("s3", config=config)


@cache
def _s3_session() -> boto3.Session:
    import boto3

    return boto3.Session(botocore_session=_botocore())


@cache
def _botocore() -> Session:
    from botocore.session import get_session

    session = get_session()
    # Half of the time that a long listing takes goes into reading its times, as botocore reads them.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    return session


def s3_signer() -> S3SigV4Auth:
    """What signs a request of our own to S3, with the credentials that are valid at this moment.

    Raises:
        botocore.exceptions.NoCredentialsError: there are none.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.exceptions import NoCredentialsError

    found = _botocore().get_credentials()
    if found is None:
        raise NoCredentialsError
    return S3SigV4Auth(found.get_frozen_credentials(), "s3", s3().meta.region_name)


@cache
def s3_connections() -> urllib3.PoolManager:
    """Connections for requests of our own to S3, as many as the S3 client has, trusting the same certificates."""
    import urllib3
    from botocore.httpsession import get_cert_path

    timeout = urllib3.Timeout(connect=5, read=60)
    bundle = _botocore().get_config_variable("ca_bundle") or get_cert_path(True)
    return urllib3.PoolManager(maxsize=S3_THREADS, timeout=timeout, retries=False, ca_certs=bundle)


def _time(text: Any) -> datetime:
    """A time in an answer of S3: ISO 8601 in listings; whatever botocore reads elsewhere."""
    from botocore.utils import parse_timestamp

    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_timestamp(text)


@cache
def aws(service: str) -> Any:
    """The client of another AWS service, ``ecs`` for instance, made once."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60)
    return boto3.Session().client(service, config=config)  # type: ignore[call-overload]  # whichever is named


@cache
def registry() -> Any:
    """The MLflow client of the tracking server and the model registry, made once."""
    from mlflow import MlflowClient

    return MlflowClient()


@cache
def http() -> httpx.Client:
    """A client for model services: short time limits, and no redirects to somewhere else."""
    return httpx.Client(timeout=httpx.Timeout(10, connect=2), follow_redirects=False)
