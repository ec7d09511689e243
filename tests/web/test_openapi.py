"""The service answers as its OpenAPI document says, whatever it is asked, and never with a 5xx.

schemathesis makes requests from the document: such as it allows, and such as it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.web.service import Service, run_service
from watcher.web import create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Requests for each operation and kind; the same ones each time.
EXAMPLES = 12
SECONDS = 10.0
# Its answer does not end.
ENDLESS = "/events"


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service as for several databases, which are found below `/db`."""
    directory = tmp_path_factory.mktemp("several")
    with run_service(
        directory, make_app=lambda hub: create_app({"one.db": hub}, allow_writes=True)
    ) as running:
        yield running


def ask(url: str, mode: GenerationMode) -> set[str]:
    """Makes requests for the operations of a document; those for which there are such requests."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    # In a path any text does, and of what takes nothing nothing wrong can be asked.
    asked = [each for each in operations if mode.is_positive or len(each.query) or len(each.body)]
    for operation in asked:
        _ask_for(operation, mode, url)
    return {operation.label for operation in asked}


def _ask_for(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, url: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        arguments = case.as_transport_kwargs(base_url=url)
        with requests.request(**arguments, timeout=SECONDS, stream=True) as answer:
            assert answer.url.startswith(url)
            if operation.path == ENDLESS and answer.ok:
                _check_events(answer)
            else:
                case.validate_response(answer, checks=CHECKS)

    check()


def _check_events(answer: requests.Response) -> None:
    """Looks at the beginning of a stream, which is all that comes of it for now."""
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert next(answer.iter_lines()).startswith(b"retry: ")


READING = {"GET /health", "GET /tables", "GET /tables/{name}/rows", "GET /values/{sha256}"}
STREAMS = {"GET /events", "GET /changes", "GET /snapshot"}
WRITING = {
    "GET /add/{name}/{value}",
    "GET /update/{item_id}/{new_value}",
    "POST /items",
    "PATCH /items/{item_id}",
    "POST /tables/{name}/rows",
    "PATCH /tables/{name}/rows",
    "DELETE /tables/{name}/rows",
}
OF_THE_SERVICE = {"GET /livez", "GET /readyz", "GET /databases", "GET /metrics"}


@pytest.mark.fault("H3")
def test_what_the_document_allows_is_answered_as_it_says(service: Service) -> None:
    """Status, type, headers and body, for every operation there is."""
    asked = ask(service.url, GenerationMode.POSITIVE)
    assert asked >= READING | STREAMS | WRITING | OF_THE_SERVICE


@pytest.mark.fault("H3")
def test_what_it_does_not_allow_is_refused_as_it_says(service: Service) -> None:
    """Parameters and bodies of other types, or missing, or out of range."""
    asked = ask(service.url, GenerationMode.NEGATIVE)
    assert asked >= {"GET /changes", "GET /tables/{name}/rows", "PATCH /items/{item_id}"}


def test_each_of_several_databases_has_a_document(several: Service) -> None:
    """The same operations, below its own path; the service as a whole has another document."""
    asked = ask(f"{several.url}/db/one.db", GenerationMode.POSITIVE)
    assert asked >= READING | STREAMS | WRITING
    assert ask(several.url, GenerationMode.POSITIVE) == OF_THE_SERVICE
