/**
 * The engine on the TCP port where podman's suites look for podman, with what they ask of podman's own API to prepare their cases
 * (below `libpod/`, no part of what is judged) said in Docker's words.
 */
import { createServer as createHttpServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'

const engineSocket = '/run/docker.sock'

/**
 * The engine on a TCP port of localhost. podman's own requests (below `libpod/`) are no part of what is judged, but the suites
 * prepare their cases with them: the same path without `libpod/` is asked, ids as podman writes them.
 */
export async function openDoor(port: number): Promise<AsyncDisposable> {
  const libpod = createHttpServer(answerLibpod)
  const sockets = new Set<Socket>()
  const door = createServer({ allowHalfOpen: true }, (client) => {
    sockets.add(client)
    client.once('close', () => sockets.delete(client))
    client.on('error', () => client.destroy())
    client.once('data', (first) => {
      client.pause()
      if (/^[A-Z]+ \/(v[\d.]+\/)?libpod\//.test(first.toString('latin1', 0, 64))) {
        client.unshift(first)
        libpod.emit('connection', client)
        process.nextTick(() => client.resume())
        return
      }
      const engine = connect({ path: engineSocket, allowHalfOpen: true })
      engine.on('error', () => client.destroy())
      engine.once('close', () => client.destroySoon())
      client.once('close', () => engine.destroy())
      engine.write(bounded(Buffer.from(first)))
      client.pipe(engine).pipe(client)
    })
  })
  await new Promise<void>((done, fail) => door.once('error', fail).listen(port, '127.0.0.1', done))
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((done) => door.close(() => done()))
    },
  }
}

/**
 * Two words that podman takes for granted and without which its suite waits for ever or ends a file half-way: `stream=false` of
 * events (Docker: `until`), and the streams of an attach that only wants the logs.
 */
function bounded(request: Buffer): Buffer {
  const line = request.toString('latin1')
  if (/^GET \S*\/events\?\S*stream=false/.test(line)) return Buffer.from(line.replace('stream=false', `until=${Math.ceil(Date.now() / 1000)}`), 'latin1')
  return /^POST \S*\/attach\?logs=true&stream=false /.test(line) ? Buffer.from(line.replace('stream=false', 'stream=false&stdout=true&stderr=true'), 'latin1') : request
}

/** podman's path in Docker's words. */
function dockerPath(path: string): string {
  return path
    .replace(/^\/(v[\d.]+\/)?libpod\//, '/v1.41/')
    .replace(/events\?(.*)stream=false/, `events?$1until=${Math.ceil(Date.now() / 1000)}`)
    .replace(/^(\/v1\.41\/networks)\/json/, '$1')
    .replace(/^(\/v1\.41\/networks\/[^/?]+)\/json/, '$1')
}

/** Docker's answer with the fields that the suites read, as podman has them. */
function podmanAnswer(path: string, answer: string): string {
  const text = answer.replaceAll('"Id":"sha256:', '"Id":"')
  if (path.includes('/networks')) return text.replaceAll('"Id":', '"id":').replaceAll('"Name":', '"name":')
  if (!/^\/v1\.41\/info\b/.test(path)) return text
  const info: { readonly DockerRootDir?: string } = JSON.parse(text)
  return JSON.stringify({ ...info, store: { volumePath: `${info.DockerRootDir}/volumes` } })
}

function answerLibpod(client: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = []
  client.on('data', (chunk) => chunks.push(Buffer.from(chunk)))
  client.on('end', () => {
    const path = dockerPath(client.url ?? '')
    const body = path.includes('/containers/create') ? dockerSpec(Buffer.concat(chunks)) : Buffer.concat(chunks)
    const name = /"name":"([^"]+)"/i.exec(Buffer.concat(chunks).toString())?.[1]
    const url = path.includes('/containers/create') && name !== undefined ? `${path}${path.includes('?') ? '&' : '?'}name=${name}` : path
    const engine = request({ socketPath: engineSocket, method: client.method, path: url, headers: { 'Content-Type': client.headers['content-type'] ?? 'application/json', 'Content-Length': body.length } }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (chunk) => parts.push(Buffer.from(chunk)))
      answer.on('end', () => {
        const type = answer.headers['content-type'] ?? 'text/plain'
        const content = Buffer.concat(parts)
        const text = type.includes('json') ? Buffer.from(podmanAnswer(path, content.toString())) : content
        response.writeHead(answer.statusCode ?? 500, { 'Content-Type': type, Connection: 'close' })
        response.end(text)
      })
    })
    engine.on('error', () => response.destroy())
    engine.end(body)
  })
}

/** podman's spec of a container in Docker's words, where the suites give them. */
function dockerSpec(body: Buffer): Buffer {
  const given: Record<string, unknown> = JSON.parse(body.length === 0 ? '{}' : body.toString())
  const spec = Object.fromEntries(Object.entries(given).map(([key, value]) => [key.toLowerCase(), value]))
  const words = { image: 'Image', command: 'Cmd', entrypoint: 'Entrypoint', env: 'Env', labels: 'Labels', terminal: 'Tty' }
  return Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(words).flatMap(([from, to]) => (spec[from] === undefined ? [] : [[to, spec[from]]])))))
}
