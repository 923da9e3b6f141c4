"""A shop with several routes: the function is the folder, and modules beside app.py belong to it.

    curl http://127.0.0.1:3000/products
    curl http://127.0.0.1:3000/products/tea
    curl http://127.0.0.1:3000/orders --json '{"tea": 2, "cup": 1}'
"""
import base64
import json

from catalogue import PRODUCTS, OrderError, price_of

from microlam import http


@http("GET /products")
@http("GET /products/{id}")
@http("POST /orders")
def handler(event, context):
    # One function, three routes: routeKey says which of them it was.
    return ROUTES[event["routeKey"]](event)


def list_products(event):
    return PRODUCTS


def show_product(event):
    id = event["pathParameters"]["id"]
    if id not in PRODUCTS:
        return answer(404, {"message": f"There is no {id} in this shop."})
    return PRODUCTS[id]


def order(event):
    try:
        wanted = json.loads(body_of(event) or "{}")
        return answer(201, {"order": wanted, "total": price_of(wanted)})
    except (ValueError, OrderError) as error:
        return answer(400, {"message": str(error)})


def body_of(event):
    # Only types that are text come as they are. A form, which is what `curl -d` calls all it sends, is base64, here as on AWS.
    body = event.get("body") or ""
    return base64.b64decode(body).decode() if event.get("isBase64Encoded") else body


def answer(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


ROUTES = {"GET /products": list_products, "GET /products/{id}": show_product, "POST /orders": order}
