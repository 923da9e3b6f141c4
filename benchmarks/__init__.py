"""microlam beside bare aiohttp and its peers, in one run: `make bench`."""
