/**
 * The OCI distribution-spec conformance suite (opencontainers/distribution-spec, `conformance/`, Apache-2.0) against our
 * registry, open and with users, over files and over object storage. The suite is not part of this repository: `DISTRIBUTION_SPEC` names a clone of it,
 * built with Go here. Writes `conformance/results/distribution.json`: the suite's commit, every case and its verdict.
 *
 *     DISTRIBUTION_SPEC=/path/to/distribution-spec npm run conformance -- distribution
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { openRegistry } from '#registry/registry.ts'
import type { RegistryOptions } from '#registry/registry.ts'
import { openFileStorage } from '#registry/storage/file-storage.ts'
import type { RegistryStorage } from '#registry/storage/contract.ts'
import { openObjectStorage } from '#registry/storage/objects/object-storage.ts'
import { openS3Objects } from '#registry/storage/objects/s3-objects.ts'
import { startS3Server } from '#registry/storage/objects/s3-server.suite.ts'
import { writeResult } from './record.ts'
import type { Verdict } from './record.ts'

interface Setting {
  readonly name: string
  readonly env: Readonly<Record<string, string>>
  readonly options?: Partial<RegistryOptions>
  /** Default: files. */
  readonly open?: (root: string) => Promise<RegistryStorage>
}

/** What the suite leaves off by default. */
const optional = { OCI_API_BLOBS_UPLOAD_CANCEL: 'true', OCI_API_BLOBS_DIGEST_HEADER: 'true', OCI_API_MANIFESTS_DIGEST_HEADER: 'true', OCI_API_MANIFESTS_TAG_PARAM: 'true' }

const settings: readonly Setting[] = [
  { name: '1.1 open', env: { OCI_VERSION: '1.1', ...optional } },
  { name: '1.1 with users', env: { OCI_VERSION: '1.1', ...optional, OCI_USERNAME: 'joe', OCI_PASSWORD: 'pw' }, options: { htpasswd: `joe:${hashSync('pw', 4)}` } },
  { name: 'dev open', env: { OCI_VERSION: 'dev', ...optional } },
  { name: 'S3: 1.1 open', env: { OCI_VERSION: '1.1', ...optional }, open: objectStorage },
  { name: 'S3: dev open', env: { OCI_VERSION: 'dev', ...optional }, open: objectStorage },
  { name: 'sparse', env: { OCI_VERSION: '1.1', ...optional, OCI_DATA_SPARSE: 'true' }, options: { sparse: true } },
  { name: 'S3: sparse', env: { OCI_VERSION: '1.1', ...optional, OCI_DATA_SPARSE: 'true' }, options: { sparse: true }, open: objectStorage },
]

async function fileStorage(root: string): Promise<RegistryStorage> {
  return await openFileStorage({ root: join(root, 'registry'), blobs: await openFileBlobs(join(root, 'content')), clock: systemClock, random: systemRandom })
}

/** What BERTH_S3_SERVERS names first, else our own stand-in for S3. */
async function objectStorage(root: string): Promise<RegistryStorage> {
  const server = await startS3Server(root)
  const storage = openObjectStorage({ objects: await openS3Objects(server.options), clock: systemClock, random: systemRandom })
  return { content: storage.content, records: storage.records, [Symbol.asyncDispose]: async () => {
    await storage[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  } }
}

function command(argv: readonly string[], cwd: string): string {
  const [program, ...args] = argv
  const result = spawnSync(program ?? '', args, { cwd, encoding: 'utf8' })
  if (result.status !== 0) throw new Error(`${argv.join(' ')} failed: ${result.stderr}`)
  return result.stdout.trim()
}

/** Builds the suite's binary; answers it and the commit it stands for. */
function buildSuite(folder: string): { readonly binary: string; readonly commit: string } {
  const source = process.env['DISTRIBUTION_SPEC']
  if (source === undefined) throw new Error('DISTRIBUTION_SPEC is not set: expected the path of a clone of opencontainers/distribution-spec')
  const binary = join(folder, 'suite')
  command(['go', 'build', '-o', binary, '.'], join(source, 'conformance'))
  return { binary, commit: process.env['DISTRIBUTION_SPEC_COMMIT'] ?? command(['git', 'rev-parse', 'HEAD'], source) }
}

async function execute(binary: string, setting: Setting, folder: string): Promise<Record<string, Verdict>> {
  const root = mkdtempSync(join(folder, 'run-'))
  await using storage = await (setting.open ?? fileStorage)(root)
  await using registry = await openRegistry({ storage, clock: systemClock, random: systemRandom, logger: silentLogger, ...setting.options })
  const server = createServer((req, res) => void registry.handle(req, res))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the registry has no port')
  const env = { ...process.env, OCI_REGISTRY: `127.0.0.1:${address.port}`, OCI_TLS: 'disabled', OCI_RESULTS_DIR: root, ...setting.env }
  await new Promise<void>((done, fail) => spawn(binary, [], { cwd: root, env, stdio: 'ignore' }).once('error', fail).once('exit', () => done()))
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
  return verdicts(readFileSync(join(root, 'junit.xml'), 'utf8'), setting.name)
}

/** Cases of the suite's JUnit file. Names repeat (`blob-get` after every upload); repetitions are numbered. */
function verdicts(junit: string, prefix: string): Record<string, Verdict> {
  const found: Record<string, Verdict> = {}
  for (const match of junit.matchAll(/<testcase name="([^"]*)"[^>]*status="([^"]*)"/g)) {
    const base = `${prefix}: ${match[1] ?? ''}`
    let name = base
    for (let count = 2; found[name] !== undefined; count += 1) name = `${base} #${count}`
    found[name] = match[2] === 'passed' ? 'passed' : match[2] === 'skipped' || match[2] === 'disabled' ? 'skipped' : 'failed'
  }
  return found
}

export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bt-distribution-'))
  try {
    const { binary, commit } = buildSuite(folder)
    const cases: Record<string, Verdict> = {}
    for (const setting of settings) Object.assign(cases, await execute(binary, setting, folder))
    writeResult('distribution', { suite: 'opencontainers/distribution-spec conformance', commit, cases: Object.entries(cases).map(([name, verdict]) => ({ name, verdict })) })
    const verdicts = new Set(Object.values(cases))
    process.exitCode = verdicts.has('failed') || !verdicts.has('passed') ? 1 : 0
  } finally {
    rmSync(folder, { recursive: true })
  }
}
