/** Exec instances (Engine API, tag `Exec`). */
import { asFault, Fault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import type { ExecSpec, StreamSession } from '../../contract/containers.ts'
import { parseDetachKeys } from '../detach-keys.ts'
import { jsonBody, param, type Exchange, type Handler } from '../exchange.ts'
import { JsonInput } from '../json-input.ts'
import { acceptUpgrade, headRead, serveResponse, serveSession, streamMediaType } from '../streams.ts'
import { sizeOf } from './container-streams.ts'

async function create(exchange: Exchange): Promise<void> {
  const input = JsonInput.of(await jsonBody(exchange), '')
  const [rows, columns] = (input.array('ConsoleSize') ?? []).map(Number)
  const detachKeys = input.string('DetachKeys')
  if (detachKeys) requireDetachKeys(detachKeys)
  const channels = [...(input.boolean('AttachStdout') === true ? ['stdout' as const] : []), ...(input.boolean('AttachStderr') === true ? ['stderr' as const] : [])]
  const spec: ExecSpec = {
    command: input.command('Cmd') ?? [],
    env: input.strings('Env') ?? [],
    workingDir: input.string('WorkingDir') ?? '',
    user: input.string('User') ?? '',
    privileged: input.boolean('Privileged') ?? false,
    tty: input.boolean('Tty') ?? false,
    stdin: input.boolean('AttachStdin') ?? false,
    attachOutput: channels.length > 0,
    channels,
    ...(detachKeys ? { detachKeys } : {}),
    ...(rows && columns ? { consoleSize: { rows, columns } } : {}),
  }
  const { execId } = await exchange.backend.containers.createExec(param(exchange, 'id'), spec)
  sendJson(exchange.res, { Id: execId }, { status: 201 })
}

async function start(exchange: Exchange): Promise<void> {
  const { backend, hijack, res, req, minorVersion } = exchange
  const execId = param(exchange, 'id')
  const input = JsonInput.of(await jsonBody(exchange), '')
  backend.containers.requireStartableExec(execId)
  if (input.boolean('Detach') === true) {
    await backend.containers.startExec(execId)
    sendEmpty(res)
    return
  }
  const [rows, columns] = (input.array('ConsoleSize') ?? []).map(Number)
  if (rows && columns) await backend.containers.resizeExec(execId, { rows, columns })
  // Whether the stream is framed is told here; whether there is a terminal was told when the exec was made.
  const tty = input.boolean('Tty') ?? false
  const mediaType = streamMediaType(tty, minorVersion)
  if (hijack !== undefined) {
    acceptUpgrade(hijack, mediaType)
    await headRead(hijack, backend.clock)
  }
  const session = await sessionOrWords(exchange, execId)
  if (hijack === undefined) await serveResponse(res, session, { tty, mediaType, log: backend.log, input: req })
  else await serveSession(hijack, session, { tty, log: backend.log, detachKeys: requireDetachKeys(backend.containers.inspectExec(execId).spec.detachKeys ?? null) })
}

function requireDetachKeys(text: string | null): Buffer {
  const keys = parseDetachKeys(text)
  if (keys === undefined) throw new Fault('invalidArgument', `Invalid detach keys (${text}) provided`)
  return keys
}

/** The connection is a stream already: a process that cannot start says why in it, as Docker does. */
async function sessionOrWords({ backend }: Exchange, execId: string): Promise<StreamSession> {
  try {
    const { session } = await backend.containers.startExec(execId)
    return session ?? wordsSession('')
  } catch (error) {
    return wordsSession(`${asFault(error).message}\r\n`)
  }
}

function wordsSession(text: string): StreamSession {
  async function* output(): AsyncGenerator<{ readonly channel: 'stdout'; readonly data: Buffer }> {
    if (text !== '') yield { channel: 'stdout', data: Buffer.from(text) }
  }
  return { output: output(), stdin: undefined, close: () => undefined, [Symbol.dispose]: () => undefined }
}

async function resize(exchange: Exchange): Promise<void> {
  await exchange.backend.containers.resizeExec(param(exchange, 'id'), sizeOf(exchange.query))
  sendEmpty(exchange.res, { status: 200 })
}

async function inspect(exchange: Exchange): Promise<void> {
  const { id, containerId, spec, running, pid, exitCode } = exchange.backend.containers.inspectExec(param(exchange, 'id'))
  const [entrypoint = '', ...args] = spec.command
  sendJson(exchange.res, {
    ID: id,
    Running: running,
    ExitCode: exitCode ?? null,
    ProcessConfig: { tty: spec.tty ?? false, entrypoint, arguments: args, privileged: spec.privileged ?? false, ...(spec.user ? { user: spec.user } : {}) },
    OpenStdin: spec.stdin ?? false,
    OpenStderr: spec.channels?.includes('stderr') ?? spec.attachOutput ?? true,
    OpenStdout: spec.channels?.includes('stdout') ?? spec.attachOutput ?? true,
    CanRemove: false,
    ContainerID: containerId,
    // Bytes, as Go writes them.
    DetachKeys: spec.detachKeys ? requireDetachKeys(spec.detachKeys).toString('base64') : '',
    Pid: pid,
  })
}

export const execRoutes: readonly (readonly [string, string, Handler])[] = [
  ['POST', '/containers/:id/exec', create],
  ['POST', '/exec/:id/start', start],
  ['POST', '/exec/:id/resize', resize],
  ['GET', '/exec/:id/json', inspect],
]

