"""Where things are, from ``LASTGOOD_*`` in the environment. Nothing here is a secret of production."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The few settings that are not the team's playbook."""

    model_config = SettingsConfigDict(env_prefix="LASTGOOD_", frozen=True, extra="ignore")

    #: Holds the SQLite ledger and the written post-mortems, unless the settings below say otherwise.
    home: Path = Field(default_factory=lambda: Path.home() / ".lastgood")
    #: ``sqlite:////path/ledger.db`` or ``postgresql+psycopg://...``; may carry a password, so it is kept secret.
    database_url: SecretStr | None = None
    #: The team's playbook.
    playbook: Path = Path("playbook.yaml")
    #: An Ed25519 private key in PEM (``openssl genpkey -algorithm ed25519``), with which exports are signed.
    signing_key: Path | None = None
    #: The way out where the record is broken near its end: the number of the event whose break is known and accepted.
    accept_broken_event: int | None = None

    #: Signs the one-time links that a person can answer with; at least 32 characters. Without it there are no links.
    link_key: SecretStr | None = None
    #: Where people reach the intake, for those links: ``https://lastgood.example.org``.
    public_url: str = ""

    #: What the warm worker imports before it is needed, as a JSON list: modules that start no thread and connect to
    #: nothing. Of lastgood's own packages it imports every module.
    preload: tuple[str, ...] = (
        *("flows", "remediations", "expectations"),
        *("mlflow", "mlflow.store.model_registry.rest_store", "mlflow.tracking.request_header.registry"),
        *("great_expectations.expectations", "great_expectations.validator.validator", "duckdb_engine"),
        *("boto3", "pandas.core.arrays.arrow.extension_types", "pyarrow.dataset", "pyarrow.pandas_compat"),
        *("boto3.s3.inject", "boto3.s3.transfer", "pyarrow.parquet"),
        *("jinja2.ext", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"),
    )

    def ledger_url(self) -> str:
        """The SQLAlchemy URL of the ledger, SQLite in ``home`` by default."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        self.home.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{self.home / 'ledger.db'}"


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
