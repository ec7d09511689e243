"""The service over HTTP and WebSocket; the only part of the package that knows FastAPI."""

from watcher.web.app import create_app

__all__ = ["create_app"]
