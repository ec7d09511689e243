from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.web.service import Service, run_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that may write, shared by the tests of a module."""
    with run_service(tmp_path_factory.mktemp("service"), allow_writes=True) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        yield client
