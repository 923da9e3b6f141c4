"""The frames between the server, its zygotes and the workers: fixed headers, then bytes that nobody in between parses."""
from struct import Struct

# Server to worker: over its link the configuration (JSON); by its calls one block an invocation, head and event as it came, filled up. What has no room
# in the block follows over the link.
REQUEST = Struct("<II")             # bytes of head, bytes of payload
BLOCK = 4096                        # bytes; most events fit
CONFIGURATION = Struct("<I")        # bytes of JSON

# Worker to server: mark, kind, bytes of payload, seconds, most resident bytes, marks in its output, bytes of that that were dropped.
REPLY = Struct("<IBIdQBQ")
MARK = 0x6D6C616D                   # a handler may find the socket and write into it: garbage is told from frames by this
READY, UNUSABLE, SUCCEEDED, FAILED = 1, 2, 3, 4

# Server to zygote: what to do, with which worker; FORK and EXEC bring three descriptors: the worker's link, its calls, its output.
ORDER = Struct("<BI")
FORK, EXEC, KILL = 1, 2, 3

# Zygote to server: what happened, to which worker, its process, its wait status, its most resident bytes. HELLO is followed by as many bytes of JSON
# as `worker` says.
EVENT = Struct("<BIIiQ")
HELLO, STARTED, ENDED = 1, 2, 3

# Lambda's limit of a reply: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
REPLY_LIMIT = 6291556
