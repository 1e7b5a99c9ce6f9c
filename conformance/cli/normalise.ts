/**
 * What is taken out of the output before it is compared, because it must differ from one run to the next or names the engine. The list
 * is the whole list; everything else is compared byte by byte. (Addresses, ports, host names, paths of the case and image ids are
 * compared: each engine has namespaces of its own in which they come out the same.)
 */
import type { StepOutcome } from './case.ts'

export interface Normaliser {
  readonly what: string
  readonly pattern: RegExp
  readonly with: string
}

export const normalisers: readonly Normaliser[] = [
  { what: 'times (RFC 3339)', pattern: /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/g, with: '<time>' },
  { what: 'times (Go, as docker ps and image ls print them)', pattern: /\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4})?( [A-Z]{3,4}\b)?/g, with: '<time>' },
  { what: 'ages', pattern: /\b(Less than a second|About an? (?:second|minute|hour)|\d+ (?:seconds?|minutes?|hours?|days?|weeks?|months?))( ago)?\b/g, with: '<age>$2' },
  { what: 'process ids of the machine in inspect', pattern: /"(Pid|ContainerPid)": [1-9]\d*/g, with: '"$1": <pid>' },
  { what: "names of overlay2's folders", pattern: /(?<=overlay2\/)[0-9a-f]{64}/g, with: '<layer>' },
  { what: 'what client 20.10 says of a refused start, or not: a goroutine of its own runs against its exit', pattern: /^time="<time>" level=error msg="error waiting for container: context canceled"\n/gm, with: '' },
  { what: 'where the builder colours the pieces of an error as they were read: how many it are is chance', pattern: /\p{Cc}\[0m\p{Cc}\[91m/gu, with: '' },
  { what: 'ports that the engine picked (Linux: 32768–60999)', pattern: /\b(3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4})\b/g, with: '<port>' },
]

/** Addresses that the engine picks in the default network and in that of the cases (10.5.0.0/24), and the MACs made of them: Berth uses a freed one again last. Numbered like ids. */
const leased = /\b172\.17\.(?!0\.[01]\b|255\.255\b)\d+\.\d+\b|\b10\.5\.0\.(?!1\b|0\b)\d+\b|\b02:42:(?:ac:11:[0-9a-f]{2}|0a:05:00):[0-9a-f]{2}\b/g

const wide = / {2,}/g

function numbered(numbers: Map<string, number>, value: string): number {
  const number = numbers.get(value) ?? numbers.size + 1
  numbers.set(value, number)
  return number
}

/** Ids keep their identity: the first one seen is 1, and so on, in the order of the case's output. */
export function normalise(outcomes: readonly StepOutcome[], roots: readonly (readonly [path: string, name: string])[], known: readonly string[]): StepOutcome[] {
  const numbers = new Map<string, number>()
  const addresses = new Map<string, number>()
  const number = (id: string): string => {
    const short = id.slice(0, 12)
    if (known.includes(short)) return id
    return `<id ${numbered(numbers, short)}${id.length > 12 ? '' : ' short'}>`
  }
  const text = (raw: string): string => {
    let out = raw
    for (const [path, name] of roots) out = out.replaceAll(path, name)
    for (const { pattern, with: replacement } of normalisers) out = out.replace(pattern, replacement)
    out = out.replace(/\b(?:[0-9a-f]{64}|(?=[0-9a-f]*[0-9])[0-9a-f]{12})\b/g, number)
    out = out.replace(leased, (address) => `<${address.startsWith('02') ? 'mac' : 'address'} ${numbered(addresses, address)}>`)
    // Tables are as wide as what they show, which is no longer there.
    return out.replace(wide, '  ')
  }
  return outcomes.map(({ line, stdout, stderr, exitCode }) => ({ line, stdout: text(stdout), stderr: text(stderr), exitCode }))
}
