/** RUN: its cache key, its command's container, and what a failure says. */
import { mkdir } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { Fault } from '#base/fault.ts'
import { randomHex } from '#base/random.ts'
import { hostPlatform, platformFit, platformText } from '#oci/platform.ts'
import type { BuildRequest } from '../http/backend.ts'
import { rulesOf } from './dialect.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import type { Instruction, RunInstruction } from './dockerfile/instructions.ts'
import type { RunMount } from './dockerfile/mounts.ts'
import { OutputTail } from './output-tail.ts'
import { runCommand } from './run-command.ts'
import { mountIdentities, mountsOf, RunMounts } from './run-mounts.ts'
import { commandArgv, expandIn, predefinedArgs, shellOf, shortId, withLayer, type StageState, type StepResult } from './stage-state.ts'
import type { StageTools, StepReport } from './stage-tools.ts'

type RunAt = RunInstruction & Instruction

interface RunCommand {
  readonly argv: readonly string[]
  /** A here-document that names its interpreter: a file where the shell finds it. */
  readonly script: { readonly path: string; readonly text: string } | undefined
  readonly network: string
}

export async function runStep(state: StageState, instruction: RunAt, tools: StageTools, report: StepReport): Promise<StageState> {
  const { shared, layers } = tools
  if (instruction.security === 'insecure' && shared.request.entitlements?.includes('security.insecure') !== true) {
    throw syntaxFault(instruction, 'RUN --security=insecure needs the entitlement security.insecure: build with --allow security.insecure')
  }
  const { argv, script } = runArgv(instruction, state)
  const network = instruction.network === 'default' ? shared.request.networkMode || 'default' : instruction.network
  const mounts = mountsOf(instruction, (word) => expandIn(state, tools.context, instruction, word))
  const { mountPointsStay } = rulesOf(shared.request)
  const hostname = hostnameOf(shared.request)
  for (const mount of mounts) if (mount.type === 'secret' || mount.type === 'ssh') tools.note({ kind: mount.type, id: mount.id, isOptional: !mount.required })
  const scope = [...state.scope].sort(([a], [b]) => (a < b ? -1 : 1))
  const identity = { argv, script, scope, user: state.config.User ?? '', folder: state.config.WorkingDir ?? '/', network, security: instruction.security, mounts: await mountIdentities(mounts, instruction, tools), mountPointsStay, hostname: hostname ?? '' }
  const args = [...state.args].map(([name, value]) => `${name}=${value}`)
  const next = (result: StepResult): StageState => withLayer(state, result, `RUN ${args.length > 0 ? `|${args.length} ${args.join(' ')} ` : ''}${argv.join(' ')}`)
  return next(await layers.cached(['run', state.chainId ?? '', identity], {
    parent: state.chainId,
    next,
    act: (rootfs) => execute(rootfs, { state, instruction, command: { argv, script, network }, mounts, tools, report }),
    runs: true,
    onCached: report.cached,
  }))
}

interface Execution {
  readonly state: StageState
  readonly instruction: RunAt
  readonly command: RunCommand
  readonly mounts: readonly RunMount[]
  readonly tools: StageTools
  readonly report: StepReport
}

async function execute(rootfs: string, { state, instruction, command, mounts: wanted, tools, report }: Execution): Promise<void> {
  const { channel, shared } = tools
  const { options, folder, request, signal } = shared
  const id = randomHex(options.random, 64)
  const own = join(folder, `run-${id}`)
  await mkdir(own)
  const workingDir = state.config.WorkingDir ?? '/'
  await using mounts = await RunMounts.open({ instruction, argv: command.argv, mounts: wanted, folder: own, workingDir, tools })
  if (command.script !== undefined) await mounts.addFile(command.script.path, command.script.text)
  channel.text(` ---> Running in ${shortId(id)}\n`)
  const tail = new OutputTail()
  const exitCode = await runCommand(options, {
    id,
    rootfs,
    folder: own,
    argv: command.argv,
    env: [...[...new Map([...state.scope, ...proxyVariables(state, tools)])].map(([name, value]) => `${name}=${value}`), ...mounts.env],
    workingDir,
    user: state.config.User ?? '',
    network: command.network,
    mounts: mounts.list,
    mountPointsStay: rulesOf(request).mountPointsStay,
    hostname: hostnameOf(request),
    cgroupParent: request.cgroupParent,
    limits: limitsOf(request),
    privileged: instruction.security === 'insecure',
    onOutput: (data, from) => {
      report.vertex.output(data, from)
      const text = tail.add(data, from)
      if (text !== '') channel.text(text)
    },
    signal,
  }).catch((error: unknown) => {
    throw startFault(instruction, command.argv, error)
  })
  const rest = tail.end()
  if (rest !== '') channel.text(rest)
  if (exitCode !== 0) throw isForeign(state, tail.lines()) ? foreignCommand(instruction, command.argv, state) : failedCommand(instruction, command.argv, exitCode, tail.lines())
  if (request.remove) channel.text(` ---> Removed intermediate container ${shortId(id)}\n`)
}

