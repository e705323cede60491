// A product that calls the login callback in the two ways that products do: by the
// client that a generator made of docs/login-callback.openapi.yaml, and by axios.
import axios from 'axios'
import { DingTalkLoginService, OpenAPI } from './generated'

const http = axios.create()
let jar: Record<string, string> = {}

// origin makes it a program outside of browsers, which keeps its own cookies.
export function origin(base: string) {
  OpenAPI.BASE = base + OpenAPI.BASE
  for (const client of [http, axios]) {
    client.defaults.baseURL = base
    client.interceptors.request.use((r) => {
      r.headers.set('Cookie', Object.entries(jar).map(([name, value]) => name + '=' + value).join('; '))
      r.headers.set('Accept-Language', 'en')
      return r
    })
    const keep = (r: any) => {
      for (const line of r?.headers?.['set-cookie'] ?? []) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
        if (/max-age=0|expires=Thu, 01 Jan 1970/i.test(line)) delete jar[name]
        else jar[name] = value
      }
    }
    client.interceptors.response.use((r) => (keep(r), r), (e) => (keep(e.response), Promise.reject(e)))
  }
}

type Row = { as: string, begin: string, code: string, state: string, type: any, by: string, twice: boolean }

const call: Record<string, (code: string, state: string, type: any) => Promise<any>> = {
  generated: (code, state, type) => DingTalkLoginService.loginCallback(code, state, type),
  axios: (code, state, type) => http.get((OpenAPI.BASE || '') + '/dingtalk/login/callback', { params: { code, state, type } }).then((r) => r.data),
}

async function once(row: Row, state: string) {
  try {
    return { answer: await call[row.by](row.code, state, row.type) }
  } catch (e: any) {
    return { thrown: e.status ?? e.response?.status ?? String(e), answer: e.body ?? e.response?.data }
  }
}

// run makes one call as a page makes it: perhaps after a sign-in with a password,
// with a state that it asked for.
export async function run(row: Row) {
  jar = {}
  if (row.as) await http.post('/oauth2/sign_in', new URLSearchParams({ username: row.as, password: 'pw-' + row.as }), { maxRedirects: 0, validateStatus: () => true })
  let state = row.state
  if (row.begin) state = (await http.get('/oauth2/start', { params: { type: row.begin === '-' ? undefined : row.begin }, headers: { Accept: 'application/json' } })).data.state
  if (row.twice) await once(row, state)
  const got: any = await once(row, state)
  const who = await http.get('/oauth2/userinfo', { headers: { Accept: 'application/json' }, validateStatus: () => true })
  return { ...got, user: who.data.user ?? '' }
}

