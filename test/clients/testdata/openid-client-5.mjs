import assert from 'node:assert/strict'
import { Issuer, generators } from 'openid-client'
import { ISSUER, CLIENT_ID, CLIENT_SECRET, CALLBACK, SCOPE, ok, visit, comesBack, isPerson, inGroups, refuses, done } from './driver.mjs'

const issuer = await Issuer.discover(ISSUER)
assert.equal(issuer.metadata.issuer, ISSUER)
ok('discovery')

const metadata = { client_id: CLIENT_ID, client_secret: CLIENT_SECRET, redirect_uris: [CALLBACK], response_types: ['code'] }
const client = new issuer.Client(metadata)
const begin = (more) => {
  const verifier = generators.codeVerifier(), nonce = generators.nonce(), state = generators.state()
  const url = client.authorizationUrl({
    scope: SCOPE, nonce, state, code_challenge: generators.codeChallenge(verifier), code_challenge_method: 'S256', ...more,
  })
  return { url, checks: { code_verifier: verifier, nonce, state, response_type: 'code' } }
}
const callback = async (client, begun, more) =>
  client.callback(CALLBACK, client.callbackParams((await comesBack(begun.url)).href), { ...begun.checks, ...more })

await refuses(callback(client, begin(), { code_verifier: generators.codeVerifier() }), 'invalid_grant')
const tokens = await callback(client, begin())
ok('pkce')
await refuses(callback(client, begin(), { nonce: 'another' }), 'nonce')
assert.ok(tokens.claims().nonce)
ok('nonce')

const info = await client.userinfo(tokens)
isPerson(info)
isPerson(tokens.claims())
ok('userinfo')
inGroups(info)
inGroups(tokens.claims())
ok('groups')

const again = await client.refresh(tokens)
assert.notEqual(again.refresh_token, tokens.refresh_token)
ok('refresh')

const out = client.endSessionUrl({ id_token_hint: again.id_token, post_logout_redirect_uri: CALLBACK, state: 'bye' })
assert.equal((await comesBack(out)).searchParams.get('state'), 'bye')
await refuses(client.refresh(again), 'invalid_grant')
await refuses(client.userinfo(again), 'invalid_token')
ok('logout')

await refuses(callback(new issuer.Client({ ...metadata, client_secret: 'wrong' }), begin()), 'invalid_client')
assert.match((await visit(begin({ redirect_uri: CALLBACK + '/x' }).url)).page, /oidc_redirect/)
ok('wrong')
done()
