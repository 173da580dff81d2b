"""What a verifier's service must find when it starts: its trust store, its inspector's key, its list of clients.

The command looks for all of it before the service starts, to tell the operator in a sentence; the service, a process of
its own, opens it then.
"""

from __future__ import annotations

from chopmark.cli.passphrase import read_passphrase
from chopmark.key_file import read_key_file
from chopmark_service.server import take_port

from chopmark_verifier.clients import ClientFile
from chopmark_verifier.desk_keeper import DeskOptions
from chopmark_verifier.service_settings import VerifierSettings
from chopmark_verifier.trust_source import open_trust_source


def load_desk_options(settings: VerifierSettings) -> DeskOptions | None:
    """Load the inspector's key; None where there is none.

    Raises:
        KeyMaterialError: the passphrase is missing or wrong.
        StorageError: a file cannot be read.
    """
    if settings.key is None or settings.records is None:
        return None
    signer = read_key_file(settings.key).load(read_passphrase(settings.passphrase_file), where=str(settings.key))
    return DeskOptions(signer, settings.records)


def check_can_run(settings: VerifierSettings) -> None:
    """Find what would keep the service from starting.

    Raises:
        ClientListError: the list of clients is missing or broken.
        ChopmarkError: as `open_trust_source`, `load_desk_options` and `take_port`.
    """
    open_trust_source(settings).close()
    load_desk_options(settings)
    if settings.clients is not None:
        ClientFile(settings.clients).check()
    take_port(settings.host, settings.port)
