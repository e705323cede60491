import assert from 'node:assert/strict'
import Strategy from 'passport-openidconnect'
import { ISSUER, CLIENT_ID, CLIENT_SECRET, CALLBACK, ok, visit, comesBack, inGroups, done } from './driver.mjs'

const make = (more) => new Strategy({
  issuer: ISSUER, authorizationURL: ISSUER + '/oidc/authorize', tokenURL: ISSUER + '/oidc/token',
  userInfoURL: ISSUER + '/oidc/userinfo', clientID: CLIENT_ID, clientSecret: CLIENT_SECRET, callbackURL: CALLBACK,
  scope: ['profile', 'email', 'groups'], nonce: true, ...more,
}, (issuer, profile, context, idToken, accessToken, refreshToken, done) => done(null, { profile, idToken }))

// authenticate is what passport does with a strategy.
const authenticate = (strategy, req) => new Promise((resolve) => {
  const s = Object.create(strategy)
  s.redirect = (to) => resolve({ redirect: to })
  s.success = (user) => resolve({ user })
  s.fail = (why) => resolve({ failure: JSON.stringify(why ?? '') })
  s.error = (err) => resolve({ failure: `${err.code} ${err.message} ${err.stack}` })
  s.authenticate(req, {})
})
const signIn = async (strategy, change = () => {}) => {
  const session = {}
  const { redirect } = await authenticate(strategy, { session, query: {}, headers: {} })
  const query = Object.fromEntries((await comesBack(redirect)).searchParams)
  change(session, query)
  return authenticate(strategy, { session, query, headers: {} })
}

const { user, failure } = await signIn(make({ skipUserProfile: false }))
assert.equal(failure, undefined)
assert.equal(user.profile.displayName, '张三')
assert.equal(user.profile.username, 'zhangsan')
assert.match(user.profile.emails[0].value, /@/)
ok('userinfo')
inGroups(JSON.parse(Buffer.from(user.idToken.split('.')[1], 'base64url')))
ok('groups')
const other = await signIn(make(), (session) => {
  for (const key of Object.keys(session)) session[key].state.nonce = 'another'
})
assert.ok(other.failure, 'another nonce is taken')
ok('nonce')
assert.match((await signIn(make({ clientSecret: 'wrong' }))).failure, /invalid_client/)
const { redirect } = await authenticate(make({ callbackURL: CALLBACK + '/x' }), { session: {}, query: {}, headers: {} })
assert.match((await visit(redirect)).page, /oidc_redirect/)
ok('wrong')
done()
