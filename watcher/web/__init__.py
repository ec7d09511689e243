"""The service over HTTP and WebSocket; the only part of the package that knows FastAPI."""

from watcher.web.app import create_app
from watcher.web.links import SignInLinks

__all__ = ["SignInLinks", "create_app"]
