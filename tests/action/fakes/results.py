"""A results service of a GitHub run: the artifacts part of its Twirp protocol, in memory, over a real blob storage.

    python results.py http://127.0.0.1:<port of Azurite>

Prints its URL and serves until it is killed. It is strict: unknown fields, a missing token, a size that is not the
blob's are refused. Under /control tests say what goes wrong and read what was asked:

    POST /control/reset     forget everything
    POST /control/faults    [{"method", "times", "status", "headers", "body", "reset", "carry_out"}]: what is answered
                            instead; "reset" closes the connection, "carry_out" does what was asked before that
    POST /control/settings  {"blob_url": where signed URLs lead, "expired": how many of the next ones are out of date}
    GET  /control/calls     [[method, request]]
"""

import base64
import json
import os
import socket
import struct
import sys
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import quote

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

ACCOUNT = "devstoreaccount1"
# Azurite's, published in its documentation.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "artifacts"
IDS = {"workflow_run_backend_id", "workflow_job_run_backend_id"}
FIELDS = {
    "CreateArtifact": {"name", "version", "mime_type", "expires_at"},
    "FinalizeArtifact": {"name", "size", "hash"},
    "ListArtifacts": {"name_filter", "id_filter"},
    "GetSignedArtifactURL": {"name"},
    "DeleteArtifact": {"name"},
}


class RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Service:
    """The state, and what each method does to it."""

    def __init__(self, storage: str) -> None:
        self.blobs = BlobServiceClient(f"{storage}/{ACCOUNT}", credential={"account_name": ACCOUNT, "account_key": KEY})
        self.container = self.blobs.get_container_client(CONTAINER)
        if not self.container.exists():
            self.container.create_container()
        self.storage = storage
        self.lock = Lock()
        self.last_id = int(datetime.now(UTC).timestamp() * 1000)
        self.reset()

    def reset(self) -> None:
        self.settings: dict[str, Any] = {"blob_url": self.storage, "expired": 0}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.faults: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_artifact(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        if name in self.artifacts:
            raise RefusedError(409, "already_exists", f"an artifact with this name already exists: {name}")
        if request["version"] == 7 and not request.get("mime_type"):
            raise RefusedError(400, "invalid_argument", "mime_type is required")
        self.last_id += 1
        self.artifacts[name] = {**request, "id": self.last_id, "blob": f"{self.last_id}", "finished": None}
        return {"ok": True, "signed_upload_url": self.signed(self.artifacts[name], write=True)}

    def finalize_artifact(self, request: dict[str, Any]) -> dict[str, Any]:
        artifact = self.artifacts.get(request["name"])
        if artifact is None or artifact["finished"]:
            raise RefusedError(404, "not_found", "no artifact waits to be finalized")
        try:
            blob = self.container.get_blob_client(artifact["blob"]).get_blob_properties()
        except ResourceNotFoundError:
            raise RefusedError(400, "invalid_argument", "there is no blob") from None
        if request["size"] != str(blob.size) or blob.content_settings.content_type != artifact.get(
            "mime_type", blob.content_settings.content_type
        ):
            raise RefusedError(400, "invalid_argument", f"the blob has {blob.size} bytes and not {request['size']}")
        artifact["finished"] = {
            "size": request["size"],
            "digest": request.get("hash", ""),
            "created_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        return {"ok": True, "artifact_id": str(artifact["id"])}

    def list_artifacts(self, request: dict[str, Any]) -> dict[str, Any]:
        found = [
            {
                **{key: artifact[key] for key in IDS},
                "database_id": str(artifact["id"]),
                "name": name,
                **artifact["finished"],
            }
            for name, artifact in self.artifacts.items()
            if artifact["finished"]
            and request.get("name_filter", name) == name
            and request.get("id_filter", str(artifact["id"])) == str(artifact["id"])
        ]
        return {"artifacts": found}

    def get_signed_artifact_url(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"signed_url": self.signed(self.own(request), write=False)}

    def delete_artifact(self, request: dict[str, Any]) -> dict[str, Any]:
        artifact = self.own(request)
        del self.artifacts[request["name"]]
        return {"ok": True, "artifact_id": str(artifact["id"])}

    def own(self, request: dict[str, Any]) -> dict[str, Any]:
        artifact = self.artifacts.get(request["name"])
        if artifact is None or any(artifact[key] != request[key] for key in IDS):
            raise RefusedError(404, "not_found", "artifact not found")
        return artifact

    def signed(self, artifact: dict[str, Any], *, write: bool) -> str:
        """Return the URL that reads or writes an artifact's blob, as GitHub signs it."""
        minutes = 10
        if self.settings["expired"]:
            self.settings["expired"] -= 1
            minutes = -10
        raw = artifact.get("mime_type", "application/zip") != "application/zip"
        shown = artifact["name"] if raw else f"{artifact['name']}.zip"
        signature = generate_blob_sas(
            ACCOUNT,
            CONTAINER,
            artifact["blob"],
            account_key=KEY,
            permission=BlobSasPermissions(create=True, write=True) if write else BlobSasPermissions(read=True),
            start=datetime.now(UTC) - timedelta(minutes=30),
            expiry=datetime.now(UTC) + timedelta(minutes=minutes),
            content_disposition=None if write else f"attachment; filename=\"{shown}\"; filename*=UTF-8''{quote(shown)}",
        )
        return f"{self.settings['blob_url']}/{ACCOUNT}/{CONTAINER}/{artifact['blob']}?{signature}"


class Handler(BaseHTTPRequestHandler):
    """HTTP around the service."""

    service: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, self.service.calls)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        where = self.path.strip("/").split("/")
        with self.service.lock:
            if where == ["control", "reset"]:
                self.service.reset()
                self.answer(200, {})
            elif where[0] == "control":
                self.service.faults += body if where[1] == "faults" else []
                self.service.settings.update(body if where[1] == "settings" else {})
                self.answer(200, {})
            elif where[:2] == ["twirp", "github.actions.results.api.v1.ArtifactService"]:
                self.call(where[2], body)
            else:
                self.answer(404, {"code": "bad_route", "msg": self.path})

    def call(self, method: str, request: dict[str, Any]) -> None:
        self.service.calls.append((method, request))
        fault = next((each for each in self.service.faults if each["method"] == method and each["times"]), None)
        if fault:
            fault["times"] -= 1
            if fault.get("carry_out"):
                self.carry_out(method, request)
            if fault.get("reset"):
                self.reset()
            else:
                self.answer(fault["status"], fault.get("body", "{}"), fault.get("headers", {}))
            return
        try:
            self.answer(200, self.carry_out(method, request))
        except RefusedError as refusal:
            self.answer(refusal.status, {"code": refusal.code, "msg": str(refusal)})

    def carry_out(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            raise RefusedError(401, "unauthenticated", "no token")
        payload = token.split(".")[1]
        scope = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["scp"]
        if request["workflow_run_backend_id"] not in scope:
            raise RefusedError(403, "permission_denied", "the token is another run's")
        if unknown := request.keys() - IDS - FIELDS[method]:
            raise RefusedError(400, "malformed", f"unknown fields: {unknown}")
        name = "".join(f"_{each.lower()}" if each.isupper() else each for each in method.replace("URL", "Url"))
        carried: dict[str, Any] = getattr(self.service, name.strip("_"))(request)
        return carried

    def answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        body = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status, HTTPStatus(status).phrase)
        for name, content in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Print nothing: the only line of output is the URL."""


def main() -> None:
    Handler.service = Service(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
