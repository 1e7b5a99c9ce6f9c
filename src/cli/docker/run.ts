/** `berth run` and `berth exec`: flags as docker's, and docker's exit codes (125 engine, 126 and 127 command, else the container's). */
import { isFault } from '#base/fault.ts'
import { ExitError } from '../exit.ts'
import { numberAt, textAt } from '../json.ts'
import { print, type Terminal } from '../terminal.ts'
import { type DockerConnection, EngineRefusal } from './connection.ts'
import { healthBody, logBody, type HealthFlags, type LogFlags } from './health-flags.ts'
import { pullImage } from './images.ts'
import { runSession } from './streams.ts'

export interface RunOptions extends HealthFlags, LogFlags {
  readonly detach?: boolean
  readonly rm?: boolean
  readonly interactive?: boolean
  readonly tty?: boolean
  readonly name?: string
  readonly env: readonly string[]
  readonly publish: readonly string[]
  readonly volume: readonly string[]
  readonly label: readonly string[]
  readonly workdir?: string
  readonly user?: string
  readonly hostname?: string
  readonly entrypoint?: string
  readonly network?: string
  readonly memory?: string
  readonly cpus?: string
  readonly pidsLimit?: string
  readonly restart?: string
  readonly readOnly?: boolean
}

const sizeUnits: Readonly<Record<string, number>> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }

/** `512m` → bytes. Throws for anything docker would refuse. */
export function parseMemory(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([bkmgt]?)b?$/i.exec(text)
  const unit = sizeUnits[match?.[2]?.toLowerCase() ?? '']
  if (match === null || unit === undefined) throw new ExitError(`invalid memory size '${text}': expected a number with an optional unit, such as 512m or 1g`, 125)
  return Math.floor(Number(match[1]) * unit)
}

/** `127.0.0.1:8080:80/tcp`, `8080:80`, `80` → the port in the container and where it is published. */
export function parsePublish(text: string): { readonly container: string; readonly hostIp: string; readonly hostPort: string } {
  const match = /^(?:(?:(\[[0-9a-f:]+\]|[0-9.]+):)?(\d*):)?(\d+)(?:\/(tcp|udp|sctp))?$/i.exec(text)
  if (match === null) throw new ExitError(`invalid port specification '${text}': expected [[ip:]hostPort:]containerPort[/tcp|udp]`, 125)
  return { container: `${match[3]}/${(match[4] ?? 'tcp').toLowerCase()}`, hostIp: match[1]?.replace(/[[\]]/g, '') ?? '', hostPort: match[2] ?? '' }
}

function parseLabels(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(labels.map((label) => [label.split('=')[0] ?? '', label.includes('=') ? label.slice(label.indexOf('=') + 1) : '']))
}

function parseRestart(policy: string): { Name: string; MaximumRetryCount: number } {
  const [name = '', count] = policy.split(':')
  return { Name: name, MaximumRetryCount: count === undefined ? 0 : Number(count) }
}

function createBody(image: string, command: readonly string[], options: RunOptions, stdoutIsTerminal: boolean): object {
  const ports: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const text of options.publish) {
    const { container, hostIp, hostPort } = parsePublish(text)
    ports[container] = [...(ports[container] ?? []), { HostIp: hostIp, HostPort: hostPort }]
  }
  const attached = options.detach !== true
  return {
    Image: image,
    Cmd: command.length > 0 ? command : undefined,
    Entrypoint: options.entrypoint === undefined ? undefined : [options.entrypoint],
    Env: options.env.map((entry) => (entry.includes('=') ? entry : `${entry}=${process.env[entry] ?? ''}`)),
    Labels: parseLabels(options.label),
    WorkingDir: options.workdir ?? '',
    User: options.user ?? '',
    Hostname: options.hostname ?? '',
    Tty: options.tty === true,
    OpenStdin: options.interactive === true,
    StdinOnce: options.interactive === true && attached,
    AttachStdin: options.interactive === true && attached,
    AttachStdout: attached,
    AttachStderr: attached,
    ExposedPorts: Object.fromEntries(Object.keys(ports).map((port) => [port, {}])),
    ...healthBody(options),
    HostConfig: {
      LogConfig: logBody(options),
      AutoRemove: options.rm === true,
      Binds: options.volume,
      PortBindings: ports,
      NetworkMode: options.network ?? 'default',
      Memory: options.memory === undefined ? 0 : parseMemory(options.memory),
      NanoCpus: options.cpus === undefined ? 0 : Math.round(Number(options.cpus) * 1e9),
      PidsLimit: options.pidsLimit === undefined ? undefined : Number(options.pidsLimit),
      ReadonlyRootfs: options.readOnly === true,
      RestartPolicy: parseRestart(options.restart ?? 'no'),
      ConsoleSize: stdoutIsTerminal ? [process.stdout.rows ?? 0, process.stdout.columns ?? 0] : [0, 0],
    },
  }
}

