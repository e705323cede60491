"""What a script and the test say to one another: a JSON object a line."""
import json
import os
import sys

ISSUER, CLIENT_ID, CLIENT_SECRET, CALLBACK = (
    os.environ[name] for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "CALLBACK"))
SCOPE = "openid profile email groups offline_access"


def say(**step):
    print(json.dumps(step), flush=True)


def ok(*features):
    for feature in features:
        say(ok=feature)


def visit(address, stop=""):
    """The person's browser opens an address, to where it begins with stop, or to a page."""
    say(visit=address, stop=stop)
    return json.loads(sys.stdin.readline())


def comes_back(address):
    return visit(address, CALLBACK)["at"]


def is_person(claims):
    assert claims["name"] == "张三" and claims["preferred_username"] == "zhangsan", claims
    assert "@" in claims["email"] and claims["sub"], claims


def refuses(call, text):
    try:
        call()
    except Exception as err:
        assert text in repr(err) + str(err), (text, repr(err))
        return
    raise AssertionError("not refused: " + text)
