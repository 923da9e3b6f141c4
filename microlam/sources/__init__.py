"""What starts invocations by itself: time and files. Each source is a `run()` that lasts as long as the server."""
