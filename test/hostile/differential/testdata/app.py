def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/admin" or path.startswith("/admin/") or path == "/settings":
        mark = b"MARK-ADMIN"
    elif path == "/public" or path.startswith("/public/"):
        mark = b"MARK-PUBLIC"
    else:
        mark = b"MARK-REST"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(mark)))])
    return [mark]
