"""What the operator of a witness says to its service; see `chopmark_service.settings` for where it is read.

--port 8481 --log "$LOG_VKEY"
CHOPMARK_WITNESS_PORT=8481
port = 8481                         in <data>/witness.toml, or in the file that --config names
"""

from __future__ import annotations

from pathlib import Path

from chopmark_service.settings import LogLevel, Port, Positive
from pydantic import BaseModel, ConfigDict, Field


class WitnessServiceSettings(BaseModel):
    """The settings of `chopmark witness serve`; they can be pickled, as they travel to the worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="The folder of the witness; made with the first start.")
    name: str | None = Field(None, description="Its name, such as cn-sh.example/witness; needed with the first start.")
    logs: tuple[str, ...] = Field((), description="Keys of logs to witness, beside those that it knows already.")
    passphrase_file: Path | None = Field(
        None, description="A file with the passphrase of its keys; else CHOPMARK_PASSPHRASE_FILE names it."
    )
    host: str = Field("127.0.0.1", description="The address to listen at.")
    port: Port = Field(8481, description="The port to listen at; 0 takes a free one.")
    connections: Positive = Field(1024, description="Connections that are served at a time.")
    log_level: LogLevel = Field("info", description="The least that is logged.")
