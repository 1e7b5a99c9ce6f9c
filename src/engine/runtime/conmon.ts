/** How conmon (containers/conmon, conmon(8)) is called, and what it says on its pipes. */
import { open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { BundlePaths } from './bundle.ts'

export interface RuntimeTool {
  readonly name: 'crun' | 'runc'
  readonly path: string
  readonly version: string
  readonly conmon: string
  /** Folder in which crun or runc keeps its own state. */
  readonly stateRoot: string
}

/** Numbers of the descriptors that conmon finds its pipes at. */
const syncPipe = 3
const startPipe = 4
const attachPipe = 5

const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }

export const createEnvironment = { ...environment, _OCI_SYNCPIPE: String(syncPipe) }
export const execEnvironment = { ...environment, _OCI_SYNCPIPE: String(syncPipe), _OCI_STARTPIPE: String(startPipe), _OCI_ATTACHPIPE: String(attachPipe) }

interface Common {
  readonly id: string
  /** Where the attach socket and the control fifo are made. */
  readonly folder: string
  readonly pidFile: string
  readonly terminal: boolean
  readonly logPath: string | undefined
}

function commonArguments(tool: RuntimeTool, common: Common): string[] {
  // --sync: one fork less; conmon is our child then, and init's when we are gone. Its pid is known at once either way.
  return [
    ...[tool.conmon, '--sync', '--api-version', '1', '--log-level', 'error'],
    ...['--cid', common.id, '--cuuid', common.id, '--name', common.id],
    ...['--runtime', tool.path, '--runtime-arg', `--root=${tool.stateRoot}`],
    ...['--bundle', common.folder, '--full-attach', '--container-pidfile', common.pidFile],
    // Of a log in the page cache nothing is lost by our end; a flush to disk at each exit would cost milliseconds.
    ...['--log-path', common.logPath === undefined ? 'none' : `k8s-file:${common.logPath}`, '--no-sync-log'],
    ...(common.terminal ? ['--terminal'] : []),
  ]
}

export interface CreateArguments {
  readonly id: string
  readonly paths: BundlePaths
  readonly terminal: boolean
  readonly stdin: 'none' | 'once' | 'open'
  readonly logPath: string | undefined
  readonly logCeilingBytes?: number | undefined
}

export function createArguments(tool: RuntimeTool, request: CreateArguments): string[] {
  const { id, paths, terminal, logPath } = request
  const argv = commonArguments(tool, { id, folder: paths.folder, pidFile: paths.initPid, terminal, logPath })
  argv.push('--exit-dir', paths.folder)
  if (logPath !== undefined && request.logCeilingBytes !== undefined) argv.push('--log-size-max', String(request.logCeilingBytes))
  if (request.stdin !== 'none') argv.push('--stdin')
  if (request.stdin === 'open') argv.push('--leave-stdin-open')
  return argv
}

export interface ExecArguments {
  readonly id: string
  readonly folder: string
  readonly pidFile: string
  readonly processFile: string
  readonly terminal: boolean
  readonly stdin: boolean
  readonly attach: boolean
}

export function execArguments(tool: RuntimeTool, request: ExecArguments): string[] {
  const argv = commonArguments(tool, { ...request, logPath: undefined })
  argv.push('--exec', '--exec-process-spec', request.processFile)
  if (request.attach) argv.push('--exec-attach')
  if (request.stdin) argv.push('--stdin')
  return argv
}

export interface SyncMessage {
  readonly data: number
  readonly message: string
}

/** conmon's answers on a pipe: one JSON object per line, `{"data": 123, "message": "…"}`. */
export class SyncMessages {
  readonly #lines: AsyncIterator<string>
  readonly #stream: Readable

  constructor(stream: Readable) {
    this.#stream = stream
    this.#lines = linesOf(stream)
  }

  /** The next message; undefined when conmon closed the pipe (or died). */
  async next(): Promise<SyncMessage | undefined> {
    const line = await this.#lines.next()
    if (line.done === true) return undefined
    const parsed: unknown = JSON.parse(line.value)
    if (typeof parsed !== 'object' || parsed === null || !('data' in parsed) || typeof parsed.data !== 'number') throw new Fault('internal', `conmon said '${line.value}', which is no answer of its API version 1`)
    return { data: parsed.data, message: 'message' in parsed && typeof parsed.message === 'string' ? parsed.message : '' }
  }

  close(): void {
    this.#stream.destroy()
  }
}

const longestLine = 256 * 1024

async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of stream) {
    rest += String(chunk)
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end)
      rest = rest.slice(end + 1)
      if (line !== '') yield line
    }
    if (rest.length > longestLine) throw new Fault('internal', 'conmon wrote a line without end')
  }
}

export type ControlMessage = { readonly kind: 'resize'; readonly rows: number; readonly columns: number } | { readonly kind: 'reopenLog' }

/** Writes to conmon's control fifo: `TYPE ROWS COLUMNS`. `conflict` when conmon is gone. */
export async function control(fifo: string, message: ControlMessage): Promise<void> {
  const line = message.kind === 'resize' ? `1 ${message.rows} ${message.columns}\n` : '2 0 0\n'
  try {
    // Without a reader a blocking open would wait for ever.
    const file = await open(fifo, 0o1 | 0o4000)
    try {
      await file.write(line)
    } finally {
      await file.close()
    }
  } catch (error) {
    const errno = systemErrorCode(error)
    if (errno === 'ENOENT' || errno === 'ENXIO' || errno === 'EPIPE') throw new Fault('conflict', 'the container is not running', { cause: error })
    throw error
  }
}
