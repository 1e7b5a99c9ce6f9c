/** What a build told, as lines that two engines can be compared by: without numbers of steps, times, sizes, ids and order. */
import { stripVTControlCharacters } from 'node:util'

/** Steps and remarks that tell how an engine works and not what it makes. */
const ownAffairs: readonly RegExp[] = [
  // The name of a builder's version; where the context was read from, and how much of it; which metadata was looked up.
  /^building with /,
  /^\[[^\]]*internal\] load (metadata|build context|build definition|\.dockerignore)/,
  /^transferring (context|dockerfile)/,
  /^resolve /,
  /^(\[\w+\] )?(exporting (layers|to image|config|manifest)|writing image|naming to|unpacking to|copying files|sending tarball)/,
  /^sha256:/,
  /^(DONE|CACHED|CANCELED|ERROR: context canceled|ERROR: canceled.*)$/,
  /^-+$/,
  // The Dockerfile's lines at a failure: 20.10 does not tell their place.
  /^ *\d+ \|( |$)/,
  /^\S+:\d+$/,
  /^\d* *$/,
  // Steps side by side take turns.
  /^\.\.\.$/,
  // One base is one step there, whatever stages stand on it; which image it was is told by its configuration.
  /^\[[^\]]*\] FROM /,
  // Clients ask for more where there is a build history.
  /^resolving provenance/,
  // What an engine is, and what its cache holds at a moment.
  /^(Last Activity|BuildKit version|Platforms|Labels):/,
  /^ *org\.mobyproject\./,
  /^ID\*? *\t/,
  /^(Shared|Private|Reclaimable|Total):/,
]

export function steadyProgress(output: string, folders: readonly string[]): readonly string[] {
  let text = stripVTControlCharacters(output).replaceAll('\r', '\n')
  for (const folder of folders) text = text.replaceAll(folder, 'FOLDER')
  const steps = new Map<string, string>()
  const known = new Set<string>()
  const lines: string[] = []
  for (const raw of text.split('\n')) {
    const numbered = /^#(\d+) (.*)$/.exec(raw)
    const line = steady(numbered === null ? raw : (numbered[2] ?? ''))
    const number = numbered?.[1]
    if (number !== undefined && line.startsWith('[')) steps.set(number, line)
    // Whether a step was known is a fact of that step.
    if (number !== undefined && line === 'CACHED' && !/^\[.*internal\]|\] FROM /.test(steps.get(number) ?? '[internal]')) known.add(steps.get(number) ?? '')
    if (!ownAffairs.some((pattern) => pattern.test(line))) lines.push(line)
  }
  for (const step of known) {
    // Of targets that share a step, one makes it while the others wait: which one is chance.
    const isShared = new Set(steps.values().filter((other) => withoutName(other) === withoutName(step))).size > 1
    lines.push(`known: ${isShared ? withoutName(step) : step}`)
  }
  return [...new Set(lines)].toSorted()
}

/** `[target 2/3] COPY …` without the target's or stage's name. */
function withoutName(step: string): string {
  return step.replace(/^\[\S+ (\d+\/\d+\])/, '[$1')
}

function steady(line: string): string {
  return line
    .replace(/sha256:[0-9a-f]{12,64}/g, 'ID')
    .replace(/\b[0-9a-z]{25}\b/g, 'ID')
    .replace(/^(\d+\.\d+) /, '')
    .replace(/^(DONE|CACHED|CANCELED) [\d.]+s$/, '$1')
    .replace(/\b\d+(\.\d+)?s\b/g, 'TIME')
    .replace(/\b\d+(\.\d+)?[kMG]?B\b/g, 'SIZE')
    // As later ones say it.
    .replace(/^\[stage-0 /, '[')
    .replace(/rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: (failed to create LLB definition: )?/, '')
    .replace(/\/tmp\/\S*\/buildkit-mount\d+/, 'FOLDER')
    .replace(/exporting to client (directory|tarball)/, 'exporting to client')
    .replace(/secret (\S+) not found: not found/, 'secret $1: not found')
    .replace(/executor failed running \[(.*)\]: exit code: (\d+)/, (_whole, command: string, code: string) => `process ${JSON.stringify(command)} did not complete successfully: exit code: ${code}`)
    .replace(/ +/g, ' ')
    .trimEnd()
}
