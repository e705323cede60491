// What a script and the test say to one another: a JSON object a line.
import assert from 'node:assert/strict'
import readline from 'node:readline'

export const { ISSUER, CLIENT_ID, CLIENT_SECRET, PUBLIC_ID, CALLBACK } = process.env
export const SCOPE = 'openid profile email groups offline_access'

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (step) => process.stdout.write(JSON.stringify(step) + '\n')

export const ok = (feature) => say({ ok: feature })

// visit has the person's browser open an address, to where it begins with stop, or to a page.
export async function visit(address, stop) {
  say({ visit: String(address), stop })
  return JSON.parse((await lines.next()).value)
}

// comesBack is a visit that ends at the application.
export const comesBack = async (address) => new URL((await visit(address, CALLBACK)).at)

export function isPerson(claims) {
  assert.equal(claims.name, '张三')
  assert.equal(claims.preferred_username, 'zhangsan')
  assert.match(claims.email, /@/)
  assert.ok(claims.sub)
}

export function inGroups(claims) {
  assert.ok(claims.groups.includes('主管'), `groups: ${claims.groups}`)
}

// refuses is a promise that has to fail, with a text where one is given.
export async function refuses(promise, text) {
  await assert.rejects(promise, (err) => {
    const all = JSON.stringify(err, Object.getOwnPropertyNames(err)) + String(err) + JSON.stringify(err.cause ?? '')
    if (text) assert.ok(all.includes(text), `${text} is not in ${all}`)
    return true
  })
}

export const done = () => process.exit(0)
