import socket

import pytest

ELSEWHERE = "192.0.2.1"  # RFC 5737: a documentation address


def test_another_machine_is_refused_and_remembered(_attempts: list[str]) -> None:  # noqa: PT019
    with socket.socket() as sock, pytest.raises(AssertionError):
        sock.connect((ELSEWHERE, 80))
    with socket.socket() as sock, pytest.raises(AssertionError):
        sock.connect_ex((ELSEWHERE, 80))
    assert len(_attempts) == 2
    _attempts.clear()


def test_names_of_other_machines_do_not_resolve() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.com", 80)


def test_this_machine_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
    assert socket.getaddrinfo("localhost", 80)
