/**
 * Who may do what: without users everything is open; with users anybody may pull (unless `anonymousPull` is off) and users
 * may push and delete. Credentials come as Basic or as a bearer token that `/token` gave out for them.
 */
import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { equalSecrets, parseHtpasswd, PasswordFile } from './htpasswd.ts'
import { parseScopes, tokenLifetimeSeconds, Tokens } from './tokens.ts'
import type { Action, Token } from './tokens.ts'

export interface RegistryAuthOptions {
  /** Text of an htpasswd file; no users: everybody may do everything. */
  readonly htpasswd?: string
  /** Default true. */
  readonly anonymousPull?: boolean
  /** The engine on this machine: may push, and may mount any stored blob into any repository. */
  readonly engine?: { readonly username: string; readonly password: string }
  /** Signs tokens; 32 random bytes, the same in every registry that serves the same folder. */
  readonly tokenKey: Uint8Array
  readonly clock: Clock
}

export interface Caller {
  /** undefined: anonymous. */
  readonly user: string | undefined
  readonly isEngine: boolean
  /** What a token limits the caller to; undefined for Basic credentials. */
  readonly token: Token | undefined
}

const anonymous: Caller = { user: undefined, isEngine: false, token: undefined }

export class RegistryAuth {
  readonly #users: PasswordFile
  readonly #options: RegistryAuthOptions
  readonly #tokens: Tokens

  constructor(options: RegistryAuthOptions) {
    this.#options = options
    this.#users = new PasswordFile(parseHtpasswd(options.htpasswd ?? ''), options.clock)
    this.#tokens = new Tokens(options.tokenKey, options.clock)
  }

  get isOpen(): boolean {
    return this.#users.size === 0 && this.#options.engine === undefined
  }

  /** Who sent the request. Wrong credentials are `unauthenticated`, none are anonymous. */
  async caller(req: IncomingMessage): Promise<Caller> {
    const header = req.headers.authorization
    if (header === undefined || this.isOpen) return anonymous
    const space = header.indexOf(' ')
    const scheme = header.slice(0, space).toLowerCase()
    const value = header.slice(space + 1).trim()
    if (scheme === 'basic') return await this.#basic(value)
    if (scheme !== 'bearer') throw new Fault('unauthenticated', `authorization scheme '${scheme}' is unknown: expected Basic or Bearer`)
    const token = this.#tokens.read(value)
    if (token === undefined) throw new Fault('unauthenticated', 'the bearer token is not valid (any more): ask for a new one')
    return { user: token.subject === '' ? undefined : token.subject, isEngine: token.subject !== '' && token.subject === this.#options.engine?.username, token }
  }

  async #basic(value: string): Promise<Caller> {
    const text = Buffer.from(value, 'base64').toString('utf8')
    const colon = text.indexOf(':')
    const user = text.slice(0, Math.max(0, colon))
    const password = text.slice(colon + 1)
    const { engine } = this.#options
    if (engine !== undefined && user === engine.username && equalSecrets(password, engine.password)) return { user, isEngine: true, token: undefined }
    if (await this.#users.verify(user, password)) return { user, isEngine: false, token: undefined }
    throw new Fault('unauthenticated', 'the user name or the password is wrong')
  }

  may(caller: Caller, action: Action, repository: string): boolean {
    if (this.isOpen) return true
    const known = caller.user !== undefined || (action === 'pull' && this.#options.anonymousPull !== false)
    if (!known || caller.token === undefined) return known
    // An anonymous token carries no more than anybody has.
    if (caller.user === undefined || (action === 'pull' && this.#options.anonymousPull !== false)) return true
    return caller.token.access.some((access) => access.repository === repository && access.actions.includes(action))
  }

  /** Throws `unauthenticated` (with the challenge) or `permissionDenied`. */
  demand(caller: Caller, action: Action, repository: string): void {
    if (this.may(caller, action, repository)) return
    // A token that lacks the scope can be exchanged for one that has it: challenge again.
    throw new Fault('unauthenticated', `${action} to repository '${repository}' needs a login`, { details: { scope: `repository:${repository}:${action === 'pull' ? 'pull' : `pull,${action}`}` } })
  }

  /** The `WWW-Authenticate` header for a request that came in at this address. */
  challenge(req: IncomingMessage, scope: string | undefined): string {
    const scheme = req.socket instanceof TLSSocket ? 'https' : 'http'
    const host = /^[A-Za-z0-9.:[\]-]+$/.test(req.headers.host ?? '') ? req.headers.host : `${req.socket.localAddress}:${req.socket.localPort}`
    return `Bearer realm="${scheme}://${host}/token",service="berth"${scope === undefined ? '' : `,scope="${scope}"`}`
  }

  /** Answers `GET /token`. */
  async token(req: IncomingMessage, query: URLSearchParams): Promise<object> {
    const caller = await this.caller(req)
    const access = parseScopes(query.getAll('scope')).map(({ repository, actions }) => ({ repository, actions: actions.filter((action) => this.may(caller, action, repository)) }))
    const token = this.#tokens.issue({ subject: caller.user ?? '', access })
    return { token, access_token: token, expires_in: tokenLifetimeSeconds, issued_at: new Date(this.#options.clock.nowMs()).toISOString() }
  }
}
