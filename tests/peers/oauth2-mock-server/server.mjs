// Serves at a free port; its first line says where. Each line that it reads is JSON, done before it says so:
// {"next": "token", "status": 400, "body": {…}} for the answer to the next request there, {"next": "revoke", "status":
// 503}, {"next": "authorize", "query": {…}} for what the browser is sent back with, or {"asked": "token"} for the
// forms that came.
import { createInterface } from 'node:readline'
import { webcrypto } from 'node:crypto'
globalThis.crypto ??= webcrypto // Node 18 has it there only behind a flag

const [modules, key, certificate] = process.argv.slice(2)
const { OAuth2Server } = await import(`${modules}/oauth2-mock-server/dist/index.mjs`)
const server = new OAuth2Server(key, certificate)
const next = { token: [], revoke: [], authorize: [] }
const asked = { token: [], revoke: [], authorize: [] }

server.service.on('beforeResponse', (answer, request) => {
  asked.token.push(request.body)
  const other = next.token.shift()
  if (other) Object.assign(answer, { statusCode: other.status, body: other.body })
})
server.service.on('beforeRevoke', (answer) => {
  const other = next.revoke.shift()
  if (other) answer.statusCode = other.status
})
server.service.on('beforeAuthorizeRedirect', (back, request) => {
  asked.authorize.push(request.query)
  const other = next.authorize.shift()
  if (!other) return
  back.url.searchParams.delete('code')
  for (const [name, value] of Object.entries(other.query)) back.url.searchParams.set(name, value)
})

await server.issuer.keys.generate('RS256')
await server.start(0, '127.0.0.1')
const say = (what) => console.log(JSON.stringify(what))
say(server.issuer.url)
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line)
  if (order.next) next[order.next].push(order)
  say(order.asked ? asked[order.asked] : 'done')
}
await server.stop() // whoever started it is gone
process.exit()
