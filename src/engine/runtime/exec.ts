/**
 * Another process in a running container: straight through crun, or through a conmon of its own, which holds its terminal and tells its exit
 * code.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '#base/fault.ts'
import type { Child, Processes } from '#linux/contract/processes.ts'
import type { Poller } from '#linux/contract/poller.ts'
import type { Attachment, ExecRequest, RunningExec } from '../contract/runtime.ts'
import type { Clock } from '#base/clock.ts'
import { SocketAttachment } from './attachment.ts'
import { type BundleFacts, type BundlePaths, removeFolder } from './bundle.ts'
import { control, execArguments, execEnvironment, type RuntimeTool, SyncMessages } from './conmon.ts'
import { closePipes, startDirectExec } from './direct-exec.ts'
import { runtimeFault } from './failure.ts'
import { giveStreams, type RuntimeMapping } from './stream-owner.ts'

export interface ExecParts {
  readonly processes: Pick<Processes, 'start'>
  readonly poller: Poller
  readonly tool: RuntimeTool
  readonly cgroup: string
  readonly stallMs: number
  readonly clock: Clock
}

export async function startExec(parts: ExecParts, container: { readonly id: string; readonly paths: BundlePaths; readonly facts: Pick<BundleFacts, 'mapping'> }, request: ExecRequest): Promise<RunningExec> {
  if (!/^[A-Za-z0-9_-]+$/.test(request.execId)) throw new Fault('invalidArgument', `exec id '${request.execId}' (letters, digits, _ -)`)
  if (parts.tool.name === 'crun' && request.process.terminal !== true) return startDirectExec(parts, container, request)
  const folder = join(container.paths.execs, request.execId)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const processFile = join(folder, 'process.json')
  await writeFile(processFile, JSON.stringify(request.process), { mode: 0o600 })
  try {
    return await new ExecStart(parts, container, folder).run(request, processFile)
  } catch (error) {
    await removeFolder(folder)
    throw error
  }
}

class ExecStart {
  readonly #parts: ExecParts
  readonly #id: string
  readonly #mapping: RuntimeMapping | undefined
  readonly #folder: string

  constructor(parts: ExecParts, { id, facts }: { readonly id: string; readonly facts: Pick<BundleFacts, 'mapping'> }, folder: string) {
    this.#parts = parts
    this.#id = id
    this.#mapping = facts.mapping
    this.#folder = folder
  }

  async run(request: ExecRequest, processFile: string): Promise<RunningExec> {
    const { processes, tool, cgroup } = this.#parts
    const terminal = request.process.terminal === true
    const argv = execArguments(tool, { id: this.#id, folder: this.#folder, pidFile: join(this.#folder, 'pid'), processFile, terminal, stdin: request.stdin, attach: request.sink !== undefined })
    const conmon = await processes.start(argv, { stdio: ['null', 'null', 'null', 'pipeOut', 'pipeIn', 'pipeOut'], env: execEnvironment, session: true, cgroup })
    const sync = new SyncMessages(pipe(conmon, 3))
    const start = pipe(conmon, 4)
    // conmon may be gone before it reads this; its answers tell then.
    start.on('error', () => start.destroy())
    start.write('1')
    const attachment = request.sink === undefined ? undefined : await this.#attach(conmon, request)
    if (attachment !== undefined) start.write('1')
    const answer = await sync.next()
    start.destroy()
    if (answer === undefined || answer.data <= 0) {
      attachment?.close()
      await conmon.exited
      closePipes(conmon)
      throw runtimeFault(`exec in container ${this.#id}`, answer?.message ?? 'conmon ended without an answer')
    }
    return {
      pid: answer.data,
      attachment,
      exited: this.#exited(sync, conmon, attachment),
      resize: (size) => control(join(this.#folder, 'ctl'), { kind: 'resize', rows: size.rows, columns: size.columns }),
    }
  }

  /** Joins before the process runs: conmon waits for our word. undefined when conmon ended; the sync pipe says why. */
  async #attach(conmon: Child, request: ExecRequest): Promise<Attachment | undefined> {
    const ready = new SyncMessages(pipe(conmon, 5))
    const answer = await ready.next()
    ready.close()
    if (answer === undefined || request.sink === undefined) return undefined
    if (this.#mapping !== undefined) await giveStreams(conmon.pid, request.process, { mapping: this.#mapping })
    const socket = await this.#parts.poller.connectSeqpacket(join(this.#folder, 'attach'), { stallMs: this.#parts.stallMs })
    return new SocketAttachment(socket, request.sink, request.stdin)
  }

  async #exited(sync: SyncMessages, conmon: Child, attachment: Attachment | undefined): Promise<number> {
    const answer = await sync.next()
    sync.close()
    await conmon.exited
    closePipes(conmon)
    await attachment?.closed
    await removeFolder(this.#folder)
    // A conmon that was killed took the process's code with it.
    return answer?.data ?? 137
  }
}

function pipe(child: Child, index: number): NonNullable<Child['stdio'][number]> {
  const stream = child.stdio[index]
  if (stream === undefined) throw new Fault('internal', `conmon has no pipe ${index}`)
  return stream
}
