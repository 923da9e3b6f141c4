-- wrk: a synchronous Invoke of the function hello.
wrk.method = "POST"
wrk.path = "/2015-03-31/functions/hello/invocations"
wrk.body = "{}"
