"""The only place where clients of production are built: S3, the rest of AWS, MLflow, HTTP.

Credentials and addresses come from each vendor's own environment variables (``AWS_*``, ``MLFLOW_*``), so
lastgood never holds them.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

from incidents.playbook import playbook
from remediations.base import RemediationError

if TYPE_CHECKING:
    import boto3
    from aiohttp import ClientSession
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.loaders import JSONFileLoader
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client
    from pyiceberg.catalog import Catalog

#: Objects moved side by side; the connection pool is made to match.
S3_THREADS = 32

#: One session makes one client at a time.
_MAKING = threading.RLock()


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
    with _MAKING:
        return _s3_sessions()[0].client("s3", config=config)


@cache
def _s3_sessions() -> tuple[boto3.Session, Session]:
    """boto3's session for S3, and botocore's under it, made together: it fails to make two of the first on one."""
    import boto3

    session = _session()
    # Half of the time that a long listing takes goes into reading its times, as botocore reads them.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    return boto3.Session(botocore_session=session), session


def _session() -> Session:
    """A session of botocore's that does not read again what it knows of AWS's services: megabytes of JSON."""
    from botocore.session import get_session

    session = get_session()
    session.get_component("data_loader").file_loader = _files()
    return session


@cache
def _files() -> JSONFileLoader:
    from botocore.loaders import JSONFileLoader

    class Once(JSONFileLoader):
        load_file = cache(JSONFileLoader.load_file)

    return Once()


def warm_up() -> None:
    """What every child's clients need to know, once, in the process that they are forked from.

    Of S3 that is how it is asked; of MLflow, which kinds of model registries there are among all that is installed.
    """
    with suppress(ImportError):  # it is MLflow's own, and only saves time
        from mlflow.tracking._model_registry.utils import _get_store_registry

        _get_store_registry()
    session = _session()
    for what in ("service-2", "endpoint-rule-set-1"):
        session.get_component("data_loader").load_service_model("s3", what)


def s3_signer() -> S3SigV4Auth:
    """What signs a request of our own to S3, with the credentials that are valid at this moment.

    Raises:
        botocore.exceptions.NoCredentialsError: there are none.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.exceptions import NoCredentialsError

    found = _s3_sessions()[1].get_credentials()
    if found is None:
        raise NoCredentialsError
    return S3SigV4Auth(found.get_frozen_credentials(), "s3", s3().meta.region_name)


def s3_address(bucket: str) -> str:
    """Where boto3 reaches a bucket: under a name of its own, under a path, or under another address altogether."""
    whole = s3().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    return whole.partition("?")[0].removesuffix("k")


def s3_signed(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> AWSPreparedRequest:
    """A request of our own to S3, signed.

    Raises:
        botocore.exceptions.NoCredentialsError: there are no credentials.
    """
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    s3_signer().add_auth(request)
    return request.prepare()


def s3_connections(at_once: int) -> ClientSession:
    """So many connections for requests of our own to S3; close them. Only in an event loop."""
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=at_once, ssl=_s3_certificates()),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


@cache
def _s3_certificates() -> ssl.SSLContext:
    """The certificates that the S3 client trusts."""
    from botocore.httpsession import get_cert_path

    bundle = _s3_sessions()[1].get_config_variable("ca_bundle") or get_cert_path(True)
    return ssl.create_default_context(cafile=bundle)


def object_store() -> dict[str, str]:
    """What the S3 client inside of Delta's library is given: where S3 is, and the credentials of this moment.

    Raises:
        botocore.exceptions.NoCredentialsError: there are none.
    """
    meta, credentials = s3().meta, s3_signer().credentials
    options = {
        "aws_endpoint_url_s3": meta.endpoint_url,
        "aws_region": meta.region_name,
        "aws_access_key_id": credentials.access_key,
        "aws_secret_access_key": credentials.secret_key,
        "aws_session_token": credentials.token or "",
        "allow_http": str(meta.endpoint_url.startswith("http:")).lower(),
        # Without these two a commit would not be refused where somebody else has made one.
        "aws_conditional_put": "etag",
        "aws_s3_allow_unsafe_rename": "false",
    }
    return {name: value for name, value in options.items() if value}


@cache
def iceberg(name: str) -> Catalog:
    """An Iceberg catalog, made once: as the playbook describes it, and pyiceberg's own settings of that name.

    Secrets come from there alone: ``PYICEBERG_CATALOG__<NAME>__TOKEN`` and the like, or ``.pyiceberg.yaml``.
    """
    from pyiceberg.catalog import load_catalog

    return load_catalog(name, **playbook().catalogs.get(name, {}))


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
    session = boto3.Session(botocore_session=_session())
    return session.client(service, config=config)  # type: ignore[call-overload]  # whichever is named


@cache
def registry() -> Any:
    """The MLflow client of the tracking server and the model registry, made once."""
    from mlflow import MlflowClient

    return MlflowClient()


@cache
def http() -> httpx.Client:
    """A client for model services: short time limits, and no redirects to somewhere else."""
    return httpx.Client(timeout=httpx.Timeout(10, connect=2), follow_redirects=False)


@cache
def lakefs(name: str) -> httpx.Client:
    """A client of the lakeFS server that the playbook calls ``name``, made once, for paths below ``/api/v1/``.

    Raises:
        RemediationError: the playbook does not name the server, or the environment has no credentials for it.
    """
    server = playbook().lakefs.get(name)
    if server is None:
        raise RemediationError(
            f"the playbook has no lakeFS server {name}: lakefs: {{{name}: {{endpoint: https://...}}}}"
        )
    key, secret = (os.environ.get(one, "") for one in (server.access_key_env, server.secret_key_env))
    if not (key and secret):
        raise RemediationError(
            f"no credentials for the lakeFS server {name}: set {server.access_key_env} and {server.secret_key_env}"
        )
    return httpx.Client(
        base_url=f"{server.endpoint.rstrip('/').removesuffix('/api/v1')}/api/v1/",
        auth=(key, secret),
        timeout=httpx.Timeout(60, connect=5),
        limits=httpx.Limits(max_connections=S3_THREADS),
        follow_redirects=False,
    )
