"""What the shop sells, and what an order costs, in cents. Save another price: the next request knows it."""

PRODUCTS = {
    "tea": {"name": "Darjeeling, 100 g", "cents": 640},
    "cup": {"name": "Cup, white", "cents": 1250},
    "pot": {"name": "Teapot, 1 l", "cents": 3900},
}


class OrderError(Exception):
    """The shop cannot take this order."""


def price_of(order):
    """The price of an order such as {"tea": 2, "cup": 1}."""
    if not isinstance(order, dict) or not order:
        raise OrderError('Say what you want: {"tea": 2}')
    for id, count in order.items():
        if id not in PRODUCTS:
            raise OrderError(f"There is no {id} in this shop.")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise OrderError(f"How many {id}? {count!r} is not a number of them.")
    return sum(PRODUCTS[id]["cents"] * count for id, count in order.items())
