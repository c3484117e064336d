"""What happened: alerts, incidents, the ledger, the playbook.

Importing any part of lastgood sets the off switches below, in this one place, before another library reads them.
"""

import os

#: Telemetry of every component, off, and what they print unasked. A value already set in the environment wins.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_API_ENABLE_METRICS": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "SEAWEEDFS_TELEMETRY": "false",
}

for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
