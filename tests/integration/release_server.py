"""A server with one release for one installation, run as `release_server.py DIRECTORY`.

Files come from DIRECTORY, answers to questions from DIRECTORY/answers, and every posted body is added to
DIRECTORY/posted, ended by a line of `--`.
"""

import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 80


class Handler(SimpleHTTPRequestHandler):
    def do_POST(self) -> None:
        place = Path(self.directory)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with (place / "posted").open("a") as sink:
            sink.write(f"{self.path}\n{body.rstrip()}\n--\n")
        answer = (place / "answers" / self.path.strip("/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def main() -> None:
    place = sys.argv[1]
    with ThreadingHTTPServer(("", PORT), lambda *a: Handler(*a, directory=place)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
