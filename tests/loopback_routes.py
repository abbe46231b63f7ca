"""The HTTP side of the loopback hub, imported only when a test needs the server; see tests/loopback_hub.py."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from loopback_hub import ConflictError, Fault, LoopbackHub, Repository, git_oid, is_large

CHUNK = 16_384


def application(hub: LoopbackHub) -> FastAPI:
    """Routes for one hub."""
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def count_and_fail(request: Request, call_next: Callable[..., Any]) -> Any:
        hub.requests.append((request.method, request.url.path))
        fault = hub.take_fault("*", ("status",))
        return Response(status_code=fault.value) if fault is not None else await call_next(request)

    _add_commits(app, hub)
    _add_tags(app, hub)
    _add_large_files(app, hub)
    _add_listings(app, hub)
    _add_downloads(app, hub)
    return app


def _find(hub: LoopbackHub, kind: str, repo_id: str, revision: str = "main") -> tuple[Repository, str]:
    repository = hub.repositories.get(f"{kind}/{repo_id}")
    if repository is None:
        raise HTTPException(404, "Repository not found", {"X-Error-Code": "RepoNotFound"})
    commit = repository.commit_of(revision)
    if commit is None:
        raise HTTPException(404, f"Invalid rev id: {revision}", {"X-Error-Code": "RevisionNotFound"})
    return repository, commit


def _add_commits(app: FastAPI, hub: LoopbackHub) -> None:
    @app.post("/api/validate-yaml")
    async def validate_yaml() -> dict[str, list[str]]:
        return {"errors": [], "warnings": []}

    @app.get("/api/whoami-v2")
    async def who_am_i() -> dict[str, Any]:
        return {"type": "user", "name": "tester", "orgs": []}

    @app.post("/api/repos/create")
    async def create(request: Request) -> Any:
        body = await request.json()
        kind, repo_id = f"{body.get('type') or 'model'}s", f"{body.get('organization') or 'tester'}/{body['name']}"
        exists = f"{kind}/{repo_id}" in hub.repositories
        hub.repositories.setdefault(f"{kind}/{repo_id}", Repository())
        prefix = "" if kind == "models" else f"{kind}/"
        return JSONResponse({"url": f"{hub.endpoint}/{prefix}{repo_id}"}, 409 if exists else 200)

    @app.post("/api/{kind}/{owner}/{name}/preupload/{revision}")
    async def preupload(kind: str, owner: str, name: str, revision: str, request: Request) -> Any:
        _find(hub, kind, f"{owner}/{name}", revision)
        files = []
        for file in (await request.json())["files"]:
            mode = "lfs" if is_large(file["path"], file["size"]) else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        return {"files": files}

    @app.post("/api/{kind}/{owner}/{name}/commit/{revision}")
    async def commit(kind: str, owner: str, name: str, revision: str, request: Request) -> Any:
        repository, _ = _find(hub, kind, f"{owner}/{name}", revision)
        try:
            oid = hub.apply_commit(repository, [json.loads(line) for line in (await request.body()).splitlines()])
        except ConflictError as error:
            raise HTTPException(412, "A commit has happened since.") from error
        return {"commitUrl": f"{hub.endpoint}/{owner}/{name}/commit/{oid}", "commitOid": oid, "pullRequestUrl": None}


def _add_tags(app: FastAPI, hub: LoopbackHub) -> None:
    @app.post("/api/{kind}/{owner}/{name}/tag/{revision}")
    async def create_tag(kind: str, owner: str, name: str, revision: str, request: Request) -> Any:
        repository, oid = _find(hub, kind, f"{owner}/{name}", revision)
        tag = (await request.json())["tag"]
        if tag in repository.tags:
            raise HTTPException(409, f"Tag reference exists already: {tag}")
        repository.tags[tag] = oid
        return {}

    @app.delete("/api/{kind}/{owner}/{name}/tag/{tag}")
    async def delete_tag(kind: str, owner: str, name: str, tag: str) -> Any:
        repository, _ = _find(hub, kind, f"{owner}/{name}")
        if repository.tags.pop(tag, None) is None:
            raise HTTPException(404, f"Tag reference does not exist: {tag}", {"X-Error-Code": "RevisionNotFound"})
        return {}


def _add_large_files(app: FastAPI, hub: LoopbackHub) -> None:
    @app.post("/{repository:path}.git/info/lfs/objects/batch")
    async def lfs_batch(repository: str, request: Request) -> Any:
        def instructions(item: dict[str, Any]) -> dict[str, Any]:
            if (hub.objects / item["oid"]).exists():
                return item
            return {**item, "actions": {"upload": {"href": f"{hub.endpoint}/lfs/{item['oid']}"}}}

        return {"transfer": "basic", "objects": [instructions(item) for item in (await request.json())["objects"]]}

    @app.put("/lfs/{oid}")
    async def lfs_put(oid: str, request: Request) -> Any:
        if hub.store(await request.body()) != oid:
            raise HTTPException(400, "The content does not have this hash.")
        return {}


def _add_listings(app: FastAPI, hub: LoopbackHub) -> None:
    def listed(answer: Any) -> Any:
        if hub.after_listing is not None:
            action = hub.after_listing
            hub.after_listing = None
            action()
        return answer

    @app.get("/api/{kind}/{owner}/{name}")
    @app.get("/api/{kind}/{owner}/{name}/revision/{revision}")
    async def info(kind: str, owner: str, name: str, revision: str = "main") -> Any:
        repository, oid = _find(hub, kind, f"{owner}/{name}", revision)
        return listed(hub.describe(f"{owner}/{name}", repository, oid))

    @app.get("/api/{kind}/{owner}/{name}/tree/{revision}")
    @app.get("/api/{kind}/{owner}/{name}/tree/{revision}/{folder:path}")
    async def tree(kind: str, owner: str, name: str, revision: str, folder: str = "") -> Any:
        repository, oid = _find(hub, kind, f"{owner}/{name}", revision)
        prefix = f"{folder}/" if folder else ""
        return listed([entry for entry in hub.tree(repository, oid) if entry["path"].startswith(prefix)])

    @app.post("/api/{kind}/{owner}/{name}/paths-info/{revision}")
    async def paths_info(kind: str, owner: str, name: str, revision: str, request: Request) -> Any:
        repository, oid = _find(hub, kind, f"{owner}/{name}", revision)
        asked = (await request.form()).getlist("paths")
        return [entry for entry in hub.tree(repository, oid) if entry["path"] in asked]


def _add_downloads(app: FastAPI, hub: LoopbackHub) -> None:
    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    @app.api_route("/{kind}/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def resolve(request: Request, owner: str, name: str, revision: str, path: str, kind: str = "models") -> Any:
        repository, oid = _find(hub, kind, f"{owner}/{name}", revision)
        digest = repository.commits[oid].get(path)
        if digest is None:
            raise HTTPException(404, "Entry not found", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid})
        fault = hub.take_fault(path, ("status",) if request.method == "HEAD" else ("status", "cut", "corrupt"))
        if fault is not None and fault.kind == "status":
            return Response(status_code=fault.value)
        content = (hub.objects / digest).read_bytes()
        etag = digest if is_large(path, len(content)) else git_oid(content)
        headers = {"X-Repo-Commit": oid, "ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"', "Accept-Ranges": "bytes"}
        headers |= {"X-Linked-Size": str(len(content)), "Content-Length": str(len(content))}
        if request.method == "HEAD":
            return Response(headers=headers)
        first, _, last = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last) + 1, len(content)) if last else len(content)
        is_part = start > 0 or stop < len(content)
        if is_part:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        headers["Content-Length"] = str(stop - start)
        hub.sent[path] = hub.sent.get(path, 0) + stop - start
        body = _body(content[start:stop], fault)
        return StreamingResponse(body, 206 if is_part else 200, headers, "application/octet-stream")


async def _body(content: bytes, fault: Fault | None) -> AsyncIterator[bytes]:
    """The content, or what a fault makes of it; a body shorter than announced makes the server close the connection."""
    if fault is not None and fault.kind == "corrupt":
        middle = len(content) // 2
        content = content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]
    if fault is not None and fault.kind == "cut":
        content = content[: fault.value]
    for at in range(0, len(content), CHUNK):
        yield content[at : at + CHUNK]
