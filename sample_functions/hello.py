"""The smallest function: a file with a handler. It declares no route, so it answers at /hello.

    curl 'http://127.0.0.1:3000/hello?name=Ada'
"""


def handler(event, context):
    # AWS leaves queryStringParameters out when the address has no query.
    name = (event.get("queryStringParameters") or {}).get("name", "world")
    print(f"greeting {name}")                       # goes to the invocation's log
    return {"message": f"Hello, {name}!"}           # no statusCode: 200, as JSON
