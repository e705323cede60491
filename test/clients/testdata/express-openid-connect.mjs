import assert from 'node:assert/strict'
import express from 'express'
import openid from 'express-openid-connect'
import { ISSUER, CLIENT_ID, CLIENT_SECRET, CALLBACK, SCOPE, ok, visit, isPerson, inGroups, done } from './driver.mjs'

const base = new URL(CALLBACK).origin

// serve runs an application at the address of the callback, as its quick start has it.
function serve(more) {
  const app = express()
  app.use(openid.auth({
    issuerBaseURL: ISSUER, baseURL: base, clientID: CLIENT_ID, clientSecret: CLIENT_SECRET,
    secret: '0123456789abcdefghijklmnopqrstuv', idpLogout: true, authRequired: false,
    authorizationParams: { response_type: 'code', scope: SCOPE }, ...more,
  }))
  app.get('/me', openid.requiresAuth(), async (req, res) => {
    const { oidc } = req
    res.json({ id: oidc.user, info: await oidc.fetchUserInfo(), claims: oidc.idTokenClaims })
  })
  app.get('/refresh', openid.requiresAuth(), async (req, res) => {
    const before = req.oidc.refreshToken
    await req.oidc.accessToken.refresh()
    res.json({ rotated: req.oidc.refreshToken !== before, info: await req.oidc.fetchUserInfo() })
  })
  app.get('/', (req, res) => res.json({ signedIn: req.oidc.isAuthenticated() }))
  app.use((err, req, res, next) => res.status(500).json({ error: String(err.error ?? err.message), cause: String(err) }))
  return new Promise((resolve) => { const s = app.listen(new URL(base).port, '127.0.0.1', () => resolve(s)) })
}
const page = async (path) => JSON.parse((await visit(base + path)).page)

let server = await serve()
const me = await page('/me')
ok('discovery')
assert.ok(me.claims.nonce)
ok('nonce')
isPerson(me.info)
isPerson(me.id)
ok('userinfo')
inGroups(me.info)
inGroups(me.id)
ok('groups')
const again = await page('/refresh')
assert.ok(again.rotated)
isPerson(again.info)
ok('refresh')
assert.equal((await page('/logout')).signedIn, false)
assert.equal((await page('/')).signedIn, false)
ok('logout')
const asked = await fetch(base + '/me', { redirect: 'manual', headers: { accept: 'text/html' } })
assert.equal(new URL(asked.headers.get('location')).searchParams.get('code_challenge_method'), 'S256')
ok('pkce')
server.close()
server.closeAllConnections()

server = await serve({ clientSecret: 'wrong' })
const refused = await page('/me')
assert.match(JSON.stringify(refused), /WWW_AUTHENTICATE_CHALLENGE/) // its library's word for a 401
server.close()
server.closeAllConnections()
server = await serve({ clientID: 'nobody' })
assert.match((await visit(base + '/me')).page, /oidc_client/)
ok('wrong')
done()
