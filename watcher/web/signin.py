"""Signing in on the page: a form that posts the token and brings back a cookie.

The token travels in a request body, never in an address, where history, logs and `Referer` keep
it. The page needs no script.
"""

from __future__ import annotations

import base64
import hashlib
import html
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from watcher.web.credential import Credential

SIGN_IN_PATH = "/login"

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
<input type="password" name="token" aria-label="Token" autocomplete="current-password" required
 autofocus>
<button>Open</button>
</form>
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
    action = html.escape(root_path + SIGN_IN_PATH)
    page = _PAGE.format(style=_STYLE, sentence=html.escape(sentence), action=action)
    return HTMLResponse(page, status_code=status, headers=_PAGE_HEADERS)


def sign_in_routes(credential: Credential) -> APIRouter:
    """The two requests of the sign-in page; both are reachable without a token."""
    router = APIRouter(include_in_schema=False)

    @router.get(SIGN_IN_PATH)
    async def ask(request: Request) -> Response:
        return sign_in_page(request.scope.get("root_path", ""), status=200)

    @router.post(SIGN_IN_PATH)
    async def sign_in(request: Request) -> Response:
        root_path = request.scope.get("root_path", "")
        # Latin-1 gives every byte back as it came, so that any body can be compared.
        fields = parse_qs((await request.body()).decode("latin-1"), encoding="latin-1")
        offered = fields.get("token", [""])[0]
        if not credential.is_token(offered.encode("latin-1")):
            return sign_in_page(root_path, status=401, sentence="That is not the token.")
        answer = RedirectResponse(f"{root_path}/", status_code=303)
        answer.set_cookie(
            credential.cookie_name,
            credential.cookie_value,
            path=f"{root_path}/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    return router
