"""Tells the cookies that Python's own parser reads, and sets some."""
import http.cookies
import http.server
import json
import os
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        jar = http.cookies.SimpleCookie(self.headers.get("Cookie", ""))
        body = json.dumps({name: morsel.value for name, morsel in jar.items()}).encode()
        self.send_response(200)
        for line in json.loads(os.environ["SET_COOKIES"]):
            self.send_header("Set-Cookie", line)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()  # ends with the test
