"""Tables that hold at all three doors: the peer's address behind proxies, and origins."""

from typing import NamedTuple


class Way(NamedTuple):
    """X-Forwarded-For lines of a request from 127.0.0.1, trusted hops, and whose request it is."""

    hops: int
    lines: tuple[str, ...]
    address: str


PEER = "127.0.0.1"
WAYS = (
    Way(0, (), PEER),
    Way(0, ("1.1.1.1",), PEER),
    Way(1, (), PEER),
    Way(1, ("1.1.1.1",), "1.1.1.1"),
    Way(1, ("6.6.6.6, 1.1.1.1",), "1.1.1.1"),
    Way(1, ("6.6.6.6", "1.1.1.1"), "1.1.1.1"),  # HAProxy adds a line of its own
    Way(2, ("6.6.6.6", "1.1.1.1, 2.2.2.2"), "1.1.1.1"),
    Way(2, ("6.6.6.6, 1.1.1.1", "2.2.2.2"), "1.1.1.1"),
    Way(3, ("1.1.1.1",), "1.1.1.1"),
    Way(1, ("1.1.1.1:4711",), "1.1.1.1"),  # Azure, IIS
    Way(1, ("[2001:db8::7]:4711",), "2001:db8::7"),
    Way(1, ("[2001:db8::7]",), "2001:db8::7"),
    Way(1, ("2001:DB8:0::7",), "2001:db8::7"),
    Way(1, ("2001:db8::7%eth0",), "2001:db8::7"),
    Way(1, ("::ffff:1.1.1.1",), "1.1.1.1"),
    Way(1, ("6.6.6.6, 1.1.1.1, ,",), "1.1.1.1"),  # empty members are none
    Way(1, ("\t1.1.1.1 ",), "1.1.1.1"),
    Way(1, ("",), PEER),
    Way(1, (" , ",), PEER),
    Way(1, ("unknown",), PEER),
    Way(1, ("1.1.1.1:port",), PEER),
    Way(1, ("1.1.1",), PEER),
    Way(1, ("01.1.1.1",), PEER),
    Way(1, ("[1.1.1.1",), PEER),
    Way(1, ("[]:80",), PEER),
    Way(1, ("<script>",), PEER),
    Way(1, ("1.1.1.1\x85",), PEER),
)


class Site(NamedTuple):
    """Origin lines of a request to this Host, what is listed, and whether it may pass."""

    origins: tuple[str, ...]
    host: str
    listed: tuple[str, ...]
    passes: bool


OWN = "hub.example.kr"
SITES = (
    Site((), OWN, (), True),
    *(Site((f"{scheme}://{OWN}",), OWN, (), True) for scheme in ("http", "https", "ws", "wss")),
    Site((f"https://{OWN}:443",), OWN, (), True),
    Site((f"wss://{OWN}",), f"{OWN}:443", (), True),
    Site((f"http://{OWN}:80",), OWN, (), True),
    Site((f"HTTPS://{OWN.upper()}",), OWN, (), True),
    Site((f"https://{OWN}",), OWN.upper(), (), True),
    Site((f"http://{OWN}:3001",), f"{OWN}:3001", (), True),
    Site(("http://[::1]:3001",), "[::1]:3001", (), True),
    Site((f"http://{OWN}",), f"{OWN}:3001", (), False),
    Site((f"http://{OWN}:3001",), OWN, (), False),
    Site((f"https://{OWN}:80",), OWN, (), False),
    Site((f"http://{OWN}.evil.example",), OWN, (), False),
    Site((f"https://evil.example/{OWN}",), OWN, (), False),
    Site((f"https://{OWN}@evil.example",), OWN, (), False),
    Site((f"https://{OWN}/",), OWN, (), False),
    Site((f"file://{OWN}",), OWN, (), False),
    Site((f"ftp://{OWN}",), OWN, (), False),
    Site(("null",), OWN, (), False),
    Site(("",), OWN, (), False),
    Site((OWN,), OWN, (), False),
    Site(("http://[",), OWN, (), False),
    Site(("http://",), OWN, (), False),
    Site((f"https://{OWN}", "https://evil.example"), OWN, (), False),
    Site(("https://app.example",), OWN, ("https://app.example",), True),
    Site(("https://App.Example:443",), OWN, ("https://app.example",), True),
    Site(("https://app.example",), OWN, ("https://APP.example:443",), True),
    Site(("http://app.example",), OWN, ("https://app.example",), False),
    Site(("https://app.example:8443",), OWN, ("https://app.example",), False),
    Site(("https://app.example.evil",), OWN, ("https://app.example",), False),
    Site(("wss://app.example",), OWN, ("wss://app.example",), True),
    Site(("https://app.example",), OWN, ("wss://app.example",), False),
    Site(("file://",), OWN, ("file://",), True),
    Site(("file://",), OWN, (), False),
    Site(("capacitor://localhost",), OWN, ("capacitor://localhost",), True),
    Site((f"https://{OWN}",), OWN, ("https://app.example",), True),
    Site(("https://any.example",), OWN, ("*",), True),
)
