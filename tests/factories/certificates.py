"""Certificates of authorities that exist for one test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


class Authority:
    """An authority that signs certificates for 127.0.0.1, and their files.

    Attributes:
        ca: file of its own certificate.
    """

    def __init__(self, folder: Path, name: str) -> None:
        trustme = pytest.importorskip(
            "trustme", reason="certificates: pip install 'dynanoise[dev]'"
        )
        self._authority: Any = trustme.CA(organization_name=name)
        self._folder, self._name = folder, name
        self.ca = folder / f"{name}-ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def sign(self, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """Files of a new certificate with its chain, and of its private key."""
        signed = self._authority.issue_cert(host)
        certificate, key = (
            self._folder / f"{self._name}-{host}{kind}.pem" for kind in ("", "-key")
        )
        certificate.write_bytes(b"".join(blob.bytes() for blob in signed.cert_chain_pems))
        key.touch(0o600)
        key.write_bytes(signed.private_key_pem.bytes())
        return certificate, key
