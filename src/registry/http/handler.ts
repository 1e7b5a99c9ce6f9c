/**
 * The registry's HTTP room: OCI distribution-spec 1.1 (and `/token`). Every route is one small function that parses,
 * checks permission and calls the rooms beside; bodies stream through, never a blob in memory.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '#base/clock.ts'
import { asFault, Fault } from '#base/fault.ts'
import { parseTarget, readBody, RouteTable, sendBytes, sendEmpty, sendJson, signalOf } from '#base/http.ts'
import type { RouteParams } from '#base/http.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { Blobs, Ingest } from '#oci/blobs/contract.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import { parseDigest } from '#oci/digest.ts'
import { maxManifestBytes } from '#oci/manifest.ts'
import { isRepository } from '#oci/reference.ts'
import type { Caller, RegistryAuth } from '../auth/registry-auth.ts'
import type { Action } from '../auth/tokens.ts'
import { Manifests } from '../manifests.ts'
import type { Repositories } from '../repositories.ts'
import { Uploads } from '../uploads.ts'
import { parseContentRange, parseRange } from './content-range.ts'
import type { ByteRange } from './content-range.ts'
import { errorBody } from './errors.ts'
import { sendFile } from './send-file.ts'

export interface RegistryParts {
  readonly blobs: Blobs
  readonly repositories: Repositories
  readonly auth: RegistryAuth
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface RegistryHandler extends AsyncDisposable {
  /** Answers any request; never rejects. */
  handle(req: IncomingMessage, res: ServerResponse): Promise<void>
}

/** One request on its way through a route. */
interface Call {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly params: RouteParams
  readonly query: URLSearchParams
  readonly caller: Caller
}

type Route = (call: Call) => Promise<void>

export function createRegistryHandler(parts: RegistryParts): RegistryHandler {
  const uploads = new Uploads(parts)
  const room = new Room(parts, uploads)
  return { handle: (req, res) => room.handle(req, res), [Symbol.asyncDispose]: () => uploads[Symbol.asyncDispose]() }
}

class Room {
  readonly #parts: RegistryParts
  readonly #uploads: Uploads
  readonly #manifests: Manifests
  readonly #routes: RouteTable<Route>

