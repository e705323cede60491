import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { ISSUER, CLIENT_ID, CLIENT_SECRET, CALLBACK, SCOPE, ok, visit, comesBack, isPerson, inGroups, refuses, done } from './driver.mjs'

const plain = { execute: [client.allowInsecureRequests] }
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, plain)
assert.equal(config.serverMetadata().issuer, ISSUER)
await refuses(client.discovery(new URL(ISSUER + '/elsewhere'), CLIENT_ID, CLIENT_SECRET, undefined, plain))
ok('discovery')

const begin = async (more) => {
  const verifier = client.randomPKCECodeVerifier(), nonce = client.randomNonce(), state = client.randomState()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK, scope: SCOPE, nonce, state,
    code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...more,
  })
  return { url, verifier, nonce, state }
}
const one = await begin()
const at = await comesBack(one.url)
const checks = { pkceCodeVerifier: one.verifier, expectedNonce: one.nonce, expectedState: one.state, idTokenExpected: true }
await refuses(client.authorizationCodeGrant(config, at, { ...checks, pkceCodeVerifier: client.randomPKCECodeVerifier() }), 'invalid_grant')
const tokens = await client.authorizationCodeGrant(config, at, checks)
ok('pkce')
const two = await begin()
await refuses(client.authorizationCodeGrant(config, await comesBack(two.url), {
  pkceCodeVerifier: two.verifier, expectedNonce: 'another', expectedState: two.state }), 'nonce')
assert.equal(tokens.claims().nonce, one.nonce)
ok('nonce')

const info = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
isPerson(info)
isPerson(tokens.claims())
ok('userinfo')
inGroups(info)
inGroups(tokens.claims())
ok('groups')

const again = await client.refreshTokenGrant(config, tokens.refresh_token)
assert.notEqual(again.refresh_token, tokens.refresh_token)
assert.equal(again.claims().sub, tokens.claims().sub)
ok('refresh')

const out = client.buildEndSessionUrl(config, { id_token_hint: again.id_token, post_logout_redirect_uri: CALLBACK, state: 'bye' })
assert.equal((await comesBack(out)).searchParams.get('state'), 'bye')
await refuses(client.refreshTokenGrant(config, again.refresh_token), 'invalid_grant')
await refuses(client.fetchUserInfo(config, again.access_token, info.sub))
ok('logout')

const wrong = await client.discovery(new URL(ISSUER), CLIENT_ID, 'wrong', undefined, plain)
const three = await begin()
await refuses(client.authorizationCodeGrant(wrong, await comesBack(three.url), {
  pkceCodeVerifier: three.verifier, expectedNonce: three.nonce, expectedState: three.state }), '"status":401')
assert.match((await visit((await begin({ redirect_uri: CALLBACK + '/x' })).url)).page, /oidc_redirect/)
assert.match((await visit((await begin({ client_id: 'nobody' })).url)).page, /oidc_client/)
ok('wrong')
done()
