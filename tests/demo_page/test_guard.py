import asyncio

import pytest

from mdflow.demo_page.guard import Guard


async def application(scope, receive, send):
    """Answers everything."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
    await send({"type": "http.response.body", "body": b"fine"})


def answer(guard: Guard, path: str, host: str = "127.0.0.1:7860") -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of a request."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [(b"host", host.encode())]}
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.fixture
def guard(tmp_path) -> Guard:
    (tmp_path / "inside").mkdir()
    return Guard(application, tmp_path / "inside", local=True)


def test_its_own_files_are_served(guard, tmp_path):
    assert answer(guard, "/")[0] == 200
    assert answer(guard, f"/gradio_api/file={tmp_path}/inside/view/film.mp4")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file={folder}/outside.png",
        "/gradio_api/file={folder}/inside/../outside.png",
        "/gradio_api/file={folder}/inside-too/x.png",
        "/gradio_api/file=README.md",
        "/gradio_api/file//etc/passwd",
        "/gradio_api/file/https://example.org/x.png",
        "/gradio_api/file=\0",
        "/gradio_api/file=https://example.org/x.png",
        "/gradio_api/proxy=https://example.org/",
    ],
)
def test_nothing_else_is(guard, tmp_path, path):
    assert answer(guard, path.format(folder=tmp_path))[0] == 403


def test_a_link_out_of_the_folder_is_not_followed(guard, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "inside" / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert answer(guard, f"/gradio_api/file={tmp_path}/inside/link.txt")[0] == 403


def test_a_foreign_name_is_answered_only_when_the_page_is_for_others(guard, tmp_path):
    assert answer(guard, "/", host="evil.example:7860")[0] == 403
    assert answer(guard, "/", host="localhost")[0] == 200
    assert answer(Guard(application, tmp_path, local=False), "/", host="my-server.lan")[0] == 200


def test_the_browser_is_told_to_load_nothing_from_elsewhere(guard):
    _, headers = answer(guard, "/")
    assert headers[b"content-security-policy"].startswith(b"default-src 'self'")
    assert headers[b"x"] == b"y"
