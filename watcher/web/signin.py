"""Signing in on the page: a form that posts the token, or a link that works once, for a cookie.

The token travels in a request body, never in an address, where history, logs and `Referer` keep
it. A link is used up only by its button: what fetches it before, as previews in chats do, must not
leave the visitor in front of a closed door. The pages need no script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from watcher.web.attempts import WrongTokens
from watcher.web.credential import Credential
from watcher.web.links import SignInLinks

SIGN_IN_PATH = "/login"

_LINK = re.compile(re.escape(SIGN_IN_PATH) + r"/[A-Za-z0-9_-]{32}")
_USED = "This link has been used or has expired; the token still works."
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { display: grid; place-content: center; min-height: 90vh; margin: 0 1rem }
form { display: flex; gap: .5rem; flex-wrap: wrap }
input, button { font: inherit; padding: .4rem .7rem }
"""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sign in</title>
<style>{style}</style>
<h1>Sign in</h1>
<p>{sentence}</p>
<form method="post" action="{action}">
{field}<button>Open</button>
</form>
"""
_FIELD = """\
<input type="password" name="token" aria-label="Token" autocomplete="current-password" required
 autofocus>
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_PAGE_HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    # With `no-referrer` a browser posts the form with `Origin: null`, which is refused.
    "referrer-policy": "same-origin",
}


def sign_in_page(
    root_path: str, *, status: int, sentence: str = "This page needs the token."
) -> Response:
    """The page that asks for the token.

    Args:
        root_path: where the application is mounted, empty at the root.
        status: HTTP status code to answer with.
        sentence: what to tell the visitor.
    """
    return _page(root_path + SIGN_IN_PATH, sentence, _FIELD, status)


def is_sign_in(path: str) -> bool:
    """Whether a path is one of those that are reachable without a token."""
    return path == SIGN_IN_PATH or _LINK.fullmatch(path) is not None


def _page(action: str, sentence: str, field: str, status: int) -> Response:
    page = _PAGE.format(
        style=_STYLE, sentence=html.escape(sentence), action=html.escape(action), field=field
    )
    return HTMLResponse(page, status_code=status, headers=_PAGE_HEADERS)


def sign_in_routes(credential: Credential, links: SignInLinks, wrong: WrongTokens) -> APIRouter:
    """The requests of the sign-in pages, all reachable without a token.

    Args:
        credential: what a visitor must know, and the cookie that stands for it.
        links: those that are valid.
        wrong: counts wrong tokens and codes.
    """
    router = APIRouter(include_in_schema=False)

    @router.get(SIGN_IN_PATH)
    async def ask(request: Request) -> Response:
        return sign_in_page(_root(request), status=200)

    @router.post(SIGN_IN_PATH)
    async def sign_in(request: Request) -> Response:
        # Latin-1 gives every byte back as it came, so that any body can be compared.
        fields = parse_qs((await request.body()).decode("latin-1"), encoding="latin-1")
        offered = fields.get("token", [""])[0]
        if not credential.is_token(offered.encode("latin-1")):
            return _refused(request, wrong, "That is not the token.")
        return _signed_in(request, credential)

    @router.get(SIGN_IN_PATH + "/{code}")
    async def offer(request: Request, code: str) -> Response:
        if not links.is_valid(code):
            return _refused(request, wrong, _USED)
        action = f"{_root(request)}{SIGN_IN_PATH}/{code}"
        return _page(action, "This link opens the page once.", "", 200)

    @router.post(SIGN_IN_PATH + "/{code}")
    async def use(request: Request, code: str) -> Response:
        if not links.use(code):
            return _refused(request, wrong, _USED)
        return _signed_in(request, credential)

    return router


def _root(request: Request) -> str:
    root_path: str = request.scope.get("root_path", "")
    return root_path


def _refused(request: Request, wrong: WrongTokens, sentence: str) -> Response:
    wait = wrong.count()
    if wait is None:
        return sign_in_page(_root(request), status=401, sentence=sentence)
    answer = sign_in_page(
        _root(request), status=429, sentence="Too many wrong tokens were tried; wait a little."
    )
    answer.headers["retry-after"] = str(wait)
    return answer


def _signed_in(request: Request, credential: Credential) -> Response:
    answer = RedirectResponse(f"{_root(request)}/", status_code=303)
    answer.set_cookie(
        credential.cookie_name,
        credential.cookie_value,
        path=f"{_root(request)}/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer
