"""The witnesses of others, each as a server on the loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.programs import Running, go_program, python_program, run


@dataclass(frozen=True, slots=True)
class WitnessServer:
    """A witness that runs: where it is, the keys it cosigns with, and its process."""

    url: str
    vkeys: tuple[str, ...]
    running: Running


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def omniwitness(folder: Path, name: str, logs: Mapping[str, str]) -> Iterator[WitnessServer]:
    """transparency-dev/witness with an Ed25519 and an ML-DSA-44 key, for logs given as origin and vkey."""
    folder.mkdir()
    keys = []
    for kind, option in (("ed25519", []), ("ml-dsa-44", ["--mldsa"])):
        private, public = folder / f"{kind}.private", folder / f"{kind}.public"
        names = [f"--origin={name}", f"--out_priv={private}", f"--out_pub={public}"]
        run(go_program("generate_keys"), *option, *names)
        keys.append((private, public.read_text().strip()))
    config = folder / "logs.yaml"
    entries = [f"- {{Origin: {origin}, PublicKey: {vkey}, URL: http://127.0.0.1/}}" for origin, vkey in logs.items()]
    config.write_text("\n".join(["Logs:", *entries, ""]))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Running(
        go_program("omniwitness"),
        f"--listen=127.0.0.1:{port}",
        "--metrics_listen=",
        *[f"--private_key_path={private}" for private, _ in keys],
        f"--additional_logs={config}",
        f"--db_file={folder / 'witness.db'}",
        "--logtostderr",
        ready=url,
        output_file=folder / "output",
    ) as running:
        yield WitnessServer(url, tuple(vkey for _, vkey in keys), running)


@contextmanager
def aics_witness(folder: Path, name: str, logs: Mapping[str, str]) -> Iterator[WitnessServer]:
    """aics-witness, with an Ed25519 key; it takes extension lines."""
    folder.mkdir()
    config = folder / "witness.json"
    program = python_program("aics-witness")
    port = free_port()
    made = run(program, "init", "--config", config, "--name", name, "--listen", f"127.0.0.1:{port}")
    settings = json.loads(config.read_text())
    settings["logs"] = [{"origin": origin, "vkeys": [vkey], "extension_lines": True} for origin, vkey in logs.items()]
    config.write_text(json.dumps(settings))
    vkey = next(line for line in made.out.split() if line.startswith(f"{name}+"))
    url = f"http://127.0.0.1:{port}"
    with Running(
        program, "serve", "--config", config, ready=f"{url}/healthz", output_file=folder / "output"
    ) as running:
        yield WitnessServer(url, (vkey,), running)