/** A runtime that cannot start the command at all. */
function startFault(at: Instruction, argv: readonly string[], error: unknown): unknown {
  if (!(error instanceof Fault) || error.code === 'canceled') return error
  return new Fault(error.code === 'internal' ? 'invalidArgument' : error.code, `${at.file}:${at.line}: the command '${argv.join(' ')}' could not be started: ${error.message}`, { cause: error, details: error.details })
}

/** Of the machine that commands see; undefined: one of their own. */
function hostnameOf(request: BuildRequest): string | undefined {
  const { hostname } = rulesOf(request)
  return hostname === undefined ? undefined : request.buildArgs['BUILDKIT_SANDBOX_HOSTNAME'] || request.hostname || hostname
}

/** Of the request, which need no ARG. */
function proxyVariables(state: StageState, { context, shared }: StageTools): (readonly [name: string, value: string])[] {
  const given = predefinedArgs.flatMap((name): (readonly [string, string])[] => {
    const value = context.buildArgs.get(name)
    return value === undefined || value === null ? [] : [[name, value]]
  })
  if (rulesOf(shared.request).proxiesWin) return given.flatMap(([name, value]) => (value === '' ? [] : [[name.toUpperCase(), value] as const, [name.toLowerCase(), value] as const]))
  return given.filter(([name]) => !state.scope.has(name))
}

/** As in BuildKit. /dev is the container's own, so no trace stays in the image. */
const scriptFolder = '/dev/pipes'

function runArgv(instruction: RunAt, state: StageState): Pick<RunCommand, 'argv' | 'script'> {
  const { command, heredocs } = instruction
  const [first] = heredocs
  if (command.form === 'exec' || first === undefined) return { argv: commandArgv(command, state.config), script: undefined }
  if (heredocs.length === 1 && /^<<-?\S+$/.test(command.line)) {
    const path = posix.join(scriptFolder, posix.basename(first.name))
    if (first.body.startsWith('#!')) return { argv: [...shellOf(state.config), path], script: { path, text: first.body } }
    return { argv: [...shellOf(state.config), first.body], script: undefined }
  }
  return { argv: [...shellOf(state.config), `${command.line}\n${heredocs.map(({ source }) => source).join('\n')}`], script: undefined }
}

function failedCommand(at: Instruction, argv: readonly string[], exitCode: number, lastLines: readonly string[]): Fault {
  const output = lastLines.length === 0 ? '' : `\nIts last lines were:\n${lastLines.map((line) => `  ${line}`).join('\n')}`
  return new Fault('unprocessable', `${at.file}:${at.line}: The command '${argv.join(' ')}' returned a non-zero code: ${exitCode}${output}`, {
    details: { exitCode, line: at.line, words: `process ${JSON.stringify(argv.join(' '))} did not complete successfully: exit code: ${exitCode}` },
  })
}

/** The kernel took the command for no program of this machine, and it is none: the runtime says so before it ends. */
function isForeign({ platform }: StageState, lastLines: readonly string[]): boolean {
  return platformFit(hostPlatform, platform) === 0 && lastLines.some((line) => /exec format error/i.test(line))
}

function foreignCommand(at: Instruction, argv: readonly string[], { platform }: StageState): Fault {
  const wanted = platformText(platform)
  const words = `process ${JSON.stringify(argv.join(' '))} is for ${wanted}, and this machine executes ${platformText(hostPlatform)} (exec format error): register an emulator with binfmt_misc (qemu-user-static, or a privileged tonistiigi/binfmt --install ${platform.architecture}), or run the command in a stage of --platform=$BUILDPLATFORM`
  return new Fault('unprocessable', `${at.file}:${at.line}: ${words}`, { details: { line: at.line, words: `${at.file}:${at.line}: ${words}` } })
}

function limitsOf(request: BuildRequest): Parameters<typeof runCommand>[1]['limits'] {
  const { memoryBytes, cpuShares, cpuQuotaUs, cpuPeriodUs, cpusetCpus, ulimits, shmSizeBytes, extraHosts } = request
  return { resources: { memoryBytes, cpuShares, cpuQuotaUs, cpuPeriodUs, cpusetCpus, ulimits }, extraHosts, ...(shmSizeBytes === undefined || shmSizeBytes === 0 ? {} : { shmSizeBytes }) }
}