  constructor(parts: RegistryParts, uploads: Uploads) {
    this.#parts = parts
    this.#uploads = uploads
    this.#manifests = new Manifests(parts.blobs, parts.repositories)
    this.#routes = new RouteTable<Route>()
      .add('GET', '/v2/', (call) => this.#base(call))
      .add('GET', '/v2', (call) => this.#base(call))
      .add('GET', '/v2/_catalog', (call) => this.#catalog(call))
      .add('GET', '/v2/:name+/tags/list', (call) => this.#tags(call))
      .add('GET', '/v2/:name+/manifests/:reference', (call) => this.#getManifest(call))
      .add('PUT', '/v2/:name+/manifests/:reference', (call) => this.#putManifest(call))
      .add('DELETE', '/v2/:name+/manifests/:reference', (call) => this.#deleteManifest(call))
      .add('GET', '/v2/:name+/referrers/:digest', (call) => this.#referrers(call))
      .add('GET', '/v2/:name+/blobs/:digest', (call) => this.#getBlob(call))
      .add('DELETE', '/v2/:name+/blobs/:digest', (call) => this.#deleteBlob(call))
      .add('POST', '/v2/:name+/blobs/uploads/', (call) => this.#beginUpload(call))
      .add('POST', '/v2/:name+/blobs/uploads', (call) => this.#beginUpload(call))
      .add('GET', '/v2/:name+/blobs/uploads/:id', (call) => this.#uploadStatus(call))
      .add('PATCH', '/v2/:name+/blobs/uploads/:id', (call) => this.#uploadChunk(call))
      .add('PUT', '/v2/:name+/blobs/uploads/:id', (call) => this.#finishUpload(call))
      .add('DELETE', '/v2/:name+/blobs/uploads/:id', (call) => this.#cancelUpload(call))
      .add('GET', '/token', async ({ req, res, query }) => sendJson(res, await this.#parts.auth.token(req, query), { headers: { 'Cache-Control': 'no-store' } }))
  }

  async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    try {
      const { path, query } = parseTarget(req.url ?? '/')
      const found = this.#routes.find(req.method ?? 'GET', path)
      if (found.kind === 'methodNotAllowed') {
        res.setHeader('Allow', found.allow.join(', '))
        throw new Fault('methodNotAllowed', `${req.method ?? ''} is not possible here: expected ${found.allow.join(' or ')}`)
      }
      if (found.kind === 'notFound') throw new Fault('notFound', `there is nothing at '${path.slice(0, 200)}'`)
      const name = found.params['name']
      if (name !== undefined && !isRepository(name)) throw new Fault('notFound', `'${name.slice(0, 300)}' is no repository name: lower-case letters and digits, separated by '.', '_', '-' or '/'`, { details: { reason: 'NAME_INVALID' } })
      res.setHeader('Docker-Distribution-Api-Version', 'registry/2.0')
      const caller = found.pattern === '/token' ? nobody : await this.#parts.auth.caller(req)
      await found.handler({ req, res, params: found.params, query, caller })
    } catch (error) {
      this.#refuse(req, res, error)
    }
  }

  #refuse(req: IncomingMessage, res: ServerResponse, error: unknown): void {
    const fault = asFault(error)
    if (fault.code === 'internal' || fault.code === 'dataLoss') this.#parts.logger.error({ error, method: req.method, url: req.url }, 'a registry request failed')
    if (res.headersSent || res.destroyed) return void res.destroy()
    const headers: Record<string, string> = {}
    const scope = fault.details['scope']
    if (fault.code === 'unauthenticated') headers['WWW-Authenticate'] = this.#parts.auth.challenge(req, typeof scope === 'string' ? scope : undefined)
    for (const [header, detail] of [['Content-Range', 'contentRange'], ['Range', 'range'], ['Location', 'location']] as const) {
      const value = fault.details[detail]
      if (typeof value === 'string') headers[header] = value
    }
    // What is left of a body nobody will read would be taken for the next request.
    if (!req.complete) headers['Connection'] = 'close'
    sendJson(res, errorBody(fault), { status: fault.httpStatus, headers })
  }

  #repository(call: Call, action: Action): string {
    const repository = call.params['name'] ?? ''
    this.#parts.auth.demand(call.caller, action, repository)
    return repository
  }

  async #base({ res, caller }: Call): Promise<void> {
    if (caller.user === undefined && caller.token === undefined && !this.#parts.auth.isOpen) throw new Fault('unauthenticated', 'a token is needed: anonymous ones may pull')
    sendJson(res, {})
  }

  // ---- lists ----

  async #catalog({ res, query, caller }: Call): Promise<void> {
    const all = (await this.#parts.repositories.list()).filter((repository) => this.#parts.auth.may(caller, 'pull', repository))
    const page = pageOf(all, query)
    sendJson(res, { repositories: page.items }, { headers: nextLink('/v2/_catalog', page, query) })
  }

  async #tags(call: Call): Promise<void> {
    const repository = this.#repository(call, 'pull')
    if (!(await this.#parts.repositories.exists(repository))) throw unknownRepository(repository)
    const page = pageOf(await this.#parts.repositories.tags(repository), call.query)
    sendJson(call.res, { name: repository, tags: page.items }, { headers: nextLink(`/v2/${repository}/tags/list`, page, call.query) })
  }

  async #referrers(call: Call): Promise<void> {
    const repository = this.#repository(call, 'pull')
    const subject = parseDigest(call.params['digest'], 'digest')
    const artifactType = call.query.get('artifactType') ?? undefined
    const index = await this.#manifests.referrers(repository, subject, artifactType)
    sendJson(call.res, index, { contentType: mediaTypes.ociIndex, headers: artifactType === undefined ? {} : { 'OCI-Filters-Applied': 'artifactType' } })
  }

  // ---- manifests ----

  async #getManifest(call: Call): Promise<void> {
    const repository = this.#repository(call, 'pull')
    const { digest, mediaType, bytes } = await this.#manifests.get(repository, call.params['reference'] ?? '')
    const headers = { 'Docker-Content-Digest': digest, ETag: `"${digest}"` }
    const known = call.req.headers['if-none-match']
    if (known !== undefined && known.includes(digest)) return sendEmpty(call.res, { status: 304, headers })
    sendBytes(call.res, bytes, { contentType: mediaType, headers })
  }

  async #putManifest(call: Call): Promise<void> {
    const repository = this.#repository(call, 'push')
    const bytes = await readBody(call.req, { maxBytes: maxManifestBytes, what: 'manifest' })
    const reference = call.params['reference'] ?? ''
    const tags = call.query.getAll('tag')
    const { digest, subject } = await this.#manifests.put(repository, { reference, bytes, contentType: call.req.headers['content-type'], tags })
    sendEmpty(call.res, {
      status: 201,
      headers: {
        Location: `/v2/${repository}/manifests/${digest}`,
        'Docker-Content-Digest': digest,
        ...(subject === undefined ? {} : { 'OCI-Subject': subject }),
        ...(tags.length === 0 ? {} : { 'OCI-Tag': tags }),
      },
    })
  }

  async #deleteManifest(call: Call): Promise<void> {
    const repository = this.#repository(call, 'delete')
    await this.#manifests.delete(repository, call.params['reference'] ?? '')
    sendEmpty(call.res, { status: 202 })
  }

  // ---- blobs ----

  async #getBlob(call: Call): Promise<void> {
    const repository = this.#repository(call, 'pull')
    const digest = parseDigest(call.params['digest'], 'digest')
    const stat = (await this.#parts.repositories.hasBlob(repository, digest)) ? await this.#parts.blobs.stat(digest) : undefined
    if (stat === undefined) throw await this.#unknownBlob(repository, digest)
    const range = parseRange(call.req.headers.range, stat.sizeBytes)
    const headers = {
      'Content-Type': 'application/octet-stream', 'Docker-Content-Digest': digest, ETag: `"${digest}"`, 'Accept-Ranges': 'bytes', 'Cache-Control': 'max-age=31536000',
      ...contentLength(stat.sizeBytes, range),
    }
    call.res.writeHead(range === undefined ? 200 : 206, headers)
    if (call.req.method === 'HEAD') return void call.res.end()
    await sendFile(this.#parts.blobs.path(digest), range ?? { start: 0, end: stat.sizeBytes }, call.res)
  }

  async #unknownBlob(repository: string, digest: Digest): Promise<Fault> {
    if (!(await this.#parts.repositories.exists(repository))) return unknownRepository(repository)
    return new Fault('notFound', `blob ${digest} is unknown to repository '${repository}'`, { details: { reason: 'BLOB_UNKNOWN' } })
  }

  async #deleteBlob(call: Call): Promise<void> {
    const repository = this.#repository(call, 'delete')
    const digest = parseDigest(call.params['digest'], 'digest')
    if (!(await this.#parts.repositories.unlinkBlob(repository, digest))) throw await this.#unknownBlob(repository, digest)
    sendEmpty(call.res, { status: 202 })
  }

  // ---- uploads ----

  async #beginUpload(call: Call): Promise<void> {
    const repository = this.#repository(call, 'push')
    const mount = call.query.get('mount')
    if (mount !== null && (await this.#mount(call, repository, parseDigest(mount, 'mount')))) return
    const asked = call.query.get('digest')
    const digest = asked === null ? undefined : parseDigest(asked, 'the query parameter digest')
    const id = await this.#uploads.begin(repository)
    if (digest !== undefined) return await this.#commit(call, { repository, id, digest })
    sendEmpty(call.res, { status: 202, headers: uploadHeaders(repository, id, 0) })
  }

  /** Cross-repository mount: only of what the caller could pull there. The engine may mount whatever is stored. */
  async #mount(call: Call, repository: string, digest: Digest): Promise<boolean> {
    const from = call.query.get('from')
    const { auth, repositories, blobs } = this.#parts
    const visible = from !== null && isRepository(from) && auth.may(call.caller, 'pull', from) && (await repositories.hasBlob(from, digest))
    if (!visible && !call.caller.isEngine && !(await repositories.hasBlob(repository, digest))) return false
    if ((await blobs.stat(digest)) === undefined) return false
    await repositories.linkBlob(repository, digest)
    sendEmpty(call.res, { status: 201, headers: blobHeaders(repository, digest) })
    return true
  }

  async #uploadStatus(call: Call): Promise<void> {
    const repository = this.#repository(call, 'push')
    const id = call.params['id'] ?? ''
    const offset = await this.#uploads.with(repository, id, async (ingest) => ingest.offset)
    sendEmpty(call.res, { status: 204, headers: uploadHeaders(repository, id, offset) })
  }

  async #uploadChunk(call: Call): Promise<void> {
    const repository = this.#repository(call, 'push')
    const id = call.params['id'] ?? ''
    const offset = await this.#uploads.with(repository, id, (ingest) => this.#append(call, ingest, { repository, id }))
    sendEmpty(call.res, { status: 202, headers: uploadHeaders(repository, id, offset) })
  }

  /** Writes the request's body at the end of the upload, when its range says that it belongs there. */
  async #append(call: Call, ingest: Ingest, upload: { readonly repository: string; readonly id: string }): Promise<number> {
    const range = contentRangeOf(call.req, upload, ingest.offset)
    if (range !== undefined && range.start !== ingest.offset) throw outOfOrder(`the chunk starts at ${range.start}, but ${ingest.offset} bytes are here`, upload, ingest.offset)
    const length = call.req.headers['content-length']
    if (range !== undefined && length !== undefined && Number(length) !== range.end - range.start) throw outOfOrder(`the chunk is ${length} bytes long, but its range says ${range.end - range.start}`, upload, ingest.offset)
    return await ingest.write(call.req, { signal: signalOf(call.res) })
  }

  async #finishUpload(call: Call): Promise<void> {
    const repository = this.#repository(call, 'push')
    const digest = parseDigest(call.query.get('digest') ?? undefined, 'the query parameter digest')
    await this.#commit(call, { repository, id: call.params['id'] ?? '', digest })
  }

  async #commit(call: Call, upload: { readonly repository: string; readonly id: string; readonly digest: Digest }): Promise<void> {
    const { repository, id, digest } = upload
    await this.#uploads.with(repository, id, async (ingest) => {
      await this.#append(call, ingest, upload)
      try {
        await ingest.commit({ expect: digest })
      } catch (error) {
        await ingest.abort()
        await this.#uploads.end(repository, id)
        throw error
      }
      await this.#parts.repositories.linkBlob(repository, digest)
      await this.#uploads.end(repository, id)
    })
    sendEmpty(call.res, { status: 201, headers: blobHeaders(repository, digest) })
  }

  async #cancelUpload(call: Call): Promise<void> {
    const repository = this.#repository(call, 'push')
    const id = call.params['id'] ?? ''
    await this.#uploads.with(repository, id, async (ingest) => {
      await ingest.abort()
      await this.#uploads.end(repository, id)
    })
    sendEmpty(call.res, { status: 204 })
  }
}

const nobody: Caller = { user: undefined, isEngine: false, token: undefined }

function unknownRepository(repository: string): Fault {
  return new Fault('notFound', `repository '${repository}' is unknown to this registry`, { details: { reason: 'NAME_UNKNOWN' } })
}

function blobHeaders(repository: string, digest: Digest): Readonly<Record<string, string>> {
  return { Location: `/v2/${repository}/blobs/${digest}`, 'Docker-Content-Digest': digest }
}

/** `Range` is inclusive; an empty upload says 0-0 as well, since there is no way to write none. */
function uploadHeaders(repository: string, id: string, offset: number): Readonly<Record<string, string>> {
  return { Location: `/v2/${repository}/blobs/uploads/${id}`, Range: `0-${Math.max(0, offset - 1)}`, 'Docker-Upload-UUID': id }
}

function contentRangeOf(req: IncomingMessage, upload: { readonly repository: string; readonly id: string }, offset: number): ByteRange | undefined {
  const header = req.headers['content-range']
  try {
    return parseContentRange(header)
  } catch (error) {
    throw outOfOrder(asFault(error).message, upload, offset)
  }
}

function outOfOrder(message: string, upload: { readonly repository: string; readonly id: string }, offset: number): Fault {
  const headers = uploadHeaders(upload.repository, upload.id, offset)
  return new Fault('rangeNotSatisfiable', message, { details: { range: headers['Range'], location: headers['Location'] } })
}

function contentLength(sizeBytes: number, range: ByteRange | undefined): Readonly<Record<string, string | number>> {
  if (range === undefined) return { 'Content-Length': sizeBytes }
  return { 'Content-Length': range.end - range.start, 'Content-Range': `bytes ${range.start}-${range.end - 1}/${sizeBytes}` }
}

interface Page {
  readonly items: readonly string[]
  readonly more: boolean
}

/** `n` items after `last` of a sorted list. */
function pageOf(all: readonly string[], query: URLSearchParams): Page {
  const last = query.get('last')
  const limitText = query.get('n')
  if (limitText !== null && !/^[0-9]{1,9}$/.test(limitText)) throw new Fault('invalidArgument', `n='${limitText}': expected a whole number`, { details: { reason: 'PAGINATION_NUMBER_INVALID' } })
  const rest = last === null ? all : all.filter((item) => item > last)
  const limit = limitText === null ? rest.length : Number(limitText)
  return { items: rest.slice(0, limit), more: limit > 0 && rest.length > limit }
}

function nextLink(path: string, page: Page, query: URLSearchParams): Readonly<Record<string, string>> {
  const last = page.items.at(-1)
  if (!page.more || last === undefined) return {}
  return { Link: `<${path}?n=${query.get('n') ?? ''}&last=${encodeURIComponent(last)}>; rel="next"` }
}
