// Express, and two servers that parse a path without a framework. The program prints a line with
// the name and the port of each server, and exits at the end of its input.
const http = require('node:http')
const path = require('node:path')
const express = require('express')

const area = p => /^\/admin(\/|$)/.test(p) || p === '/settings' ? 'MARK-ADMIN' : /^\/public(\/|$)/.test(p) ? 'MARK-PUBLIC' : 'MARK-REST'

const app = express()
app.disable('x-powered-by').disable('etag')
app.use('/admin', (req, res) => res.send('MARK-ADMIN'))
app.get('/settings', (req, res) => res.send('MARK-ADMIN'))
app.use('/public', (req, res) => res.send('MARK-PUBLIC'))
app.use((req, res) => res.send('MARK-REST'))
app.use((err, req, res, next) => res.status(400).send('none'))

const read = how => (req, res) => {
  try {
    res.end(area(how(req)))
  } catch {
    res.statusCode = 400
    res.end('none')
  }
}
const servers = {
  'express': app,
  'node-url': read(req => decodeURIComponent(new URL(req.url, 'http://' + req.headers.host).pathname)),
  'node-files': read(req => path.posix.normalize(decodeURIComponent(req.url.split('?')[0]))),
}
for (const [name, handler] of Object.entries(servers)) {
  const server = http.createServer(handler)
  server.keepAliveTimeout = 0
  server.listen(0, '127.0.0.1', () => console.log(name, server.address().port))
}
process.stdin.on('end', () => process.exit(0)).resume()
