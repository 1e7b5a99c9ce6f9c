/** `berth kube logs|exec`: the streams of a pod's containers. */
import { once } from 'node:events'
import { ExitError } from '../exit.ts'
import { listAt, objectAt, parseJson, textAt } from '../json.ts'
import { print, type Terminal } from '../terminal.ts'
import type { KubeConnection } from './connection.ts'
import type { Scope } from './objects.ts'
import { discover, parseOne, pathOf } from './resources.ts'

/** The pod that `word` means: a pod itself, or the first pod that a workload's selector matches. */
async function findPod(kube: KubeConnection, word: string, scope: Scope): Promise<{ readonly namespace: string; readonly name: string }> {
  const resources = await discover(kube)
  const namespace = scope.namespace ?? kube.defaultNamespace
  const { resource, name } = parseOne(resources, [word], 'pod')
  if (resource.kind === 'Pod') return { namespace, name }
  const spec = objectAt(await kube.json({ method: 'GET', path: pathOf(resource, namespace, name) }), 'spec')
  const labels = resource.kind === 'Service' ? objectAt(spec, 'selector') : objectAt(objectAt(spec, 'selector'), 'matchLabels')
  const labelSelector = Object.entries(labels).map(([key, value]) => `${key}=${String(value)}`).join(',')
  if (labelSelector === '') throw new ExitError(`error: ${resource.singular}/${name} selects no pods`)
  const pods = listAt(await kube.json({ method: 'GET', path: `/api/v1/namespaces/${namespace}/pods`, query: { labelSelector } }), 'items')
  const running = pods.find((pod) => textAt(objectAt(pod, 'status'), 'phase') === 'Running') ?? pods[0]
  if (running === undefined) throw new ExitError(`error: no pods found for ${resource.singular}/${name}`)
  return { namespace, name: textAt(objectAt(running, 'metadata'), 'name') }
}

export interface LogOptions extends Scope {
  readonly container?: string
  readonly follow?: boolean
  readonly previous?: boolean
  readonly tail?: string
  readonly timestamps?: boolean
}

export async function logs(kube: KubeConnection, terminal: Terminal, word: string, options: LogOptions): Promise<void> {
  const { namespace, name } = await findPod(kube, word, options)
  const flag = (value: boolean | undefined): string | undefined => (value === true ? 'true' : undefined)
  const stream = await kube.stream({
    method: 'GET',
    path: `/api/v1/namespaces/${namespace}/pods/${name}/log`,
    query: { container: options.container, follow: flag(options.follow), previous: flag(options.previous), timestamps: flag(options.timestamps), tailLines: options.tail },
    accept: '*/*',
  })
  for await (const chunk of stream) await print(terminal.stdout, Buffer.from(chunk))
}

export interface ExecOptions extends Scope {
  readonly container?: string
  readonly interactive?: boolean
  readonly tty?: boolean
}

/** Channels of the remote-command WebSocket protocol: the first byte of each message. */
const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const

/** Runs a command in a pod's container and returns its exit code. */
export async function exec(kube: KubeConnection, terminal: Terminal, word: string, command: readonly string[], options: ExecOptions): Promise<number> {
  const { namespace, name } = await findPod(kube, word, options)
  const tty = options.tty === true && terminal.stdin.isTTY === true
  const query = new URLSearchParams({ stdout: 'true', stderr: String(!tty), stdin: String(options.interactive === true), tty: String(tty) })
  if (options.container !== undefined) query.set('container', options.container)
  for (const word of command) query.append('command', word)
  const socket = kube.webSocket(`/api/v1/namespaces/${namespace}/pods/${name}/exec`, query)
  socket.on('unexpected-response', (_request, response) => {
    response.setEncoding('utf8')
    let body = ''
    response.on('data', (chunk) => (body += String(chunk)))
    response.on('end', () => socket.emit('error', new ExitError(`Error from server: ${textAt(parseJson(body), 'message') || `status ${response.statusCode}`}`)))
  })
  await once(socket, 'open')
  using cleanup = new DisposableStack()
  const send = (kind: number, data: Uint8Array): void => socket.send(Buffer.concat([Buffer.from([kind]), data]))
  if (tty) {
    terminal.stdin.setRawMode?.(true)
    cleanup.defer(() => terminal.stdin.setRawMode?.(false))
    const resize = (): void => send(channel.resize, Buffer.from(JSON.stringify({ Width: terminal.stdout.columns ?? 80, Height: terminal.stdout.rows ?? 24 })))
    resize()
    cleanup.use(terminal.onSignal(['SIGWINCH'], resize))
  }
  if (options.interactive === true) {
    terminal.stdin.on('data', (data: Buffer) => send(channel.stdin, data))
    terminal.stdin.on('end', () => {
      if (socket.protocol === 'v5.channel.k8s.io') socket.send(Buffer.from([channel.close, channel.stdin]))
    })
    cleanup.defer(() => terminal.stdin.destroy())
  }
  return await outcome(terminal, socket)
}

function outcome(terminal: Terminal, socket: import('ws').WebSocket): Promise<number> {
  return new Promise((resolve, reject) => {
    let writes: Promise<void> = Promise.resolve()
    let verdict: unknown
    socket.on('message', (data) => {
      const message = Buffer.isBuffer(data) ? data : Buffer.concat(Array.isArray(data) ? data : [Buffer.from(data)])
      const body = message.subarray(1)
      if (message[0] === channel.stdout) writes = writes.then(() => print(terminal.stdout, body))
      else if (message[0] === channel.stderr) writes = writes.then(() => print(terminal.stderr, body))
      else if (message[0] === channel.error) verdict = parseJson(body.toString('utf8'))
    })
    socket.on('error', reject)
    socket.on('close', () => {
      writes.then(() => {
        if (verdict === undefined || textAt(verdict, 'status') === 'Success') return resolve(0)
        const code = listAt(objectAt(verdict, 'details'), 'causes').find((cause) => textAt(cause, 'reason') === 'ExitCode')
        if (code !== undefined) return resolve(Number(textAt(code, 'message')))
        reject(new ExitError(`error: ${textAt(verdict, 'message')}`))
      }, reject)
    })
  })
}
