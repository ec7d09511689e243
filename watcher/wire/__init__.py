"""JSON of every message and value. Pure: no I/O, no clock.

A message is one JSON object in UTF-8; a WebSocket frame is a JSON array of them. JSON has fewer
types than SQLite, so what it cannot express is tagged: `$int`, `$blob`, `$real`, `$text`, `$large`.
The format is described in `docs/protocol.md`.
"""

from watcher.wire.assembly import Assembler, large_values, with_values
from watcher.wire.batches import encode_batch
from watcher.wire.changes import (
    decode_change,
    decode_table,
    encode_change,
    table_object,
)
from watcher.wire.messages import (
    PROTOCOL,
    Message,
    changes_message,
    changes_tail,
    count_changes,
    decode_messages,
    decode_object,
    error_message,
    heartbeat_message,
    hello_message,
    ready_message,
    reset_message,
    status_message,
)
from watcher.wire.parts import (
    Element,
    RowChange,
    SchemaElement,
    decode_elements,
    encode_elements,
    filter_tail,
    has_schema_change,
    is_last,
    split_tail,
)
from watcher.wire.values import (
    LARGE_VALUE_BYTES,
    SAFE_INTEGER,
    KeepLarge,
    decode_json,
    decode_value,
    encode_json,
    encode_time,
    encode_value,
    large_content,
)

__all__ = [
    "LARGE_VALUE_BYTES",
    "PROTOCOL",
    "SAFE_INTEGER",
    "Assembler",
    "Element",
    "KeepLarge",
    "Message",
    "RowChange",
    "SchemaElement",
    "changes_message",
    "changes_tail",
    "count_changes",
    "decode_change",
    "decode_elements",
    "decode_json",
    "decode_messages",
    "decode_object",
    "decode_table",
    "decode_value",
    "encode_batch",
    "encode_change",
    "encode_elements",
    "encode_json",
    "encode_time",
    "encode_value",
    "error_message",
    "filter_tail",
    "has_schema_change",
    "heartbeat_message",
    "hello_message",
    "is_last",
    "large_content",
    "large_values",
    "ready_message",
    "reset_message",
    "split_tail",
    "status_message",
    "table_object",
    "with_values",
]
