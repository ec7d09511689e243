"""Texts and ids are taken from a path exactly as they were sent, or refused."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.web.rawpath import MAX_TEXT, PathError, decode_text, parse_id, path_texts


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        (b"/add/a/b", ("a", "b")),
        (b"/add/a/", ("a", "")),
        (b"/add//b", ("", "b")),
        (b"/add/a%2Fb/c", ("a/b", "c")),
        (b"/add/a/b%2Fc", ("a", "b/c")),
        (b"/add/a/b/c", ("a", "b/c")),
        (b"/add/a/%3F%23%25", ("a", "?#%")),
        (b"/add/a/1+1", ("a", "1+1")),
        (b"/add/a/50%", ("a", "50%")),
        (b"/add/a/%zz", ("a", "%zz")),
        (b"/add/a/%2541", ("a", "%41")),
        (b"/add/a/%F0%9F%92%A1", ("a", "💡")),
        (b"/add/a/x%00y", ("a", "x\0y")),
        (b"/%61dd/a/b", ("a", "b")),
    ],
)
def test_two_texts_come_as_they_were_sent(path: bytes, texts: tuple[str, str]) -> None:
    assert path_texts(path, "", "add") == texts


def test_a_mount_point_is_skipped_however_it_is_encoded() -> None:
    assert path_texts(b"/live/add/a/b/c", "/live", "add") == ("a", "b/c")
    assert path_texts(b"/%6Cive/v1/add/a/b", "/live/v1", "add") == ("a", "b")


@pytest.mark.parametrize("path", [b"/add/a", b"/add/a%2Fb", b"/add%2Fa/b/c", b"/add%2Fa%2Fb"])
def test_a_path_whose_slashes_are_encoded_is_not_mistaken(path: bytes) -> None:
    with pytest.raises(PathError) as caught:
        path_texts(path, "", "add")
    assert caught.value.status == 404


@pytest.mark.parametrize("raw", [b"%FF", b"%C3", b"a%ED%A0%80", b"%C0%80", b"\xff"])
@pytest.mark.fault("H3")
def test_text_that_is_not_utf8_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(PathError) as caught:
        decode_text(raw)
    assert caught.value.status == 400


def test_the_limit_counts_characters_and_not_bytes() -> None:
    text = "💡" * MAX_TEXT
    assert decode_text(quote(text).encode()) == text
    with pytest.raises(PathError) as caught:
        decode_text(quote(text + "x").encode())
    assert caught.value.status == 422


@given(st.text(max_size=50), st.text(max_size=50))
def test_whatever_is_quoted_comes_back(first: str, second: str) -> None:
    path = f"/add/{quote(first, safe='')}/{quote(second, safe='')}".encode()
    assert path_texts(path, "", "add") == (first, second)


@pytest.mark.parametrize("text", ["0", "1", "-1", "42", str(2**63 - 1), str(-(2**63))])
def test_a_canonical_id_is_read(text: str) -> None:
    assert parse_id(text) == int(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "-0",
        "01",
        "-01",
        "1.0",
        "1e3",
        "1_0",
        "0x1",
        "\u0661",
        "\u00bd",
        "1\n",
        "one",
        "9223372036854775808",
        "-9223372036854775809",
        "9" * 5000,
        "1\x00",
        "--1",
    ],
)
@pytest.mark.fault("H3")
def test_any_other_form_of_an_id_is_refused(text: str) -> None:
    with pytest.raises(PathError) as caught:
        parse_id(text)
    assert caught.value.status == 422
