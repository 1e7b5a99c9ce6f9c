/**
 * Why a process could not be started, in the words and with the exit codes that the docker CLI knows: it turns "executable file not
 * found" into 127 and "permission denied" into 126, and everything else into 125.
 */
import { asFault, Fault, isFault } from '#base/fault.ts'
import type { RuntimeFailure } from '../contract/runtime.ts'

function runtimeFailureOf(error: unknown): RuntimeFailure | undefined {
  if (!isFault(error)) return undefined
  const failure = error.details['runtimeFailure']
  if (typeof failure !== 'object' || failure === null || !('kind' in failure) || !('runtimeMessage' in failure)) return undefined
  const { kind, runtimeMessage } = failure
  if (typeof runtimeMessage !== 'string') return undefined
  switch (kind) {
    case 'executableNotFound':
    case 'permissionDenied':
    case 'notExecutable':
    case 'workingDirectory':
    case 'mount':
    case 'other':
      return { kind, runtimeMessage }
    default:
      return undefined
  }
}

function exitCodeOf(failure: RuntimeFailure | undefined): number {
  switch (failure?.kind) {
    case 'executableNotFound':
      return 127
    case 'permissionDenied':
    case 'notExecutable':
    case 'workingDirectory':
      return 126
    default:
      return 125
  }
}

/** Docker's usual words, whatever the runtime said; the CLI looks for them. */
function dockerWords({ kind, runtimeMessage }: RuntimeFailure, command: string): string {
  switch (kind) {
    case 'executableNotFound':
      return `exec: ${JSON.stringify(command)}: ${/no such file or directory/i.test(runtimeMessage) && command.includes('/') ? 'stat ' + command + ': no such file or directory' : 'executable file not found in $PATH'}`
    case 'permissionDenied':
      return `exec: ${JSON.stringify(command)}: permission denied`
    case 'notExecutable':
      return `exec ${command}: exec format error`
    default:
      return runtimeMessage
  }
}

/** runc tells by itself where it failed, other runtimes do not; Docker's usual words are runc's. */
function startReason(failure: RuntimeFailure, command: string): string {
  const words = dockerWords(failure, command)
  if (words.startsWith('runc create failed: ')) return words
  return `${words === failure.runtimeMessage ? '' : 'runc create failed: '}unable to start container process: ${words}`
}

/** For a container's start. */
export function startFault(error: unknown, command = ''): Fault {
  const failure = runtimeFailureOf(error)
  if (failure === undefined) {
    const fault = asFault(error)
    return new Fault(fault.code, fault.message, { cause: fault, details: { ...fault.details, exitCode: 125 } })
  }
  const message = `failed to create task for container: failed to create shim task: OCI runtime create failed: ${startReason(failure, command)}: unknown`
  return new Fault('invalidArgument', message, { cause: error, details: { runtimeFailure: failure, exitCode: exitCodeOf(failure) } })
}

/** For an exec. */
export function execFault(error: unknown, command: string): Fault {
  const failure = runtimeFailureOf(error)
  if (failure === undefined) return asFault(error)
  const saidByRunc = 'exec failed: unable to start container process: '
  const words = dockerWords(failure, command)
  const message = `OCI runtime exec failed: ${words.startsWith(saidByRunc) ? '' : saidByRunc}${words}: unknown`
  return new Fault('invalidArgument', message, { cause: error, details: { runtimeFailure: failure, exitCode: failure.kind === 'executableNotFound' ? 127 : 126 } })
}
