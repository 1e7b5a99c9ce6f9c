/** What an archive or a folder of a build says by its structure: without digests, sizes, times and ids. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isRecord } from '../../src/base/json.ts'

type Node = Readonly<Record<string, unknown>>

export async function factsOf(path: string, name: string): Promise<readonly string[]> {
  if (!existsSync(path)) return [`${name}: is not there`]
  if (lstatSync(path).isDirectory()) return folderFacts(path, name)
  const folder = mkdtempSync(join(tmpdir(), 'facts-'))
  try {
    spawnSync('tar', ['-xf', path, '-C', folder])
    return existsSync(join(folder, 'oci-layout')) ? layoutFacts(folder, name) : folderFacts(folder, name)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function folderFacts(folder: string, name: string): readonly string[] {
  const lines: string[] = []
  for (const entry of readdirSync(folder, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    const mode = (lstatSync(path).mode & 0o7777).toString(8)
    if (entry.isDirectory()) lines.push(`${name}/${entry.name}/ ${mode}`, ...folderFacts(path, `${name}/${entry.name}`))
    else {
      const text = readFileSync(path, 'utf8')
      lines.push(`${name}/${entry.name} ${mode}: ${/provenance.*\.json$/.test(entry.name) ? steadyJson(JSON.parse(text), new Map()) : text.trim()}`)
    }
  }
  return lines
}

/** Of an OCI layout: every manifest, configuration and attestation that its index leads to. */
function layoutFacts(folder: string, name: string): readonly string[] {
  const names = new Map<string, string>()
  const lines: string[] = []
  const read = (digest: string): unknown => JSON.parse(readFileSync(join(folder, 'blobs', digest.replace(':', '/')), 'utf8'))
  const visit = (node: unknown, called: string): void => {
    if (!isRecord(node)) return
    const children = [...listOf(node['manifests']), ...(isRecord(node['config']) ? [node['config']] : []), ...listOf(node['layers'])]
    for (const child of children) if (typeof child['digest'] === 'string' && !names.has(child['digest'])) names.set(child['digest'], `#${names.size}`)
    lines.push(`${name} ${called}: ${steadyJson(node, names)}`)
    for (const child of children) {
      const { digest, mediaType } = child
      if (typeof digest !== 'string' || typeof mediaType !== 'string' || !/json$/.test(mediaType)) continue
      const content = read(digest)
      const isConfig = /(image|container\.image)\.(config\.)?v1\+json$/.test(mediaType)
      visit(isConfig && isRecord(content) ? configFacts(content) : content, `${names.get(digest)} ${mediaType}`)
    }
  }
  visit(JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')), 'index.json')
  return [...new Set(lines)]
}

/** An engine's history and times are its own affair; here it is which platform, and what is set. */
function configFacts({ architecture, os, variant, config, created }: Node): Node {
  return { architecture, os, variant, ...(typeof created === 'string' && created.startsWith('1970') ? { created } : {}), config: isRecord(config) ? { Labels: config['Labels'], Env: config['Env'], Cmd: config['Cmd'] } : undefined }
}

function listOf(value: unknown): readonly Node[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

/** BuildKit's own: how it turned the Dockerfile into LLB, and which of its versions that was. */
const ownMembers: readonly string[] = ['buildConfig', 'llbDefinition', 'digestMapping', 'locations', 'compatibilityVersion', 'dockerfileVersion', 'size', 'org.opencontainers.image.created', 'config.digest']
const times: readonly string[] = ['startedOn', 'finishedOn', 'invocationId', 'buildStartedOn', 'buildFinishedOn', 'buildInvocationID']

/** Members in the order of their names; digests by the place at which they were met first. */
function steadyJson(value: unknown, names: ReadonlyMap<string, string>, inside = ''): string {
  if (Array.isArray(value)) return `[${value.map((each) => steadyJson(each, names, inside)).join(',')}]`
  if (!isRecord(value)) return JSON.stringify(typeof value === 'string' ? steadyText(value, names) : value)
  const members = Object.entries(value)
    .filter(([name, member]) => member !== undefined && member !== null && !ownMembers.includes(name) && !(name === 'layers' && inside === 'buildkit_metadata') && !(name === 'annotations' && isRecord(member) && Object.keys(member).every((key) => ownMembers.includes(key))))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${times.includes(name) ? '"…"' : steadyJson(member, names, name)}`).join(',')}}`
}

function steadyText(text: string, names: ReadonlyMap<string, string>): string {
  if (names.has(text)) return names.get(text) ?? ''
  if (/^(sha256:)?[0-9a-f]{64}$/.test(text)) return names.get(`sha256:${text}`) ?? (text.startsWith('sha256:') ? 'sha256:…' : '…')
  return text.length > 200 ? `text ${createHash('sha256').update(text).digest('hex').slice(0, 12)}` : text
}
