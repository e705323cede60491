import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { ISSUER, CLIENT_ID, CLIENT_SECRET, CALLBACK, SCOPE, ok, visit, comesBack, isPerson, inGroups, refuses, done } from './driver.mjs'

const http = { [oauth.allowInsecureRequests]: true }
const as = await oauth.processDiscoveryResponse(new URL(ISSUER), await oauth.discoveryRequest(new URL(ISSUER), http))
const other = await oauth.discoveryRequest(new URL(ISSUER), { algorithm: 'oauth2', ...http })
assert.equal((await oauth.processDiscoveryResponse(new URL(ISSUER), other)).token_endpoint, as.token_endpoint)
ok('discovery')

const client = { client_id: CLIENT_ID }
const begin = async (more) => {
  const verifier = oauth.generateRandomCodeVerifier(), nonce = oauth.generateRandomNonce(), state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    client_id: CLIENT_ID, redirect_uri: CALLBACK, response_type: 'code', scope: SCOPE, nonce, state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...more,
  })
  return { url, verifier, nonce, state }
}
const exchange = async (begun, { secret = CLIENT_SECRET, verifier = begun.verifier, nonce = begun.nonce } = {}) => {
  const params = oauth.validateAuthResponse(as, client, await comesBack(begun.url), begun.state) // compares iss too
  const answer = await oauth.authorizationCodeGrantRequest(as, client, oauth.ClientSecretPost(secret), params, CALLBACK, verifier, http)
  return oauth.processAuthorizationCodeResponse(as, client, answer, { expectedNonce: nonce, requireIdToken: true })
}
const tokens = await exchange(await begin())
const claims = oauth.getValidatedIdTokenClaims(tokens)
await refuses(exchange(await begin(), { verifier: oauth.generateRandomCodeVerifier() }), 'invalid_grant')
ok('pkce')
await refuses(exchange(await begin(), { nonce: 'another' }), 'nonce')
ok('nonce')

const userinfo = async (token) =>
  oauth.processUserInfoResponse(as, client, claims.sub, await oauth.userInfoRequest(as, client, token, http))
const info = await userinfo(tokens.access_token)
isPerson(info)
isPerson(claims)
ok('userinfo')
inGroups(info)
inGroups(claims)
ok('groups')

const refresh = async (token) => oauth.processRefreshTokenResponse(as, client,
  await oauth.refreshTokenGrantRequest(as, client, oauth.ClientSecretBasic(CLIENT_SECRET), token, http))
const again = await refresh(tokens.refresh_token)
assert.notEqual(again.refresh_token, tokens.refresh_token)
ok('refresh')

const out = new URL(as.end_session_endpoint)
out.search = new URLSearchParams({ id_token_hint: again.id_token, post_logout_redirect_uri: CALLBACK, state: 'bye' })
assert.equal((await comesBack(out)).searchParams.get('state'), 'bye')
await refuses(refresh(again.refresh_token), 'invalid_grant')
await refuses(userinfo(again.access_token))
ok('logout')

await refuses(exchange(await begin(), { secret: 'wrong' }), '"status":401')
assert.match((await visit((await begin({ redirect_uri: CALLBACK + '/x' })).url)).page, /oidc_redirect/)
const asked = await comesBack((await begin({ response_type: 'token' })).url)
await refuses((async () => oauth.validateAuthResponse(as, client, asked, oauth.skipStateCheck))(), 'unsupported_response_type')
ok('wrong')
done()
