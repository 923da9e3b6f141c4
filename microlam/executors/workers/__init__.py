"""What runs on the other side of the socket: standard library only, Python 3.8 and later, nothing of microlam imported."""
