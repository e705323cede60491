from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import JsonWebKey, JsonWebToken
from authlib.oidc.core import CodeIDToken, UserInfo
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url

from driver import *

metadata = OpenIDProviderMetadata(requests.get(get_well_known_url(ISSUER, external=True), timeout=20).json())
for name in metadata.REGISTRY_KEYS:
    if name not in ("jwks_uri", "authorization_endpoint", "token_endpoint", "userinfo_endpoint",
                    "registration_endpoint", "service_documentation", "op_policy_uri", "op_tos_uri", "issuer",
                    "revocation_endpoint", "introspection_endpoint"):  # it wants https of these, also on loopback
        getattr(metadata, "validate_" + name, lambda: None)()
assert metadata["issuer"] == ISSUER
ok("discovery")

keys = JsonWebKey.import_key_set(requests.get(metadata["jwks_uri"], timeout=20).json())


def session(secret=CLIENT_SECRET, method="client_secret_basic", **more):
    return OAuth2Session(CLIENT_ID, secret, redirect_uri=CALLBACK, scope=SCOPE, code_challenge_method="S256",
                         token_endpoint_auth_method=method, token_endpoint=metadata["token_endpoint"], **more)


def begin(client, **more):
    verifier, nonce = generate_token(48), generate_token(20)
    address, state = client.create_authorization_url(metadata["authorization_endpoint"], nonce=nonce,
                                                     code_verifier=verifier, **more)
    return address, state, verifier, nonce


def claims_of(token, nonce):
    claims = JsonWebToken(["RS256"]).decode(token["id_token"], keys, claims_cls=CodeIDToken, claims_options={
        "iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, "value": CLIENT_ID}},
        claims_params={"nonce": nonce, "client_id": CLIENT_ID, "access_token": token["access_token"]})
    claims.validate()  # at_hash too
    return claims


def signs_in(method="client_secret_basic"):
    client = session(method=method)
    address, state, verifier, nonce = begin(client)
    at = comes_back(address)
    token = client.fetch_token(metadata["token_endpoint"], authorization_response=at, state=state,
                               code_verifier=verifier)
    return client, token, nonce


client, token, nonce = signs_in()
claims = claims_of(token, nonce)
signs_in("client_secret_post")
other = session()
address, state, verifier, _ = begin(other)
at = comes_back(address)
refuses(lambda: other.fetch_token(metadata["token_endpoint"], authorization_response=at, state=state,
                                  code_verifier=generate_token(48)), "invalid_grant")
ok("pkce")
refuses(lambda: claims_of(token, "another"), "nonce")
ok("nonce")

info = UserInfo(client.get(metadata["userinfo_endpoint"], timeout=20).json())
is_person(info)
is_person(claims)
ok("userinfo")
assert "主管" in info["groups"] and "主管" in claims["groups"], info
ok("groups")

again = client.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
assert again["refresh_token"] != token["refresh_token"]
assert client.introspect_token(metadata["introspection_endpoint"], token=again["access_token"]).json()["active"]
ok("refresh")

out = metadata["end_session_endpoint"] + "?" + urlencode(
    {"id_token_hint": again["id_token"], "post_logout_redirect_uri": CALLBACK, "state": "bye"})
assert parse_qs(urlsplit(comes_back(out)).query)["state"] == ["bye"]
refuses(lambda: client.refresh_token(metadata["token_endpoint"], refresh_token=again["refresh_token"]), "invalid_grant")
assert client.get(metadata["userinfo_endpoint"], timeout=20).status_code == 401
ok("logout")

wrong = session(secret="wrong")
address, state, verifier, _ = begin(wrong)
at = comes_back(address)
refuses(lambda: wrong.fetch_token(metadata["token_endpoint"], authorization_response=at, state=state,
                                  code_verifier=verifier), "invalid_client")
elsewhere = OAuth2Session(CLIENT_ID, CLIENT_SECRET, redirect_uri=CALLBACK + "/x", scope=SCOPE)
assert "oidc_redirect" in visit(elsewhere.create_authorization_url(metadata["authorization_endpoint"])[0])["page"]
ok("wrong")
