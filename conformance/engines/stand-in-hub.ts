/**
 * A registry that stands in for Docker Hub and quay.io inside a namespace without the Internet: their names lead to it (hosts
 * file), with a certificate that the engines are told to trust. It serves the stand-in images, so that suites which pull can be
 * judged at all. OCI distribution specification, the reading half,
 * and the token flow of distribution's `docs/content/spec/auth/token.md`.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { sha256, type StandInImage } from './stand-in-images.ts'

const hosts = ['registry-1.docker.io', 'auth.docker.io', 'index.docker.io', 'docker.io', 'quay.io']

/** As the real one: whoever comes without a token is sent for one, which nobody needs a password for. */
const challenge = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
const manifestType = 'application/vnd.docker.distribution.manifest.v2+json'

export interface HubFiles {
  readonly authority: string
  readonly certificate: string
  readonly key: string
}

/** An authority and a certificate for the hub's names; before the engines start, for Node reads its authorities at start. */
export function prepareHub(folder: string): HubFiles {
  mkdirSync(folder, { recursive: true })
  const files = { authority: join(folder, 'ca.pem'), certificate: join(folder, 'hub.pem'), key: join(folder, 'hub.key') }
  const openssl = (...args: string[]): void => {
    const result = spawnSync('openssl', args, { encoding: 'utf8' })
    if (result.status !== 0) throw new Error(`openssl ${args[0]}: ${result.stderr}`)
  }
  const authorityKey = join(folder, 'ca.key')
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...newKey, '-keyout', authorityKey, '-out', files.authority, '-days', '2', '-subj', '/CN=stand-in authority')
  openssl('req', ...newKey, '-keyout', files.key, '-out', join(folder, 'hub.csr'), '-subj', '/CN=stand-in hub')
  writeFileSync(join(folder, 'names'), `subjectAltName=${hosts.map((host) => `DNS:${host}`).join(',')}\n`)
  openssl('x509', '-req', '-in', join(folder, 'hub.csr'), '-CA', files.authority, '-CAkey', authorityKey, '-CAcreateserial', '-days', '2', '-out', files.certificate, '-extfile', join(folder, 'names'))
  return files
}

/** Serves until disposed. Call inside mount and network namespaces of one's own: the hosts file is covered. */
export async function startHub(images: readonly StandInImage[], files: HubFiles): Promise<AsyncDisposable> {
  const hostsFile = `${files.certificate}.hosts`
  writeFileSync(hostsFile, `127.0.0.1 localhost ${hosts.join(' ')}\n`)
  const mounted = spawnSync('mount', ['--bind', hostsFile, '/etc/hosts'], { encoding: 'utf8' })
  if (mounted.status !== 0) throw new Error(`hosts file: ${mounted.stderr}`)
  const content = hubContent(images)
  const server = createServer({ cert: readFileSync(files.certificate), key: readFileSync(files.key) }, (request, response) => answer(content, request, response))
  await new Promise<void>((done, fail) => server.once('error', fail).listen(443, '127.0.0.1', done))
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise<void>((done) => server.close(() => done()))
    },
  }
}

interface HubContent {
  readonly blobs: ReadonlyMap<string, Buffer>
  /** Manifests by `REPOSITORY REFERENCE`, tags and digests. */
  readonly manifests: ReadonlyMap<string, Buffer>
  readonly tags: ReadonlyMap<string, readonly string[]>
}

function hubContent(images: readonly StandInImage[]): HubContent {
  const blobs = new Map<string, Buffer>()
  const manifests = new Map<string, Buffer>()
  const tags = new Map<string, string[]>()
  for (const { names, config, layers } of images) {
    const store = (mediaType: string, bytes: Buffer): { mediaType: string; size: number; digest: string } => {
      const digest = `sha256:${sha256(bytes)}`
      blobs.set(digest, bytes)
      return { mediaType, size: bytes.length, digest }
    }
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: manifestType,
        config: store('application/vnd.docker.container.image.v1+json', config),
        layers: layers.map((layer) => store('application/vnd.docker.image.rootfs.diff.tar.gzip', gzipSync(layer))),
      }),
    )
    for (const name of names) {
      const [repository = '', tag = ''] = repositoryOf(name).split(':')
      manifests.set(`${repository} ${tag}`, manifest)
      manifests.set(`${repository} sha256:${sha256(manifest)}`, manifest)
      tags.set(repository, [...(tags.get(repository) ?? []), tag])
    }
  }
  return { blobs, manifests, tags }
}

/** A name with a host in it stands at that host, any other in the hub's library. */
function repositoryOf(name: string): string {
  const [host = '', ...rest] = name.split('/')
  return rest.length > 0 && host.includes('.') ? rest.join('/') : `library/${name}`
}

function answer(content: HubContent, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'https://hub')
  const path = url.pathname
  const [, repository = '', kind = '', reference = ''] = /^\/v2\/(.+)\/(manifests|blobs|tags)\/([^/]+)$/.exec(path) ?? []
  const send = (type: string, body: Buffer, headers: Record<string, string> = {}): void => {
    response.writeHead(200, { 'Content-Type': type, 'Content-Length': body.length, ...headers })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
  const refuse = (status: number, code: string, headers: Record<string, string> = {}): void => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers })
    response.end(JSON.stringify({ errors: [{ code, message: 'refused by the stand-in hub' }] }))
  }
  if (path === '/v1/search') {
    // Docker Hub's: whoever asks is answered. quay.io has no such thing, but its images serve as well.
    const term = url.searchParams.get('q') ?? ''
    const found = [...content.tags.keys()].filter((name) => name.includes(term))
    send('application/json', Buffer.from(JSON.stringify({ query: term, num_results: found.length, num_pages: 1, page: 1, page_size: 25, results: found.map((name) => ({ name: name.replace(/^library\//, ''), description: 'a stand-in', star_count: 1, is_official: name.startsWith('library/'), is_automated: false })) })))
    return
  }
  if (path === '/token') {
    // No password is the right one.
    if (request.headers.authorization !== undefined || request.method === 'POST') refuse(401, 'UNAUTHORIZED')
    else send('application/json', Buffer.from(JSON.stringify({ token: 'anyone', expires_in: 300 })))
    return
  }
  if (request.headers.authorization !== 'Bearer anyone') {
    refuse(401, 'UNAUTHORIZED', { 'WWW-Authenticate': challenge })
    return
  }
  const manifest = content.manifests.get(`${repository} ${reference}`)
  const blob = content.blobs.get(reference)
  const tags = content.tags.get(repository)
  if (path === '/v2/') send('application/json', Buffer.from('{}'))
  else if (kind === 'manifests' && manifest !== undefined) send(manifestType, manifest, { 'Docker-Content-Digest': `sha256:${sha256(manifest)}` })
  else if (kind === 'blobs' && blob !== undefined) send('application/octet-stream', blob)
  else if (kind === 'tags' && tags !== undefined) send('application/json', Buffer.from(JSON.stringify({ name: repository, tags })))
  else refuse(404, kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN')
}
