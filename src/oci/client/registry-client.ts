/**
 * A client of OCI registries (distribution-spec 1.1): basic and bearer login, manifests, blobs with resume, uploads with mount.
 * One client talks to one registry; tokens are kept per repository and action.
 */
import { STATUS_CODES } from '#base/http-module.ts'
import type { OutgoingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { readBody } from '#base/http.ts'
import { parseJson } from '#base/json.ts'
import { Fault } from '#base/fault.ts'
import type { Digest } from '../digest.ts'
import { digestAlgorithm, digestOf, isDigest } from '../digest.ts'
import { asObject, member, optionalString } from '../json.ts'
import { manifestMediaTypes, maxManifestBytes } from '../manifest.ts'
import { dockerHub } from '../reference.ts'
import { parseChallenges } from './challenge.ts'
import type { Challenge } from './challenge.ts'
import { maxAnswerBytes, refusal } from './refusal.ts'
import type { ClientCertificate } from './registry-hosts.ts'
import { Transport } from './transport.ts'
import type { Answer } from './transport.ts'

export interface RegistryCredentials {
  readonly username?: string
  readonly password?: string
  /** OAuth2 refresh token, as `docker login` stores it for some registries. */
  readonly identityToken?: string
  /** Bearer token to be used as it is. */
  readonly registryToken?: string
}

export interface RegistryClientOptions {
  /** Host with optional port, as in a reference. */
  readonly registry: string
  readonly credentials?: RegistryCredentials
  /** Plain HTTP and unverified certificates are allowed. Loopback addresses always are. */
  readonly insecure?: boolean
  readonly authorities?: readonly string[]
  readonly certificates?: readonly ClientCertificate[]
  /** Where it is, if not at its name. */
  readonly server?: URL
  /** The path of `server` is used as it is, without `/v2` behind it. */
  readonly overridePath?: boolean
  /** Sent with every request to the registry. */
  readonly headers?: Readonly<Record<string, string>>
  /** The registry for which this one is asked as a mirror: told as `ns`, so that one mirror can serve several. */
  readonly mirrorOf?: string
}

/** A repository with more tags than this many pages hold is listed in part. */
const maxTagPages = 1000
const maxTagListBytes = 16 << 20

export interface FetchedManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

/** Where manifests and contents come from: a registry, or mirrors of it. */
export interface BlobSource {
  /** As in a reference, for messages. */
  readonly registry: string
  manifest(repository: string, reference: string, signal?: AbortSignal): Promise<FetchedManifest>
  blob(repository: string, digest: Digest, options?: { readonly start?: number; readonly signal?: AbortSignal }): Promise<{ readonly body: Readable; readonly whole: boolean }>
}

export interface BlobUpload {
  readonly digest: Digest
  readonly sizeBytes: number
  /** Opens the content; again when the upload is tried again. */
  readonly open: () => Promise<Readable>
  /** A repository on the same registry that may hold the blob already. */
  readonly from?: string
  readonly signal?: AbortSignal
}

export type UploadOutcome = 'mounted' | 'exists' | 'uploaded'

interface Access {
  readonly repository: string
  readonly actions: 'pull' | 'pull,push'
  /** Another repository, which is read: a blob is mounted from it. */
  readonly from?: string
}

interface Ask {
  readonly method: string
  /** Path below the registry, or a whole URL (a Location). */
  readonly path: string | URL
  readonly access: Access | undefined
  /** Asks the token service for an identity token, too. */
  readonly isLogin?: boolean
  readonly headers?: OutgoingHttpHeaders
  readonly body?: Uint8Array | Readable
  readonly signal?: AbortSignal | undefined
}

export class RegistryClient implements BlobSource, Disposable {
  readonly #options: RegistryClientOptions
  readonly #transport: Transport
  readonly #mayBePlain: boolean
  /** Authorization by access; the empty key is for the base address. */
  readonly #authorizations = new Map<string, string>()
  #base: Promise<URL> | undefined
  #identityToken: string | undefined

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#mayBePlain = options.insecure === true || isLoopback(options.registry)
    this.#transport = new Transport({ insecure: this.#mayBePlain, authorities: options.authorities ?? [], certificates: options.certificates ?? [] })
  }

  get registry(): string {
    return this.#options.registry
  }

  /** Checks that the registry answers and takes the credentials (`docker login`); answers the identity token it gives to keep in their place, if it does. */
  async login(signal?: AbortSignal): Promise<string | undefined> {
    const answer = await this.#ask({ method: 'GET', path: '/v2/', access: undefined, isLogin: true, signal })
    answer.body.resume()
    // In Docker 500 and these words; only a token service's refusal is a 401 there.
    if (answer.status !== 200) throw new Fault('internal', `login attempt to ${String(this.#addressOf('/v2/', await this.#baseUrl(signal)))} failed with status: ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`, { details: { status: answer.status } })
    return this.#identityToken
  }

  /** Fetches a manifest by tag or digest and checks that its bytes have the digest they should have (`dataLoss`). */
  async manifest(repository: string, reference: string, signal?: AbortSignal): Promise<FetchedManifest> {
    const answer = await this.#ask({ method: 'GET', path: `/v2/${repository}/manifests/${reference}`, access: { repository, actions: 'pull' }, headers: { Accept: [...manifestMediaTypes, 'application/json'].join(', ') }, signal })
    if (answer.status !== 200) throw await refusal(answer, `manifest '${reference}' of ${this.registry}/${repository}`)
    const bytes = await readBody(answer.body, { maxBytes: maxManifestBytes, what: 'manifest' })
    const promised = isDigest(reference) ? reference : headerDigest(answer)
    const digest = digestOf(bytes, promised === undefined ? 'sha256' : digestAlgorithm(promised))
    if (promised !== undefined && promised !== digest) throw new Fault('dataLoss', `the manifest that ${this.registry} sent for ${repository} has the digest ${digest}, not ${promised}`)
    return { digest, mediaType: answer.headers['content-type']?.split(';')[0]?.trim() ?? '', bytes }
  }

  /** Docker's old search (`/v1/search`), which Docker Hub and some registries still have. The answer is what they say, unread. */
  async search(term: string, limit: number, signal?: AbortSignal): Promise<unknown> {
    const base = this.registry === dockerHub ? new URL('https://index.docker.io/') : await this.#baseUrl(signal)
    const target = new URL('/v1/search', base)
    target.searchParams.set('q', term)
    target.searchParams.set('n', String(limit))
    const answer = await this.#ask({ method: 'GET', path: target, access: undefined, headers: { Accept: 'application/json', 'X-Docker-Token': 'true' }, signal })
    // Docker's words and its 500, whatever the registry's reason: hubs explain this in no agreed form.
    if (answer.status !== 200) {
      answer.body.resume()
      throw new Fault('internal', `unexpected status code ${answer.status}`, { details: { status: answer.status } })
    }
    return parseJson(await readBody(answer.body, { maxBytes: maxAnswerBytes }), 'search answer')
  }

  /** All tags of a repository (distribution-spec "Content Discovery"); pages are followed. */
  async tags(repository: string, signal?: AbortSignal): Promise<readonly string[]> {
    const tags: string[] = []
    let path: string | URL | undefined = `/v2/${repository}/tags/list`
    for (let page = 0; path !== undefined && page < maxTagPages; page += 1) {
      const answer: Answer = await this.#ask({ method: 'GET', path, access: { repository, actions: 'pull' }, signal })
      if (answer.status !== 200) throw await refusal(answer, `the tags of ${this.registry}/${repository}`)
      const node = asObject(parseJson(await readBody(answer.body, { maxBytes: maxTagListBytes, what: 'tag list' }), 'tag list'), 'tags')
      const listed: unknown = member(node, 'tags')
      if (Array.isArray(listed)) tags.push(...listed.filter((tag) => typeof tag === 'string'))
      const next = /<([^>]+)>;\s*rel="?next/.exec(String(answer.headers.link ?? ''))?.[1]
      path = next === undefined ? undefined : new URL(next, answer.url)
    }
    return tags
  }

  /** A blob's bytes from `start` on. The caller checks the digest. `whole` says that a range was asked for but all is sent, `sizeBytes` how much is sent, where it is said. */
  async blob(repository: string, digest: Digest, options: { readonly start?: number; readonly signal?: AbortSignal } = {}): Promise<{ readonly body: Readable; readonly whole: boolean; readonly sizeBytes: number | undefined }> {
    const start = options.start ?? 0
    const answer = await this.#ask({ method: 'GET', path: `/v2/${repository}/blobs/${digest}`, access: { repository, actions: 'pull' }, headers: start === 0 ? {} : { Range: `bytes=${start}-` }, signal: options.signal })
    if (answer.status !== 200 && answer.status !== 206) throw await refusal(answer, `blob ${digest} of ${this.registry}/${repository}`)
    const length = answer.headers['content-length']
    return { body: answer.body, whole: answer.status === 200, sizeBytes: length === undefined ? undefined : Number(length) }
  }

  async hasBlob(repository: string, digest: Digest, signal?: AbortSignal): Promise<boolean> {
    const answer = await this.#ask({ method: 'HEAD', path: `/v2/${repository}/blobs/${digest}`, access: { repository, actions: 'pull,push' }, signal })
    answer.body.resume()
    return answer.status === 200
  }

  /** Brings a blob into a repository by the cheapest way: it is there, it can be mounted, it must be sent. */
  async upload(repository: string, blob: BlobUpload): Promise<UploadOutcome> {
    if (await this.hasBlob(repository, blob.digest, blob.signal)) return 'exists'
    const access: Access = { repository, actions: 'pull,push' }
    const target = await this.#beginUpload(repository, blob)
    if (target === undefined) return 'mounted'
    target.searchParams.set('digest', blob.digest)
    const done = await this.#ask({
      method: 'PUT', path: target, access, body: await blob.open(), signal: blob.signal,
      headers: { 'Content-Length': blob.sizeBytes, 'Content-Type': 'application/octet-stream' },
    })
    if (done.status !== 201 && done.status !== 204) throw await refusal(done, `the upload of ${blob.digest} to ${this.registry}/${repository}`)
    done.body.resume()
    return 'uploaded'
  }

  /** Brings a blob that is not at hand into a repository: false if it is neither there nor can be mounted from `from`. */
  async mount(repository: string, blob: { readonly digest: Digest; readonly from: string; readonly signal?: AbortSignal }): Promise<boolean> {
    if (await this.hasBlob(repository, blob.digest, blob.signal)) return true
    const begun = await this.#beginUpload(repository, blob)
    if (begun === undefined) return true
    // The registry has begun an upload instead, which nobody will go on with.
    const ended = await this.#ask({ method: 'DELETE', path: begun, access: { repository, actions: 'pull,push' }, signal: blob.signal })
    ended.body.resume()
    return false
  }

  /** Mounts a blob (undefined), or answers where it is to be sent. */
  async #beginUpload(repository: string, { digest, from, signal }: Pick<BlobUpload, 'digest' | 'from' | 'signal'>): Promise<URL | undefined> {
    const begin = (source: string | undefined): Promise<Answer> =>
      this.#ask({
        method: 'POST', headers: { 'Content-Length': 0 }, signal,
        path: `/v2/${repository}/blobs/uploads/?mount=${encodeURIComponent(digest)}${source === undefined ? '' : `&from=${encodeURIComponent(source)}`}`,
        access: { repository, actions: 'pull,push', ...(source === undefined ? {} : { from: source }) },
      })
    let begun = await begin(from)
    // Who may not read the other repository may still send the blob.
    if (from !== undefined && [401, 403, 404].includes(begun.status)) {
      begun.body.resume()
      begun = await begin(undefined)
    }
    const { location } = begun.headers
    if (begun.status !== 201 && (begun.status !== 202 || location === undefined)) throw await refusal(begun, `an upload to ${this.registry}/${repository}`)
    begun.body.resume()
    return begun.status === 201 || location === undefined ? undefined : new URL(location, begun.url)
  }

  async hasManifest(repository: string, digest: Digest, signal?: AbortSignal): Promise<boolean> {
    const answer = await this.#ask({ method: 'HEAD', path: `/v2/${repository}/manifests/${digest}`, access: { repository, actions: 'pull,push' }, headers: { Accept: manifestMediaTypes.join(', ') }, signal })
    answer.body.resume()
    return answer.status === 200
  }

  /** `reference` is a tag or the manifest's digest. */
  async putManifest(repository: string, manifest: { readonly reference: string; readonly bytes: Uint8Array; readonly mediaType: string; readonly signal?: AbortSignal }): Promise<Digest> {
    const answer = await this.#ask({
      method: 'PUT', path: `/v2/${repository}/manifests/${manifest.reference}`, access: { repository, actions: 'pull,push' }, body: manifest.bytes, signal: manifest.signal,
      headers: { 'Content-Type': manifest.mediaType, 'Content-Length': manifest.bytes.length },
    })
    if (answer.status !== 201) throw await refusal(answer, `manifest '${manifest.reference}' was not taken by ${this.registry}/${repository}`)
    answer.body.resume()
    return headerDigest(answer) ?? digestOf(manifest.bytes)
  }

  async #ask(ask: Ask): Promise<Answer> {
    const url = ask.path instanceof URL ? ask.path : this.#addressOf(ask.path, await this.#baseUrl(ask.signal))
    const key = ask.access === undefined ? '' : scopesOf(ask.access).join(' ')
    const send = (authorization: string | undefined): Promise<Answer> =>
      this.#transport.exchange({ ...ask, url, headers: { ...this.#options.headers, ...ask.headers, ...(authorization === undefined ? {} : { Authorization: authorization }) }, ...(ask.signal === undefined ? {} : { signal: ask.signal }) } as const)
    const answer = await send(this.#authorizations.get(key))
    const challenge = answer.headers['www-authenticate']
    // A body that was streamed cannot be sent a second time; uploads begin with a request that has none.
    if (answer.status !== 401 || challenge === undefined || isStream(ask.body)) return answer
    const authorization = await this.#authorize(parseChallenges(challenge), ask)
    if (authorization === undefined) return answer
    answer.body.resume()
    this.#authorizations.set(key, authorization)
    return await send(authorization)
  }

  #addressOf(path: string, base: URL): URL {
    const { overridePath, mirrorOf } = this.#options
    const url = new URL(`${base.pathname.replace(/\/$/, '')}${overridePath === true ? path.replace(/^\/v2/, '') : path}`, base)
    if (mirrorOf !== undefined) url.searchParams.set('ns', mirrorOf)
    return url
  }

  /** The Authorization header that answers a challenge; undefined when there is nothing to answer it with. */
  async #authorize(challenges: readonly Challenge[], ask: Ask): Promise<string | undefined> {
    const credentials = this.#options.credentials ?? {}
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer')
    if (bearer !== undefined) return `Bearer ${credentials.registryToken ?? (await this.#token(bearer, ask))}`
    const basic = challenges.some(({ scheme }) => scheme === 'basic')
    return basic && credentials.username !== undefined ? basicHeader(credentials) : undefined
  }

  /** Asks the token service (distribution "Token Authentication"). */
  async #token(challenge: Challenge, ask: Ask): Promise<string> {
    const realmText = challenge.parameters.get('realm') ?? ''
    if (!URL.canParse(realmText)) throw new Fault('unavailable', `${this.registry} names no valid token service: '${realmText}'`)
    const realm = new URL(realmText)
    if (realm.protocol !== 'https:' && !this.#mayBePlain) throw new Fault('permissionDenied', `${this.registry} asks for credentials over plain HTTP at ${realm.host}: refused`)
    const told = challenge.parameters.get('scope')
    const scopes = ask.access === undefined ? (told === undefined ? [] : [told]) : scopesOf(ask.access)
    const service = challenge.parameters.get('service')
    const { credentials = {} } = this.#options
    const answer = credentials.identityToken === undefined ? await this.#getToken(realm, { scopes, service, credentials, isLogin: ask.isLogin === true, signal: ask.signal }) : await this.#refreshToken(realm, { scopes, service, refresh: credentials.identityToken, signal: ask.signal })
    if (answer.status !== 200) throw await refusal(answer, `the token service of ${this.registry} refused the login`)
    const node = asObject(parseJson(await readBody(answer.body, { maxBytes: maxAnswerBytes }), 'token answer'), 'token')
    const token = optionalString(node, 'token') ?? optionalString(node, 'access_token')
    if (token === undefined) throw new Fault('unavailable', `the token service of ${this.registry} answered without a token`)
    if (ask.isLogin === true) this.#identityToken = optionalString(node, 'refresh_token')
    return token
  }

  #getToken(realm: URL, wish: { readonly scopes: readonly string[]; readonly service: string | undefined; readonly credentials: RegistryCredentials; readonly isLogin: boolean; readonly signal: AbortSignal | undefined }): Promise<Answer> {
    if (wish.service !== undefined) realm.searchParams.set('service', wish.service)
    for (const scope of wish.scopes) realm.searchParams.append('scope', scope)
    if (wish.isLogin) for (const [name, value] of [['client_id', 'berth'], ['offline_token', 'true']] as const) realm.searchParams.set(name, value)
    const headers = wish.credentials.username === undefined ? {} : { Authorization: basicHeader(wish.credentials) }
    return this.#transport.exchange({ method: 'GET', url: realm, headers, ...(wish.signal === undefined ? {} : { signal: wish.signal }) })
  }

  #refreshToken(realm: URL, wish: { readonly scopes: readonly string[]; readonly service: string | undefined; readonly refresh: string; readonly signal: AbortSignal | undefined }): Promise<Answer> {
    const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: wish.refresh, client_id: 'berth', service: wish.service ?? '', scope: wish.scopes.join(' ') })
    const body = Buffer.from(form.toString())
    return this.#transport.exchange({ method: 'POST', url: realm, body, headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': body.length }, ...(wish.signal === undefined ? {} : { signal: wish.signal }) })
  }

  #baseUrl(signal: AbortSignal | undefined): Promise<URL> {
    this.#base ??= this.#findBase(signal).catch((error: unknown) => {
      this.#base = undefined
      throw error
    })
    return this.#base
  }

  /** HTTPS, or where that is allowed whatever answers: plain HTTP is tried first there. */
  async #findBase(signal: AbortSignal | undefined): Promise<URL> {
    const { server } = this.#options
    if (server?.protocol === 'http:') return server
    const host = this.registry === dockerHub ? 'registry-1.docker.io' : this.registry
    const secure = server ?? new URL(`https://${host}/`)
    if (server !== undefined || !this.#mayBePlain) return secure
    const plain = new URL(`http://${host}/`)
    try {
      const answer = await this.#transport.exchange({ method: 'GET', url: new URL('/v2/', plain), ...(signal === undefined ? {} : { signal }) })
      answer.body.resume()
      return answer.status === 200 || answer.status === 401 ? plain : secure
    } catch (error) {
      if (error instanceof Fault && error.details['errno'] === 'ECONNREFUSED') throw error
      return secure
    }
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]()
  }
}

/** Distribution "Token Scope". */
function scopesOf({ repository, actions, from }: Access): readonly string[] {
  return [`repository:${repository}:${actions}`, ...(from === undefined ? [] : [`repository:${from}:pull`])]
}

function isStream(body: Ask['body']): boolean {
  return body !== undefined && !(body instanceof Uint8Array)
}

function isLoopback(registry: string): boolean {
  const host = registry.replace(/:[0-9]+$/, '')
  return host === 'localhost' || host === '[::1]' || /^127\.[0-9]+\.[0-9]+\.[0-9]+$/.test(host)
}

function basicHeader(credentials: RegistryCredentials): string {
  return `Basic ${Buffer.from(`${credentials.username ?? ''}:${credentials.password ?? ''}`).toString('base64')}`
}

function headerDigest(answer: Answer): Digest | undefined {
  const value = answer.headers['docker-content-digest']
  return typeof value === 'string' && isDigest(value) ? value : undefined
}