async function create(engine: DockerConnection, terminal: Terminal, image: string, body: object, name: string | undefined): Promise<string> {
  const call = { method: 'POST', path: '/containers/create', query: { name }, body } as const
  try {
    return textAt(await engine.json(call), 'Id')
  } catch (error) {
    const imageMissing = error instanceof EngineRefusal && error.status === 404 && /image/i.test(error.message)
    if (!imageMissing) throw engineFailure(error)
  }
  await print(terminal.stderr, `Unable to find image '${image}' locally\n`)
  try {
    await pullImage(engine, { ...terminal, stdout: terminal.stderr }, image)
    return textAt(await engine.json(call), 'Id')
  } catch (error) {
    throw engineFailure(error)
  }
}

/** Docker's codes for a container that could not start. */
function engineFailure(error: unknown): Error {
  if (isFault(error) || !(error instanceof Error)) return new ExitError(String(error), 125)
  const message = error.message
  if (/executable file not found|no such file or directory/i.test(message)) return new ExitError(message, 127)
  if (/permission denied|is a directory/i.test(message)) return new ExitError(message, 126)
  return new ExitError(message, 125)
}

/** Runs a container and returns the exit code of the command. */
export async function run(engine: DockerConnection, terminal: Terminal, image: string, command: readonly string[], options: RunOptions): Promise<number> {
  if (options.tty === true && options.interactive === true && terminal.stdin.isTTY !== true) throw new ExitError('the input device is not a TTY', 1)
  const id = await create(engine, terminal, image, createBody(image, command, options, terminal.stdout.isTTY === true), options.name)
  if (options.detach === true) {
    await start(engine, id)
    await print(terminal.stdout, `${id}\n`)
    return 0
  }
  const connection = await engine.hijack({
    method: 'POST',
    path: `/containers/${id}/attach`,
    query: { stream: '1', stdout: '1', stderr: '1', stdin: options.interactive === true ? '1' : undefined },
  })
  const exit = engine.json({ method: 'POST', path: `/containers/${id}/wait`, query: { condition: options.rm === true ? 'removed' : 'next-exit' } })
  exit.catch((error: unknown) => connection.destroy(error instanceof Error ? error : undefined))
  using _signals = terminal.onSignal(['SIGINT', 'SIGTERM'], (signal) => void kill(engine, id, signal))
  const session = runSession(terminal, {
    connection,
    tty: options.tty === true,
    stdin: options.interactive === true,
    resize: (rows, columns) => resize(engine, `/containers/${id}/resize`, rows, columns),
  })
  session.catch((error: unknown) => connection.destroy(error instanceof Error ? error : undefined))
  try {
    await start(engine, id)
  } catch (error) {
    connection.destroy()
    throw error
  }
  await session
  return numberAt(await exit, 'StatusCode')
}

async function start(engine: DockerConnection, id: string): Promise<void> {
  try {
    await engine.json({ method: 'POST', path: `/containers/${id}/start` })
  } catch (error) {
    throw engineFailure(error)
  }
}

async function kill(engine: DockerConnection, id: string, signal: string): Promise<void> {
  try {
    await engine.json({ method: 'POST', path: `/containers/${id}/kill`, query: { signal } })
  } catch (error) {
    // The container may have ended in between; anything else is worth a line.
    if (!(error instanceof EngineRefusal)) throw error
  }
}

async function resize(engine: DockerConnection, path: string, rows: number, columns: number): Promise<void> {
  try {
    await engine.json({ method: 'POST', path, query: { h: String(rows), w: String(columns) } })
  } catch (error) {
    // Before the start and after the end there is no terminal to resize.
    if (!(error instanceof EngineRefusal)) throw error
  }
}

export interface ExecOptions {
  readonly detach?: boolean
  readonly interactive?: boolean
  readonly tty?: boolean
  readonly env: readonly string[]
  readonly user?: string
  readonly workdir?: string
}

/** Runs a command in a running container and returns its exit code. */
export async function exec(engine: DockerConnection, terminal: Terminal, container: string, command: readonly string[], options: ExecOptions): Promise<number> {
  const tty = options.tty === true
  const stdin = options.interactive === true
  if (tty && stdin && terminal.stdin.isTTY !== true) throw new ExitError('the input device is not a TTY', 1)
  const created = await engine.json({
    method: 'POST',
    path: `/containers/${encodeURIComponent(container)}/exec`,
    body: {
      Cmd: command,
      Tty: tty,
      AttachStdin: stdin,
      AttachStdout: options.detach !== true,
      AttachStderr: options.detach !== true,
      Env: options.env,
      User: options.user ?? '',
      WorkingDir: options.workdir ?? '',
    },
  })
  const id = textAt(created, 'Id')
  if (options.detach === true) {
    await engine.json({ method: 'POST', path: `/exec/${id}/start`, body: { Detach: true, Tty: tty } })
    return 0
  }
  const connection = await engine.hijack({ method: 'POST', path: `/exec/${id}/start`, body: { Detach: false, Tty: tty } })
  await runSession(terminal, { connection, tty, stdin, resize: (rows, columns) => resize(engine, `/exec/${id}/resize`, rows, columns) })
  return numberAt(await engine.json({ method: 'GET', path: `/exec/${id}/json` }), 'ExitCode')
}
