/** What crun's and runc's words mean. They differ by version and are meant for people; this is the one place that reads them. */
import { Fault, type FaultCode } from '#base/fault.ts'
import type { RuntimeFailure } from '../contract/runtime.ts'

const kinds: readonly (readonly [RegExp, RuntimeFailure['kind']])[] = [
  [/\b(cwd|chdir|working directory|current working directory)\b/i, 'workingDirectory'],
  [/executable file [`'"]?[^`'"]*[`'"]? ?not found|executable file not found|exec: "[^"]*": stat [^:]*: no such file|open executable: no such file/i, 'executableNotFound'],
  [/\b(mount|mounting|rootfs)\b[^\n]*(fail|error|no such|not permitted|denied|invalid|busy)|error mounting/i, 'mount'],
  [/exec format error/i, 'notExecutable'],
  [/executable[^\n]*(permission denied|not executable)|exec[^\n]*permission denied|open executable: (permission denied|operation not permitted)|is a directory|is not a regular file/i, 'permissionDenied'],
  [/exec[^\n]*no such file or directory/i, 'executableNotFound'],
]

/** crun prefixes a time stamp, runc writes logrus lines (`time="…" level=error msg="…"`) in text mode. One plain line remains. */
export function runtimeMessage(raw: string): string {
  const lines = raw
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const quoted = lines.map((line) => /\bmsg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1])
  const best = quoted.findLast((message) => message !== undefined)?.replace(/\\"/g, '"') ?? lines.at(-1) ?? ''
  return best
    .replace(/^\d{4}-\d{2}-\d{2}T\S+:\s*/, '')
    .replace(/^\[conmon:[a-z]\]:\s*/, '')
    .slice(0, 4096)
}

export function classify(raw: string): RuntimeFailure {
  const message = runtimeMessage(raw)
  return { kind: kinds.find(([pattern]) => pattern.test(message))?.[1] ?? 'other', runtimeMessage: message }
}

/** `what` says what was tried, e.g. `create container 3f…`. */
export function runtimeFault(what: string, raw: string): Fault {
  const runtimeFailure = classify(raw)
  const code: FaultCode = runtimeFailure.kind === 'other' ? 'internal' : 'invalidArgument'
  return new Fault(code, `${what}: ${runtimeFailure.runtimeMessage}`, { details: { runtimeFailure } })
}
